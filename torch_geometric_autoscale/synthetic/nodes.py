"""What nodes are given: classes, features and a split."""

from collections.abc import Iterator

import numpy as np

from .matching import random_numbers
from .recipe import Recipe

NODES = 2**17  # that are drawn at once


class NodeValues:
    """Class, features and split of every node.

    Every community has a class. A node's features are the centre of that class and noise; its
    label is that class, or with a small probability any.

    Args:
        recipe: The numbers.
        bounds: ``(num_communities + 1,)`` bounds of communities.
        place: ``(N,)`` where each node stands in the order of communities.
    """

    def __init__(self, recipe: Recipe, bounds: np.ndarray, place: np.ndarray) -> None:
        self._recipe, self._bounds, self._place = recipe, bounds, place
        rng = random_numbers(recipe.seed, 'classes')
        self._class_of = rng.integers(0, recipe.num_classes, len(bounds) - 1)
        centres = rng.standard_normal((recipe.num_classes, recipe.num_features), dtype=np.float32)
        self._centres = np.float32(recipe.signal) * centres

    def arrays(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Names of the arrays, shapes of their rows, and types."""
        return {
            'x': ((self._recipe.num_features,), np.float32),
            'y': ((), np.int64),
            'community': ((), np.int32),
            **{f'{split}_mask': ((), np.bool_) for split in ('train', 'val', 'test')},
        }

    def copy_to(self, arrays: dict[str, np.ndarray], start: int = 0) -> Iterator[tuple[int, int]]:
        """Fill the arrays from a row on; yields the row reached, and the number of rows since."""
        recipe = self._recipe
        for first in range(start - start % NODES, recipe.num_nodes, NODES):
            last = min(first + NODES, recipe.num_nodes)
            rng = random_numbers(recipe.seed, 'nodes', first // NODES)
            community = np.searchsorted(self._bounds, self._place[first:last], 'right') - 1
            kind = self._class_of[community]
            size = last - first
            x = rng.standard_normal((size, recipe.num_features), dtype=np.float32)
            x += self._centres[kind]
            noisy = rng.random(size) < recipe.label_noise
            spot = rng.random(size)
            arrays['x'][first:last] = x
            arrays['community'][first:last] = community
            arrays['y'][first:last] = np.where(
                noisy, rng.integers(0, recipe.num_classes, size), kind
            )
            arrays['train_mask'][first:last] = spot < recipe.train
            arrays['val_mask'][first:last] = (spot >= recipe.train) & (
                spot < recipe.train + recipe.val
            )
            arrays['test_mask'][first:last] = spot >= recipe.train + recipe.val
            yield last, last - first
