"""The folder that a training saves its state to, again and again, and resumes from.

A checkpoint is one file with a number of its own, written under another name and renamed once it
is whole and synced: no moment exists in which a file with a checkpoint's name is incomplete. Only
then is the last but two removed. The two that are kept share nothing, so that damage to the newest
costs one interval.
"""

import re
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import explain
from ..files import new_folders_synced, reason_of, remove_file, remove_parts
from .container import DamagedFile, LaterVersion, read_container, write_container
from .run_lock import lock_folder

KIND = 'state of a training'
KEPT = 2
STATES = 'state-*.pygas'
NAME_OF_STATE = re.compile(r'state-(\d{6,})\.pygas')
REMEDY = 'Train again, or take a copy that is not damaged.'


class CheckpointWarning(RuntimeWarning):
    """A checkpoint could not be written or was damaged; the training goes on without it."""


class CheckpointFolder:
    """Saves states to a folder and loads the newest whole one. Holds the folder's lock.

    Args:
        path: The folder, made if it is not there.

    Raises:
        OSError: The folder cannot be made or written to, or another process works in it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with new_folders_synced(self.path):
            self._lock = lock_folder(self.path)
        remove_parts(self.path, STATES)
        self._damaged: set[Path] = set()

    def close(self) -> None:
        """Let other processes in."""
        self._lock.release()

    def checkpoints(self) -> list[Path]:
        """The files, oldest first."""
        return [path for _, path in self._numbered()]

    def _numbered(self) -> list[tuple[int, Path]]:
        matches = [(NAME_OF_STATE.fullmatch(path.name), path) for path in self.path.iterdir()]
        return sorted((int(match[1]), path) for match, path in matches if match)

    def save(self, state: dict[str, Any]) -> Path:
        """Write a state as the newest checkpoint, and keep the one before.

        Raises:
            OSError: It could not be written. Those that are there stay as they are.
        """
        numbered = self._numbered()
        number = numbered[-1][0] + 1 if numbered else 1
        path = self.path / f'state-{number:06d}.pygas'
        write_container(path, KIND, state)
        whole = [old for _, old in numbered if old not in self._damaged]
        for old in [*whole[: 1 - KEPT], *self._damaged]:
            with suppress(OSError):  # one too many does no harm; a folder is someone else's
                remove_file(old)
        self._damaged.clear()
        return path

    def load(self) -> tuple[dict[str, Any], Path] | None:
        """The newest whole state and its file, or ``None`` if there is no file at all.

        A file that is damaged or cannot be read is passed over with a :class:`CheckpointWarning`,
        and removed once another one has been saved. Large tensors lie in the file.

        Raises:
            DamagedFile: Every file is damaged or cannot be read.
            LaterVersion: The newest was written by a later version of the library.
        """
        damaged: DamagedFile | None = None
        paths = self.checkpoints()
        while paths:
            path = paths.pop()
            try:
                state = read_container(path, KIND, mapped=True)
            except LaterVersion as error:
                hint = f" Or remove the file, to go on from '{paths[-1].name}'." if paths else ''
                raise LaterVersion(f'{error}{hint}') from error
            except (DamagedFile, OSError) as error:
                damaged = _unreadable(path, error) if isinstance(error, OSError) else error
                self._damaged.add(path)
                continue
            if damaged is not None:
                text = str(damaged).removesuffix(REMEDY)
                warnings.warn(
                    f"{text}Going on from the checkpoint before, '{path.name}'.",
                    CheckpointWarning, stacklevel=2,
                )  # fmt: skip
            return state, path
        if damaged is not None:
            raise DamagedFile(f'{damaged} No checkpoint before it is whole either.') from damaged
        return None


def _unreadable(path: Path, error: OSError) -> DamagedFile:
    no_file = isinstance(error, FileNotFoundError)
    came = 'a folder, or nothing at all' if no_file else reason_of(error)
    return DamagedFile(
        explain('load_checkpoint', f"'{path.name}' must be a file that can be read", came, REMEDY)
    )
