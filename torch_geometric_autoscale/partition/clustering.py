"""Coarsening: clusters of bounded size by label propagation."""

import numpy as np
from numpy.typing import NDArray

from .level import Level, add_up, admit, best_entry, connections
from .simple_graph import Ints, first_of_run

_TIE_BITS = 12


def cluster(level: Level, limit: int, rounds: int, rng: np.random.Generator) -> tuple[Ints, int]:
    """Group nodes that are strongly tied, at most ``limit`` original nodes per group.

    Each round half of the nodes, drawn by chance, move to the neighbouring cluster they are most
    tied to and that has room. Nodes still alone afterwards join others that are alone and tied
    to the same cluster (leaves of one hub, say), or to none.

    Source: Meyerhenke, Sanders and Schulz, "Partitioning complex networks via size-constrained
    clustering", SEA 2014; there nodes move one after the other, here half of them at once.

    Returns:
        ``(n,)`` cluster of every node and the number of clusters.
    """
    n = level.num_nodes
    label = np.arange(n)
    load = level.node_weight.copy()
    for _ in range(rounds):
        awake = rng.random(n) < 0.5
        subset = np.flatnonzero(awake[level.source])
        node, found, weight = connections(level, label, n, subset)
        fits = load[found] + level.node_weight[node] <= limit
        fits |= found == label[node]
        node, found, weight = node[fits], found[fits], weight[fits]
        ties = rng.integers(1 << _TIE_BITS, size=len(node))
        best = best_entry(node, (weight << _TIE_BITS) + ties)
        best = best[found[best] != label[node[best]]]
        if len(best) == 0:
            continue
        mover, wanted = node[best], found[best]
        heavy = level.node_weight[mover]
        admitted = admit(wanted, heavy, ties[best], limit - load)
        label[mover[admitted]] = wanted[admitted]
        load = add_up(label, level.node_weight, n)
    lonely = np.bincount(label, minlength=n)[label] == 1
    favourite = np.full(n, n)
    if lonely.any():
        node, found, weight = connections(level, label, n, np.flatnonzero(lonely[level.source]))
        best = best_entry(node, weight)
        favourite[node[best]] = found[best]
    label = group_lonely(label, lonely, favourite, level.node_weight, limit)
    found, label = np.unique(label, return_inverse=True)
    return label.astype(np.int64, copy=False), len(found)


def group_lonely(
    label: Ints, lonely: NDArray[np.bool_], favourite: Ints, node_weight: Ints, limit: int
) -> Ints:
    """Join nodes that are alone in their cluster with others that want the same one.

    Args:
        label: ``(n,)`` cluster of every node.
        lonely: ``(n,)`` which nodes are alone.
        favourite: ``(n,)`` the cluster each of them is most tied to; ``n``: none.
        node_weight: ``(n,)`` original nodes that a node stands for.
        limit: Original nodes of a cluster at most.
    """
    members = np.flatnonzero(lonely)
    if len(members) < 2:
        return label
    members = members[np.argsort(favourite[members], kind='stable')]
    wanted, weight = favourite[members], node_weight[members]
    total = np.cumsum(weight)
    first = np.flatnonzero(first_of_run(wanted))
    run = np.diff(first, append=len(members))
    before = np.repeat(total[first] - weight[first], run)
    # Cut each run into chunks at multiples of 'limit'; a node that straddles one stays alone.
    chunk, chunk_before = (total - before - 1) // limit, (total - before - weight) // limit
    whole = chunk == chunk_before
    members, wanted, chunk = members[whole], wanted[whole], chunk[whole]
    if len(members) == 0:
        return label
    starts = first_of_run(wanted) | first_of_run(chunk)
    leader = members[np.flatnonzero(starts)]
    label = label.copy()
    label[members] = leader[np.cumsum(starts) - 1]
    return label
