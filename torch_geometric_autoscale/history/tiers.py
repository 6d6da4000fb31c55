"""The media that a history can be kept on, by name."""

from pathlib import Path
from typing import Any

import torch

from ..errors import explain
from .disk import DiskStore
from .memory import MemoryStore
from .store import Store

TIERS = ('ram', 'disk')


def new_store(
    tier: str,
    num_rows: int,
    width: int,
    dtype: torch.dtype,
    device: torch.device | str | None = None,
    folder: str | Path | None = None,
) -> Store:
    """An empty store.

    Args:
        tier: ``'ram'``: in the memory of ``device``. ``'disk'``: in a memory-mapped file.
        num_rows, width, dtype: Shape and type of the table.
        device: For ``'ram'`` only (default: the CPU).
        folder: For ``'disk'`` only (default: the system's for temporary files).

    Raises:
        ValueError: For an unknown tier, or a device that a file cannot be mapped to.
        OSError: See :class:`DiskStore`.
    """
    check_tier('History', tier)
    if tier == 'ram':
        return MemoryStore(num_rows, width, dtype, device)
    if device is not None and torch.device(device).type != 'cpu':
        raise ValueError(
            explain('History', "a table on 'disk' is read through main memory",
                    f"device '{device}'", 'Leave out the device; batches may be on any.')
        )  # fmt: skip
    return DiskStore(num_rows, width, dtype, folder)


def check_tier(who: str, tier: Any) -> None:
    """Raise unless ``tier`` names a medium."""
    if tier not in TIERS:
        raise ValueError(
            explain(who, f"'tier' must be one of {', '.join(TIERS)}", repr(tier),
                    'Pass one of them.')
        )  # fmt: skip
