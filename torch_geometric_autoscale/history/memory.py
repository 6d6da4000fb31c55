"""Rows in main memory, or in that of a device."""

import torch
from torch import Tensor

from .table import TableStore


class MemoryStore(TableStore):
    """A table in memory.

    Args:
        num_rows, width, dtype: As in :class:`TableStore`.
        device: Whose memory (default: the CPU's).
    """

    tier = 'ram'

    def __init__(
        self,
        num_rows: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str | None = None,
    ) -> None:
        self._device = torch.device(device or 'cpu')
        super().__init__(num_rows, width, dtype)

    def _allocate(self, dtype: torch.dtype) -> Tensor:
        return torch.zeros(self.num_rows, self.width, dtype=dtype, device=self._device)
