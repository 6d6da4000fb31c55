"""What a history needs from a store: rows of numbers in some encoding on some medium."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .encoding import Encoding, Fields
from .medium import Medium

# Which rows: ids, contiguous chunks as pairs of first row and length, or all of them in order.
Where = Tensor | Sequence[tuple[int, int]] | None

PIECE = 8 * 2**20  # bytes of rows that are encoded or decoded at a time, where all are


class Store(ABC):
    """A table of ``num_rows`` rows of ``width`` numbers.

    Here rows are encoded and decoded; a kind of store says how *encoded* rows are read and written.
    A store trusts its caller: :class:`History` has checked shapes, ids and chunks before.

    Args:
        num_rows, width: Shape of the table.
        encoding: How rows are kept.
        medium: Where.
    """

    def __init__(self, num_rows: int, width: int, encoding: Encoding, medium: Medium) -> None:
        self.num_rows, self.width = num_rows, width
        self.encoding, self.medium = encoding, medium

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where rows can be read without a transfer."""

    @property
    @abstractmethod
    def table(self) -> Tensor:
        """All rows, ``(num_rows, width)``; where they are kept as they are, without a copy."""

    @property
    @abstractmethod
    def is_untouched(self) -> bool:
        """Whether every row is known to be zero: none was ever asked for."""

    # Encoded rows ################################################################

    @abstractmethod
    def read(self, index: Tensor, out: Fields | None = None) -> Fields:
        """Copies of encoded rows by id, in tensors of their own or in those of ``out``."""

    @abstractmethod
    def read_range(self, first: int, length: int) -> Fields:
        """Encoded rows ``first`` to ``first + length - 1``, which must be left as they are."""

    @abstractmethod
    def write(self, index: Tensor, fields: Fields) -> None:
        """Write encoded rows by id."""

    @abstractmethod
    def write_range(self, first: int, fields: Fields) -> None:
        """Write encoded rows from row ``first`` on."""

    @abstractmethod
    def reset(self) -> None:
        """Set every row to zero."""

    @abstractmethod
    def state(self) -> Fields:
        """Every encoded row, without a copy: for a checkpoint, which reads it in pieces."""

    @abstractmethod
    def load(self, state: dict[str, Any]) -> None:
        """Take over a copy of what :meth:`state` of a store of this encoding gave."""

    @abstractmethod
    def empty(self, encoding: Encoding, medium: Medium) -> 'Store':
        """A store of this kind and shape with rows of zeros."""

    # Rows ########################################################################

    def pull(self, index: Tensor | None, out: Tensor | None = None) -> Tensor:
        """A copy of rows, or ``out`` filled with them, in any type and on any device."""
        if index is None:
            return self._pull_all(out)
        target = index.device if out is None else out.device
        index = index_on(self.device, index)
        if out is not None and self._takes_as_it_is(out):
            self.read(index, {'emb': out})
            return out
        fields = {name: _moved(field, target) for name, field in self.read(index).items()}
        return self.encoding.decode(fields, out)

    def push(self, rows: Tensor, where: Where) -> None:
        """Write rows, of any type and on any device.

        Raises:
            ValueError: A number does not fit the encoding. Nothing is written then.
        """
        self.encoding.check(rows)
        if where is None:
            for first, length in self.pieces():
                piece = rows[first : first + length]
                self.write_range(first, self.encoding.encode(piece))
            return
        fields = self.encoding.encode(rows)
        if isinstance(where, Tensor):
            self.write(index_on(self.device, where), fields)
            return
        start = 0
        for first, length in where:
            part = {name: field[start : start + length] for name, field in fields.items()}
            self.write_range(first, part)
            start += length

    def converted(self, encoding: Encoding, medium: Medium) -> 'Store':
        """A store of this kind with these rows in another encoding, on another medium.

        Raises:
            ValueError: A number does not fit the encoding.
            OSError: The medium has not enough room.
        """
        new = self.empty(encoding, medium)
        if self.is_untouched:
            return new
        if encoding.dtype == self.encoding.dtype:
            new.load(self.state())
            return new
        for first, length in self.pieces():
            rows = self.encoding.decode(self.read_range(first, length))
            new.push(rows, [(first, length)])
        return new

    @property
    def num_bytes(self) -> int:
        """Size of all encoded rows."""
        return self.num_rows * self.encoding.row_bytes(self.width)

    def pieces(self) -> list[tuple[int, int]]:
        """The whole table in pieces, as pairs of first row and length."""
        length = max(1, PIECE // max(1, 4 * self.width))
        starts = range(0, self.num_rows, length)
        return [(first, min(length, self.num_rows - first)) for first in starts]

    def _pull_all(self, out: Tensor | None) -> Tensor:
        if out is None:
            shape, dtype = (self.num_rows, self.width), self.encoding.row_dtype
            out = torch.empty(shape, dtype=dtype, device=self.device)
        for first, length in self.pieces():
            self.encoding.decode(self.read_range(first, length), out[first : first + length])
        return out

    def _takes_as_it_is(self, out: Tensor) -> bool:
        """Whether encoded rows are the numbers of ``out``, which can be written there at once."""
        as_it_is = out.dtype == self.encoding.dtype and out.dtype.is_floating_point
        return as_it_is and out.device == self.device and out.is_contiguous()


def index_on(device: torch.device, index: Tensor) -> Tensor:
    """Row ids where a table is; on their way to a device nobody waits for them."""
    return index.to(device, torch.int64, non_blocking=device.type != 'cpu')


def _moved(field: Tensor, device: torch.device) -> Tensor:
    # From locked memory the device fetches it by itself; PyTorch keeps the rows until it has.
    return field.to(device, non_blocking=device.type != 'cpu')
