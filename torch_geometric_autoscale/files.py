"""Files that are whole or not there."""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from .errors import explain

PART = '.part'
_FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, 'EDQUOT') else (errno.ENOSPC,)
_NOT_ALLOWED = (errno.EROFS, errno.EACCES, errno.EPERM)


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a new file beside ``path``, sync it, and put it in the place of the old one.

    If anything fails the old file stays as it was and nothing new is left behind. If the process
    or the machine ends at once, a file ``.<name>.*.part`` may be left, and ``path`` is the old file
    or the new one. On return the new one outlasts a loss of power, as far as the file system
    keeps its word.

    Raises:
        OSError: The disk is full, the folder may not be written to, and the like; with the
            system's number, and a text that says what to do.
    """
    path = Path(path)
    try:
        _write_atomically(path, write)
    except OSError as error:
        if error.errno is None:  # not of the system
            raise
        raise explained(
            error, 'pygas', f"the folder must take '{path.name}'", path.parent
        ) from error


def _write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    descriptor, name = tempfile.mkstemp(PART, f'.{path.name}.', path.parent)
    try:
        with os.fdopen(descriptor, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with suppress(OSError):
            remove_file(name)
        raise
    sync_folder(path.parent)


def sync_folder(folder: str | Path) -> None:
    """Make what was named and renamed in a folder outlast a loss of power."""
    if os.name != 'posix':  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that cannot sync folders
            raise
    finally:
        os.close(descriptor)


@contextmanager
def new_folders_synced(path: str | Path) -> Iterator[None]:
    """Make the folders that come into being meanwhile, ``path`` and above it, outlast that too."""
    path = Path(path).absolute()
    new = [folder for folder in (path, *path.parents) if not os.path.exists(folder)]
    yield
    for folder in reversed(new):
        try:
            sync_folder(folder.parent)
        except PermissionError:  # one may write to a folder that one may not open
            continue


def parts_of(folder: str | Path, *names: str) -> list[Path]:
    """What writers that were ended at once have left of files; names may hold ``*``."""
    return [path for name in names for path in Path(folder).glob(f'.{name}.*{PART}')]


def remove_parts(folder: str | Path, *names: str) -> None:
    """Remove what writers that were ended at once have left of files in a folder."""
    for path in parts_of(folder, *names):
        remove_file(path)


def remove_file(path: str | Path) -> None:
    """Remove a file if it is there."""
    Path(path).unlink(missing_ok=True)


def reason_of(error: OSError) -> str:
    """What the system has to say, without what the library has put around it."""
    return os.strerror(error.errno) if error.errno else error.strerror or type(error).__name__


def explained(error: OSError, who: str, rule: str, place: object) -> OSError:
    """The same error with a text that says what to do."""
    if error.errno in _FULL:
        remedy = 'Make room on its disk.'
    elif error.errno in _NOT_ALLOWED:
        remedy = 'Make it writable, or name another folder.'
    else:
        remedy = 'See to its disk, or name another folder.'
    return OSError(error.errno, explain(who, rule, f"'{place}': {reason_of(error)}", remedy))


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + '\n'
    write_atomically(path, lambda file: file.write(text.encode('utf-8')))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def reserve_room(descriptor: int, size: int) -> None:
    """Let a file grow to ``size`` bytes, with room for all of them on the disk.

    A mapped page without room behind it would end the process with SIGBUS when it is written.

    Raises:
        OSError: The disk has not enough room.
    """
    if hasattr(os, 'posix_fallocate'):
        os.posix_fallocate(descriptor, 0, size)
        return
    zeros = bytes(2**20)
    there = os.lseek(descriptor, 0, os.SEEK_END)
    while there < size:
        there += os.write(descriptor, zeros[: size - there])
