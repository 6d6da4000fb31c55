"""How a module is built for a depth, and what it asks of the data."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch.nn import Module

from .stacks import Plain, Stack

# The widths differ from boundary to boundary, where the operator allows it.
IN, OUT = 8, 4
WIDTHS = {1: (IN, OUT), 2: (IN, 6, OUT), 3: (IN, 6, 10, OUT)}


@dataclass(frozen=True)
class Recipe:
    """One module in every depth.

    Attributes:
        build: The module for a number of layers.
        attrs: The attributes of the data that its ``forward`` is to get.
        graph: The kind of graph.
        depths: The depths to try.
        dtype: Of the module and of the data.
        inputs: What ``autoscale(inputs=)`` has to be told, where ``forward`` names nothing.
    """

    build: Callable[[int], Module]
    attrs: tuple[str, ...] = ('x', 'edge_index')
    graph: str = 'general'
    depths: tuple[int, ...] = (2, 3)
    dtype: torch.dtype = torch.float64
    inputs: tuple[str, ...] | None = None


Options = Mapping[str, Recipe]


def layered(
    make: Callable[[int, int], Module],
    kind: type[Stack] = Plain,
    *,
    graph: str = 'general',
    depths: tuple[int, ...] = (2, 3),
) -> Recipe:
    """Layers ``make(in_channels, out_channels)`` with widths that differ."""

    def build(depth: int) -> Module:
        return kind([make(i, o) for i, o in pairwise(WIDTHS[depth])])

    return Recipe(build, named(kind), graph, depths)


def level(
    make: Callable[[], Module],
    kind: type[Stack] = Plain,
    *,
    graph: str = 'general',
    depths: tuple[int, ...] = (2, 3),
) -> Recipe:
    """Layers ``make()`` whose output is as wide as their input."""

    def build(depth: int) -> Module:
        return kind([make() for _ in range(depth)])

    return Recipe(build, named(kind), graph, depths)


def named(kind: type[Module]) -> tuple[str, ...]:
    """The names of what a ``forward`` takes."""
    return tuple(inspect.signature(kind.forward).parameters)[1:]
