"""One process at a time works in a folder."""

from pathlib import Path

from ..errors import explain


class RunLock:
    """Held while a training writes checkpoints to a folder; the system frees it with the process.

    A lock of the process, not of the open file: worker processes that outlive a killed parent for
    a moment do not hold it. Where the system has no such locks nothing is checked.

    Args:
        folder: An existing folder; gets a file ``lock``.

    Raises:
        OSError: The folder cannot be written to.
        BlockingIOError: Another process holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / 'lock').open('ab')
        try:
            import fcntl
        except ImportError:
            return
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self._file.close()
            raise BlockingIOError(
                error.errno,
                explain('train', 'one process at a time trains in a folder',
                        f"'{folder}', in which another one is at work",
                        'Wait for it or end it.'),
            ) from error  # fmt: skip
        except OSError:  # a file system without locks
            return

    def release(self) -> None:
        """Let others in. The file stays: who removed it could let two in at once."""
        self._file.close()


def lock_folder(path: Path) -> RunLock:
    """Make a folder if it is not there, and lock it.

    Raises:
        OSError: It cannot be made or written to, or another process holds its lock.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        return RunLock(path)
    except BlockingIOError:
        raise
    except OSError as error:
        raise type(error)(
            error.errno,
            explain('train', 'the folder of the checkpoints must be one to write to',
                    f"'{path}': {error.strerror}", 'Name another folder, or make it writable.'),
        ) from error  # fmt: skip
