"""Edges written down as they are read: raw files that grow, and can be cut back."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..files import explained
from .edge_chunks import EdgeChunk, ValueType

CHUNK = 2**20  # edges that are read at once


class EdgeSpool:
    """A stream of edges on a disk, one raw file per column.

    Its files are no arrays of the graph: they lie in a part folder until the edges have been
    sorted by target. What a process that was killed has appended is found by the next one, which
    cuts it back to what it knows to be whole.

    Args:
        folder: Where the files are; made if it is not there.
        dtype: Type of sources and targets.
        values: Names and types of what belongs to an edge.
        num_edges: How many of the edges that are there already to keep.
        who: The public call on whose behalf errors speak.

    Raises:
        OSError: The folder cannot be written to, or holds fewer edges.
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype,
        values: Mapping[str, ValueType],
        num_edges: int = 0,
        who: str = 'GraphWriter',
    ) -> None:
        self.values = dict(values)
        self.num_edges = num_edges
        self._who = who
        self._types: dict[str, ValueType] = {
            '.source': (dtype, ()),  # no name of a value
            '.target': (dtype, ()),
            **self.values,
        }
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        folder.mkdir(exist_ok=True)
        sizes = {name: num_edges * _row_bytes(*kind) for name, kind in self._types.items()}
        for name, size in sizes.items():
            path = self._path(name)
            if size and (not path.exists() or path.stat().st_size < size):
                raise FileNotFoundError(f'{path}: fewer than {num_edges} edges')
        for name, size in sizes.items():
            self._files[name] = self._path(name).open('ab')
            self._files[name].truncate(size)

    def _path(self, name: str) -> Path:
        return self._folder / f'{name.removeprefix(".")}{"" if name[0] == "." else ".value"}.bin'

    def append(self, chunk: EdgeChunk) -> None:
        """Write down some more edges.

        Raises:
            OSError: The disk is full; the edges that were there before still are.
        """
        columns = {'.source': chunk.source, '.target': chunk.target, **chunk.values}
        try:
            for name, (kind, _) in self._types.items():
                self._files[name].write(np.ascontiguousarray(columns[name], dtype=kind).tobytes())
        except OSError as error:
            raise self._explained(error) from error
        self.num_edges += len(chunk.source)

    def flush(self) -> None:
        """Have what was appended reach the disk."""
        try:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> OSError:
        return explained(error, self._who, 'the disk must take the edges', self._folder)

    def close(self) -> None:
        """End the appending; what is there can still be read."""
        for file in self._files.values():
            with suppress(OSError):  # what it held back is lost, and was not counted on
                file.close()

    def __enter__(self) -> 'EdgeSpool':
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def chunks(self) -> Iterator[EdgeChunk]:
        for file in self._files.values():
            if not file.closed:
                file.flush()
        files = {name: self._path(name).open('rb') for name in self._types}
        try:
            for start in range(0, self.num_edges, CHUNK):
                count = min(CHUNK, self.num_edges - start)
                rows = {
                    name: np.fromfile(
                        files[name], kind, count * int(np.prod(shape, dtype=np.int64))
                    ).reshape(count, *shape)
                    for name, (kind, shape) in self._types.items()
                }
                yield EdgeChunk(rows.pop('.source'), rows.pop('.target'), rows)
        finally:
            for file in files.values():
                file.close()


def _row_bytes(dtype: np.dtype, shape: tuple[int, ...]) -> int:
    return np.dtype(dtype).itemsize * int(np.prod(shape, dtype=np.int64))
