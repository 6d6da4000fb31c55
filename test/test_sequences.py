"""Aggregations over padded sequences: padded as on the whole graph, or refused."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv
from torch_geometric.nn.aggr import PatchTransformerAggregation

from torch_geometric_autoscale import autoscale


def by_target(edges):
    return edges[:, edges[1].argsort(stable=True)]


@pytest.fixture
def data() -> Data:
    rng = torch.Generator().manual_seed(0)
    edge_index = torch.randint(0, 80, (2, 400), generator=rng)
    edge_index[1, :40] = 3  # a hub
    edge_index = by_target(edge_index)
    return Data(
        x=torch.randn(80, 4, generator=rng, dtype=torch.float64),
        edge_index=edge_index,
        edge_type=torch.randint(0, 2, (400,), generator=rng),
    )


class Selected(nn.Module):
    """Two layers on some of the edges."""

    def __init__(self, select, aggr='lstm'):
        super().__init__()
        self.one, self.two = SAGEConv(4, 4, aggr=aggr), SAGEConv(4, 3, aggr=aggr)
        self.select = select

    def forward(self, x, edge_index, edge_type):
        edge_index = self.select(edge_index, edge_type)
        return self.two(self.one(x, edge_index).tanh(), edge_index)


def test_all_edges_are_padded_as_on_the_whole_graph(data):
    torch.manual_seed(0)
    gas = autoscale(Selected(lambda e, _: e).double(), data, num_parts=5).eval()
    expected = gas.module(data.x, data.edge_index, data.edge_type)
    assert torch.allclose(gas.refresh(), expected)
    for batch in gas.loader():
        assert torch.allclose(gas(batch), expected[batch.n_id[: batch.batch_size]])


@pytest.mark.parametrize(
    'select',
    [
        lambda edges, kind: edges[:, kind == 0],
        lambda edges, _: by_target(edges.flip(0)),
        lambda edges, _: by_target(torch.cat([edges, edges], dim=1)),
    ],
    ids=['one kind of edges', 'reversed', 'doubled'],
)
def test_other_edges_are_refused(data, select):
    with pytest.raises(ValueError, match=r"must aggregate the batch's own edges|both ways"):
        autoscale(Selected(select).double(), data, num_parts=5)


def test_sequences_of_several_edge_types_are_refused(data):
    graph = HeteroData()
    graph['a'].x = data.x
    for kind in range(2):
        graph['a', f'{kind}', 'a'].edge_index = data.edge_index[:, data.edge_type == kind]

    class Relations(nn.Module):
        def __init__(self):
            super().__init__()
            convs = {t: SAGEConv(4, 4, aggr='lstm') for t in graph.edge_types}
            self.conv = HeteroConv(convs)

        def forward(self, x_dict, edge_index_dict):
            return self.conv(x_dict, edge_index_dict)['a']

    with pytest.raises(ValueError, match="must aggregate the batch's own edges"):
        autoscale(Relations().double(), graph, num_parts=5)


def test_padding_without_a_mask_is_refused_by_name(data):
    aggr = PatchTransformerAggregation(
        4, 4, patch_size=2, hidden_channels=4, num_transformer_blocks=1
    )
    model = Selected(lambda e, _: e, aggr).double()
    with pytest.raises(ValueError, match='PatchTransformerAggregation'):
        autoscale(model, data, num_parts=5)
