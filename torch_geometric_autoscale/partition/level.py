"""One level of the multilevel label propagation: a weighted graph and sums over its edges."""

from typing import NamedTuple

import numpy as np
import torch

from .simple_graph import Ints, SimpleGraph, first_of_run


class Level(NamedTuple):
    """An undirected weighted graph as a list of edges, sorted by source.

    Attributes:
        source: ``(M,)``; every edge is stored in both directions.
        target: ``(M,)``.
        weight: ``(M,)`` edges of the original graph that an edge stands for; :obj:`None`: one.
        node_weight: ``(n,)`` original nodes that a node stands for.
    """

    source: Ints
    target: Ints
    weight: Ints | None
    node_weight: Ints

    @property
    def num_nodes(self) -> int:
        """Number of nodes ``n``."""
        return len(self.node_weight)


class Connections(NamedTuple):
    """How strongly nodes are tied to labels; one entry per pair that is tied at all.

    Attributes:
        node: ``(K,)`` ascending.
        label: ``(K,)`` ascending per node.
        weight: ``(K,)`` total edge weight between the node and neighbours of that label.
    """

    node: Ints
    label: Ints
    weight: Ints


def finest_level(graph: SimpleGraph) -> Level:
    """The original graph, all weights one."""
    target = graph.indices.astype(np.int64, copy=False)
    return Level(graph.source, target, None, np.ones(graph.num_nodes, dtype=np.int64))


def contract(level: Level, cluster: Ints, num_clusters: int) -> Level:
    """Merge the nodes of every cluster into one; edges inside clusters vanish."""
    source, target = cluster[level.source], cluster[level.target]
    crossing = source != target
    weight = None if level.weight is None else level.weight[crossing]
    key, total = sum_by_key(source[crossing] * num_clusters + target[crossing], weight)
    source, target = np.divmod(key, max(num_clusters, 1))
    return Level(source, target, total, add_up(cluster, level.node_weight, num_clusters))


def connections(level: Level, label: Ints, num_labels: int, subset: Ints | None) -> Connections:
    """Tie nodes to the labels of their neighbours.

    Args:
        level: The graph.
        label: ``(n,)`` label of every node.
        num_labels: Number of labels.
        subset: Edges (positions in ``level.source``) to look at; :obj:`None`: all.
    """
    source, target, weight = level.source, level.target, level.weight
    if subset is not None:
        source, target = source[subset], target[subset]
        weight = None if weight is None else weight[subset]
    key, total = sum_by_key(source * num_labels + label[target], weight)
    node, found = np.divmod(key, num_labels)
    return Connections(node, found, total)


def sum_by_key(key: Ints, weight: Ints | None) -> tuple[Ints, Ints]:
    """Distinct keys, ascending, and the sum of their weights (their count without weights)."""
    if weight is None:
        key = _sorted(key)
        starts = np.flatnonzero(first_of_run(key))
        return key[starts], np.diff(starts, append=len(key))
    if len(key) == 0:
        return key, weight
    bits = int(weight.max()).bit_length()
    if int(key.max()) >> (63 - bits):
        order = np.argsort(key, kind='stable')
        key, weight = key[order], weight[order]
    else:  # both fit one number, which is sorted much faster
        both = _sorted((key << bits) | weight)
        key, weight = both >> bits, both & ((1 << bits) - 1)
    starts = np.flatnonzero(first_of_run(key))
    return key[starts], np.add.reduceat(weight, starts)


def _sorted(values: Ints) -> Ints:
    """Ascending. PyTorch sorts whole numbers by radix, in a third of the time NumPy takes."""
    narrow = len(values) > 0 and int(values.max()) < 2**31
    numbers = torch.from_numpy(values.astype(np.int32) if narrow else values)
    return torch.sort(numbers, stable=True).values.numpy().astype(np.int64, copy=False)


def add_up(label: Ints, weight: Ints, num_labels: int) -> Ints:
    """Total ``weight`` per label, ``(num_labels,)``; exact below 2**53."""
    return np.bincount(label, weights=weight, minlength=num_labels).astype(np.int64)


def best_entry(node: Ints, score: Ints) -> Ints:
    """Position of the largest score of every distinct node, the first among equals."""
    if len(node) == 0:
        return node
    starts = np.flatnonzero(first_of_run(node))
    top = np.maximum.reduceat(score, starts)
    hits = np.flatnonzero(score == np.repeat(top, np.diff(starts, append=len(node))))
    return hits[first_of_run(node[hits])]


def admit(label: Ints, weight: Ints, priority: Ints, room: Ints) -> Ints:
    """Let applicants in by falling priority until their label is full.

    Args:
        label: ``(K,)`` label each applicant wants.
        weight: ``(K,)`` what it weighs.
        priority: ``(K,)`` larger first.
        room: ``(num_labels,)`` weight every label can still take.

    Returns:
        Positions of those admitted.
    """
    order = np.lexsort((-priority, label))
    total = np.cumsum(weight[order])
    wanted = label[order]
    first = np.flatnonzero(first_of_run(wanted))
    before = np.repeat(total[first] - weight[order][first], np.diff(first, append=len(order)))
    return order[total - before <= room[wanted]]
