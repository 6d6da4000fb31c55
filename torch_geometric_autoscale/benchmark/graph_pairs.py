"""Pairs of small graphs, and how many rounds the Weisfeiler-Leman test needs to tell them apart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch_geometric.data import Data

Edges = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class GraphPair:
    """Two undirected graphs of as many nodes.

    Attributes:
        first, second: Their edges, each in one direction.
        num_nodes: Of each.
    """

    first: Edges
    second: Edges
    num_nodes: int

    def to_data(self) -> Data:
        """Both as one graph: ``x`` (2n, 1) of ones, float64; ``y`` (2n,) tells the graph."""
        n = self.num_nodes
        moved = [(a + n, b + n) for a, b in self.second]
        one_way = torch.tensor([*self.first, *moved]).t()
        return Data(
            x=torch.ones(2 * n, 1, dtype=torch.double),
            edge_index=torch.cat([one_way, one_way.flip(0)], dim=1),
            y=torch.arange(2).repeat_interleave(n),
        )


def path(n: int, first: int = 0) -> list[tuple[int, int]]:
    """Nodes in a row, numbered from ``first`` on."""
    return [(first + i, first + i + 1) for i in range(n - 1)]


def ring(n: int, first: int = 0, skip: int = 1) -> list[tuple[int, int]]:
    """Nodes in a ring, each joined with the one ``skip`` further on."""
    return [(first + i, first + (i + skip) % n) for i in range(n)]


RUNGS = [(0, 4), (1, 5), (2, 6), (3, 7)]
PAIRS: Mapping[str, GraphPair] = {
    'path and star': GraphPair(path(4), [(0, 1), (0, 2), (0, 3)], 4),
    'paths of 2 and 6, of 4 and 4': GraphPair(path(2) + path(6, 2), path(4) + path(4, 4), 8),
    'paths of 4 and 8, of 6 and 6': GraphPair(path(4) + path(8, 4), path(6) + path(6, 6), 12),
    'paths of 6 and 10, of 8 and 8': GraphPair(path(6) + path(10, 6), path(8) + path(8, 8), 16),
    'a ring of 6, two of 3': GraphPair(ring(6), ring(3) + ring(3, 3), 6),
    'decalin and bicyclopentyl': GraphPair(
        ring(10) + [(0, 5)], ring(5) + ring(5, 5) + [(0, 5)], 10
    ),
    'ladder and crossed ladder': GraphPair(ring(8) + RUNGS, ring(4) + ring(4, 4) + RUNGS, 8),
    'rings of 11 with skip links of 2, of 3': GraphPair(
        ring(11) + ring(11, skip=2), ring(11) + ring(11, skip=3), 11
    ),
}


def wl_rounds(pair: GraphPair) -> int | None:
    """Rounds of colour refinement until the colours of the two graphs differ; ``None``: never.

    1-WL (Weisfeiler & Leman 1968), by the definition: a node's colour becomes its own and the
    multiset of its neighbours'.
    """
    neighbours = [
        [[b if a == v else a for a, b in edges if v in (a, b)] for v in range(pair.num_nodes)]
        for edges in (pair.first, pair.second)
    ]
    colors = [[0] * pair.num_nodes, [0] * pair.num_nodes]
    for rounds in range(1, pair.num_nodes + 1):
        seen = [
            [(old[v], tuple(sorted(old[w] for w in of[v]))) for v in range(pair.num_nodes)]
            for old, of in zip(colors, neighbours, strict=True)
        ]
        names = {color: i for i, color in enumerate(sorted({*seen[0], *seen[1]}))}
        colors = [[names[color] for color in each] for each in seen]
        if sorted(colors[0]) != sorted(colors[1]):
            return rounds
    return None
