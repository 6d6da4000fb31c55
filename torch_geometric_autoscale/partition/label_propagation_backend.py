"""A multilevel partitioner of plain numpy operations, for platforms without a compiled one."""

import numpy as np

from .clustering import cluster
from .growing import grow
from .level import contract, finest_level
from .refinement import refine
from .simple_graph import Ints, SimpleGraph

_IMBALANCE = 0.05
_CLUSTERS_PER_PART = 20
_CLUSTERING_ROUNDS = 8
_REFINEMENT_ROUNDS = 16


def label_propagation_parts(graph: SimpleGraph, num_parts: int, seed: int) -> Ints:
    """Part of every node, ``(N,)``.

    Coarsen by :func:`cluster` until about 20 clusters per part are left, place these by
    :func:`grow`, then undo the coarsening level by level with :func:`refine` in between. No
    part gets more than 5% above the mean (rounded up). Nodes without edges fill up the lightest
    parts at the end.
    """
    rng = np.random.default_rng(seed)
    tied = np.flatnonzero(np.diff(graph.indptr) > 0)
    capacity = max(int((1 + _IMBALANCE) * graph.num_nodes / num_parts), 1)
    capacity = max(capacity, -(-graph.num_nodes // num_parts))
    part = np.full(graph.num_nodes, -1)
    if len(tied) > 0:
        part[tied] = _tied_parts(_without_isolated(graph, tied), num_parts, capacity, rng)
    return _fill_up(part, num_parts)


def _tied_parts(
    graph: SimpleGraph, num_parts: int, capacity: int, rng: np.random.Generator
) -> Ints:
    limit = max(capacity // _CLUSTERS_PER_PART, 1)
    levels, clusters = [finest_level(graph)], []
    while limit > 1 and levels[-1].num_nodes > 2 * _CLUSTERS_PER_PART * num_parts:
        label, count = cluster(levels[-1], limit, _CLUSTERING_ROUNDS, rng)
        if count > 0.95 * levels[-1].num_nodes:
            break
        clusters.append(label)
        levels.append(contract(levels[-1], label, count))

    part = grow(levels[-1], num_parts, rng)
    for depth in range(len(levels) - 1, -1, -1):
        if depth < len(clusters):
            part = part[clusters[depth]]
        boldness = 0.25 if depth == 0 else 0.75
        part = refine(levels[depth], part, num_parts, capacity, _REFINEMENT_ROUNDS, rng, boldness)
    return part


def _without_isolated(graph: SimpleGraph, tied: Ints) -> SimpleGraph:
    if len(tied) == graph.num_nodes:
        return graph
    new_id = np.full(graph.num_nodes, -1)
    new_id[tied] = np.arange(len(tied))
    return SimpleGraph(np.r_[graph.indptr[tied], graph.indptr[-1]], new_id[graph.indices])


def _fill_up(part: Ints, num_parts: int) -> Ints:
    """Hand out nodes that have no part yet so that the lightest parts grow first."""
    free = np.flatnonzero(part < 0)
    if len(free) == 0:
        return part
    load = np.bincount(part[part >= 0], minlength=num_parts)
    # Level 'water' such that everything below it takes the free nodes exactly.
    low, high = int(load.min()), int(load.min()) + len(free)
    while low < high:
        water = (low + high) // 2
        if int(np.maximum(water - load, 0).sum()) < len(free):
            low = water + 1
        else:
            high = water
    share = np.maximum(low - load, 0)
    too_many = int(share.sum()) - len(free)
    topped = np.flatnonzero(share)[:too_many]
    share[topped] -= 1
    part[free] = np.repeat(np.arange(num_parts), share)
    return part
