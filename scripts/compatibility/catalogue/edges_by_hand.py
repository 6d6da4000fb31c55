"""Modules that touch the edges, or their weights, themselves."""

from typing import Any

from torch import Tensor
from torch.nn import Linear, Module, ModuleList
from torch_geometric import nn as pyg
from torch_geometric.utils import degree, dropout_edge, scatter, softmax

from ..graphs import EDGE_CHANNELS as E
from ..recipe import IN, Options
from .convs import Convs, of


class LearnedWeights(Convs):
    """Edge weights learned from edge features, the same in every layer."""

    def __init__(self, depth: int, kind: Any, **kwargs: Any) -> None:
        super().__init__(depth, kind, **kwargs)
        self.gate = Linear(E, 1)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        weight = self.gate(edge_attr).sigmoid().view(-1)
        for conv in self.convs:
            x = conv(x, edge_index, weight).tanh()
        return self.lin(x)


class WeightsOfNodes(Convs):
    """Each layer weighs edges by the embeddings of both ends."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        row, col = edge_index
        for conv in self.convs:
            weight = (x[row] * x[col]).sum(dim=-1).sigmoid()
            x = conv(x, edge_index, weight).tanh()
        return self.lin(x)


class AttentionBetween(Convs):
    """Attention by hand, over the edges into each node, weighs the next operator's edges."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        row, col = edge_index
        for conv in self.convs:
            weight = softmax((x[row] * x[col]).sum(dim=-1), col, num_nodes=x.size(0))
            x = conv(x, edge_index, weight).tanh()
        return self.lin(x)


class DroppedEdges(Convs):
    """DropEdge in training, everything in ``eval``."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            kept, _ = dropout_edge(edge_index, 0.3, training=self.training and self.drops())
            x = conv(x, kept).tanh()
        return self.lin(x)

    def drops(self) -> bool:
        return False  # the oracle runs without dropout


class FilteredEdges(Convs):
    """Each layer reads the edges of one type alone."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(x, edge_index[:, edge_type == i % 3]).tanh()
        return self.lin(x)


class AdjacencyProduct(Module):
    """No operator at all: products with the adjacency."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.lins = ModuleList([Linear(IN, IN) for _ in range(depth)])

    def forward(self, x: Tensor, adj_t: Tensor) -> Tensor:
        for lin in self.lins:
            x = (adj_t @ lin(x)).tanh()
        return x


class ScatteredByHand(Module):
    """No operator at all: gathers and scatters."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.lins = ModuleList([Linear(IN, IN) for _ in range(depth)])

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        row, col = edge_index
        for lin in self.lins:
            x = scatter(lin(x)[row], col, dim=0, dim_size=x.size(0), reduce='mean').tanh()
        return x


class ScatteredBetween(Convs):
    """A scatter by hand between two operators."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        row, col = edge_index
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
            x = x + scatter(x[row], col, dim=0, dim_size=x.size(0), reduce='mean')
        return self.lin(x)


class InDegreeFeature(Convs):
    """In-degrees as a feature: a batch has all edges into its nodes, not into its halo."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = x + degree(edge_index[1], x.size(0), x.dtype).view(-1, 1) / 10
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(x)


class Reversed(Convs):
    """Every second layer follows the edges backwards."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = conv(x, edge_index.flip(0) if i % 2 else edge_index).tanh()
        return self.lin(x)


def edges_by_hand() -> dict[str, Options]:
    """Options of each module."""
    return {
        'Edge weights learned from edge features': {
            'GraphConv': of(LearnedWeights, pyg.GraphConv),
            'GCN, normalize=False': of(LearnedWeights, pyg.GCNConv, normalize=False),
            'GCN': of(LearnedWeights, pyg.GCNConv),
        },
        'Edge weights computed from both ends': {
            'GraphConv': of(WeightsOfNodes, pyg.GraphConv),
            'softmax over incoming edges': of(AttentionBetween, pyg.GraphConv),
        },
        'Edge dropout': {'SAGE': of(DroppedEdges)},
        'One type of edges per layer': {
            'SAGE': of(FilteredEdges),
            'GCN': of(FilteredEdges, pyg.GCNConv),
        },
        'Edges turned around': {'SAGE': of(Reversed)},
        'In-degrees as a feature': {'SAGE': of(InDegreeFeature)},
        'adj_t @ x by hand': {'linear layers': of(AdjacencyProduct)},
        'scatter by hand': {
            'alone': of(ScatteredByHand),
            'between operators': of(ScatteredBetween),
        },
    }
