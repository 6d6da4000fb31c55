"""The arrays of an ``.npz`` file as streams: unpacked as they are read, never as a whole."""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import explain

PIECE = 2**24  # bytes that are unpacked at once


class NpzFile:
    """An ``.npz`` file whose arrays can be streamed.

    Args:
        path: The file; nothing in it is ever unpickled.
        who: The public call on whose behalf errors speak.

    Attributes:
        shapes: Shape of every array, by name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is damaged, is no ``.npz``, or holds Python objects.
    """

    def __init__(self, path: Path, who: str) -> None:
        self._path, self._who = path, who
        if not path.is_file():
            raise FileNotFoundError(
                explain(who, 'the file must exist', f"'{path}'", 'Check the spelling.')
            )
        self.shapes: dict[str, tuple[int, ...]] = {}
        with self._told(), zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                with archive.open(member) as file:
                    shape, _, dtype = _read_header(file)
                name = member.removesuffix('.npy')
                self.shapes[name] = shape
                if dtype.hasobject:
                    raise ValueError(
                        explain(who, 'arrays must hold numbers', f"Python objects in '{name}'",
                                'Objects would have to be unpickled, which runs code from the '
                                'file; save numeric arrays instead.')
                    )  # fmt: skip

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise ValueError(
                explain(self._who, f"'{self._path.name}' must be a complete NumPy archive", error,
                        "Write it with 'numpy.savez_compressed', or fetch it again.")
            ) from error  # fmt: skip

    def load(self, name: str) -> np.ndarray:
        """A whole array, for those whose size is of the order of the nodes."""
        with self._told(), np.load(self._path, allow_pickle=False) as archive:
            return np.asarray(archive[name])

    def pieces(self, name: str, piece: int, skip: int = 0) -> Iterator[np.ndarray]:
        """An array in pieces of ``piece`` rows, behind the first ``skip``.

        One that is stored by columns is read as a whole.
        """
        with self._told(), zipfile.ZipFile(self._path) as archive, archive.open(f'{name}.npy') as f:
            shape, by_columns, dtype = _read_header(f)
            num_rows = shape[0] if shape else 0
            if by_columns and len(shape) > 1:
                whole = self.load(name)
                for start in range(skip, num_rows, piece):
                    yield whole[start : start + piece]
                return
            row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
            _skip(f, skip * row_bytes)
            for start in range(skip, num_rows, piece):
                count = min(piece, num_rows - start)
                text = _read(f, count * row_bytes)
                yield np.frombuffer(text, dtype).reshape(count, *shape[1:])

    def pairs(self, name: str, piece: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """An array (2, E) in pieces of both of its rows."""
        with self._told(), zipfile.ZipFile(self._path) as archive, archive.open(f'{name}.npy') as f:
            shape, by_columns, dtype = _read_header(f)
            if by_columns:  # pairs, one after the other
                for start in range(0, shape[1], piece):
                    count = min(piece, shape[1] - start)
                    text = _read(f, 2 * count * dtype.itemsize)
                    both = np.frombuffer(text, dtype).reshape(count, 2)
                    yield both[:, 0], both[:, 1]
                return
            with archive.open(f'{name}.npy') as second:
                _read_header(second)
                _skip(second, shape[1] * dtype.itemsize)
                for start in range(0, shape[1], piece):
                    size = min(piece, shape[1] - start) * dtype.itemsize
                    yield (
                        np.frombuffer(_read(f, size), dtype),
                        np.frombuffer(_read(second, size), dtype),
                    )


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(file)
    reader: Any = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if reader is None:
        raise zipfile.BadZipFile(f'version {version} of the array format')
    return reader(file)


def _read(file: IO[bytes], size: int) -> bytearray:
    text = bytearray(size)  # unlike bytes, for arrays that PyTorch takes without a warning
    view, done = memoryview(text), 0
    while done < size:
        count = file.readinto(view[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError('an array is cut short')
        done += count
    return text


def _skip(file: IO[bytes], size: int) -> None:
    while size > 0:
        size -= len(_read(file, min(size, PIECE)))
