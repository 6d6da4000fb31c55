"""Sorting pairs by key with little memory: first into buckets, then bucket by bucket.

What is sorted are pairs of a key, a row of a graph, and a payload below 2^43. A pair is one 64-bit
number while it is sorted. Pairs may lie in a file: they are written to it once, in as many runs
as there are buckets, and read once, in order.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .edges import row_blocks
from .mapped import new_tensor

_BUCKET = 2**20  # pairs that are sorted at once, and rows they may be of at most
_MOST_BUCKETS = 2**16 - 1  # their numbers are sorted by radix, as 16 bits
_PAYLOAD_BITS = 43

Pairs = Iterable[tuple[np.ndarray, np.ndarray]]


class BucketSort:
    """Pairs of key and payload, sorted by key, and by payload where keys are equal.

    Args:
        who: The public call on whose behalf errors speak.
        counts: ``(N,)`` pairs of each key.
        pairs: Gives all of them, in pieces of integers.
        folder: Where a file for them goes; ``None``: in memory.

    Attributes:
        bounds: ``(N + 1,)`` int64; the pairs of key ``k`` are ``bounds[k]:bounds[k + 1]``.
        store: ``(M,)`` int64, what the pairs are kept in. Its content before the place that
            :meth:`buckets` has reached is free for other use.
    """

    def __init__(
        self, who: str, counts: Tensor, pairs: Callable[[], Pairs], folder: Path | None = None
    ) -> None:
        self.bounds = torch.zeros(counts.numel() + 1, dtype=torch.int64)
        torch.cumsum(counts, 0, out=self.bounds[1:])
        total = int(self.bounds[-1])
        size = max(_BUCKET, -(-total // (_MOST_BUCKETS // 2)))
        self._blocks = list(row_blocks(self.bounds, size))
        self.store = new_tensor(who, (total,), torch.int64, folder).numpy()
        self._fill(pairs())

    def _fill(self, pairs: Pairs) -> None:
        firsts = np.array([first for first, _ in self._blocks])
        lengths = np.array([last - first for first, last in self._blocks])
        bucket_of = np.repeat(np.arange(len(firsts), dtype=np.uint16), lengths)
        reached = self.bounds.numpy()[firsts].tolist() if len(firsts) else []
        for keys, payloads in pairs:
            bucket = bucket_of[keys]
            entries = (keys - firsts[bucket]) << _PAYLOAD_BITS
            entries |= payloads
            entries = entries[np.argsort(bucket, kind='stable')]
            start = 0
            for b, count in enumerate(np.bincount(bucket).tolist()):
                self.store[reached[b] : reached[b] + count] = entries[start : start + count]
                reached[b] += count
                start += count

    def buckets(self) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
        """Ranges of keys ``a:b``, in order, each with the sorted keys (less ``a``) and payloads."""
        for a, b in self._blocks:
            bucket = torch.from_numpy(self.store[int(self.bounds[a]) : int(self.bounds[b])])
            entries = torch.sort(bucket, stable=True).values.numpy()  # by radix: faster than NumPy
            yield a, b, entries >> _PAYLOAD_BITS, entries & ((1 << _PAYLOAD_BITS) - 1)
