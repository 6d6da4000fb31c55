"""The media that a history can be kept on, by name."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import explain
from .disk import Disk
from .medium import Medium
from .memory import DeviceMemory, PinnedRam, Ram
from .store import Store

TIERS = ('ram', 'pinned', 'device', 'disk')


def new_medium(
    tier: str | None, device: torch.device | str | None = None, folder: str | Path | None = None
) -> Medium:
    """A medium by name.

    Args:
        tier: One of ``TIERS``; ``None``: main memory, or that of ``device``, where it has its own.
        device: For ``'device'``.
        folder: For ``'disk'``.

    Raises:
        ValueError: For an unknown tier, or one that this machine does not have.
    """
    if tier is None:
        tier = 'ram' if device is None or torch.device(device).type == 'cpu' else 'device'
    check_tier('History', tier)
    if tier == 'device':
        return DeviceMemory(device)
    if tier == 'disk':
        return Disk(folder)
    return Ram() if tier == 'ram' else PinnedRam()


def new_table(shape: tuple[int, ...], dtype: torch.dtype, like: Store | None = None) -> Tensor:
    """A tensor for rows of all nodes that are kept as they are, for the time of an inference.

    Args:
        shape, dtype: Of the tensor.
        like: A store of the model: if it lies on a disk, so does the tensor, else in main memory.

    Raises:
        OSError: The disk has not enough room.
    """
    with torch.inference_mode(False):
        if like is not None and isinstance(like.medium, Disk):
            return like.medium.zeros(shape, dtype)
        return torch.empty(shape, dtype=dtype, device='cpu')


def check_tier(who: str, tier: Any) -> None:
    """Raise unless ``tier`` names a medium."""
    if tier not in TIERS:
        raise ValueError(
            explain(who, f"'tier' must be one of {', '.join(TIERS)}", repr(tier),
                    'Pass one of them.')
        )  # fmt: skip
