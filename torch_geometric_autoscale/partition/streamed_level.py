"""One level of the streaming partitioner: a weighted graph that is read block by block."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..bucket_sort import BucketSort
from ..mapped import new_tensor
from .level import Connections, sum_by_key
from .simple_graph import Ints, SimpleGraph, first_of_run

_MOST_ENTRIES = 2**20  # of a block
_WEIGHT_BITS = 12  # of a pair that is sorted; a heavier edge is several pairs
_WHO = 'partition'


class StreamedLevel(NamedTuple):
    """An undirected weighted graph in compressed rows, in memory or in mapped files.

    Attributes:
        indptr: ``(n + 1,)`` bounds of each node's neighbours.
        target: ``(M,)`` neighbours; every edge is stored in both directions.
        weight: ``(M,)`` edges of the original graph that an edge stands for; :obj:`None`: one.
        node_weight: ``(n,)`` original nodes that a node stands for.
    """

    indptr: Ints
    target: NDArray[Any]
    weight: NDArray[Any] | None
    node_weight: Ints

    @property
    def num_nodes(self) -> int:
        """Number of nodes ``n``."""
        return len(self.node_weight)

    def blocks(self, num_nodes: int) -> Iterator[tuple[int, int]]:
        """Ranges of ``num_nodes`` nodes, fewer where they have very many neighbours."""
        first = 0
        while first < self.num_nodes:
            reach = self.indptr[first] + _MOST_ENTRIES
            last = int(np.searchsorted(self.indptr, reach, 'right')) - 1
            last = min(max(last, first + 1), first + num_nodes, self.num_nodes)
            yield first, last
            first = last

    def edges(self, a: int, b: int) -> tuple[Ints, NDArray[Any], NDArray[Any] | None]:
        """Sources (less ``a``), targets and weights of the edges of nodes ``a:b``."""
        entries = slice(self.indptr[a], self.indptr[b])
        row = np.repeat(np.arange(b - a), np.diff(self.indptr[a : b + 1]))
        return row, self.target[entries], None if self.weight is None else self.weight[entries]

    def ties(
        self, a: int, b: int, label: Ints, num_labels: int, awake: NDArray[np.bool_] | None = None
    ) -> Connections:
        """How strongly nodes ``a:b`` are tied to labels; nodes are counted from ``a`` on.

        Args:
            a, b: The nodes.
            label: ``(n,)`` label of every node; -1: none yet.
            num_labels: Number of labels.
            awake: ``(b - a,)`` which nodes to look at; :obj:`None`: all.
        """
        row, target, weight = self.edges(a, b)
        if awake is not None:
            kept = np.flatnonzero(awake[row])
            row, target = row[kept], target[kept]
            weight = None if weight is None else weight[kept]
        found = label[target]
        if len(found) and found.min() < 0:
            kept = np.flatnonzero(found >= 0)
            row, found = row[kept], found[kept]
            weight = None if weight is None else weight[kept]
        weight = None if weight is None else weight.astype(np.int64)
        key, total = sum_by_key(row * num_labels + found, weight)
        node, found = np.divmod(key, num_labels)
        return Connections(node, found, total)

    def cut(self, part: Ints) -> int:
        """Weight of all edges between parts, both directions counted."""
        total = 0
        for a, b in self.blocks(_MOST_ENTRIES):
            row, target, weight = self.edges(a, b)
            crossing = part[a:b][row] != part[target]
            total += int(crossing.sum() if weight is None else weight[crossing].sum())
        return total


def finest(graph: SimpleGraph) -> StreamedLevel:
    """The original graph, all weights one."""
    one = np.broadcast_to(np.ones(1, dtype=np.int64), (graph.num_nodes,))
    return StreamedLevel(graph.indptr, graph.indices, None, one)


def contract(
    level: StreamedLevel, cluster: Ints, num_clusters: int, folder: Path | None
) -> StreamedLevel:
    """Merge the nodes of every cluster into one; edges inside clusters vanish.

    Args:
        level: The graph.
        cluster: ``(n,)`` cluster of every node.
        num_clusters: Number of clusters.
        folder: Where files go; ``None``: arrays stay in memory.
    """
    most = (1 << _WEIGHT_BITS) - 1

    def pairs() -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        for a, b in level.blocks(_MOST_ENTRIES):
            row, target, weight = level.edges(a, b)
            source, goal = cluster[a:b][row], cluster[target]
            crossing = np.flatnonzero(source != goal)
            source, goal = source[crossing], goal[crossing] << _WEIGHT_BITS
            if weight is None:
                yield source, goal | 1
                continue
            heavy = weight[crossing].astype(np.int64)
            pieces = -(-heavy // most)
            last = np.cumsum(pieces) - 1
            light = np.full(int(pieces.sum()), most)
            light[last] = heavy - most * (pieces - 1)
            yield np.repeat(source, pieces), np.repeat(goal, pieces) | light

    counts, heaviest = np.zeros(num_clusters, dtype=np.int64), 0
    for source, payload in pairs():
        np.add.at(counts, source, 1)
        heaviest += int((payload & most).sum())  # all edges are no lighter
    in_order = BucketSort(_WHO, torch.from_numpy(counts), pairs, folder)
    indptr = np.zeros(num_clusters + 1, dtype=np.int64)
    size = (int(counts.sum()),)
    target = new_tensor(_WHO, size, torch.int32, folder).numpy()
    width = torch.int32 if heaviest < 2**31 else torch.int64
    weight = new_tensor(_WHO, size, width, folder).numpy()
    reached = 0
    for a, b, source, payload in in_order.buckets():
        goal, light = payload >> _WEIGHT_BITS, payload & most
        starts = np.flatnonzero(first_of_run(source) | first_of_run(goal))
        here = slice(reached, reached + len(starts))
        target[here] = goal[starts]
        if len(starts):
            weight[here] = np.add.reduceat(light, starts)
        indptr[a + 1 : b + 1] = np.bincount(source[starts], minlength=b - a)
        reached += len(starts)
    np.cumsum(indptr, out=indptr)
    node_weight = np.bincount(cluster, weights=level.node_weight, minlength=num_clusters)
    return StreamedLevel(indptr, target[:reached], weight[:reached], node_weight.astype(np.int64))
