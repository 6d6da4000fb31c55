"""Files that are whole or not there."""

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO


def write_atomically(path: str | Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a new file beside ``path``, sync it, and put it in the place of the old one.

    If anything fails the old file stays as it was and nothing new is left behind.
    """
    path = Path(path)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f'.{path.name}.')
    try:
        with os.fdopen(descriptor, 'wb') as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write_json(path: str | Path, value: Any) -> None:
    """Write JSON atomically."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + '\n'
    write_atomically(path, lambda file: file.write(text.encode('utf-8')))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
