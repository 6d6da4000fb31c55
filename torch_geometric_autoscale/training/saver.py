"""Saves a training's state when it is due, and tells when that fails."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import reason_of
from .checkpoint_folder import CheckpointFolder, CheckpointWarning
from .interval import Timer, parse_interval


class Saver:
    """Between a training and its checkpoint folder; without a folder it does nothing.

    Args:
        path: The folder, or ``None``.
        every: Interval between checkpoints, see :func:`parse_interval`.

    Raises:
        OSError: See :class:`CheckpointFolder`.
    """

    def __init__(self, path: str | Path | None, every: Any) -> None:
        self.folder = None if path is None else CheckpointFolder(path)
        self.timer = Timer(parse_interval(every))

    def __enter__(self) -> 'Saver':
        self.timer.restart()
        return self

    def __exit__(self, *_: object) -> None:
        if self.folder is not None:
            self.folder.close()

    def is_due_after_batch(self) -> bool:
        """Count a batch; whether the state after it should be saved."""
        return self.timer.batch_is_done() and self.folder is not None

    def save(self, state: Callable[[], dict[str, Any]]) -> None:
        """Save a state.

        A disk that is full or gone is told by a :class:`CheckpointWarning`: the training goes on,
        and the next interval brings the next attempt.
        """
        if self.folder is None:
            return
        try:
            self.folder.save(state())
        except OSError as error:
            kept = self.folder.checkpoints()
            last = f"the last one is '{kept[-1].name}'" if kept else 'there is none so far'
            warnings.warn(
                'train: a checkpoint could not be written to '
                f"'{self.folder.path}' ({reason_of(error)}); "
                f'{last}. The training goes on and will try again: make room.',
                CheckpointWarning, stacklevel=2,
            )  # fmt: skip
        self.timer.restart()
