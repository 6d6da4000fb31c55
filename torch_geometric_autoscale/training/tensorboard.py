"""Scalars for TensorBoard, an optional package."""

import warnings
from pathlib import Path
from typing import Any

from ..errors import missing_package
from ..files import explained, reason_of
from .results import Epoch


class Scalars:
    """Writes every epoch's numbers to a folder that TensorBoard reads.

    Steps are epochs. A training that is resumed goes on behind its last finished epoch: what was
    written of later ones, by the process that was interrupted, is no longer shown.

    Args:
        folder: Of this training alone; made if it is not there.

    Raises:
        ImportError: TensorBoard is not installed.
        OSError: The folder cannot be made or written to.
    """

    def __init__(self, folder: str | Path) -> None:
        self._new_writer = check_tensorboard('train')
        self._writer: Any = None
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._check_room()
        except OSError as error:
            rule = 'the folder for TensorBoard must be writable'
            raise explained(error, 'train', rule, folder) from error

    def _check_room(self) -> None:
        probe = self.folder / '.pygas.part'
        probe.write_bytes(bytes(1))
        probe.unlink()

    def begin(self, next_epoch: int) -> None:
        """Be ready for an epoch and those after it."""
        self._writer = self._new_writer(str(self.folder), purge_step=next_epoch)

    def epoch(self, epoch: Epoch) -> None:
        """Write what is known of a finished epoch.

        A disk that is full or gone is told by a warning, once: the training goes on without.
        """
        if self._writer is None:
            return
        try:
            for name, value in scalars_of(epoch).items():
                self._writer.add_scalar(name, value, epoch.epoch)
            self._writer.flush()
        except OSError as error:
            warnings.warn(
                f"train: '{self.folder}' could not be written ({reason_of(error)}); TensorBoard "
                'gets no more of this training, which goes on.', RuntimeWarning, stacklevel=2,
            )  # fmt: skip
            self._writer = None

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()


def check_tensorboard(who: str) -> Any:
    """The class that writes, if TensorBoard is installed.

    Raises:
        ImportError: Naming the extra.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(missing_package(who, 'tensorboard', 'tensorboard')) from error
    return SummaryWriter


def scalars_of(epoch: Epoch) -> dict[str, float]:
    """The numbers of an epoch by the names that TensorBoard groups them by."""
    found = {
        'loss/train': epoch.loss,
        'score/train': epoch.train,
        'score/val': epoch.val,
        'score/test': epoch.test,
        'seconds/epoch': epoch.seconds,
        'seconds/evaluation': epoch.eval_seconds,
        'seconds/elapsed': epoch.elapsed,
    }
    several = len(epoch.ages or ()) > 1
    for i, ages in enumerate(epoch.ages or ()):
        layer = f'/history_{i + 1}' if several else ''
        found |= {
            f'staleness/age_mean{layer}': ages.mean,
            f'staleness/age_median{layer}': ages.median,
            f'staleness/age_max{layer}': ages.max,
            f'staleness/never_written{layer}': ages.never,
        }
    for i, error in enumerate(epoch.errors or ()):
        found[f'staleness/error/history_{i + 1}'] = error.relative
    return {name: value for name, value in found.items() if value is not None}
