"""Pinned buffers that are used again and again, each once the last copy from or to it is over."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ..history.encoding import Fields
from .runtime import Event, Runtime

PIECE_IN_BYTES = 4 * 2**20  # of rows that are copied at once; the next is gathered meanwhile
AT_MOST = 4  # buffers of a kind; whoever wants another waits for the oldest
_ALIGNED = 256

Layout = Mapping[str, tuple[int, torch.dtype]]  # width and type of each field


class Buffers:
    """A ring of pinned buffers of one size: that of the largest piece so far.

    For one thread. Nobody tells a size: a buffer that is too small is made anew in its turn.

    Args:
        runtime: Makes them.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._ring: list[Tensor | None] = [None] * AT_MOST
        self._busy: list[Event | None] = [None] * AT_MOST
        self._next = 0

    def take(self, rows: int, layout: Layout) -> tuple[int, Fields]:
        """Number and fields of the next buffer; waits until nothing copies from or to it.

        Args:
            rows: How many rows it shall hold.
            layout: Their fields.
        """
        number = self._next
        self._next = (number + 1) % AT_MOST
        event = self._busy[number]
        if event is not None:
            event.block()
            self._busy[number] = None
        size = sum(_aligned(rows * width * dtype.itemsize) for width, dtype in layout.values())
        buffer = self._ring[number]
        if buffer is None or buffer.numel() < size:
            buffer = self._ring[number] = self._runtime.pinned(size)
        fields, start = {}, 0
        for name, (width, dtype) in layout.items():
            stop = start + rows * width * dtype.itemsize
            fields[name] = buffer[start:stop].view(dtype).view(rows, width)
            start += _aligned(stop - start)
        return number, fields

    def busy_until(self, number: int, event: Event) -> None:
        """Buffer ``number`` is not to be taken before ``event``."""
        self._busy[number] = event

    @property
    def num_bytes(self) -> int:
        """Size of all buffers."""
        return sum(buffer.numel() for buffer in self._ring if buffer is not None)

    def release(self) -> None:
        """Give the memory back, once nothing is copied from or to it any more."""
        for event in self._busy:
            if event is not None:
                event.block()
        self._ring, self._busy = [None] * AT_MOST, [None] * AT_MOST


def rows_per_piece(layout: Layout) -> int:
    """Rows that make up one piece."""
    row = sum(width * dtype.itemsize for width, dtype in layout.values())
    return max(1, PIECE_IN_BYTES // max(row, 1))


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
