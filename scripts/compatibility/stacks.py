"""Operators in a row with a nonlinearity in between; one class for each way to call an operator."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleList, Tanh

from .graphs import CHANNELS, EDGE_CHANNELS


class Stack(Module):
    """The operators of a model; each subclass says what its ``forward`` takes and hands on."""

    def __init__(self, convs: Sequence[Module]) -> None:
        super().__init__()
        self.convs = ModuleList(convs)

    def run(self, x: Tensor, step: Callable[[Module, Tensor], Tensor]) -> Tensor:
        for i, conv in enumerate(self.convs):
            x = step(conv, x.tanh() if i else x)
        return x


class Plain(Stack):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, edge_index))


class Weighted(Stack):
    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, edge_index, edge_weight))


class Featured(Stack):
    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, edge_index, edge_attr))


class Lifted(Stack):
    """Edge features are brought to the width of node features first."""

    def __init__(self, convs: Sequence[Module]) -> None:
        super().__init__(convs)
        self.lift = Linear(EDGE_CHANNELS, CHANNELS)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        lifted = self.lift(edge_attr)
        return self.run(x, lambda conv, x: conv(x, edge_index, lifted))


class Typed(Stack):
    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, edge_index, edge_type))


class TypedFeatured(Stack):
    def forward(
        self, x: Tensor, edge_index: Tensor, edge_type: Tensor, edge_attr: Tensor
    ) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, edge_index, edge_type, edge_attr))


class NodesTyped(Stack):
    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        node_type: Tensor,
        edge_type: Tensor,
        edge_attr: Tensor,
    ) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, edge_index, node_type, edge_type, edge_attr))


class Pairs(Stack):
    """The bipartite form, with the same rows as sources and as targets."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv((x, x), edge_index))


class PairsWeighted(Stack):
    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv((x, x), edge_index, edge_weight))


class PairsFeatured(Stack):
    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv((x, x), edge_index, edge_attr))


class PairsTyped(Stack):
    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv((x, x), edge_index, edge_type))


class SourcesOnly(Stack):
    """The bipartite form without features of targets."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        size = (x.size(0), x.size(0))
        return self.run(x, lambda conv, x: conv((x, None), edge_index, size=size))


class ByAdjacency(Stack):
    def forward(self, x: Tensor, adj_t: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, adj_t))


class WithFirst(Stack):
    """Every layer also reads the first embedding."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        first = x
        return self.run(x, lambda conv, x: conv(x, first, edge_index))


class WithFirstWeighted(Stack):
    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        first = x
        return self.run(x, lambda conv, x: conv(x, first, edge_index, edge_weight))


class Positioned(Stack):
    def forward(self, x: Tensor, pos: Tensor, edge_index: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, pos, edge_index))


class PairsPositioned(Stack):
    def forward(self, x: Tensor, pos: Tensor, edge_index: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv((x, x), (pos, pos), edge_index))


class Oriented(Stack):
    def forward(self, x: Tensor, pos: Tensor, normal: Tensor, edge_index: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, pos, normal, edge_index))


class Unstructured(Stack):
    """Operators that find the edges themselves."""

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x))


class PointCloud(Stack):
    def forward(self, x: Tensor, pos: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, pos))


class Hyper(Stack):
    def forward(self, x: Tensor, hyperedge_index: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, hyperedge_index))


class AfterLinear(Module):
    """A linear layer before an operator that has no parameters of its own."""

    def __init__(self, in_channels: int, out_channels: int, conv: Module) -> None:
        super().__init__()
        self.lin = Linear(in_channels, out_channels)
        self.conv = conv

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        return self.conv(self.lin(x), *rest)


class BeforeLinear(Module):
    """A linear layer after an operator whose width is its own business."""

    def __init__(self, conv: Module, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = conv
        self.lin = Linear(in_channels, out_channels)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        return self.lin(self.conv(*args, **kwargs))


class First(Module):
    """The first of several outputs."""

    def __init__(self, conv: Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, *args: Any) -> Tensor:
        return self.conv(*args)[0]


class Called(Module):
    """An operator called with more arguments."""

    def __init__(self, conv: Module, **kwargs: Any) -> None:
        super().__init__()
        self.conv, self.kwargs = conv, kwargs

    def forward(self, *args: Any) -> Any:
        return self.conv(*args, **self.kwargs)


def mlp(in_channels: int, out_channels: int, hidden_channels: int = 5) -> Module:
    """A small network, smooth so that gradients can be compared."""
    return torch.nn.Sequential(
        Linear(in_channels, hidden_channels), Tanh(), Linear(hidden_channels, out_channels)
    )
