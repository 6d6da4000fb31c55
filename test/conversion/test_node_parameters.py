"""Parameters with a row per node of the graph: a batch sees the rows of its nodes."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import LINKX, GCNConv

from torch_geometric_autoscale import autoscale

NODES = 300


@pytest.fixture
def data() -> Data:
    rng = torch.Generator().manual_seed(0)
    return Data(
        x=torch.randn(NODES, 4, generator=rng, dtype=torch.float64),
        edge_index=torch.randint(0, NODES, (2, 1200), generator=rng),
    )


class WholeTable(nn.Module):
    """Uses its embedding table as the features of all nodes."""

    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(NODES, 4)
        self.one, self.two = GCNConv(4, 4), GCNConv(4, 3)

    def forward(self, edge_index):
        return self.two(self.one(self.emb.weight, edge_index).relu(), edge_index)


def test_a_table_used_as_a_whole_is_cut_to_the_batch(data):
    torch.manual_seed(0)
    model = WholeTable().double()
    gas = autoscale(model, data, num_parts=5)
    expected = model(data.edge_index)
    assert torch.allclose(gas.refresh(), expected)
    gas.eval()
    for batch in gas.loader(batch_size=2):
        out = gas(batch)
        assert torch.allclose(out, expected[batch.n_id[: batch.batch_size]])
    assert next(name for name, _ in model.named_parameters()) == 'emb.weight'
    assert 'weight' not in vars(model.emb)


def test_gradients_reach_the_table(data):
    torch.manual_seed(0)
    model = WholeTable().double()
    gas = autoscale(model, data, num_parts=5)
    (batch,) = gas.loader(batch_size=5)
    out = gas(batch)
    order = batch.n_id
    (found,) = torch.autograd.grad(out.square().sum(), [model.emb.weight])
    full = model(data.edge_index)
    (expected,) = torch.autograd.grad(full.square().sum(), [model.emb.weight])
    assert torch.allclose(out, full[order])
    assert torch.allclose(found, expected)


class LookedUp(WholeTable):
    def forward(self, n_id, edge_index):
        return self.two(self.one(self.emb(n_id), edge_index).relu(), edge_index)


def test_a_table_can_be_looked_up_by_n_id(data):
    torch.manual_seed(0)
    model = LookedUp().double().eval()
    gas = autoscale(model, data, num_parts=5)
    assert torch.allclose(gas.inference(), model(torch.arange(NODES), data.edge_index))


def test_linkx_is_exact(data):
    model = LINKX(NODES, 4, 8, 3, num_layers=2).double()
    gas = autoscale(model, data, num_parts=5)
    model.eval()
    expected = model(data.x, data.edge_index)
    assert torch.allclose(gas.inference(), expected)
    for batch in gas.loader():
        assert torch.allclose(gas(batch), expected[batch.n_id[: batch.batch_size]])


def test_a_table_of_another_length_is_refused(data):
    model = WholeTable().double()
    model.emb = nn.Embedding(NODES - 1, 4).double()
    with pytest.raises(ValueError, match=r'must run on a piece|no row per node'):
        autoscale(model, data, num_parts=5)
