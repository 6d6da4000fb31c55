"""What the modules of the last table have in common."""

from typing import Any

from torch.nn import Linear, Module, ModuleList
from torch_geometric import nn as pyg

from ..recipe import IN, OUT, Recipe, named


class Convs(Module):
    """As many operators as layers, all of one width, and a linear layer for the output."""

    def __init__(self, depth: int, kind: Any = pyg.SAGEConv, **kwargs: Any) -> None:
        super().__init__()
        self.convs = ModuleList([kind(IN, IN, **kwargs) for _ in range(depth)])
        self.lin = Linear(IN, OUT)


def of(kind: Any, *args: Any, **kwargs: Any) -> Recipe:
    """A recipe whose attributes are what ``forward`` names."""
    return Recipe(lambda depth: kind(depth, *args, **kwargs), named(kind))
