"""Where histories are that nobody has given a place, once their model computes on a device."""

from collections.abc import Iterable
from typing import Any

import torch

from ..history import History

SHARE = 0.25  # of the device's free memory, that all histories together may take


def place(histories: Iterable[Any], device: torch.device) -> None:
    """Bring histories to the device if all of them fit there, else to pinned memory.

    Those with a chosen place stay. Where memory cannot be pinned, they stay in main memory.

    Args:
        histories: Of one model.
        device: Where it computes; but on a CUDA device nothing happens.
    """
    if device.type != 'cuda':
        return
    left = [
        history for history in histories
        if isinstance(history, History) and not history.tier_is_chosen
    ]  # fmt: skip
    if not left:
        return
    size = sum(history.num_bytes for history in left)
    tier = 'device' if size <= SHARE * free_memory(device) else 'pinned'
    for history in left:
        try:
            history.move_to(tier, device=device)
        except (RuntimeError, ValueError):  # as a rule a limit on locked memory
            history.tier_is_chosen = True


def free_memory(device: torch.device) -> int:
    """Bytes that can still be had of a device, those included that PyTorch keeps unused."""
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + idle
