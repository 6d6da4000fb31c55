"""Histories move between media, types and caches, one or all of a model."""

import copy

import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.nn import GCNConv, HeteroConv, SAGEConv, Sequential

from torch_geometric_autoscale import EvalSubgraphLoader, History, autoscale
from torch_geometric_autoscale.conversion.as_model import ConvertedGNN
from torch_geometric_autoscale.history import DTYPES, TIERS, move_histories
from torch_geometric_autoscale.history.disk import Disk
from torch_geometric_autoscale.history.move import histories_of
from torch_geometric_autoscale.history.tiers import new_table

from ..training.tiny import N, tiny_data, tiny_model, tiny_ptr
from .kinds import ROUNDING

ROWS = torch.arange(8.0).view(4, 2) / 3


@pytest.mark.parametrize('dtype', ['auto', *DTYPES])
def test_a_table_moves_between_media_with_rows_type_and_origin(tmp_path, dtype):
    history = History(4, 2, dtype=dtype)
    history.push(ROWS)
    history.belong_to('a')
    before, about = history.pull(), (history.dtype, history.dtype_is_chosen)
    for tier in (*TIERS, *reversed(TIERS)):
        assert history.move_to(tier, tmp_path) is history
        assert (history.tier, history.graph) == (tier, 'a')
        assert (history.dtype, history.dtype_is_chosen) == about
        assert torch.equal(history.pull(), before)


def test_a_table_that_is_there_stays(tmp_path):
    history = History(4, 2, tier='disk', folder=tmp_path)
    table = history.emb
    history.move_to('disk', tmp_path / 'none')
    assert history.emb is table
    history.move_to(dtype='auto').move_to(dtype='float32')
    assert history.emb is table
    assert history.dtype_is_chosen


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('tier', [None, 'disk'])
def test_a_table_changes_its_type(tmp_path, dtype, tier):
    history = History(4, 2)
    history.push(ROWS)
    history.move_to(tier, tmp_path, dtype=dtype)
    assert history.dtype == DTYPES[dtype]
    assert history.dtype_is_chosen
    expected = History(4, 2, dtype=dtype)
    expected.push(ROWS)
    assert torch.equal(history.pull(), expected.pull())


def test_a_table_gets_a_cache_and_loses_it():
    history = History(4, 2)
    history.push(ROWS)
    history.move_to(cache_size_in_bytes='1kB')
    assert history.cache_size_in_bytes == 1000
    assert torch.equal(history.pull(torch.arange(4)), ROWS)
    history.move_to('pinned', cache_size_in_bytes=500)
    assert (history.tier, history.cache_size_in_bytes) == ('pinned', 500)
    assert torch.equal(history.pull(torch.arange(4)), ROWS)
    assert history.move_to().cache_size_in_bytes is None
    assert torch.equal(history.pull(torch.arange(4)), ROWS)


def test_a_move_that_fails_leaves_the_table_as_it_is(tmp_path):
    history = History(4, 2)
    history.push(1e6 * ROWS)
    for error, kwargs in (
        (FileNotFoundError, {'tier': 'disk', 'folder': tmp_path / 'none'}),
        (ValueError, {'tier': 'tape'}),
        (ValueError, {'dtype': 'int4'}),
        (ValueError, {'dtype': 'float16', 'tier': 'disk'}),  # 1e6 does not fit
        (ValueError, {'dtype': 'int8', 'cache_size_in_bytes': 3}),
    ):
        with pytest.raises(error):
            history.move_to(**kwargs)
        assert repr(history) == 'History(4, 2, dtype=torch.float32, device=cpu)'
        assert not history.dtype_is_chosen
        assert torch.equal(history.pull(), 1e6 * ROWS)


# All of a model ##################################################################


@pytest.mark.parametrize(
    ('tier', 'dtype'),
    [*(('ram', dtype) for dtype in DTYPES), *((tier, 'int8') for tier in TIERS[1:])],
)
def test_a_models_histories_move_together_and_serve_as_before(tmp_path, tier, dtype):
    data = tiny_data()
    loader = EvalSubgraphLoader(data, tiny_ptr(), log=False)
    model = tiny_model(num_layers=3).eval()
    expected = model.refresh(loader)
    move_histories(model, tier, tmp_path, dtype=dtype, cache='2kB')
    about = [(history.tier, history.dtype) for history in model.histories]
    assert about == [(tier, DTYPES[dtype])] * 2
    for _ in range(3):
        out = torch.zeros(N, 3)
        for batch in loader:
            out[batch.n_id[: batch.batch_size]] = model(batch).detach()
    assert float((out - expected).abs().max() / expected.abs().max()) < 4 * ROUNDING[dtype] + 1e-5
    kept = [history.pull() for history in model.histories]
    torch.testing.assert_close(model.refresh(loader), expected)
    state = copy.deepcopy(model.state_dict())
    fresh = [history.pull() for history in model.histories]
    model.reset_parameters()
    model.load_state_dict(state)
    assert all(map(torch.equal, fresh, [history.pull() for history in model.histories]))
    for one, other in zip(fresh, kept, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


def test_a_cache_is_shared_among_tables_by_their_size():
    model = torch.nn.ModuleList([History(10, 4), History(10, 12), History(10, 4, dtype='int8')])
    move_histories(model, cache=400 + 64)
    # An index of 80 bytes and a row of 16, 48 or 8 each are needed; 152 bytes are left.
    sizes = [history.cache_size_in_bytes for history in model]
    assert sizes == [96 + 33, 128 + 101, 88 + 16]
    assert sum(sizes) <= 464
    with pytest.raises(
        ValueError, match=r"'cache' must be 312 bytes at least for 3 .* \(got 311\)"
    ):
        move_histories(model, cache=311)
    move_histories(model, cache=280, dtype='int8')
    assert [history.dtype for history in model] == [torch.int8] * 3
    with pytest.raises(ValueError, match=r"move_histories: 'cache' must be a number of bytes"):
        move_histories(model, cache='much')


def test_a_model_without_histories_has_nothing_to_move():
    move_histories(torch.nn.Linear(2, 2), 'disk', cache='1MB')


# Converted modules ###############################################################


def two_layers():
    torch.manual_seed(0)
    return Sequential(
        'x, edge_index',
        [(GCNConv(5, 8), 'x, edge_index -> x'), torch.nn.ReLU(),
         (SAGEConv(8, 3), 'x, edge_index -> x')],
    )  # fmt: skip


@pytest.mark.parametrize(
    ('tier', 'dtype'), [(None, None), (None, 'bfloat16'), *((tier, 'int8') for tier in TIERS)]
)
@torch.no_grad()
def test_converted_modules_are_told_the_same(tmp_path, tier, dtype):
    part = torch.arange(N) // 6
    gas = autoscale(
        two_layers(), tiny_data(), partition=part, tier=tier, folder=tmp_path, dtype=dtype,
        cache='1kB', verify=False,
    )  # fmt: skip
    (history,) = gas.histories
    assert (history.tier, history.dtype) == (tier or 'ram', DTYPES[dtype or 'float32'])
    assert history.cache_size_in_bytes == 1000
    expected = two_layers()(tiny_data().x, tiny_data().edge_index)
    gas.eval()
    torch.testing.assert_close(gas.refresh(), expected)
    for batch in gas.loader():
        rows = expected[batch.n_id[: batch.batch_size]]
        worst = float((gas(batch) - rows).abs().max() / expected.abs().max())
        assert worst < 4 * ROUNDING[dtype or 'float32'] + 1e-5


def test_histories_of_converted_modules_move():
    gas = autoscale(two_layers(), tiny_data(), 4, verify=False)
    model = ConvertedGNN(two_layers(), tiny_data(), tiny_ptr())
    for module in (gas, model):
        move_histories(module, 'disk', dtype='int8')
        assert [(h.tier, h.dtype) for h in module.histories] == [('disk', torch.int8)]
        assert histories_of(module) == list(module.histories)


def hetero_data() -> HeteroData:
    generator = torch.Generator().manual_seed(0)
    data = HeteroData()
    sizes = {'a': 12, 'b': 10}
    for name, size in sizes.items():
        data[name].x = torch.randn(size, 4, generator=generator)
    for source, target in (('a', 'b'), ('b', 'a'), ('a', 'a')):
        ends = [torch.randint(sizes[each], (30,), generator=generator) for each in (source, target)]
        data[source, 'to', target].edge_index = torch.stack(ends)
    return data


class Hetero(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        edges = hetero_data().edge_types
        self.convs = torch.nn.ModuleList(
            HeteroConv({edge: SAGEConv(4, 4) for edge in edges}) for _ in range(3)
        )

    def forward(self, x_dict, edge_index_dict):
        for conv in self.convs:
            x_dict = {k: v.tanh() for k, v in conv(x_dict, edge_index_dict).items()}
        return x_dict


@pytest.mark.parametrize('dtype', ['float32', 'int8'])
def test_several_node_types_are_refreshed_exactly_with_tables_that_round(tmp_path, dtype):
    data = hetero_data()
    expected = Hetero()(data.x_dict, data.edge_index_dict)
    gas = autoscale(
        Hetero(), data, 3, dtype=dtype, tier='disk', folder=tmp_path, verify=False
    )  # fmt: skip
    gas.eval()
    for out in (gas.refresh(), gas.inference()):
        for name, rows in expected.items():
            torch.testing.assert_close(out[name], rows)
    assert {history.dtype for history in gas.histories} == {DTYPES[dtype]}
    assert all(history.emb.any() and history.graph for history in gas.histories)


# Tables of an exact inference ####################################################


@pytest.mark.parametrize('tier', TIERS)
@pytest.mark.parametrize('dtype', [None, 'int8'])
def test_tables_of_an_inference_lie_beside_histories_on_disk(tmp_path, monkeypatch, tier, dtype):
    model = tiny_model(num_layers=3).eval()
    move_histories(model, tier, tmp_path, dtype=dtype)
    loader = EvalSubgraphLoader(tiny_data(), tiny_ptr(), log=False)
    on_disk = []

    def zeros(self, shape, dtype, make=Disk.zeros):
        on_disk.append((self.folder, tuple(shape), dtype))
        return make(self, shape, dtype)

    monkeypatch.setattr(Disk, 'zeros', zeros)
    out = model.refresh(loader)
    torch.testing.assert_close(out, tiny_model(num_layers=3).eval()(loader=loader))
    # Without rounding the histories themselves serve; with it, each has an exact twin.
    shapes = [*(2 * [(N, 8)] if dtype else []), (N, 3)] if tier == 'disk' else []
    assert on_disk == [(tmp_path, shape, torch.float32) for shape in shapes]


def test_a_disk_without_room_for_tables_of_an_inference_is_told(small_disk):
    model = tiny_model().eval()
    move_histories(model, 'disk', small_disk)
    with pytest.raises(OSError, match='the folder of tables on disk must take 6,000,000 bytes'):
        new_table((1000, 1500), torch.float32, model.histories[0].store)
