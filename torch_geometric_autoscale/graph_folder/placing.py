"""A counting sort of edges by target, in memory that does not grow with the edges.

One pass over the edges counts them by target; further passes write each to its place. A pass fills
a *window* of the sorted order, so that the pages that are written to lie together and fit into
memory even where the whole order does not: a graph whose edges fit takes one such pass.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from ..errors import explain
from .arrays import release
from .edge_chunks import EdgeStream

WINDOW_BYTES = 2**28


def count_by_target(edges: EdgeStream, degree: np.ndarray, who: str) -> Iterator[int]:
    """Add the number of edges into each node to ``degree`` (N,).

    Args:
        edges: The edges.
        degree: ``(N,)`` int64, zero.
        who: The public call on whose behalf errors speak.

    Yields:
        The number of edges counted since the last time.

    Raises:
        ValueError: An end of an edge is no node.
    """
    first, num_nodes = 0, len(degree)
    for source, target, _ in edges.chunks():
        for ids in (source, target):
            wrong = np.flatnonzero((ids < 0) | (ids >= num_nodes))
            if wrong.size:
                raise ValueError(
                    explain(who, f'node ids must lie in [0, {num_nodes:,})',
                            f'{ids[wrong[0]]:,} at edge {first + wrong[0]:,}',
                            'Correct it, or the number of nodes.')
                )  # fmt: skip
        np.add.at(degree, target, 1)
        first += len(target)
        yield len(target)


def windows(rowptr: np.ndarray, row_bytes: int, window_bytes: int | None = None) -> list[int]:
    """Bounds of ranges of nodes whose edges take about ``window_bytes`` each; ``[0, ..., N]``."""
    limit = max(1, (window_bytes or WINDOW_BYTES) // row_bytes)
    bounds = [0]
    num_nodes = len(rowptr) - 1
    while bounds[-1] < num_nodes:
        last = np.searchsorted(rowptr, rowptr[bounds[-1]] + limit, 'right') - 1
        bounds.append(int(max(last, bounds[-1] + 1)))
    return bounds


def place_edges(
    edges: EdgeStream,
    rowptr: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    who: str,
    window_bytes: int | None = None,
    start: int = 0,
) -> Iterator[tuple[int, int]]:
    """Write every edge to its place; those of one target keep their order.

    Args:
        edges: The edges.
        rowptr: ``(N + 1,)`` bounds of the places of each target.
        arrays: ``(E, ...)`` by name, to be filled: ``'col'`` with sources, the others with the
            stream's values.
        who: The public call on whose behalf errors speak.
        window_bytes: How much of the arrays to fill in one pass.
        start: How many windows are filled already.

    Yields:
        The number of windows filled, and of edges gone through since the last time.

    Raises:
        ValueError: The edges are not those that were counted.
    """
    bounds = windows(rowptr, _row_bytes(arrays), window_bytes)
    for window in range(start, len(bounds) - 1):
        for count in _fill_window(edges, rowptr, arrays, bounds[window], bounds[window + 1], who):
            yield window, count
        for array in arrays.values():
            release(array)
        yield window + 1, 0


def num_windows(
    rowptr: np.ndarray, arrays: Mapping[str, np.ndarray], window_bytes: int | None = None
) -> int:
    """How many passes :func:`place_edges` takes."""
    return len(windows(rowptr, _row_bytes(arrays), window_bytes)) - 1


def _row_bytes(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(
        array.dtype.itemsize * int(np.prod(array.shape[1:], dtype=np.int64))
        for array in arrays.values()
    )


def _fill_window(
    edges: EdgeStream,
    rowptr: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    low: int,
    high: int,
    who: str,
) -> Iterator[int]:
    whole = low == 0 and high == len(rowptr) - 1
    place = np.array(rowptr[low:high], dtype=np.int64)  # of each target's next edge
    end = rowptr[low + 1 : high + 1]
    for source, target, values in edges.chunks():
        inside = slice(None) if whole else np.flatnonzero((target >= low) & (target < high))
        by_target, order = torch.sort(torch.from_numpy(target[inside] - low), stable=True)
        nodes, rank, count = _ranks(by_target.numpy())
        to = np.repeat(place[nodes], count) + rank
        place[nodes] += count
        if (place[nodes] > end[nodes]).any():
            break
        rows = {'col': source, **values}
        for name, array in arrays.items():
            array[to] = rows[name][inside][order.numpy()]
        yield len(target)
    if not np.array_equal(place, end):
        raise ValueError(
            explain(who, 'the edges must be the same whenever they are read',
                    f'others into nodes from {low:,} to {high - 1:,}',
                    'Let nobody write to the source meanwhile.')
        )  # fmt: skip


def _ranks(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of sorted ids: each of them once, every entry's place among its equals, and their number."""
    change = np.ones(len(ids), dtype=bool)
    np.not_equal(ids[1:], ids[:-1], out=change[1:])
    first = np.flatnonzero(change)
    count = np.diff(np.append(first, len(ids)))
    return ids[first], np.arange(len(ids)) - np.repeat(first, count), count
