"""What a store needs from a storage medium: tensors."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor


class Medium(ABC):
    """Where tensors lie.

    Attributes:
        tier: Its name, as in ``history.tier=``.
        device: Where such a tensor can be read without a transfer.
        is_lazy: Whether zeros need no room until somebody writes: a table that will be moved to
            another medium must not fail here for its size.
    """

    tier: ClassVar[str]
    is_lazy: ClassVar[bool] = False
    device: torch.device = torch.device('cpu')

    @abstractmethod
    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """A new tensor of zeros."""

    def gather(self, table: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
        """Copies of rows, at hand for a transfer."""
        if out is None:
            return table.index_select(0, index)
        return torch.index_select(table, 0, index, out=out)
