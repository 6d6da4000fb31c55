"""Modules that read more of the graph than the edges into a node."""

import torch
from torch import Tensor
from torch.nn import Parameter
from torch_geometric import nn as pyg
from torch_geometric.utils import degree

from ..graphs import NODES
from ..recipe import IN, Options
from .convs import Convs, of


class CountsNodes(Convs):
    """Divides by the number of nodes, which in a batch is another."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(x) * (100 / x.size(0))


class CountsEdges(Convs):
    """Divides by the number of edges."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x * (100 / edge_index.size(1)), edge_index).tanh()
        return self.lin(x)


class VirtualNode(Convs):
    """Every layer adds the mean over all nodes."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).tanh() + x.mean(dim=0, keepdim=True)
        return self.lin(x)


class SortedByValue(Convs):
    """Ranks nodes by a feature, over the whole graph."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
            x = x + x[:, 0].argsort().argsort().view(-1, 1) / 100
        return self.lin(x)


class Pooled(Convs):
    """One output for the whole graph."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(pyg.global_mean_pool(x, None))


class EdgeScores(Convs):
    """One output for each edge."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(x[edge_index[0]] * x[edge_index[1]])


class OwnTable(Convs):
    """A learned embedding for each node, a row a node: a batch does not say which."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth)
        self.table = Parameter(torch.randn(NODES, IN))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = x + self.table[: x.size(0)]
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(x)


class OutDegreeFeature(Convs):
    """Out-degrees as a last feature: a batch does not have the edges out of its nodes."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(x * degree(edge_index[0], x.size(0), x.dtype).view(-1, 1))


def whole_graph() -> dict[str, Options]:
    """Options of each module."""
    return {
        'Out-degrees in the output': {'SAGE': of(OutDegreeFeature)},
        'Number of nodes in the formula': {'SAGE': of(CountsNodes)},
        'Number of edges in the formula': {'SAGE': of(CountsEdges)},
        'Mean over all nodes': {'SAGE': of(VirtualNode)},
        'Ranks over all nodes': {'SAGE': of(SortedByValue)},
        'Pooling over all nodes': {'global mean': of(Pooled)},
        'One output per edge': {'SAGE': of(EdgeScores)},
        'A learned row for each node': {'by position': of(OwnTable)},
    }
