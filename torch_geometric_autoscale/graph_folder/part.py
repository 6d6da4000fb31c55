"""``<path>.part``: where a folder is written until it is whole, by one process at a time."""

import os
import shutil
from collections.abc import Collection
from pathlib import Path

from ..errors import explain
from ..files import PART, explained, sync_folder

LOCK = 'lock'


class PartFolder:
    """The folder beside ``target`` that is written to, locked.

    The lock is the process's: however that ends, it is free again. Where the system has no such
    locks nothing is checked.

    Args:
        target: The folder that it will be.
        resume: Keep what another process has left in it; else it is emptied.
        who: The public call on whose behalf errors speak.

    Raises:
        BlockingIOError: Another process is writing it.
        OSError: It cannot be made.
    """

    def __init__(self, target: Path, resume: bool, who: str) -> None:
        self.target, self._who = target, who
        self.path = target.with_name(f'{target.name}{PART}')
        try:
            self.path.mkdir(exist_ok=True)
            self._lock = (self.path / LOCK).open('ab')
        except OSError as error:
            raise explained(error, who, 'the target must be writable', self.path) from error
        self._take_lock()
        if not resume:
            for path in self.path.iterdir():
                if path.name != LOCK:
                    _remove(path)

    def _take_lock(self) -> None:
        try:
            import fcntl
        except ImportError:
            return
        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self._lock.close()
            raise BlockingIOError(
                error.errno,
                explain(self._who, 'one process at a time writes a folder',
                        f"'{self.path}', which another one is writing",
                        'Wait for it or end it.'),
            ) from error  # fmt: skip
        except OSError:  # a file system without locks
            return

    def leave(self, keep: bool) -> None:
        """Remove the folder, or keep it for a process to come."""
        if not keep:
            shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()

    def publish(self, overwrite: bool, names: Collection[str]) -> None:
        """Remove all but the files named, sync those, and give the folder its name."""
        for path in self.path.iterdir():
            if path.name not in names:
                _remove(path)
        for name in names:
            with (self.path / name).open('rb') as file:
                os.fsync(file.fileno())
        sync_folder(self.path)
        old = self.target.with_name(f'{self.target.name}.old{PART}')
        if overwrite and self.target.exists():
            shutil.rmtree(old, ignore_errors=True)
            self.target.rename(old)
        try:
            self.path.rename(self.target)
        except OSError as error:
            if old.exists():
                old.rename(self.target)
            raise explained(
                error, self._who, 'the target must be a new folder', self.target
            ) from error
        sync_folder(self.target.absolute().parent)
        shutil.rmtree(old, ignore_errors=True)
        self._lock.close()


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
