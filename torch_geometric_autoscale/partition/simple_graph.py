"""The simple undirected graph that partitioners see."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..graph_input import Edges

Ints: TypeAlias = NDArray[np.int64]


class SimpleGraph(NamedTuple):
    """An undirected graph without self-loops and duplicates, in compressed rows.

    Attributes:
        indptr: ``(N + 1,)`` bounds of each node's neighbours.
        indices: ``(M,)`` neighbours, ascending per node; every edge is stored in both directions.
    """

    indptr: Ints
    indices: Ints

    @property
    def num_nodes(self) -> int:
        """Number of nodes ``N``."""
        return len(self.indptr) - 1

    @property
    def source(self) -> Ints:
        """``(M,)`` node to whose row each entry of ``indices`` belongs."""
        return np.repeat(np.arange(self.num_nodes), np.diff(self.indptr))


def simplify(edges: Edges) -> SimpleGraph:
    """Drop self-loops, directions and duplicates."""
    num_nodes = edges.num_nodes
    source, target = edges.edge_index.cpu().numpy()
    proper = source != target
    source, target = source[proper], target[proper]
    key = np.concatenate([source * num_nodes + target, target * num_nodes + source])
    key.sort()
    key = key[first_of_run(key)]
    source, indices = np.divmod(key, max(num_nodes, 1))
    indptr = np.zeros(num_nodes + 1, dtype=np.int64)
    np.cumsum(np.bincount(source, minlength=num_nodes), out=indptr[1:])
    return SimpleGraph(indptr, indices)


def first_of_run(values: Ints) -> NDArray[np.bool_]:
    """Mark where sorted ``values`` change: ``[3, 3, 5] -> [True, False, True]``."""
    first = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first
