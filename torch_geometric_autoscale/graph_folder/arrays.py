"""The ``.npy`` files of a graph folder: made at full length, checked, mapped."""

import mmap
from pathlib import Path

import numpy as np

from ..errors import explain
from ..files import explained, reserve_room
from .header import ArrayInfo, file_of

PREFIX = 128  # bytes before the numbers; room for any shape we write


def make_array(path: Path, info: ArrayInfo, who: str) -> np.memmap:
    """A new file of zeros for an array, mapped to be written.

    The disk is asked for all the room at once: a mapped page without room behind it would end the
    process with SIGBUS when it is written.

    Raises:
        OSError: The disk is full or cannot be written to; no file is left behind.
    """
    try:
        with path.open('xb') as file:
            file.write(_prefix(info))
            file.flush()
            reserve_room(file.fileno(), PREFIX + info.num_bytes)
    except OSError as error:
        path.unlink(missing_ok=True)
        size = f'{info.num_bytes:,} bytes'
        raise explained(
            error, who, f"the folder must take '{path.name}' ({size})", path.parent
        ) from error
    return map_array(path, info, 'r+')


def shorten_array(path: Path, info: ArrayInfo) -> None:
    """Cut a file to an array with fewer rows than it was made for."""
    with path.open('r+b') as file:
        file.write(_prefix(info))
        file.truncate(PREFIX + info.num_bytes)


def map_array(path: Path, info: ArrayInfo, mode: str = 'r') -> np.memmap:
    """The array in a file that has been checked."""
    return np.memmap(path, np.dtype(info.dtype), mode, _offset(path), info.shape)  # type: ignore[call-overload]


def check_file(folder: Path, name: str, info: ArrayInfo, who: str) -> None:
    """Raise unless the file of an array is what the header says.

    Raises:
        FileNotFoundError: It is not there.
        ValueError: It is no ``.npy`` file, holds another type or shape, is cut short or too long.
    """
    path = folder / file_of(name)
    if not path.is_file():
        raise FileNotFoundError(
            explain(who, f"the folder must hold '{path.name}'", f"'{folder}', which does not",
                    'Copy the whole folder again, or make it anew.')
        )  # fmt: skip
    try:
        with path.open('rb') as file:
            shape, fortran, dtype = _read_prefix(file)
            start = file.tell()
    except (ValueError, EOFError) as error:
        raise ValueError(
            explain(who, f"'{path.name}' must be a .npy file", ' '.join(f'{error}'.split()),
                    'Copy the folder again, or make it anew.')
        ) from error  # fmt: skip
    if (shape, dtype) != (info.shape, np.dtype(info.dtype)) or (fortran and len(shape) > 1):
        order = ' by columns' if fortran else ''
        raise ValueError(
            explain(who, f"'{path.name}' must hold {info.dtype} of shape {info.shape}, as the "
                    'header says', f'{dtype} of shape {shape}{order}',
                    'Leave the files of a folder as they are; make it anew.')
        )  # fmt: skip
    size, wanted = path.stat().st_size, start + info.num_bytes
    if size != wanted:
        raise ValueError(
            explain(who, f"'{path.name}' must have {wanted:,} bytes",
                    f'{size:,}: the file is cut short' if size < wanted else f'{size:,}',
                    'Copy the folder again, or make it anew.')
        )  # fmt: skip


def _prefix(info: ArrayInfo) -> bytes:
    """Magic, version and description, as NumPy writes them, of a fixed length."""
    descr = np.lib.format.dtype_to_descr(np.dtype(info.dtype))
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {info.shape!r}, }}"
    magic = b'\x93NUMPY\x01\x00' + (PREFIX - 10).to_bytes(2, 'little')
    return magic + text.encode('latin1').ljust(PREFIX - 11) + b'\n'


def _read_prefix(file) -> tuple[tuple[int, ...], bool, np.dtype]:  # type: ignore[no-untyped-def]
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(file)
    raise ValueError(f'version {version} of the format')


def _offset(path: Path) -> int:
    with path.open('rb') as file:
        _read_prefix(file)
        return file.tell()


def release(array: np.ndarray) -> None:
    """Take the pages of a mapped array out of this process's memory; the system keeps them.

    What was written stays, in the system's cache or on the disk. Arrays that are not mapped stay
    as they are.
    """
    mapped = getattr(array, '_mmap', None)
    if mapped is not None and hasattr(mmap, 'MADV_DONTNEED'):
        mapped.madvise(mmap.MADV_DONTNEED)
