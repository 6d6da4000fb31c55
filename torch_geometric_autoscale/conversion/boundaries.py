"""Where a model's history boundaries are."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..watcher import Site

# The node type of a graph that has only one.
ONLY = ''


@dataclass(frozen=True)
class Boundary:
    """A value of a forward whose halo rows come from a history.

    Attributes:
        site: Where the forward gives the value.
        leaf: Which tensor of the value it is, counted as PyTorch's pytrees count.
        dim: The dimension that holds nodes.
        tail: Shape of one node's entry.
        node_type: Whose nodes they are; empty in a homogeneous graph.
    """

    site: Site
    leaf: int
    dim: int
    tail: tuple[int, ...]
    node_type: str = ONLY

    @property
    def width(self) -> int:
        """Channels of its history."""
        return prod(self.tail)

    def __str__(self) -> str:
        where = str(self.site)
        return where if not self.node_type else f"{where}, node type '{self.node_type}'"


@dataclass(frozen=True)
class Plan:
    """The boundaries of a model in the order in which its forward reaches them.

    Attributes:
        boundaries: In eval mode and in train mode: they may be other places of the same values.
        outputs: Which tensors of the output hold rows of which node type, by position, likewise.
        pad: Whether operators must return a row for halo nodes, too, even if nobody reads it.
        direction: Which edges batches need, see :class:`SubgraphLoader`.
        levels: With several node types: how many boundaries stand before each one, at most.
        takes_batch_statistics: Whether batch normalisation runs in train mode.
        node_parameters: Names of the parameters whose rows a batch is given, one for each node.
    """

    boundaries: dict[bool, tuple[Boundary, ...]]
    outputs: dict[bool, tuple[tuple[int, str], ...]]
    pad: bool = False
    direction: str = 'in'
    levels: Sequence[int] = ()
    takes_batch_statistics: bool = True
    node_parameters: tuple[str, ...] = ()

    @property
    def eval(self) -> tuple[Boundary, ...]:
        return self.boundaries[False]

    def opened(self) -> set[str]:
        """Paths of the operators with a boundary inside."""
        both = (*self.boundaries[False], *self.boundaries[True])
        return {b.site.name for b in both if b.site.kind == 'propagation'}


def same_values(one: Sequence[Boundary], other: Sequence[Boundary]) -> bool:
    """Whether two lists of boundaries can share their histories."""
    return [(b.width, b.node_type) for b in one] == [(b.width, b.node_type) for b in other]
