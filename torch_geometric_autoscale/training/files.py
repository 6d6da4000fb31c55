"""Files that are whole or not there."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

PART = '.part'


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a new file beside ``path``, sync it, and put it in the place of the old one.

    If anything fails the old file stays as it was and nothing new is left behind. If the process
    or the machine ends at once, a file ``.<name>.*.part`` may be left, and ``path`` is the old file
    or the new one. On return the new one outlasts a loss of power, as far as the file system
    keeps its word.
    """
    path = Path(path)
    descriptor, name = tempfile.mkstemp(PART, f'.{path.name}.', path.parent)
    try:
        with os.fdopen(descriptor, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
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
    finally:
        os.close(descriptor)


def remove_parts(folder: str | Path) -> None:
    """Remove what writers that were ended at once have left in a folder."""
    for path in Path(folder).glob(f'.*{PART}'):
        remove_file(path)


def remove_file(path: str | Path) -> None:
    """Remove a file if it is there."""
    Path(path).unlink(missing_ok=True)


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + '\n'
    write_atomically(path, lambda file: file.write(text.encode('utf-8')))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
