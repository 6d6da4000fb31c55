"""Stores that keep rows as they are in one tensor, wherever its memory comes from."""

from abc import abstractmethod

import torch
from torch import Tensor

from .store import Store, Where


class TableStore(Store):
    """A store whose rows are those of one tensor.

    Args:
        num_rows, width: Shape of the table.
        dtype: Type of its entries.
    """

    def __init__(self, num_rows: int, width: int, dtype: torch.dtype) -> None:
        self.num_rows, self.width = num_rows, width
        self._table = self._new(dtype)

    @abstractmethod
    def _allocate(self, dtype: torch.dtype) -> Tensor:
        """A table of zeros."""

    def _new(self, dtype: torch.dtype) -> Tensor:
        with torch.inference_mode(False):  # the table outlives an evaluation
            return self._allocate(dtype)

    @property
    def dtype(self) -> torch.dtype:
        return self._table.dtype

    @property
    def device(self) -> torch.device:
        return self._table.device

    @property
    def table(self) -> Tensor:
        return self._table

    def pull(self, index: Tensor | None, out: Tensor | None = None) -> Tensor:
        if index is None:
            return self._table.clone() if out is None else out.copy_(self._table)
        place = index.device
        index = index.to(self.device, torch.int64)
        direct = out is not None and out.dtype == self.dtype and out.device == self.device
        if direct and out is not None and out.is_contiguous():
            return torch.index_select(self._table, 0, index, out=out)
        rows = self._table.index_select(0, index)
        return rows.to(place) if out is None else out.copy_(rows)

    def push(self, rows: Tensor, where: Where) -> None:
        if where is None:
            self._table.copy_(rows)
        elif isinstance(where, Tensor):
            index = where.to(self.device, torch.int64)
            self._table.index_copy_(0, index, rows.to(self.device, self.dtype))
        else:
            start = 0
            for first, length in where:
                self._table[first : first + length] = rows[start : start + length].to(self.device)
                start += length

    def reset(self) -> None:
        self._table.zero_()

    def widen(self, dtype: torch.dtype) -> None:
        self._table = self._new(dtype).copy_(self._table)

    def state(self) -> dict[str, Tensor]:
        return {'emb': self._table}

    def load(self, state: dict[str, Tensor]) -> None:
        rows = state['emb'].detach()
        if rows.dtype != self.dtype:
            self._table = self._new(rows.dtype)
        self._table.copy_(rows)
