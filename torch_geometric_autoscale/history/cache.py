"""A bounded cache in front of a store.

It keeps the rows that have been read most often. Batches read the same halo rows in every epoch, a
node at the border of many partitions in many batches, so that what was read often will be; a cache
of the rows that were read *last* would have lost them by then. Free places are taken by whatever is
read first; which rows are worth theirs is thought over each time the number of reads has doubled.

Writes go through to the store at once and to cached rows at the same time: nothing has to be
flushed, and a checkpoint reads the store alone. What is kept are encoded rows, the bits of the
store.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import explain
from .encoding import Encoding, Fields
from .medium import Medium
from .store import Store

INDEX_BYTES = 8  # for each row of the table: its place in the cache, and how often it was read


class CachedStore(Store):
    """A store of which some rows lie in other memory as well.

    Args:
        below: The store with all rows.
        size_in_bytes: Room for cached rows and for the cache's index of all rows.
        device: In whose memory (default: main memory).

    Attributes:
        capacity: Rows that there is room for.
        num_reads, num_hits: Rows that were read by id, and those of them that were in the cache.

    Raises:
        ValueError: There is not room for the index and one row.
    """

    def __init__(
        self, below: Store, size_in_bytes: int, device: torch.device | str | None = None
    ) -> None:
        super().__init__(below.num_rows, below.width, below.encoding, below.medium)
        self.below, self.size_in_bytes = below, size_in_bytes
        self._device = torch.device(device or 'cpu')
        index, row = smallest_cache(below.num_rows, below.width, below.encoding)
        if size_in_bytes < index + row:
            raise ValueError(
                explain('History', f'a cache of this table takes {index + row:,} bytes at least, '
                        f'{index:,} for its index', f'{size_in_bytes:,}',
                        'Give it more, or leave it out.')
            )  # fmt: skip
        fits = (size_in_bytes - index) // row if row else below.num_rows
        self.capacity = min(fits, below.num_rows)
        with torch.inference_mode(False):  # the cache outlives an evaluation
            self._place = self._new(below.num_rows, torch.int32).fill_(-1)
            self._times_read = self._new(below.num_rows, torch.int32)
            self._rows: Fields = {
                name: self._new((self.capacity, size), dtype)
                for name, (size, dtype) in self.encoding.fields(self.width).items()
            }
        self._num_cached = 0
        self._rethink_at = below.num_rows
        self.num_reads = self.num_hits = 0

    def _new(self, shape: int | tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self._device)

    @property
    def device(self) -> torch.device:
        return self._device

    @property
    def table(self) -> Tensor:
        return self.below.table

    @property
    def is_untouched(self) -> bool:
        return self.below.is_untouched

    # Reading #####################################################################

    def read(self, index: Tensor, out: Fields | None = None) -> Fields:
        index = index.to(self.device)
        places = self._place[index]
        missing = (places < 0).nonzero().view(-1)
        self._times_read.index_add_(0, index, torch.ones_like(places))
        self.num_reads += index.numel()
        self.num_hits += index.numel() - missing.numel()
        found = self._read_cached(places.clamp(min=0), out)
        if missing.numel():
            for name, rows in self.below.read(index[missing]).items():
                found[name].index_copy_(0, missing, rows.to(self.device))
        if missing.numel() and self._num_cached < self.capacity:
            self._fill(index[missing].unique())
        if self.num_reads >= self._rethink_at:
            self._rethink()
        return found

    def _read_cached(self, places: Tensor, out: Fields | None) -> Fields:
        if out is None:
            return {name: rows.index_select(0, places) for name, rows in self._rows.items()}
        return {
            name: torch.index_select(rows, 0, places, out=out[name])
            for name, rows in self._rows.items()
        }

    def read_range(self, first: int, length: int) -> Fields:
        return self.below.read_range(first, length)

    # What is kept ################################################################

    def _fill(self, rows: Tensor) -> None:
        """Take rows in that were not there, as far as there is room."""
        rows = rows[: self.capacity - self._num_cached]
        free = torch.arange(self._num_cached, self._num_cached + rows.numel(), device=self.device)
        self._num_cached += rows.numel()
        self._take(rows, free)

    def _rethink(self) -> None:
        """Keep the rows that were read most often so far."""
        self._rethink_at = 2 * self.num_reads
        cached = self._place >= 0
        wanted = torch.zeros_like(cached)
        # Of rows that were read equally often, those that are there stay.
        wanted[(2 * self._times_read + cached).topk(self.capacity, sorted=False).indices] = True
        come = (wanted & ~cached & (self._times_read > 0)).nonzero().view(-1)
        leave = (cached & ~wanted).nonzero().view(-1)
        free = self._place[leave].long()
        self._place[leave] = -1
        self._take(come[: free.numel()], free)
        self._fill(come[free.numel() :])

    def _take(self, rows: Tensor, places: Tensor) -> None:
        for some, there in zip(rows.split(2**14), places.split(2**14), strict=False):
            for name, fields in self.below.read(some).items():
                self._rows[name].index_copy_(0, there, fields.to(self.device))
            self._place[some] = there.to(torch.int32)

    def _forget(self) -> None:
        self._place.fill_(-1)
        self._num_cached = 0

    # Writing #####################################################################

    def write(self, index: Tensor, fields: Fields) -> None:
        self.below.write(index, fields)
        index = index.to(self.device)
        self._update(self._place[index], fields)

    def write_range(self, first: int, fields: Fields) -> None:
        self.below.write_range(first, fields)
        length = fields['emb'].size(0)
        self._update(self._place[first : first + length], fields)

    def _update(self, places: Tensor, fields: Fields) -> None:
        cached = (places >= 0).nonzero().view(-1)
        if cached.numel():
            there = places[cached].long()
            for name, rows in fields.items():
                chosen = rows.index_select(0, cached.to(rows.device))
                self._rows[name].index_copy_(0, there, chosen.to(self.device))

    def reset(self) -> None:
        self.below.reset()
        self._forget()

    def state(self) -> Fields:
        return self.below.state()

    def load(self, state: dict[str, Any]) -> None:
        self.below.load(state)
        self._forget()

    def empty(self, encoding: Encoding, medium: Medium) -> 'CachedStore':
        least = sum(smallest_cache(self.num_rows, self.width, encoding))  # for one wider row
        size = max(self.size_in_bytes, least)
        return CachedStore(self.below.empty(encoding, medium), size, self._device)

    def __reduce__(self) -> Any:  # a copy begins with an empty cache
        return CachedStore, (self.below, self.size_in_bytes, self._device)


def smallest_cache(num_rows: int, width: int, encoding: Encoding) -> tuple[int, int]:
    """Bytes that the index of a cache and each cached row take."""
    return INDEX_BYTES * num_rows, encoding.row_bytes(width)
