"""Operators that a user wrote: subclasses of ``MessagePassing``."""

from collections.abc import Callable
from typing import Optional

import torch
from torch import Tensor
from torch.nn import GRUCell, Linear, Module
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import OptTensor
from torch_geometric.utils import add_self_loops, degree, softmax, spmm

from ..graphs import EDGE_CHANNELS as E
from ..recipe import IN, Options, layered, level
from ..stacks import ByAdjacency, Featured


class EdgeAttention(MessagePassing):
    """Attention over each node's edges, edge features in score and message, its own update."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(aggr='sum')
        self.lin, self.edge, self.score = Linear(i, o), Linear(E, o), Linear(3 * o, 1)
        self.mix = Linear(2 * o, o)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        return self.propagate(edge_index, x=self.lin(x), edge_attr=self.edge(edge_attr))

    def message(
        self,
        x_i: Tensor,
        x_j: Tensor,
        edge_attr: Tensor,
        index: Tensor,
        ptr: OptTensor,
        size_i: Optional[int],  # noqa: UP045 - PyG reads the annotation
    ) -> Tensor:
        score = self.score(torch.cat([x_i, x_j, edge_attr], -1)).tanh()
        return softmax(score, index, ptr, size_i) * (x_j + edge_attr)

    def update(self, aggregated: Tensor, x: Tensor) -> Tensor:
        return self.mix(torch.cat([aggregated, x], dim=-1))


class TwoSteps(MessagePassing):
    """Propagates twice, with a gate in between."""

    def __init__(self) -> None:
        super().__init__(aggr='mean')
        self.gate = GRUCell(IN, IN)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for _ in range(2):
            x = self.gate(self.propagate(edge_index, x=x), x)
        return x

    def message(self, x_j: Tensor) -> Tensor:
        return x_j.tanh()


class Fused(MessagePassing):
    """Has a sparse path of its own."""

    def __init__(self, i: int, o: int, aggr: str) -> None:
        super().__init__(aggr=aggr)
        self.lin, self.root = Linear(i, o), Linear(i, o)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.lin(self.propagate(edge_index, x=x)) + self.root(x)

    def message(self, x_j: Tensor) -> Tensor:
        return x_j

    def message_and_aggregate(self, adj_t: Tensor, x: Tensor) -> Tensor:
        return spmm(adj_t, x, reduce=self.aggr)


class OwnDegrees(MessagePassing):
    """The GCN of PyG's tutorial: counts degrees in the edges that it is given."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(aggr='add')
        self.lin = Linear(i, o)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        edge_index, _ = add_self_loops(edge_index, num_nodes=x.size(0))
        row, col = edge_index
        scale = degree(col, x.size(0), x.dtype).pow(-0.5)
        return self.propagate(edge_index, x=self.lin(x), norm=scale[row] * scale[col])

    def message(self, x_j: Tensor, norm: Tensor) -> Tensor:
        return norm.view(-1, 1) * x_j


class InDegrees(MessagePassing):
    """Counts the in-degrees of targets alone, which every batch has in full."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(aggr='add')
        self.lin = Linear(i, o)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        count = degree(edge_index[1], x.size(0), x.dtype).clamp(min=1)
        return self.propagate(edge_index, x=self.lin(x)) / count.view(-1, 1)


class Heads(MessagePassing):
    """Three-dimensional messages, with attention computed by ``edge_updater``."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(aggr='add', node_dim=0)
        self.lin, self.score = Linear(i, o), Linear(o // 2, 1)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.lin(x).view(x.size(0), 2, -1)
        alpha = self.edge_updater(edge_index, score=self.score(x))
        return self.propagate(edge_index, x=x, alpha=alpha).flatten(1)

    def edge_update(self, score_i: Tensor, score_j: Tensor, index: Tensor) -> Tensor:
        return (score_i + score_j).sigmoid()

    def message(self, x_j: Tensor, alpha: Tensor) -> Tensor:
        return alpha * x_j


class GlobalMean(MessagePassing):
    """Subtracts the mean over all nodes: right on the whole graph only."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(aggr='mean')
        self.lin = Linear(i, o)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.lin(x)
        return self.propagate(edge_index, x=x - x.mean(dim=0))


def fused(aggr: str) -> Callable[[int, int], Module]:
    def make(i: int, o: int) -> Module:
        return Fused(i, o, aggr)

    return make


def custom() -> dict[str, Options]:
    """Options of the base class, each a subclass."""
    return {
        'MessagePassing': {
            'attention, edge features, own update': layered(EdgeAttention, Featured),
            'propagates twice': level(TwoSteps),
            'own sparse path, sum': layered(fused('sum')),
            'own sparse path, max': layered(fused('max')),
            'own sparse path, mean, adj_t': layered(fused('mean'), ByAdjacency, graph='unweighted'),
            'three-dimensional messages, edge_updater': layered(Heads),
            'in-degrees of its own': layered(InDegrees),
            'degrees of both ends of its own': layered(OwnDegrees),
            'mean over all nodes': layered(GlobalMean),
        }
    }
