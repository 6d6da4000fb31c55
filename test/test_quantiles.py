"""Medians and quantiles on batches that begin with nodes without edges."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import SimpleConv
from torch_geometric.nn.aggr import QuantileAggregation

from torch_geometric_autoscale import EvalSubgraphLoader


@pytest.mark.parametrize('q', [0.5, [0.2, 0.7]])
def test_a_batch_may_begin_with_a_node_without_edges(q):
    x = torch.tensor([[1.0], [2.0], [4.0], [8.0], [16.0]])
    edge_index = torch.tensor([[1, 2, 3, 3, 4, 2, 0], [0, 0, 0, 4, 4, 4, 4]])
    data = Data(x=x, edge_index=edge_index)
    conv = SimpleConv(aggr=QuantileAggregation(q))
    expected = conv(x, edge_index)  # node 0 has edges: PyG can compute it
    loader = EvalSubgraphLoader(data, torch.tensor([0, 2, 5]), log=False)
    first, second = loader
    assert bool((edge_index[1] != 2).all())  # the second batch begins with a node without edges
    assert torch.allclose(conv(first.x, first.edge_index)[:2], expected[:2])
    out = conv(second.x, second.adj_t)
    assert torch.allclose(out, expected[2:])
