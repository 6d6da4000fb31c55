"""Parts of equal size drawn by chance: the baseline that every partitioner must beat."""

import numpy as np

from ..edges import Edges
from .simple_graph import Ints


def random_parts(graph: Edges, num_parts: int, seed: int) -> Ints:
    """Part of every node, ``(N,)``; sizes differ by at most one."""
    part = np.arange(graph.num_nodes) % num_parts
    return np.random.default_rng(seed).permutation(part)
