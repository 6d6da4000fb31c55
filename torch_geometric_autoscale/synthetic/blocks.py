"""Communities in communities: nested ranges of nodes."""

import numpy as np

from .recipe import FANOUT, LARGEST, SIZE_EXPONENT, SMALLEST


def draw_communities(num_nodes: int, rng: np.random.Generator) -> np.ndarray:
    """Bounds of communities ``[0, ..., N]`` whose sizes follow a power law.

    Sizes lie between ``SMALLEST`` and ``LARGEST`` (the last two may be a little larger).
    """
    ends = np.empty(0, dtype=np.int64)
    while ends.size == 0 or ends[-1] < num_nodes:
        first = int(ends[-1]) if ends.size else 0
        count = max(16, (num_nodes - first) // (2 * SMALLEST))
        sizes = truncated_pareto(rng.random(count), SMALLEST, LARGEST, SIZE_EXPONENT)
        ends = np.append(ends, first + np.cumsum(sizes.astype(np.int64)))
    inner = ends[ends <= num_nodes - SMALLEST]
    return np.concatenate([[0], inner, [num_nodes]])


def nested(bounds: np.ndarray) -> list[np.ndarray]:
    """Bounds of the blocks of every level, from communities to all nodes as one.

    A block of one level is made of ``FANOUT`` neighbouring ones of the level below.
    """
    levels = [bounds]
    while len(levels[-1]) > 2:
        inner = levels[-1][:-1:FANOUT]
        levels.append(np.append(inner, bounds[-1]))
    return levels


def truncated_pareto(uniform: np.ndarray, low: float, high: float, exponent: float) -> np.ndarray:
    """Numbers between ``low`` and ``high`` with a density that falls as ``x ** -exponent``.

    Args:
        uniform: Uniform numbers between 0 and 1.
    """
    power = exponent - 1
    return low * (1 - uniform * (1 - (low / high) ** power)) ** (-1 / power)


def mean_of_pareto(low: float, high: float, exponent: float) -> float:
    """The expected value of :func:`truncated_pareto`, by the midpoint rule."""
    spots = (np.arange(100_000) + 0.5) / 100_000
    return float(truncated_pareto(spots, low, high, exponent).mean())
