"""Where the stored entries of some rows are, row by row and, for products, column by column."""

from typing import NamedTuple

import torch
from torch import Tensor


class ByColumn(NamedTuple):
    """The same entries, sorted by column.

    Attributes:
        bounds: ``(F + 1,)``; the entries of column ``j`` are ``bounds[j]:bounds[j + 1]``.
        row: ``(nnz,)`` row of each entry.
        order: ``(nnz,)`` where each entry stands in the order of rows.
    """

    bounds: Tensor
    row: Tensor
    order: Tensor


class RowPattern:
    """The places of the stored entries of a matrix ``(n, F)``; shared by all that have them.

    Args:
        crow: ``(n + 1,)``; the entries of row ``i`` are ``crow[i]:crow[i + 1]``.
        col: ``(nnz,)`` their columns, of the same integer type.
        num_columns: ``F``.
    """

    def __init__(self, crow: Tensor, col: Tensor, num_columns: int) -> None:
        self.crow, self.col, self.num_columns = crow, col, num_columns
        self._by_column: ByColumn | None = None

    @property
    def size(self) -> tuple[int, int]:
        return self.crow.numel() - 1, self.num_columns

    def to(self, device: torch.device) -> 'RowPattern':
        if device == self.col.device:
            return self
        return RowPattern(self.crow.to(device), self.col.to(device), self.num_columns)

    def row(self) -> Tensor:
        """The row of every entry, ``(nnz,)`` int64."""
        ids = torch.arange(self.size[0], device=self.col.device)
        return torch.repeat_interleave(ids, self.crow.diff(), output_size=self.col.numel())

    def by_column(self) -> ByColumn:
        """The entries sorted by column; sorted when first needed, and kept."""
        if self._by_column is None:
            with torch.inference_mode(False):  # what is kept may serve a training step later
                order = _order(self.col, self.num_columns)
                bounds = self.crow.new_zeros(self.num_columns + 1)
                bounds[1:] = torch.bincount(self.col, minlength=self.num_columns).cumsum(0)
                row = self.row().to(self.col.dtype).index_select(0, order)
                self._by_column = ByColumn(bounds, row, order)
        return self._by_column

    # Rows ########################################################################

    def between(self, start: int, stop: int) -> tuple['RowPattern', slice]:
        """Rows ``start:stop``, and which entries theirs are."""
        crow = self.crow[start : stop + 1]
        first, last = int(crow[0]), int(crow[-1])
        return RowPattern(crow - first, self.col[first:last], self.num_columns), slice(first, last)

    def take(self, ids: Tensor) -> tuple['RowPattern', Tensor]:
        """The rows ``ids``, which lie in ``[0, n)``, and which entries theirs are, ``(nnz,)``."""
        start = self.crow.index_select(0, ids)
        count = self.crow.index_select(0, ids + 1) - start
        crow = self.crow.new_zeros(ids.numel() + 1)
        torch.cumsum(count, 0, out=crow[1:])
        size = int(crow[-1])
        shift = torch.repeat_interleave(start - crow[:-1], count, output_size=size)
        entries = shift.add_(torch.arange(size, dtype=shift.dtype, device=shift.device))
        return RowPattern(crow, self.col.index_select(0, entries), self.num_columns), entries


def _order(col: Tensor, num_columns: int) -> Tensor:
    """What sorts entries by column and keeps those of a column in their order."""
    if col.device.type == 'cpu' and num_columns <= 2**16:
        # For 16 bits NumPy sorts by counting: several times faster than a sort of wide integers.
        order = col.numpy().astype('uint16').argsort(kind='stable')
        return torch.from_numpy(order).to(col.dtype)
    return torch.argsort(col, stable=True).to(col.dtype)
