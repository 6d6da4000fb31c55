"""Costs that are a sum over rows and edges: a linear model with coefficients that are not negative.

Whatever a step allocates has a row per batch node, per halo node or per edge, or a size of its
own (parameters and their gradients). So bytes are linear in those counts as long as the peak stays
at the same place of the step, and a few batches of different composition determine them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Counts(NamedTuple):
    """The size of one batch.

    Attributes:
        rows: Batch nodes ``B``.
        halo: Halo nodes ``H``.
        edges: Edges into batch nodes ``E_b``.
    """

    rows: float
    halo: float
    edges: float

    def __mul__(self, factor: object) -> 'Counts':
        assert isinstance(factor, (int, float))
        return Counts(self.rows * factor, self.halo * factor, self.edges * factor)


@dataclass(frozen=True)
class LinearCost:
    """``fixed + per_row * B + per_halo * H + per_edge * E_b``, of bytes or of seconds.

    Attributes:
        error: Largest relative deviation from what it was fitted to.
    """

    fixed: float = 0.0
    per_row: float = 0.0
    per_halo: float = 0.0
    per_edge: float = 0.0
    error: float = 0.0

    def __call__(self, counts: Counts) -> float:
        return (
            self.fixed
            + self.per_row * counts.rows
            + self.per_halo * counts.halo
            + self.per_edge * counts.edges
        )

    def of_all(self, rows: Floats, halo: Floats, edges: Floats) -> Floats:
        """The same for many batches at once."""
        return self.fixed + self.per_row * rows + self.per_halo * halo + self.per_edge * edges


@dataclass(frozen=True)
class LargestCost:
    """The largest of several costs."""

    costs: tuple[LinearCost, ...]

    def __call__(self, counts: Counts) -> float:
        return max(cost(counts) for cost in self.costs)

    @property
    def error(self) -> float:
        """Largest relative deviation of any of them."""
        return max(cost.error for cost in self.costs)


def fit_cost(
    counts: Sequence[Counts], values: Sequence[float], relative: bool = True
) -> LinearCost:
    """Least squares without negative coefficients.

    Args:
        counts: Sizes of the batches.
        values: What each of them cost; positive.
        relative: Whether errors count in proportion to the values. If not, the large ones matter
            most, which suits values that are disturbed.
    """
    design = [[1.0, *(float(value) for value in entry)] for entry in counts]
    wanted = [max(float(value), 1e-12) for value in values]
    scale = [max(max(row[i] for row in design), 1e-12) for i in range(4)]
    by = wanted if relative else [max(wanted)] * len(wanted)
    rows = [
        [value / size / weight for value, size in zip(row, scale, strict=True)]
        for row, weight in zip(design, by, strict=True)
    ]
    found = _non_negative(rows, [a / b for a, b in zip(wanted, by, strict=True)])
    found = [value / size for value, size in zip(found, scale, strict=True)]
    error = max(
        abs(_dot(row, found) / value - 1) for row, value in zip(design, wanted, strict=True)
    )
    fixed, per_row, per_halo, per_edge = found
    return LinearCost(fixed, per_row, per_halo, per_edge, error)


# In plain Python: the first call of numpy's solvers takes tens of megabytes for good.


def _non_negative(rows: list[list[float]], wanted: list[float]) -> list[float]:
    """Solve ``min |rows @ x - wanted|`` over ``x >= 0``.

    With four unknowns every choice of those that are zero can be tried; the best feasible one
    is the solution, as the problem is convex.
    """
    width = len(rows[0])
    best, smallest = [0.0] * width, math.inf
    for choice in range(1, 2**width):
        kept = [i for i in range(width) if choice >> i & 1]
        part = _least_squares([[row[i] for i in kept] for row in rows], wanted)
        if part is None or min(part) < 0:
            continue
        x = [0.0] * width
        for i, value in zip(kept, part, strict=True):
            x[i] = value
        distance = sum((_dot(row, x) - value) ** 2 for row, value in zip(rows, wanted, strict=True))
        if distance < smallest:
            best, smallest = x, distance
    return best


def _least_squares(rows: list[list[float]], wanted: list[float]) -> list[float] | None:
    """Orthogonalise the columns one after the other; ``None`` if one depends on the others."""
    columns = [list(column) for column in zip(*rows, strict=True)]
    upper = [[0.0] * len(columns) for _ in columns]
    right, rest = [], list(wanted)
    for k, column in enumerate(columns):
        before = math.sqrt(_dot(column, column))
        for _ in range(2):  # twice, or rounding would leave something of the earlier ones
            for j in range(k):
                share = _dot(columns[j], column)
                upper[j][k] += share
                column[:] = [a - share * b for a, b in zip(column, columns[j], strict=True)]
        length = math.sqrt(_dot(column, column))
        if length <= 1e-9 * before or before == 0.0:
            return None
        upper[k][k] = length
        column[:] = [value / length for value in column]
        right.append(_dot(column, rest))
        rest = [a - right[k] * b for a, b in zip(rest, column, strict=True)]
    x = [0.0] * len(columns)
    for k in reversed(range(len(columns))):
        x[k] = (right[k] - sum(upper[k][j] * x[j] for j in range(k + 1, len(x)))) / upper[k][k]
    return x


def _dot(a: Sequence[float], b: Sequence[float]) -> float:
    return math.fsum(x * y for x, y in zip(a, b, strict=True))
