"""A training step on a device: nothing meets on the wrong one, and the host waits for nothing.

The device is PyTorch's ``'meta'``, see ``pretend.py``; a sparse matrix, which it does not know, is
stood in for by a dense one. With numbers, the same is checked on a GPU (``test_gpu.py``).
"""

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.nn import GATv2Conv, GCNConv, SAGEConv, Sequential

from test.oracle import NODES, PTR, nasty_graph
from torch_geometric_autoscale import AsyncIOPool, SubgraphLoader, adjacency, autoscale, models
from torch_geometric_autoscale.history import move_histories

from .pretend import DEVICE, Mixed, OnDevice, PretendRuntime, Waits

DATA = nasty_graph(torch.float32)
SIZES = (NODES, 4, 8, 3, 3)
MODELS = {
    'GCN': lambda: models.GCN(*SIZES, dropout=0.5, batch_norm=True, residual=True),
    'GCN-edges': lambda: models.GCN(*SIZES, dropout=0.5, linear=True),
    'SAGE': lambda: models.SAGE(*SIZES, dropout=0.5),
    'GAT': lambda: models.GAT(NODES, 4, 4, 3, hidden_heads=2, out_heads=1, num_layers=3),
    'GCN2': lambda: models.GCN2(*SIZES, alpha=0.1, theta=0.5, drop_input=True, dropout=0.5),
    'APPNP': lambda: models.APPNP(*SIZES, alpha=0.1),
    'GIN': lambda: models.GIN(*SIZES),
}


def dense(crow, col, values, size) -> torch.Tensor:
    return values.new_empty(size)


def step(model, batch) -> None:
    """One step of training."""
    batch = batch.to(DEVICE, non_blocking=True)
    out = model(batch)
    out, *terms = out if isinstance(out, tuple) else (out,)
    sum(terms, F.cross_entropy(out, batch.y[: batch.batch_size])).backward()
    assert out.device == DEVICE
    assert all(p.grad is None or p.grad.device == DEVICE for p in model.parameters())


def check_steps(model, loader) -> None:
    with AsyncIOPool(way='host', runtime=PretendRuntime()), pytest.MonkeyPatch.context() as patch:
        patch.setattr(adjacency, 'csr_matrix', dense)
        patch.setattr(adjacency, 'product', torch.mm)
        for batch in loader:
            with OnDevice():
                step(model, batch)


def on_device(model, loader) -> torch.nn.Module:
    """The model there, after its first call, which is watched and may wait."""
    model.train()
    model(next(iter(loader)))
    return model.to(DEVICE)


@pytest.mark.parametrize('name', MODELS)
def test_a_step_does_not_wait_for_the_device(name):
    loader = SubgraphLoader(DATA, PTR, log=False, batch_size=2, bipartite=name != 'GAT')
    check_steps(on_device(MODELS[name](), loader), loader)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16', 'int8'])
@pytest.mark.parametrize('tier', ['ram', 'pinned', 'disk', 'device'])
def test_wherever_histories_are(tmp_path, tier, dtype):
    loader = SubgraphLoader(DATA, PTR, log=False, batch_size=2)
    model = on_device(MODELS['GCN'](), loader)
    move_histories(model, tier, tmp_path, dtype=dtype)
    assert [h.is_on_device for h in model.histories] == [tier == 'device'] * 2
    check_steps(model, loader)


@pytest.mark.parametrize('tier', ['pinned', 'device'])
def test_a_converted_module(tier):
    module = Sequential('x, edge_index', [
        (GCNConv(4, 8), 'x, edge_index -> x'), torch.nn.ReLU(), torch.nn.BatchNorm1d(8),
        (GATv2Conv(8, 8, add_self_loops=False), 'x, edge_index -> x'), torch.nn.ReLU(),
        (SAGEConv(8, 3), 'x, edge_index -> x'),
    ])  # fmt: skip
    gas = autoscale(module, DATA, partition=torch.arange(NODES) * 7 % 4)
    gas = on_device(gas, gas.loader())
    move_histories(gas, tier, dtype='bfloat16')
    check_steps(gas, gas.loader())


def test_the_transpose_made_on_a_device_is_that_made_on_the_host(monkeypatch):
    found = []
    monkeypatch.setattr(adjacency, 'csr_matrix', lambda *args: found.append(args))
    for square in (False, True):
        for batch in SubgraphLoader(DATA, PTR, log=False, bipartite=not square, direction='both'):
            adj = batch.adj_t
            adj = adj.gcn_norm(False, True, torch.float32)
            for num_sources in (adj.batch_size, adj.size(1)):
                found.clear()
                adj._cache.pop(('transpose', torch.float32, num_sources), None)
                adj._backward_matrix(torch.float32, num_sources)
                _, col = adj._arrays()
                row, value = adj._target().int(), adj.values_as(torch.float32)
                adj._transposed(col, row, value, num_sources)
                (*host, size), (*device, same) = found
                assert all(map(torch.equal, host, device))
                assert [part.dtype for part in host] == [part.dtype for part in device]
                assert size == same


@pytest.mark.parametrize(
    ('wait', 'error'),
    [
        (lambda x, _: x.sum().item(), RuntimeError),
        (lambda x, _: bool((x > 0).any()), RuntimeError),
        (lambda x, _: (x > 0).nonzero(), (RuntimeError, NotImplementedError)),
        (lambda x, _: x[x > 0], (RuntimeError, NotImplementedError)),
        (lambda x, _: x.tolist(), (RuntimeError, NotImplementedError)),
        (lambda x, _: x.cpu(), NotImplementedError),
        (lambda _, rows: rows.to(DEVICE), Waits),
        (lambda x, rows: x.copy_(rows), Waits),
        (lambda x, rows: x + rows, Mixed),
        (lambda x, rows: x.index_select(0, rows.long()), (Mixed, RuntimeError)),
    ],
)
def test_what_would_wait_is_noticed(wait, error):
    with OnDevice(), pytest.raises(error):
        wait(torch.ones(3, device=DEVICE), torch.ones(3))
