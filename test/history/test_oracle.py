"""The four-part oracle on every medium and in every type.

Types that keep rows as they are pass it as it stands. For the others "plain definition" means that
halo rows are rounded as a table rounds them, and everything else still agrees to the last digits;
how far that is from full batch is printed (``pytest -s``) and bounded.
"""

import pytest
import torch
from torch import Tensor

from test.oracle import (
    NODES,
    PTR,
    assert_close,
    check_batch_statistics,
    check_gradients,
    check_not_vacuous,
    check_one_batch_is_full_batch,
    check_oracle,
    error,
    nasty_graph,
    plain,
    scramble,
    sweep,
    sweep_loader,
    tables,
)
from torch_geometric_autoscale import History, models
from torch_geometric_autoscale.history import TIERS, move_histories

from .kinds import ROUNDING

WIDTH = 8
NARROW = ('bfloat16', 'float16', 'int8')
AMPLIFIED = 8  # times, at most, that these models' outputs are off by what a table rounds


def model_with(tier: str, dtype: str, folder, batch_norm: bool = False, **kwargs) -> models.GCN:
    torch.manual_seed(0)
    model = models.GCN(NODES, 4, WIDTH, 3, 3, dropout=0.0, batch_norm=batch_norm).double()
    move_histories(model, tier, folder, dtype=dtype, **kwargs)
    return model


def rounded(rows: Tensor, dtype: str) -> Tensor:
    """Rows as a table gives them back."""
    history = History(*rows.shape, dtype=dtype)
    history.push(rows)
    return history.pull(out=torch.empty_like(rows))


@pytest.mark.parametrize('cache', [None, '2kB'])
@pytest.mark.parametrize('tier', TIERS)
def test_tables_that_keep_rows_as_they_are_are_exact(tmp_path, tier, cache):
    model = model_with(tier, 'auto', tmp_path, cache=cache)
    check_oracle(model, nasty_graph(), sweep_loader(nasty_graph()))
    assert [history.dtype for history in model.histories] == [torch.float64] * 2
    if cache:
        assert all(history.cache_hit_rate > 0.1 for history in model.histories)


@pytest.mark.parametrize('tier', TIERS)
def test_tables_of_float32_are_exact_for_models_of_float32(tmp_path, tier):
    model, data = model_with(tier, 'float32', tmp_path).float(), nasty_graph(torch.float32)
    check_oracle(model, data, sweep_loader(data))
    assert [history.dtype for history in model.histories] == [torch.float32] * 2


@pytest.fixture(params=NARROW)
def dtype(request) -> str:
    return request.param


@pytest.fixture(params=[(tier, None) for tier in TIERS] + [('disk', '2kB')], ids=str)
def model(request, dtype, tmp_path) -> models.GCN:
    tier, cache = request.param
    return model_with(tier, dtype, tmp_path, cache=cache)


def test_narrow_tables_forward(model, dtype):
    """Part 1: after frozen sweeps, the plain definition with rounded halo rows."""
    data, loader = nasty_graph(), sweep_loader(nasty_graph())
    model.eval()
    with torch.no_grad():
        scramble(model)
        for _ in model.histories:
            sweep(model, loader)
        found = sweep(model, loader)
        fixed: list[Tensor] = []  # what the tables come to hold, boundary by boundary
        for _ in model.histories:
            fixed.append(rounded(in_batches(model, data, fixed)[1], dtype))
        for table, expected in zip(tables(model), fixed, strict=True):
            assert torch.equal(table.double(), expected)
        assert_close(found, in_batches(model, data, fixed)[0])
        off = error(found, plain(model, data))
    print(f'{dtype}: {off / ROUNDING[dtype]:.2f} x the rounding of a table')
    assert 0.01 * ROUNDING[dtype] < off < AMPLIFIED * ROUNDING[dtype]


def in_batches(model: models.GCN, data, halo: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Every batch by the plain definition: its outputs, and its rows at boundary ``len(halo)``.

    Args:
        halo: What rows of other batches are at the boundaries before.
    """
    out, rows = torch.empty(NODES, 3).double(), torch.empty(NODES, WIDTH).double()
    for first, stop in zip(PTR[:-1].tolist(), PTR[1:].tolist(), strict=True):
        ids = torch.arange(first, stop)

        def answer(i: int, x: Tensor, ids: Tensor = ids) -> Tensor:
            if i == len(halo):
                rows[ids] = x[ids]
            return x if i >= len(halo) else halo[i].index_copy(0, ids, x[ids])

        out[ids] = plain(model, data, answer)[ids]
    return out, rows


def test_narrow_tables_are_not_vacuous(model):
    """Part 2."""
    check_not_vacuous(model, nasty_graph(), sweep_loader(nasty_graph()))


def test_narrow_tables_gradients(model):
    """Part 3, with the pulled rows as constants."""
    check_gradients(model, nasty_graph(), sweep_loader(nasty_graph()))
    whole = sweep_loader(nasty_graph(), torch.tensor([0, NODES]))
    check_one_batch_is_full_batch(model, nasty_graph(), whole)


def test_narrow_tables_batch_statistics(tmp_path, dtype):
    """Part 4."""
    model = model_with('disk', dtype, tmp_path, batch_norm=True)
    check_batch_statistics(model, nasty_graph(), sweep_loader(nasty_graph()))


def test_exact_outputs_do_not_come_from_tables_that_round(model, dtype):
    data, loader, exact = nasty_graph(), sweep_loader(nasty_graph()), []
    model.eval()
    with torch.no_grad():
        expected = plain(model, data, lambda _, x: exact.append(x.clone()) or x)
        scramble(model)
        before = tables(model)
        assert_close(model(loader=loader), expected, 'layer-wise outputs')
        assert all(map(torch.equal, before, tables(model)))
        assert_close(model.refresh(loader), expected, 'refreshed outputs')
    for table, rows in zip(tables(model), exact, strict=True):
        found = (table.double() - rounded(rows, dtype)).abs()
        # The last digits of a row may decide which way it is rounded.
        assert float((found > 1e-9).double().mean()) < 0.01
