"""Nodes take labels block by block: what is known of the graph is one label per node.

Every function goes through the nodes in their order, and decides for all nodes of a block at once,
from the labels as they were before it. The algorithms these follow decide for one node after the
other; with blocks of a few thousand of very many nodes few neighbours share one.
"""

import numpy as np
from numpy.typing import NDArray

from .level import admit, best_entry
from .simple_graph import Ints
from .streamed_level import StreamedLevel

_TIE_BITS = 12


def improve(
    level: StreamedLevel,
    label: Ints,
    num_labels: int,
    capacity: int,
    passes: int,
    rng: np.random.Generator,
) -> None:
    """Let nodes go over to the label they are most tied to, if they are tied less to their own.

    In each block half of the nodes, drawn by chance, may move, to labels that have room. Beginning
    with a label for every node this is clustering, beginning with parts it is refinement.

    Source: Meyerhenke, Sanders and Schulz, "Partitioning complex networks via size-constrained
    clustering", SEA 2014; with labels alone in memory: Akhremtsev, Sanders and Schulz,
    "(Semi-)external algorithms for graph partitioning and clustering", ALENEX 2015.

    Args:
        level: The graph.
        label: ``(n,)`` label of every node; changed in place.
        num_labels: Number of labels.
        capacity: Original nodes that a label may hold.
        passes: How often to go through the nodes.
        rng: Source of chance.
    """
    load = _load(level, label, num_labels)
    block = min(8192, max(level.num_nodes // 8, 64))
    for _ in range(passes):
        for a, b in level.blocks(block):
            awake = rng.random(b - a) < 0.5
            node, found, tied = level.ties(a, b, label, num_labels, awake)
            own_label, heavy = label[a:b], level.node_weight[a:b]
            at_home = found == own_label[node]
            own = np.zeros(b - a, dtype=np.int64)
            own[node[at_home]] = tied[at_home]
            better = (tied > own[node]) & (load[found] + heavy[node] <= capacity)
            node, found, tied = node[better], found[better], tied[better]
            ties = rng.integers(1 << _TIE_BITS, size=len(node))
            best = best_entry(node, (tied << _TIE_BITS) + ties)
            node, found = node[best], found[best]
            gain = tied[best] - own[node]
            _move(load, label, a, node, found, heavy, gain, capacity)


def _move(
    load: Ints,
    label: Ints,
    a: int,
    node: Ints,
    wanted: Ints,
    heavy: Ints,
    priority: Ints,
    capacity: int,
) -> None:
    """Those moves that there is room for, by falling priority."""
    short, place = np.unique(wanted, return_inverse=True)
    admitted = admit(place, heavy[node], priority, capacity - load[short])
    node, wanted = node[admitted], wanted[admitted]
    np.subtract.at(load, label[a + node], heavy[node])
    np.add.at(load, wanted, heavy[node])
    label[a + node] = wanted


def assign(
    level: StreamedLevel,
    part: Ints,
    num_parts: int,
    capacity: int,
    passes: int,
    block: int,
    rng: np.random.Generator,
) -> None:
    """Linear deterministic greedy, again and again.

    A node goes to the part with the most of its neighbours, each weighted by the share of the part
    that is free. Nodes without a neighbour that has a part, and those that find no room, keep
    their part if it has room, or else fill up the lightest parts.

    Source: Stanton and Kliot, "Streaming graph partitioning for large distributed graphs", KDD
    2012; repeated: Nishimura and Ugander, "Restreaming graph partitioning", KDD 2013.

    Args:
        level: The graph.
        part: ``(n,)`` part of every node, -1 where it has none yet; changed in place.
        num_parts: Number of parts.
        capacity: Original nodes that a part may hold.
        passes: How often to go through the nodes.
        block: Nodes that are decided on at once.
        rng: Source of chance.
    """
    load = _load(level, part, num_parts)
    for _ in range(passes):
        for a, b in level.blocks(block):
            before, heavy = part[a:b].copy(), level.node_weight[a:b]
            had = before >= 0
            np.subtract.at(load, before[had], heavy[had])
            node, found, tied = level.ties(a, b, part, num_parts)
            fits = load[found] + heavy[node] <= capacity
            node, found, tied = node[fits], found[fits], tied[fits]
            score = tied * (1 - load[found] / capacity) + 1e-9 * rng.random(len(node))
            best = best_entry(node, score)  # type: ignore[arg-type]
            now = np.full(b - a, -1)
            node, found, score = node[best], found[best], score[best]
            _enter(now, load, node, found, heavy, score, capacity)
            rest = np.flatnonzero((now < 0) & had)
            _enter(now, load, rest, before[rest], heavy, np.zeros(len(rest)), capacity)
            rest = np.flatnonzero(now < 0)
            now[rest] = _lightest(load, heavy[rest])
            np.add.at(load, now[rest], heavy[rest])
            part[a:b] = now


def _enter(
    now: Ints,
    load: Ints,
    node: Ints,
    wanted: Ints,
    heavy: Ints,
    priority: NDArray[np.float64],
    capacity: int,
) -> None:
    admitted = admit(wanted, heavy[node], priority, capacity - load)  # type: ignore[arg-type]
    node, wanted = node[admitted], wanted[admitted]
    now[node] = wanted
    np.add.at(load, wanted, heavy[node])


def _lightest(load: Ints, heavy: Ints) -> Ints:
    """Labels for nodes, in runs, such that the lightest labels grow to one level."""
    total = int(heavy.sum())
    if total == 0:
        return np.zeros(len(heavy), dtype=np.int64)
    share = fill(load, total)
    middle = np.cumsum(heavy) - (heavy + 1) // 2
    return np.searchsorted(np.cumsum(share), middle, 'right')


def fill(load: Ints, total: int) -> Ints:
    """How to hand out ``total`` such that the lightest labels grow first, ``(num_labels,)``."""
    low, high = int(load.min()), int(load.min()) + total
    while low < high:  # a level such that everything below it takes the total exactly
        water = (low + high) // 2
        if int(np.maximum(water - load, 0).sum()) < total:
            low = water + 1
        else:
            high = water
    share = np.maximum(low - load, 0)
    too_many = int(share.sum()) - total
    share[np.flatnonzero(share)[:too_many]] -= 1
    return share


def _load(level: StreamedLevel, label: Ints, num_labels: int) -> Ints:
    known = label >= 0
    weight = level.node_weight[known]
    return np.bincount(label[known], weights=weight, minlength=num_labels).astype(np.int64)
