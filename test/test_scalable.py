"""Every spelling of a call, what it writes, and what it refuses."""

import copy
import io
import math
from collections import namedtuple
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import BatchNorm1d, ModuleList
from torch.utils.checkpoint import checkpoint
from torch_geometric import EdgeIndex
from torch_geometric.nn import GCNConv, GraphConv, SAGEConv
from torch_geometric.nn.norm import GraphNorm, LayerNorm

from test.oracle import (
    NODES,
    PTR,
    assert_close,
    check_forward,
    check_gradients,
    check_oracle,
    error,
    nasty_graph,
    plain,
    scramble,
    sweep_loader,
    tables,
    with_edges,
)
from torch_geometric_autoscale import ScalableGNN, SubgraphLoader

DATA = nasty_graph()


class Base(ScalableGNN):
    """Three layers of widths 4, 6, 5 and 3."""

    def __init__(self, conv: Any = GCNConv) -> None:
        super().__init__(NODES, [6, 5], 3)
        torch.manual_seed(5)
        self.convs = ModuleList([conv(4, 6), conv(6, 5), conv(5, 3)])
        self.double()

    def layers(self, x: Tensor, adj_t: Any, *batch: Any) -> Tensor:
        for conv, history in zip(self.convs, self.histories, strict=False):
            x = self.push_and_pull(history, conv(x, adj_t).tanh(), *batch)
        return self.convs[-1](x, adj_t)


class Four(Base):
    def forward(self, x, adj_t, batch_size, n_id):
        return self.layers(x, adj_t, batch_size, n_id)


class Six(Base):
    def forward(self, x, adj_t, batch_size, n_id, offset, count):
        return self.layers(x, adj_t, batch_size, n_id, offset, count)


class Defaults(Base):
    def forward(self, x, adj_t, batch_size=None, n_id=None, offset=None, count=None):
        return self.layers(x, adj_t, batch_size, n_id, offset, count)


class Star(Base):
    def forward(self, x, adj_t, *args):
        return self.layers(x, adj_t, *args)


class DoubleStar(Base):
    def forward(self, x, adj_t, **kwargs):
        kwargs = {k: kwargs.get(k) for k in ('batch_size', 'n_id', 'offset', 'count')}
        return self.layers(x, adj_t, *kwargs.values())


class Anything(Base):
    def forward(self, *args, **kwargs):
        x, adj_t, *batch = args
        return self.layers(x, adj_t, *(batch or kwargs.values()))


class KeywordOnly(Base):
    def forward(self, x, adj_t, *, batch_size=None, n_id=None):
        return self.layers(x, adj_t, batch_size, n_id)


class OwnNames(Base):
    def forward(self, h, A, B, ids):
        return self.layers(h, A, B, ids)


class Swapped(Base):
    def forward(self, x, adj_t, n_id, batch_size):
        return self.layers(x, adj_t, batch_size, n_id)


class TwoOnly(Base):
    """Leaves the batch to the call."""

    def forward(self, x, adj_t):
        return self.layers(x, adj_t)


class WithOptions(Base):
    """Has parameters that the batch cannot fill, and must keep their defaults."""

    def forward(self, x, adj_t, batch_size, n_id, scale=2.0, shift=None, *, power=1):
        assert scale == 2.0
        assert shift is None
        assert power == 1
        return self.layers(x, adj_t, batch_size, n_id)


class Extras(Base):
    def forward(self, x, adj_t, batch_size, n_id):
        out = self.layers(x, adj_t, batch_size, n_id)
        return out, out.square().mean()


FORWARDS = [
    Four, Six, Defaults, Star, DoubleStar, Anything, KeywordOnly, OwnNames, Swapped, TwoOnly,
    WithOptions,
]  # fmt: skip


def loader(**kwargs: Any) -> SubgraphLoader:
    return sweep_loader(DATA, **kwargs)


def reference(x: Tensor = DATA.x, edge_index: Tensor = DATA.edge_index) -> Tensor:
    with torch.no_grad():
        convs = Four().convs
        for conv in convs[:-1]:
            x = conv(x, edge_index).tanh()
        return convs[-1](x, edge_index)


@pytest.fixture(params=FORWARDS, ids=lambda kind: kind.__name__)
def model(request: pytest.FixtureRequest) -> Base:
    return request.param()


# Spellings #######################################################################


def test_every_forward_answers_a_batch_from_histories(model: Base) -> None:
    expected, model = reference(), model.eval()
    for _ in range(3):
        for batch in loader():
            out = model(batch)
            assert out.shape == (batch.batch_size, 3)
            ids = batch.n_id[: batch.batch_size]
    assert_close(out, expected[ids])
    model.histories[1].reset()
    assert error(model(batch).detach(), expected[ids]) > 1e-2


def test_every_forward_answers_a_whole_graph(model: Base) -> None:
    before = tables(model)
    ones = torch.ones(DATA.num_edges, dtype=torch.float64)
    adj_t = torch.sparse_coo_tensor(DATA.edge_index.flip(0), ones, (NODES, NODES))
    assert model(DATA.x, adj_t.coalesce().to_sparse_csr()).shape == (NODES, 3)
    assert_close(model(DATA.x, DATA.edge_index), reference())
    by_class = EdgeIndex(DATA.edge_index, sparse_size=(NODES, NODES))
    assert_close(model(DATA.x, by_class), reference())
    other = nasty_graph(seed=9)
    assert_close(
        model(other.x[:7], other.edge_index % 7), reference(other.x[:7], other.edge_index % 7)
    )
    assert all(map(torch.equal, before, tables(model)))


def test_every_forward_serves_inference(model: Base) -> None:
    scramble(model)
    before = tables(model)
    assert_close(model(loader=loader(batch_size=2)), reference())
    assert all(map(torch.equal, before, tables(model)))
    assert_close(model.refresh(loader()), reference())


@pytest.mark.parametrize('form', [Four, Six, Defaults, Star, KeywordOnly, TwoOnly])
@pytest.mark.parametrize('given', [4, 5, 6])
def test_a_batch_is_given_by_four_to_six_positions(form: type[Base], given: int) -> None:
    model = form().eval()
    model.refresh(loader())
    for batch, batch_size, n_id, offset, count in loader():
        args = (batch.x, batch.adj_t, batch_size, n_id, offset, count)
        if given == 5:
            with pytest.raises(ValueError, match="'offset' and 'count' belong together"):
                model(*args[:5])
        else:
            assert_close(model(*args[:given]), reference()[n_id[:batch_size]])


@pytest.mark.parametrize('form', [Four, Six, Defaults, DoubleStar, KeywordOnly, TwoOnly])
def test_a_batch_is_given_by_name(form: type[Base]) -> None:
    model = form().eval()
    model.refresh(loader())
    for batch, batch_size, n_id, offset, count in loader():
        expected = reference()[n_id[:batch_size]]
        out = model(x=batch.x, adj_t=batch.adj_t, batch_size=batch_size, n_id=n_id)
        assert_close(out, expected)
        out = model(batch.x, batch.adj_t, n_id=n_id, batch_size=batch_size, count=count,
                    offset=offset)  # fmt: skip
        assert_close(out, expected)


def test_keywords_beside_a_batch_win() -> None:
    model = Four().eval()
    model.refresh(loader())
    batch = next(iter(loader()))
    assert not torch.equal(model(batch, x=batch.x + 1), model(batch))


def test_a_row_of_batch_attributes_is_passed_by_name() -> None:
    class Labels(Base):
        def forward(self, x, adj_t, batch_size, n_id, y=None):
            assert y.numel() == n_id.numel()
            return self.layers(x, adj_t, batch_size, n_id)

    Labels()(next(iter(loader())))


def test_weights_that_adj_t_holds_are_passed_by_name() -> None:
    """A forward with ``edge_weight`` gets the weights whichever attribute they came in."""

    class Weighted(Base):
        def forward(self, x, edge_index, batch_size, n_id, edge_weight=None):
            x = self.convs[0](x, edge_index, edge_weight)
            x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
            x = self.push_and_pull(
                self.histories[1], self.convs[1](x, edge_index, edge_weight), batch_size, n_id
            )
            return self.convs[2](x, edge_index, edge_weight)

    data = with_edges(DATA, weight=True)
    model = Weighted(GraphConv).eval()
    expected = plain(model, data).detach()
    by_matrix = copy.copy(data)
    by_matrix.adj_t = torch.sparse_coo_tensor(
        data.edge_index.flip(0), data.edge_weight, (NODES, NODES)
    )
    del by_matrix.edge_index, by_matrix.edge_weight
    assert_close(model(loader=sweep_loader(by_matrix)), expected)
    assert_close(model(loader=sweep_loader(data)), expected)


def test_first_of_several_outputs_is_cut_to_batch_rows() -> None:
    Pair = namedtuple('Pair', ['out', 'penalty'])

    class Named(Base):
        def forward(self, x, adj_t, batch_size, n_id):
            out = self.layers(x, adj_t, batch_size, n_id)
            return Pair(out, out.mean())

    square = loader(bipartite=False)
    for kind in (Extras, Named):
        model = kind()
        batch = next(iter(square))
        out, penalty = model(batch)
        assert out.shape == (batch.batch_size, 3)
        assert penalty.dim() == 0
        assert_close(model(loader=square), reference())
    assert model(batch).penalty.dim() == 0


def test_positional_arguments_reach_hooks_by_position() -> None:
    model, seen = Four(), []
    model.register_forward_pre_hook(lambda _, args: seen.append(('before', len(args))))
    model.register_forward_hook(lambda _, args, out: seen.append(('after', len(args), out.shape)))
    for conv in model.convs:
        conv.register_forward_hook(lambda *_: seen.append('conv'))
    batch = next(iter(loader()))
    model(batch.x, batch.adj_t, batch.batch_size, batch.n_id)
    assert seen == [('before', 4), 'conv', 'conv', 'conv', ('after', 4, (batch.batch_size, 3))]
    seen.clear()
    model(DATA.x, DATA.edge_index)
    assert [entry for entry in seen if entry == 'conv'] == ['conv'] * 3
    assert seen[-1][2] == (NODES, 3)


def test_a_hook_on_a_conv_may_change_its_output() -> None:
    model = Four().eval()
    handle = model.convs[0].register_forward_hook(lambda _, __, out: out + 1)
    changed = model.refresh(loader())
    assert_close(changed, plain(model, DATA).detach())
    handle.remove()
    assert error(changed, reference()) > 1e-2


def test_global_module_hooks_see_every_operator() -> None:
    model, seen = Four(), []
    batches = list(loader())
    model(batches[0])  # the first call is watched anyway
    hook = torch.nn.modules.module.register_module_forward_hook
    handle = hook(lambda module, *_: seen.append(type(module).__name__))
    try:
        model(batches[1])
    finally:
        handle.remove()
    assert seen.count('GCNConv') == 3


# Construction and state ##########################################################


@pytest.mark.parametrize(('widths', 'expected'), [(7, [7, 7]), ([6, 5], [6, 5]), ((1, 9), [1, 9])])
def test_one_history_for_each_boundary(widths: Any, expected: list[int]) -> None:
    model = ScalableGNN(NODES, widths, 3, pool_size=2, buffer_size=1000, device='cpu')
    assert [history.embedding_dim for history in model.histories] == expected
    assert (model.pool_size, model.buffer_size) == (2, 1000)


def test_one_layer_needs_no_history() -> None:
    assert len(ScalableGNN(NODES, 8, 1).histories) == 0


def test_copies_and_saved_states_keep_histories() -> None:
    model = Four()
    model.refresh(loader())
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    loaded = Four()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    pickled = io.BytesIO()
    torch.save(model, pickled)
    pickled.seek(0)
    whole = torch.load(pickled, weights_only=False)
    for twin in (copy.deepcopy(model), loaded, whole):
        assert all(map(torch.equal, tables(twin), tables(model)))
        twin.histories[0].reset()
        assert not torch.equal(tables(twin)[0], tables(model)[0])
        batch = next(iter(loader()))
        assert twin(batch).shape == (batch.batch_size, 3)


def test_a_copy_may_be_made_after_training() -> None:
    model = Four()
    for batch in loader():
        model(batch).sum().backward()
    twin = copy.deepcopy(model).eval()
    assert_close(twin.refresh(loader()), reference())


def test_reset_parameters_empties_histories() -> None:
    model = Four()
    model.refresh(loader())
    model.reset_parameters()
    assert not any(table.any() for table in tables(model))


# Writes follow the call ##########################################################


@pytest.mark.parametrize('training', [True, False])
def test_a_batch_call_writes_its_batch_rows_only(training: bool) -> None:
    model = Four().train(training)
    scramble(model)
    before = tables(model)
    batch = next(iter(loader()))
    with torch.no_grad():
        model(batch)
    ids = batch.n_id[: batch.batch_size]
    others = torch.ones(NODES, dtype=torch.bool).index_fill(0, ids, False)
    for old, new in zip(before, tables(model), strict=True):
        assert (old[ids] != new[ids]).any(dim=1).all()
        assert torch.equal(old[others], new[others])


@pytest.mark.parametrize('training', [True, False])
def test_refresh_and_inference_leave_modes_gradients_and_randomness(training: bool) -> None:
    model = Four().train(training)
    model.convs[1].eval()
    model.convs[0].lin.weight.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    for out in (model(loader=loader()), model.refresh(loader())):
        assert not out.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert [p.requires_grad for p in model.parameters()].count(False) == 1
    assert torch.is_grad_enabled()


def test_modes_come_back_when_inference_fails() -> None:
    class Breaks(Base):
        def forward(self, x, adj_t, batch_size, n_id):
            if n_id[0] >= PTR[2]:
                raise RuntimeError('broken')
            return self.layers(x, adj_t, batch_size, n_id)

    model = Breaks()
    model.convs[1].eval()
    modes = [module.training for module in model.modules()]
    for call in (lambda: model(loader=loader()), lambda: model.refresh(loader())):
        with pytest.raises(RuntimeError, match='broken'):
            call()
        assert [module.training for module in model.modules()] == modes
        assert not any('_call_impl' in vars(module) for module in model.modules())
    assert model(next(iter(loader()))).shape == (6, 3)


def test_a_shuffled_loader_returns_rows_in_the_order_of_the_data() -> None:
    torch.manual_seed(0)
    shuffled = SubgraphLoader(DATA, PTR, batch_size=3, shuffle=True, log=False)
    assert_close(Four()(loader=shuffled), reference())


def test_another_graph_is_inferred_without_touching_histories() -> None:
    model = Four()
    model.refresh(loader())
    before = tables(model)
    other = nasty_graph(seed=4).subgraph(torch.arange(13))
    out = model(loader=sweep_loader(other, torch.tensor([0, 5, 13])))
    assert_close(out, reference(other.x, other.edge_index))
    assert all(map(torch.equal, before, tables(model)))


def test_another_partition_of_the_same_graph_shares_histories() -> None:
    model = Four().eval()
    model.refresh(loader())
    for batch in sweep_loader(DATA, torch.tensor([0, 1, 9, 20])):
        assert_close(model(batch), reference()[batch.n_id[: batch.batch_size]])


# Gradients #######################################################################


class InPlace(Base):
    """Writes into what a boundary gave: halo rows carry gradients of ``scale`` then."""

    def __init__(self) -> None:
        super().__init__(SAGEConv)
        self.scale = torch.nn.Parameter(torch.linspace(0.5, 1.5, 6).double())

    def forward(self, x, adj_t, batch_size, n_id):
        x = self.push_and_pull(self.histories[0], self.convs[0](x, adj_t), batch_size, n_id)
        x *= self.scale
        x = self.push_and_pull(self.histories[1], self.convs[1](x, adj_t), batch_size, n_id)
        return self.convs[2](x, adj_t)


def test_writing_into_pulled_rows_keeps_gradients_right() -> None:
    for bipartite in (True, False):
        check_gradients(InPlace(), DATA, loader(bipartite=bipartite))


def test_gradients_reach_inputs_of_halo_nodes() -> None:
    model = Four()
    scramble(model)
    batch = next(iter(loader()))
    before, ids = tables(model), batch.n_id[: batch.batch_size]
    x = batch.x.clone().requires_grad_()
    model(x, batch.adj_t, batch.batch_size, batch.n_id).sum().backward()
    whole = copy.copy(DATA)
    whole.x = DATA.x.clone().requires_grad_()
    out = plain(model, whole, lambda i, h: before[i].double().index_copy(0, ids, h[ids]))
    out[ids].sum().backward()
    assert_close(x.grad, whole.x.grad[batch.n_id])
    assert x.grad[batch.batch_size :].any()


def test_features_changed_in_place_are_not_answered_from_the_kept_product() -> None:
    model = Four().eval()
    model.refresh(loader())
    batch = next(iter(loader()))
    model(batch)  # fills the product A @ x
    batch.x += 1
    data = copy.copy(DATA)
    data.x = DATA.x.clone()
    data.x[batch.n_id] += 1
    convs, ids = model.convs, batch.n_id[: batch.batch_size]
    model(batch)
    first = convs[0](data.x, data.edge_index).tanh()
    assert_close(tables(model)[0][ids], first[ids].detach())


class Checkpointed(Base):
    """Computes its first layer, boundary included, a second time in the backward."""

    again = True

    def forward(self, x, adj_t, batch_size, n_id):
        def first(x: Tensor) -> Tensor:
            x = self.convs[0](x, adj_t).tanh()
            return self.push_and_pull(self.histories[0], x, batch_size, n_id)

        x = checkpoint(first, x, use_reentrant=False) if self.again else first(x)
        x = self.push_and_pull(self.histories[1], self.convs[1](x, adj_t), batch_size, n_id)
        return self.convs[2](x, adj_t)


def test_activation_checkpoints_keep_gradients() -> None:
    gradients = []
    for again in (True, False):
        model = Checkpointed()
        model.again = again
        scramble(model)
        for batch in loader():
            model(batch).square().sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected)


def test_a_model_may_hold_another() -> None:
    class Outer(ScalableGNN):
        def __init__(self) -> None:
            super().__init__(NODES, [], 1)
            self.inner = Four()

        def forward(self, x, adj_t, batch_size, n_id):
            return self.inner(x, adj_t, batch_size, n_id)

    model = Outer().eval()
    for _ in range(3):
        for batch in loader():
            out = model(batch).detach()
    assert_close(out, reference()[batch.n_id[: batch.batch_size]])
    assert_close(model(loader=loader()), reference())


# Norms ###########################################################################


class Normed(Base):
    def __init__(self, before: bool, make: Any = BatchNorm1d) -> None:
        super().__init__()
        self.before = before
        self.norms = ModuleList([make(6), make(5)]).double()

    def forward(self, x, adj_t, batch_size, n_id):
        for conv, norm, history in zip(self.convs, self.norms, self.histories, strict=False):
            x = conv(x, adj_t)
            x = norm(x) if self.before else x
            x = self.push_and_pull(history, x, batch_size, n_id)
            x = (x if self.before else norm(x)).tanh()
        return self.convs[-1](x, adj_t)


@pytest.mark.parametrize('before', [True, False])
@pytest.mark.parametrize('bipartite', [True, False])
def test_batch_norm_takes_statistics_from_batch_rows(before: bool, bipartite: bool) -> None:
    check_oracle(Normed(before), DATA, loader(bipartite=bipartite), statistics=True)


@pytest.mark.parametrize('make', [torch.nn.LayerNorm, lambda c: LayerNorm(c, mode='node')])
def test_row_wise_norms_are_exact(make: Any) -> None:
    check_oracle(Normed(False, make), DATA, loader())


@pytest.mark.parametrize(
    ('make', 'name'),
    [
        (LayerNorm, 'LayerNorm'),
        (GraphNorm, 'GraphNorm'),
        (lambda c: BatchNorm1d(c, track_running_stats=False), 'track_running_stats=False'),
    ],
)
def test_norms_over_the_whole_graph_are_refused_by_name(make: Any, name: str) -> None:
    model = Normed(True, make)
    before = tables(model)
    with pytest.raises(ValueError, match=f'Normed: .*{name}.* at .norms.0.'):
        model(next(iter(loader())))
    with pytest.raises(ValueError, match=name):
        model.refresh(loader())
    assert all(map(torch.equal, before, tables(model)))


# Refusals ########################################################################


def first_batch(**kwargs: Any) -> Any:
    return next(iter(loader(**kwargs)))


def arguments(batch: Any, **changes: Any) -> dict[str, Any]:
    given = {'x': batch.x, 'adj_t': batch.adj_t, 'batch_size': batch.batch_size, 'n_id': batch.n_id}
    return {**given, **changes}


BATCH = first_batch()
SQUARE = first_batch(bipartite=False)
SECOND = list(loader())[1]
BAD_CALLS = {
    'features of the batch nodes only': (
        arguments(BATCH, x=BATCH.x[:6]), "Six: 'x' must have one row for each of the"),
    'features of the whole graph': (
        arguments(BATCH, x=DATA.x), "'x' must have one row for each of the"),
    'no batch node': (arguments(BATCH, batch_size=0), 'An empty batch cannot be run'),
    'more batch nodes than nodes': (
        arguments(BATCH, batch_size=99), "'batch_size' must count the batch nodes"),
    'another batch size': (
        arguments(SQUARE, batch_size=SQUARE.batch_size - 1), 'must describe the same batch'),
    'nodes of another batch': (
        arguments(BATCH, n_id=BATCH.n_id.flip(0)), 'must describe the same batch'),
    'a float as batch size': (
        arguments(BATCH, batch_size=6.0), "'batch_size' must be an int and 'n_id' a tensor"),
    'no nodes': (arguments(BATCH, n_id=None), "'batch_size' must be an int and 'n_id' a tensor"),
    'nodes alone': (
        arguments(BATCH, batch_size=None), "'batch_size' must be an int and 'n_id' a tensor"),
    'an adjacency alone': (
        arguments(BATCH, batch_size=None, n_id=None), "a batch needs its 'batch_size' and 'n_id'"),
    'chunks of another batch': (
        arguments(BATCH, offset=SECOND.offset, count=SECOND.count),
        "'offset' and 'count' must describe the batch nodes"),
    'offset without count': (
        arguments(BATCH, offset=BATCH.offset), "'offset' and 'count' belong together"),
    'an adjacency of other size': (
        arguments(BATCH, adj_t=torch.eye(5).to_sparse_csr()), "'adj_t' must have 6 or"),
    'an unknown name': (arguments(BATCH, weight=1), 'unknown weight'),
}  # fmt: skip


@pytest.mark.parametrize('case', BAD_CALLS)
def test_bad_calls_are_refused_and_leave_histories(case: str) -> None:
    given, message = BAD_CALLS[case]
    model = Six()
    scramble(model)
    before = tables(model)
    with pytest.raises((ValueError, TypeError), match=message):
        model(**given)
    assert all(map(torch.equal, before, tables(model)))


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((BATCH.x, BATCH.adj_t, 6, BATCH.n_id, None, None, 1), 'takes at most 6 arguments'),
        ((BATCH, BATCH.adj_t), 'a batch comes alone'),
        ((), 'missing'),
    ],
)
def test_arguments_that_do_not_fit_are_counted(args: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f'Six: .*{message}'):
        Six()(*args)


def test_an_argument_given_twice_is_refused() -> None:
    with pytest.raises(TypeError, match='x twice'):
        Six()(BATCH.x, BATCH.adj_t, 6, BATCH.n_id, x=BATCH.x)


def test_a_graph_of_other_size_is_refused() -> None:
    model = Four()
    small = sweep_loader(DATA.subgraph(torch.arange(12)), torch.tensor([0, 12]))
    with pytest.raises(
        ValueError, match=r'the histories hold 20 nodes .got a batch of a graph with 12'
    ):
        model(next(iter(small)))
    with pytest.raises(ValueError, match='refresh: the histories hold 20 nodes'):
        model.refresh(small)


def test_a_different_graph_of_the_same_size_is_refused() -> None:
    model = Four()
    model.refresh(loader())
    before = tables(model)
    other = sweep_loader(nasty_graph(seed=3))
    for call in (lambda: model(next(iter(other))), lambda: model.refresh(other)):
        with pytest.raises(ValueError, match=r'must come from the graph .* histories were filled'):
            call()
    assert all(map(torch.equal, before, tables(model)))
    model.reset_parameters()
    assert model.refresh(other).shape == (NODES, 3)


def test_one_history_for_two_boundaries_is_refused() -> None:
    class Reuses(ScalableGNN):
        def __init__(self) -> None:
            super().__init__(NODES, 4, 3)
            self.convs = ModuleList(SAGEConv(4, 4) for _ in range(3)).double()

        def forward(self, x, adj_t, batch_size, n_id):
            for conv in self.convs[:2]:
                x = self.push_and_pull(self.histories[0], conv(x, adj_t), batch_size, n_id)
            return self.convs[2](x, adj_t)

    with pytest.raises(ValueError, match='a history serves one boundary'):
        Reuses()(next(iter(loader())))


def test_histories_may_be_used_in_another_order() -> None:
    class Backwards(ScalableGNN):
        def __init__(self) -> None:
            super().__init__(NODES, 4, 3)
            torch.manual_seed(1)
            self.convs = ModuleList(SAGEConv(4, 4) for _ in range(3)).double()

        def forward(self, x, adj_t, batch_size, n_id):
            for conv, history in zip(self.convs, reversed(self.histories), strict=False):
                x = self.push_and_pull(history, conv(x, adj_t).tanh(), batch_size, n_id)
            return self.convs[2](x, adj_t)

    check_forward(Backwards(), DATA, loader())


def test_a_history_of_other_width_is_refused_before_anything_is_written() -> None:
    class Wrong(Base):
        def forward(self, x, adj_t, batch_size, n_id):
            x = self.convs[0](x, adj_t)
            return self.push_and_pull(self.histories[1], x, batch_size, n_id)

    model = Wrong()
    scramble(model)
    before = tables(model)
    with pytest.raises(ValueError, match=r"'x' must have shape \(6, 5\) \(got \(6, 6\)\)"):
        model(BATCH)
    assert all(map(torch.equal, before, tables(model)))


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'x': torch.zeros(5, 6)}, "'x' must have the 6 batch rows or all"),
        ({'x': torch.zeros(6, 6, 1)}, "'x' must have the 6 batch rows or all"),
        ({'n_id': None}, "'batch_size' and 'n_id' belong together"),
        ({'batch_size': None}, "'batch_size' and 'n_id' belong together"),
        ({'n_id': BATCH.n_id + NODES}, r'must lie in \[0, 20\)'),
        ({'offset': SECOND.offset, 'count': SECOND.count}, 'must describe the batch nodes'),
        ({'n_id': BATCH.n_id.index_fill(0, torch.arange(2), 3)}, 'must not repeat'),
    ],
)
def test_push_and_pull_refuses_what_does_not_fit(given: dict, message: str) -> None:
    model = Four()
    scramble(model)
    before = tables(model)
    all_given = {'x': torch.zeros(6, 6), 'batch_size': 6, 'n_id': BATCH.n_id, **given}
    with pytest.raises(ValueError, match=message):
        model.push_and_pull(model.histories[0], **all_given)
    assert all(map(torch.equal, before, tables(model)))


@pytest.mark.parametrize('rows', ['batch', 'all'])
def test_push_and_pull_joins_computed_and_pulled_rows(rows: str) -> None:
    model = Four()
    scramble(model)
    history, n_id = model.histories[0], BATCH.n_id
    before = history.emb.clone()
    x = torch.full((6 if rows == 'batch' else n_id.numel(), 6), math.pi)
    out = model.push_and_pull(history, x, 6, n_id)
    assert torch.equal(out[:6], x[:6])
    assert torch.equal(out[6:], before[n_id[6:]].to(x.dtype))
    assert torch.equal(history.emb[n_id[:6]].to(x.dtype), x[:6])
    assert torch.equal(history.emb[n_id[6:]], before[n_id[6:]])
    assert model.push_and_pull(history, x) is x


@pytest.mark.parametrize('loader', [[1], 'loader', torch.utils.data.DataLoader([1])])
def test_what_is_no_subgraph_loader_is_refused(loader: Any) -> None:
    for call in (lambda: Four()(loader=loader), lambda: Four().refresh(loader)):
        with pytest.raises(TypeError, match="'loader' must be a SubgraphLoader"):
            call()
    with pytest.raises(TypeError, match="'loader' comes alone"):
        Four()(DATA.x, loader=loader)


@pytest.mark.parametrize('layers', [0, -1, 2.0, '3'])
def test_number_of_layers_must_be_positive(layers: Any) -> None:
    with pytest.raises(ValueError, match="'num_layers' must be a positive number"):
        ScalableGNN(NODES, 8, layers)


@pytest.mark.parametrize('widths', [[], [8], [8, 8, 8]])
def test_widths_must_be_one_for_each_boundary(widths: list[int]) -> None:
    with pytest.raises(
        ValueError, match=r"'hidden_channels' must be one width, or .* 2 boundaries"
    ):
        ScalableGNN(NODES, widths, 3)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Four()
    monkeypatch.setattr(torch.distributed, 'is_available', lambda: True)
    monkeypatch.setattr(torch.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: 1)
    model(BATCH)
    monkeypatch.setattr(torch.distributed, 'get_world_size', lambda: 2)
    calls = [lambda: model(BATCH), lambda: model.refresh(loader()), lambda: ScalableGNN(9, 4, 2)]
    for call in calls:
        with pytest.raises(
            RuntimeError, match=r'histories are kept by one process .got a group of 2'
        ):
            call()
