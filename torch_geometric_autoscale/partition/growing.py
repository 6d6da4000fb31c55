"""First partition of a small weighted graph: greedy growing."""

import heapq

import numpy as np

from .level import Level
from .simple_graph import Ints


def grow(level: Level, num_parts: int, rng: np.random.Generator) -> Ints:
    """Grow one part after the other from a random node.

    A part takes in the free node that has the largest share of its ties in the part, and starts
    again elsewhere when nothing free touches it, until it holds its share of what was free.

    Source: the greedy growing of Karypis and Kumar, SIAM J. Sci. Comput. 20(1), 1998, section
    3.2, there for two parts and by gain instead of share.

    Returns:
        ``(n,)`` part of every node.
    """
    n = level.num_nodes
    indptr = np.searchsorted(level.source, np.arange(n + 1)).tolist()
    target = level.target.tolist()
    edge_weight = np.ones(len(target)) if level.weight is None else level.weight
    strength = np.bincount(level.source, weights=edge_weight, minlength=n)
    share = (edge_weight / strength[level.target]).tolist()
    node_weight = level.node_weight.tolist()

    part = [-1] * n
    roots = iter(rng.permutation(n).tolist())
    free = int(level.node_weight.sum())
    for p in range(num_parts):
        wanted, load = free / (num_parts - p), 0
        tied: dict[int, float] = {}
        frontier: list[tuple[float, int]] = []
        while load < wanted:
            node = -1
            while frontier:
                negative, candidate = heapq.heappop(frontier)
                if part[candidate] < 0 and -negative == tied[candidate]:
                    node = candidate
                    break
            if node < 0:
                node = next((root for root in roots if part[root] < 0), -1)
            if node < 0:
                break
            part[node] = p
            load += node_weight[node]
            for edge in range(indptr[node], indptr[node + 1]):
                neighbour = target[edge]
                if part[neighbour] < 0:
                    tied[neighbour] = tied.get(neighbour, 0.0) + share[edge]
                    heapq.heappush(frontier, (-tied[neighbour], neighbour))
        free -= load
    return np.array(part, dtype=np.int64)
