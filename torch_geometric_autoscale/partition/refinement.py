"""Refinement: nodes change sides while the cut shrinks and parts stay in balance."""

import itertools

import numpy as np

from .level import Connections, Level, add_up, admit, best_entry, connections
from .simple_graph import Ints, first_of_run

_PATIENCE = 3
_TIE_BITS = 12


def refine(
    level: Level,
    part: Ints,
    num_parts: int,
    capacity: int,
    rounds: int,
    rng: np.random.Generator,
    boldness: float = 0.25,
) -> Ints:
    """Move boundary nodes to the part they are most tied to, many at once.

    A round (a) lists the nodes whose move costs at most ``boldness`` times their ties to their
    own part, nodes that moved in the round before left out; (b) values every such move again as
    if all stronger ones had happened; (c) does those that still do not widen the cut, as far as
    their part has room. The best partition seen is returned.

    Source: Gilbert, Madduri, Boman and Rajamanickam, "Jet: multilevel graph partitioning on
    graphics processing units", SIAM J. Sci. Comput. 46(5), 2024, section 4. There parts may
    overflow for a while and are emptied by a step of its own; here moves into full parts wait.

    Returns:
        ``(n,)`` parts, of at most ``capacity`` original nodes each unless ``part`` already
        was heavier or nodes are too heavy to fit.
    """
    part = rebalance(level, part, num_parts, capacity, rng)
    best, best_cut, waited = part, cut_weight(level, part), 0
    locked = np.zeros(level.num_nodes, dtype=bool)
    for _ in range(rounds):
        part, moved = _round(level, part, num_parts, capacity, locked, boldness, rng)
        if len(moved) == 0:
            break
        locked = np.zeros(level.num_nodes, dtype=bool)
        locked[moved] = True
        cut = cut_weight(level, part)
        waited = 0 if cut < 0.998 * best_cut else waited + 1
        if cut < best_cut:
            best, best_cut = part, cut
        if waited == _PATIENCE:
            break
    return best


def cut_weight(level: Level, part: Ints) -> int:
    """Weight of all edges between parts, both directions counted."""
    crossing = part[level.source] != part[level.target]
    return int(crossing.sum() if level.weight is None else level.weight[crossing].sum())


def _round(
    level: Level,
    part: Ints,
    num_parts: int,
    capacity: int,
    locked: np.ndarray,
    boldness: float,
    rng: np.random.Generator,
) -> tuple[Ints, Ints]:
    n = level.num_nodes
    boundary = np.zeros(n, dtype=bool)
    boundary[level.source[part[level.source] != part[level.target]]] = True
    boundary &= ~locked
    ties = connections(level, part, num_parts, np.flatnonzero(boundary[level.source]))
    own, mover, wanted, gain = _offers(ties, part, n, rng)
    listed = gain >= -boldness * own[mover]
    mover, wanted, gain = mover[listed], wanted[listed], gain[listed]

    # Value every move again as if the stronger ones had happened; ids break ties.
    rank = np.zeros(n, dtype=np.int64)
    rank[mover[np.lexsort((-mover, gain))]] = np.arange(1, len(mover) + 1)
    goal = part.copy()
    goal[mover] = wanted
    edges = np.flatnonzero(rank[level.source] > 0)
    source, target = level.source[edges], level.target[edges]
    side = np.where(rank[target] > rank[source], goal[target], part[target])
    effect = (side == goal[source]).astype(np.int64) - (side == part[source])
    if level.weight is not None:
        effect *= level.weight[edges]
    gain = np.bincount(source, weights=effect, minlength=n)[mover].astype(np.int64)
    better = gain >= 0
    mover, wanted, gain = mover[better], wanted[better], gain[better]
    if len(mover) == 0:
        return part, mover

    room = capacity - add_up(part, level.node_weight, num_parts)
    admitted = admit(wanted, level.node_weight[mover], gain, room)
    mover, wanted = mover[admitted], wanted[admitted]
    part = part.copy()
    part[mover] = wanted
    return part, mover


def _offers(
    ties: Connections, part: Ints, n: int, rng: np.random.Generator
) -> tuple[Ints, Ints, Ints, Ints]:
    """Ties to the own part ``(n,)``; nodes with another part in reach, the best one, its gain."""
    node, label, weight = ties
    at_home = label == part[node]
    own = np.zeros(n, dtype=np.int64)
    own[node[at_home]] = weight[at_home]
    node, label, weight = node[~at_home], label[~at_home], weight[~at_home]
    score = (weight << _TIE_BITS) + rng.integers(1 << _TIE_BITS, size=len(node))
    best = best_entry(node, score)
    return own, node[best], label[best], weight[best] - own[node[best]]


def rebalance(
    level: Level, part: Ints, num_parts: int, capacity: int, rng: np.random.Generator
) -> Ints:
    """Move nodes out of parts above ``capacity``, those that lose least first.

    Returns:
        ``(n,)`` parts; ``part`` itself where none was too heavy.
    """
    for attempt in itertools.count():
        load = add_up(part, level.node_weight, num_parts)
        heavy = load > capacity
        # With nodes of weight one every attempt moves some, so this ends; heavy ones may not fit.
        if not heavy.any() or (attempt == 8 and level.weight is not None):
            break
        part = part.copy()
        room = np.maximum(capacity - load, 0)
        leaving = heavy[part] & (level.node_weight <= room.max())
        if not leaving.any():
            break
        ties = connections(level, part, num_parts, np.flatnonzero(leaving[level.source]))
        node, label, weight = ties
        own = np.zeros(level.num_nodes, dtype=np.int64)
        at_home = label == part[node]
        own[node[at_home]] = weight[at_home]
        # Where a node would go: its best part with room, else (or if refused twice) any with room.
        mover = np.flatnonzero(leaving)
        chances = np.cumsum(room)
        anywhere = np.searchsorted(chances, rng.integers(chances[-1], size=len(mover)), 'right')
        goal = np.zeros(level.num_nodes, dtype=np.int64)
        goal[mover] = anywhere
        gain = -own
        if attempt < 6:
            open_ = room[label] >= level.node_weight[node]
            node, label, weight = node[open_], label[open_], weight[open_]
            best = best_entry(node, weight)
            goal[node[best]] = label[best]
            gain[node[best]] += weight[best]
        # From every heavy part just as much as is too much, the cheapest first.
        surplus = np.maximum(load - capacity, 0)
        out = _just_enough(part[mover], level.node_weight[mover], gain[mover], surplus)
        mover = mover[out]
        admitted = admit(goal[mover], level.node_weight[mover], gain[mover], room)
        part[mover[admitted]] = goal[mover[admitted]]
    return part


def _just_enough(label: Ints, weight: Ints, priority: Ints, amount: Ints) -> Ints:
    """Positions, by falling priority, until each label has given at least ``amount``."""
    order = np.lexsort((-priority, label))
    gone = np.cumsum(weight[order])
    first = np.flatnonzero(first_of_run(label[order]))
    before = np.repeat(gone[first] - weight[order][first], np.diff(first, append=len(order)))
    return order[gone - weight[order] - before < amount[label[order]]]
