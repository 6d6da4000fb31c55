"""The simple undirected graph that partitioners see."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..bucket_sort import BucketSort
from ..edges import Edges
from ..graph import scramble

_SALTS = (0, 0x5851F42D4C957F2D)
Ints: TypeAlias = NDArray[np.int64]


class SimpleGraph(NamedTuple):
    """An undirected graph without self-loops and duplicates, in compressed rows.

    Attributes:
        indptr: ``(N + 1,)`` bounds of each node's neighbours.
        indices: ``(M,)`` neighbours, ascending per node; every edge is stored in both directions.
            32 bits wide where that is enough.
    """

    indptr: Ints
    indices: NDArray[Any]

    @property
    def num_nodes(self) -> int:
        """Number of nodes ``N``."""
        return len(self.indptr) - 1

    @property
    def source(self) -> Ints:
        """``(M,)`` node to whose row each entry of ``indices`` belongs."""
        return np.repeat(np.arange(self.num_nodes), np.diff(self.indptr))


def simplify(edges: Edges, folder: Path | None = None, who: str = 'partition') -> SimpleGraph:
    """Drop self-loops, directions and duplicates.

    While it works it keeps 16 bytes for each edge (less self-loops), in memory or in a file
    without a name; the result takes up to half of that, in the same place. A graph that has none
    of them is taken as it is.

    Args:
        edges: The graph.
        folder: Where the file goes; ``None``: in memory.
        who: The public call on whose behalf errors speak.
    """
    if edges.rowptr is not None and edges.col is not None and _is_simple(edges):
        narrowest = torch.int32 if edges.num_nodes < 2**31 else torch.int64
        indices = edges.col.cpu().to(narrowest).numpy()
        return SimpleGraph(edges.rowptr.cpu().long().numpy(), indices)
    num_nodes = edges.num_nodes
    degree, one = torch.zeros(num_nodes, dtype=torch.int64), torch.ones(1, dtype=torch.int64)
    for source, target in _proper(edges):
        for ends in (source, target):
            degree.scatter_add_(0, torch.from_numpy(ends), one.expand(len(ends)))

    def both_ways() -> Iterator[tuple[Any, Any]]:
        for source, target in _proper(edges):
            yield source, target
            yield target, source

    sorted_pairs = BucketSort(who, degree, both_ways, folder)
    indptr = np.zeros(num_nodes + 1, dtype=np.int64)
    # Every pair takes 8 bytes and leaves at most one id of 4: the room that was read takes it.
    narrow = num_nodes < 2**31
    room = sorted_pairs.store.view(np.int32) if narrow else sorted_pairs.store
    reached = 0
    for a, b, row, neighbour in sorted_pairs.buckets():
        first = first_of_run(row)
        first |= first_of_run(neighbour)
        row, neighbour = row[first], neighbour[first]
        room[reached : reached + len(neighbour)] = neighbour
        reached += len(neighbour)
        indptr[a + 1 : b + 1] = np.bincount(row, minlength=b - a)
    np.cumsum(indptr, out=indptr)
    indices = room[:reached]
    return SimpleGraph(indptr, indices if folder is not None else indices.copy())


def _is_simple(edges: Edges) -> bool:
    """Whether grouped edges rise within each row, without self-loops, and all run both ways.

    The edges that rise from source to target must be those that fall, turned round. Two sums of
    64 bits each over random-looking numbers, one for each pair of nodes, tell (a wrong yes would
    be one chance in 2^128).
    """
    surplus = [0] * len(_SALTS)
    for source, target in edges.pieces():
        source, target = source.long(), target.long()
        rises = source[1:] > source[:-1]
        rises |= target[1:] != target[:-1]
        if not bool(rises.all()) or bool((source == target).any()):
            return False
        pair = torch.minimum(source, target) * edges.num_nodes + torch.maximum(source, target)
        sign = torch.where(source < target, 1, -1)
        for i, salt in enumerate(_SALTS):
            surplus[i] += int(scramble(pair ^ salt).mul_(sign).sum())
    return all(total % 2**64 == 0 for total in surplus)


def _proper(edges: Edges) -> Iterator[tuple[Any, Any]]:
    """Edges but for self-loops, in pieces."""
    for source, target in edges.pieces():
        kept = source != target
        yield source[kept].long().numpy(), target[kept].long().numpy()


def first_of_run(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Mark where sorted ``values`` change: ``[3, 3, 5] -> [True, False, True]``."""
    first = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=first[1:])
    return first
