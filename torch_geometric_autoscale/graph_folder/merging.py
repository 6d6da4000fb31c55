"""Equal edges made one, row by row."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from .arrays import release

BLOCK = 2**20  # edges whose rows are merged at once


def merge_equal_edges(
    rowptr: np.ndarray,
    arrays: Mapping[str, np.ndarray],
    merged_rowptr: np.ndarray,
    merged: Mapping[str, np.ndarray],
) -> Iterator[int]:
    """Keep one of the edges from one node to another, and sort those of each target by source.

    Floating-point values of equal edges add up, in double precision and in their order; of other
    values the first is kept.

    Args:
        rowptr: ``(N + 1,)`` bounds of each target's edges.
        arrays: ``'col'`` and values of the edges, ``(E, ...)``.
        merged_rowptr: ``(N + 1,)``, to be filled.
        merged: Arrays of the same names, at least as long as the result, to be filled. Not those
            of ``arrays``: a pass that was interrupted can then be made again.

    Yields:
        The number of edges read since the last time.
    """
    num_nodes, done = len(rowptr) - 1, 0
    merged_rowptr[0] = 0
    low = 0
    while low < num_nodes:
        limit = np.searchsorted(rowptr, rowptr[low] + BLOCK, 'right') - 1
        high = int(min(max(limit, low + 1), low + BLOCK))
        first, last = int(rowptr[low]), int(rowptr[high])
        row = np.repeat(np.arange(high - low), np.diff(rowptr[low : high + 1]))
        key, order = torch.sort(
            torch.from_numpy(row * num_nodes + arrays['col'][first:last]), stable=True
        )
        kept = np.ones(last - first, dtype=bool)
        np.not_equal(key.numpy()[1:], key.numpy()[:-1], out=kept[1:])
        starts = np.flatnonzero(kept)
        for name, array in arrays.items():
            rows = array[first:last][order.numpy()]
            if name != 'col' and rows.dtype.kind == 'f' and len(rows):
                rows = np.add.reduceat(rows, starts, axis=0, dtype=np.float64)
            else:
                rows = rows[starts]
            merged[name][done : done + len(starts)] = rows
        count = np.bincount(key.numpy()[starts] // num_nodes, minlength=high - low)
        merged_rowptr[low + 1 : high + 1] = done + np.cumsum(count)
        done += len(starts)
        for array in (*arrays.values(), *merged.values()):
            release(array)
        yield last - first
        low = high
