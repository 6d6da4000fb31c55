"""Moving all histories of a model at once."""

from pathlib import Path

import torch

from .history import History


def move_histories(model: torch.nn.Module, tier: str, folder: str | Path | None = None) -> None:
    """Bring every history of a model to another medium, one after the other.

    Args:
        model: Any module that has histories.
        tier, folder: As in :class:`History`.

    Raises:
        ValueError, OSError: As in :class:`History`. Those that were not reached stay.
    """
    for module in model.modules():
        if isinstance(module, History):
            module.move_to(tier, folder)
