"""Edges by matching stubs within blocks, level by level."""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch

from ..graph_folder.placing import windows
from .blocks import mean_of_pareto, truncated_pareto
from .recipe import ROOM, STAY, Recipe

STUBS = 2**20  # that are matched at once, or one block


def draw_degrees(recipe: Recipe, rng: np.random.Generator) -> np.ndarray:
    """How many stubs each node has, ``(N,)`` int32, by a power law of the mean that is wanted.

    The largest is the square root of the number of edges, beyond which few pairs of nodes are
    not joined twice.
    """
    high = max(2 * recipe.avg_degree, math.sqrt(recipe.num_nodes * recipe.avg_degree))
    low, top = recipe.avg_degree / 100, recipe.avg_degree
    for _ in range(40):  # the mean grows with the least degree
        middle = (low + top) / 2
        if mean_of_pareto(middle, high, recipe.exponent) < recipe.avg_degree:
            low = middle
        else:
            top = middle
    wanted = truncated_pareto(rng.random(recipe.num_nodes), low, high, recipe.exponent)
    wanted += rng.random(recipe.num_nodes)  # rounded at random
    return wanted.astype(np.int32)


class Matching:
    """Edges between nodes in the order of their communities, each once.

    Args:
        degrees: ``(N,)`` stubs of each node.
        levels: Bounds of the blocks of each level; the last one is all nodes.
        seed: Of all random numbers.

    Attributes:
        num_stubs: How many stubs there are.
    """

    def __init__(self, degrees: np.ndarray, levels: list[np.ndarray], seed: int) -> None:
        self._degrees, self._levels, self._seed = degrees, levels, seed
        self.num_stubs = int(degrees.sum(dtype=np.int64))

    def pairs(self) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
        """Both ends of some edges, without self-loops, and the number of stubs they took."""
        left = self._degrees.copy()
        for level, bounds in enumerate(self._levels):
            stubs = self._stay(left, level)
            left -= stubs
            per_block = np.add.reduceat(stubs, bounds[:-1], dtype=np.int64)
            before = np.append(0, np.cumsum(per_block))
            ranges = windows(before, 1, STUBS)
            for chunk, (first, last) in enumerate(pairwise(ranges)):
                rng = random_numbers(self._seed, 'matching', level, chunk)
                yield from _match(stubs, bounds[first : last + 1], rng)

    def _stay(self, left: np.ndarray, level: int) -> np.ndarray:
        """How many of the stubs that are left each node spends within its block of a level."""
        bounds = self._levels[level]
        if level == len(self._levels) - 1:
            return left.copy()
        rng = random_numbers(self._seed, 'level', level)
        share = (STAY * left + rng.random(len(left), dtype=np.float32)).astype(np.int32)
        size = np.diff(bounds)
        room = np.repeat((size // ROOM).astype(np.int32), size)
        return np.minimum(share, room)


def _match(
    stubs: np.ndarray, bounds: np.ndarray, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """Pair the stubs of each block at random; an odd one stays alone."""
    low, high = int(bounds[0]), int(bounds[-1])
    node = np.repeat(np.arange(low, high), stubs[low:high])
    block = np.repeat(
        np.arange(len(bounds) - 1), np.add.reduceat(stubs[low:high], bounds[:-1] - low)
    )
    key = (block << 32) | rng.integers(0, 2**32, len(node), dtype=np.uint32)
    order = torch.sort(torch.from_numpy(key), stable=True).indices.numpy()
    node = node[order]  # by block, at random within
    count = np.bincount(block, minlength=len(bounds) - 1)
    odd = np.cumsum(count)[count % 2 == 1] - 1
    pairs = np.delete(node, odd).reshape(-1, 2)
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    yield pairs[:, 0], pairs[:, 1], len(order)


def random_numbers(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator for one purpose, whatever is drawn for others."""
    words = [
        int.from_bytes(word.encode(), 'little') if isinstance(word, str) else word
        for word in purpose
    ]
    entropy = [seed, len(words), *words]  # NumPy takes no notice of zeros at the end
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
