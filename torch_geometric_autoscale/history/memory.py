"""Tensors in main memory, in page-locked main memory, or in that of a device."""

from typing import ClassVar

import torch
from torch import Tensor

from ..errors import explain
from .medium import Medium


class Ram(Medium):
    """Main memory."""

    tier: ClassVar[str] = 'ram'
    is_lazy: ClassVar[bool] = True

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device='cpu')


class PinnedRam(Medium):
    """Main memory that is locked, so that a device reads and writes it directly.

    PyTorch rounds the size of such memory up to a power of two.

    Raises:
        ValueError: There is no device that would.
    """

    tier: ClassVar[str] = 'pinned'

    def __init__(self) -> None:
        check_pinned('History')

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device='cpu', pin_memory=True)

    def gather(self, table: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
        if out is None:
            shape = (index.numel(), *table.shape[1:])
            out = torch.empty(shape, dtype=table.dtype, device='cpu', pin_memory=True)
        return torch.index_select(table, 0, index, out=out)


class DeviceMemory(Medium):
    """The memory of a device; without one, main memory.

    Args:
        device: Whose.
    """

    tier: ClassVar[str] = 'device'

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = torch.device(device or 'cpu')

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self.device)


def check_pinned(who: str) -> None:
    """Raise unless memory can be locked here.

    Raises:
        ValueError: There is no device that would read it.
    """
    try:
        torch.empty(1, device='cpu', pin_memory=True)
    except RuntimeError as error:
        raise ValueError(
            explain(who, "memory is 'pinned' for an accelerator", 'a machine without one',
                    "Keep the histories in 'ram'.")
        ) from error  # fmt: skip
