"""A list of edges that is read in chunks, as often as needed."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np

ValueType = tuple[np.dtype, tuple[int, ...]]  # type of an entry, shape of the row of one edge


class EdgeChunk(NamedTuple):
    """Some consecutive edges.

    Attributes:
        source: ``(n,)`` integers.
        target: ``(n,)`` integers.
        values: ``(n, ...)`` by name: what else belongs to each edge.
    """

    source: np.ndarray
    target: np.ndarray
    values: dict[str, np.ndarray]


class EdgeStream(Protocol):
    """Edges in an order of their own, whatever the size of the chunks.

    Attributes:
        num_edges: How many there are at most.
        values: Names and types of what belongs to an edge.
    """

    num_edges: int
    values: dict[str, ValueType]

    def chunks(self) -> Iterator[EdgeChunk]:
        """All edges from the first to the last; the same at every call."""
        ...


class BothDirections:
    """Every edge of a stream followed by its reverse; a self-loop stays one.

    Args:
        edges: The stream; what belongs to an edge belongs to its reverse too.
    """

    def __init__(self, edges: EdgeStream) -> None:
        self._edges = edges
        self.num_edges = 2 * edges.num_edges
        self.values = edges.values

    def chunks(self) -> Iterator[EdgeChunk]:
        for source, target, values in self._edges.chunks():
            keep = np.ones(2 * len(source), dtype=bool)
            keep[1::2] = source != target
            yield EdgeChunk(
                np.stack([source, target], axis=1).reshape(-1)[keep],
                np.stack([target, source], axis=1).reshape(-1)[keep],
                {name: np.repeat(rows, 2, axis=0)[keep] for name, rows in values.items()},
            )
