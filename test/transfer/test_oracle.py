"""The four-part oracle while rows move on a simulated device, late at random."""

import pytest
import torch
from torch_geometric.nn import GAT, GCNConv, SAGEConv, Sequential

from test.conversion.oracle import check, convert, graph, seeded
from test.oracle import (
    NODES,
    check_batch_statistics,
    check_forward,
    check_gradients,
    check_inference,
    check_oracle,
    gradients,
    loss_of,
    nasty_graph,
    scramble,
    sweep_loader,
    tables,
)
from test.test_guard import Growing
from torch_geometric_autoscale import models
from torch_geometric_autoscale.history import DTYPES, TIERS

from ..history.test_oracle import model_with

WAYS = ('host', 'kernel')


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('tier', TIERS)
def test_models_are_exact(pool_of, tmp_path, tier, way):
    model = model_with(tier, 'auto', tmp_path)
    with pool_of(way) as pool:
        check_oracle(model, nasty_graph(), sweep_loader(nasty_graph()))
        assert pool.buffer_size_in_bytes > 0
    assert pool.buffer_size_in_bytes == 0


@pytest.mark.parametrize('way', WAYS)
def test_batch_statistics_are_those_of_batch_rows(pool_of, tmp_path, way):
    model = model_with('pinned', 'auto', tmp_path, batch_norm=True)
    with pool_of(way):
        check_batch_statistics(model, nasty_graph(), sweep_loader(nasty_graph()))


MODELS = {
    'GAT': lambda: models.GAT(NODES, 4, 4, 3, hidden_heads=2, out_heads=1, num_layers=3),
    'GCN2': lambda: models.GCN2(NODES, 4, 8, 3, num_layers=3, alpha=0.1, theta=0.5),
    'APPNP': lambda: models.APPNP(NODES, 4, 8, 3, num_layers=3, alpha=0.1),
    'SAGE': lambda: models.SAGE(NODES, 4, 8, 3, num_layers=3),
}


@pytest.mark.parametrize('name', MODELS)
def test_other_models_are_exact(pool_of, name):
    torch.manual_seed(0)
    model = MODELS[name]().double()
    with pool_of('host', seed=1):
        check_gradients(model, nasty_graph(), sweep_loader(nasty_graph()))
        check_inference(model, nasty_graph(), sweep_loader(nasty_graph()))


def one_epoch(model, data) -> list[torch.Tensor]:
    """Outputs, gradients and tables of two passes over the batches."""
    model.train()
    scramble(model)
    found = []
    for batch in 2 * list(sweep_loader(data)):
        model.zero_grad()
        out = model(batch)
        loss_of(out).backward()
        found += [out.detach(), *gradients(model).values()]
    return found + tables(model)


@pytest.mark.parametrize(
    ('tier', 'dtype', 'cache'),
    [(tier, dtype, None) for tier in TIERS for dtype in DTYPES if tier != 'device']
    + [('ram', 'auto', '2kB'), ('disk', 'int8', '2kB'), ('device', 'auto', None)],
)
def test_no_bit_differs_from_rows_that_move_at_once(pool_of, tmp_path, tier, dtype, cache):
    data = nasty_graph(torch.float32)

    def model() -> models.GCN:
        return model_with(tier, dtype, tmp_path, cache=cache).float()

    expected = one_epoch(model(), data)
    for seed, way in enumerate(WAYS):
        with pool_of(way, seed):
            found = one_epoch(model(), data)
        assert all(map(torch.equal, found, expected))


def two_layers() -> torch.nn.Module:
    return Sequential('x, edge_index', [
        (GCNConv(4, 8), 'x, edge_index -> x'), torch.nn.ReLU(inplace=True),
        (SAGEConv(8, 8), 'x, edge_index -> x'), torch.nn.ReLU(inplace=True),
        (GCNConv(8, 3), 'x, edge_index -> x'),
    ])  # fmt: skip


@pytest.mark.parametrize(('tier', 'way'), [('ram', 'host'), ('pinned', 'kernel'), ('disk', 'host')])
def test_conversions_are_exact(pool_of, tmp_path, tier, way):
    with pool_of(way) as pool:
        check(seeded(two_layers), graph(), tier=tier, folder=tmp_path)
        assert pool.buffer_size_in_bytes > 0


@pytest.mark.parametrize('make', [lambda: GAT(4, 8, 3, 3, heads=2), two_layers])
def test_no_bit_of_a_conversion_differs(pool_of, make):
    def run() -> list[torch.Tensor]:
        gas, found = convert(seeded(make), graph()), []
        gas.train()
        for batch in 2 * list(gas.loader()):
            gas.zero_grad()
            out = gas(batch)
            loss_of(out).backward()
            found += [out.detach(), *gradients(gas).values()]
        return found + [history.pull() for history in gas.histories]

    expected = run()
    with pool_of('host', seed=2) as pool:
        assert all(map(torch.equal, run(), expected))
        assert pool.buffer_size_in_bytes > 0


@pytest.mark.parametrize('way', WAYS)
def test_call_that_starts_over_moves_its_rows_again(pool_of, way):
    """A layer that has not run before makes a model start over under its guard."""
    model, loader = Growing(), sweep_loader(nasty_graph())
    with pool_of(way):
        for layers in ([0, 1], [0, 2], [1, 2]):
            model.layers = layers
            check_forward(model, nasty_graph(), loader)
