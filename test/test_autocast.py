"""Under autocast, models compute in ``bfloat16``; histories and weights keep their types."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch_geometric.nn import (
    GCN,
    GATConv,
    GCNConv,
    GINConv,
    GraphConv,
    GraphSAGE,
    SAGEConv,
    TAGConv,
)

from test.oracle import PTR, nasty_graph, sweep_loader
from torch_geometric_autoscale import SubgraphLoader, autoscale, models

# Half a unit in the last place is 2^-8; a product and its sum, layer by layer, add up to more.
TOLERANCE = 0.05

DATA = nasty_graph(torch.float32)
DEGREES = torch.bincount(torch.bincount(DATA.edge_index[1], minlength=20))

MODELS = {
    'GCN': lambda: models.GCN(20, 4, 8, 3, 3, dropout=0.3, batch_norm=True, residual=True),
    'SAGE': lambda: models.SAGE(20, 4, 8, 3, 3),
    'GAT': lambda: models.GAT(20, 4, 8, 3, 3),
    'APPNP': lambda: models.APPNP(20, 4, 8, 3, 3),
    'GCN2': lambda: models.GCN2(20, 4, 8, 3, 3, alpha=0.1, theta=0.5),
    'PNA': lambda: models.PNA(
        20, 4, 8, 3, 3, aggregators=['mean', 'max'], scalers=['identity'], deg=DEGREES
    ),
    'GIN': lambda: models.GIN(20, 4, 8, 3, 3),
}


def bf16():
    return torch.autocast('cpu', torch.bfloat16)


def error(out, expected):
    return float((out.detach().float() - expected).abs().max() / expected.abs().max())


def trained(call, parameters, batches):
    """Train one sweep under autocast; the losses."""
    optimizer = torch.optim.Adam(parameters, lr=0.01)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        with bf16():
            out = call(batch)
            out = out[0] if isinstance(out, tuple) else out
            loss = cross_entropy(out, batch.y[: batch.batch_size])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return torch.tensor(losses)


@pytest.mark.parametrize('name', MODELS)
def test_models_train_refresh_and_infer_in_bfloat16(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    losses = trained(model, model.parameters(), SubgraphLoader(DATA, PTR, log=False))
    assert bool(losses.isfinite().all())
    expected = model(loader=sweep_loader(DATA))
    with bf16():
        refreshed = model.refresh(sweep_loader(DATA))
        inferred = model(loader=sweep_loader(DATA))
        model.eval()
        batches = [model(batch) for batch in sweep_loader(DATA)]  # with histories just refreshed
    batches = torch.cat([out[0] if isinstance(out, tuple) else out for out in batches])
    for out in (refreshed, inferred, batches):
        assert 0 < error(out, expected) < TOLERANCE
    assert {history.dtype for history in model.histories} == {torch.float32}
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


class Three(torch.nn.Module):
    def __init__(self, conv):
        super().__init__()
        self.convs = torch.nn.ModuleList([conv(4, 8), conv(8, 8), conv(8, 3)])

    def forward(self, x, edge_index):
        for i, conv in enumerate(self.convs):
            x = conv(x.relu() if i else x, edge_index)
        return x


@pytest.mark.parametrize(
    'conv',
    [GCNConv, SAGEConv, GATConv, GraphConv, TAGConv, lambda a, b: GINConv(torch.nn.Linear(a, b))],
    ids=['GCN', 'SAGE', 'GAT', 'Graph', 'TAG', 'GIN'],
)
def test_converted_modules_train_refresh_and_infer_in_bfloat16(conv):
    torch.manual_seed(0)
    gas = autoscale(Three(conv), DATA, num_parts=4)
    losses = trained(gas, gas.parameters(), gas.loader())
    assert bool(losses.isfinite().all())
    expected = gas.eval().inference()
    with bf16():
        refreshed, inferred = gas.refresh(), gas.inference()
    assert 0 < error(refreshed, expected) < TOLERANCE
    assert 0 < error(inferred, expected) < TOLERANCE
    assert {history.dtype for history in gas.histories} == {torch.float32}


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_products_of_narrow_rows_are_summed_in_full(dtype):
    batch = next(sweep_loader(DATA).sweep())
    x = torch.randn(batch.num_nodes, 5).to(dtype).requires_grad_()
    out = batch.adj_t @ x
    expected = batch.adj_t @ x.detach().float()
    assert out.dtype == dtype
    assert torch.equal(out, expected.to(dtype))  # rounded once, at the end
    out.float().sum().backward()
    assert x.grad.dtype == dtype


@pytest.mark.parametrize('conv', [GCN, GraphSAGE])
def test_modules_and_features_in_half_precision_run_on_batches(conv):
    data, module = nasty_graph(torch.float16), conv(4, 8, 2, 3).half().eval()
    gas = autoscale(module, data, partition=torch.arange(20) // 5)
    expected = module(data.x, data.edge_index).detach().float()
    assert error(gas.refresh().float(), expected) < TOLERANCE
    for batch in gas.loader():
        rows = gas(batch)
        assert rows.dtype == torch.float16
        assert error(rows.float(), expected[batch.n_id[: batch.batch_size]]) < TOLERANCE


def test_narrow_halo_rows_without_gradient_are_left_out_of_the_backward():
    model = models.GCN(20, 4, 8, 3, 3)
    batch = next(sweep_loader(DATA, keep_first_propagation=False).sweep())
    with bf16():
        model(batch).float().sum().backward()
    kept = [key for key in batch.adj_t._cache if isinstance(key, tuple) and key[0] == 'transpose']
    assert ('transpose', torch.float32, batch.batch_size) in kept
