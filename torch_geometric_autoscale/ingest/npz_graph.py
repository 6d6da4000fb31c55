"""A graph in an ``.npz`` file, as :func:`load_npz` reads it, but in pieces."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from ..datasets.npz import (
    CSR_KEYS,
    MASK_KEYS,
    OPTIONAL_KEYS,
    as_float,
    as_int64,
    check_keys,
    check_range,
    check_shape,
    read_mask,
    read_y,
)
from ..errors import explain
from ..graph_folder.arrays import release
from ..graph_folder.edge_chunks import EdgeChunk, ValueType
from .npz_file import NpzFile
from .rows import CHUNK

EDGES = 2**20  # edges that are read at once


class NpzGraph:
    """An ``.npz`` file with the arrays of one graph.

    Args:
        path: The file.
        who: The public call on whose behalf errors speak.

    Attributes:
        num_nodes: Number of nodes.
        edges: The edges, a stream.
        rows: Names, shapes and types of the node-level arrays.

    Raises:
        FileNotFoundError, ValueError: As :func:`load_npz`; values are checked as they are read.
    """

    def __init__(self, path: Path, who: str) -> None:
        self._file, self._who = NpzFile(path, who), who
        shapes = self._file.shapes
        check_keys(who, {name: np.empty(0) for name in shapes})
        self._indptr: np.ndarray | None = None
        if 'x' in shapes:
            fits = len(shapes['x']) == 2 and shapes['x'][1] > 0
            self._check_shape('x', '(N, F)', fits)
            self.num_nodes, width = shapes['x']
        else:
            self.num_nodes, width = self._read_csr_shape()
        y = shapes['y']
        fits = len(y) in (1, 2) and y[0] == self.num_nodes
        self._check_shape('y', f'({self.num_nodes},) or ({self.num_nodes}, C)', fits)
        self.rows: dict[str, tuple[tuple[int, ...], np.dtype]] = {
            'x': ((self.num_nodes, width), np.dtype(np.float32)),
            'y': (y, np.dtype(np.float32 if len(y) == 2 else np.int64)),
        }
        for key in MASK_KEYS:
            fits = len(shapes[key]) in (1, 2) and shapes[key][0] == self.num_nodes
            self._check_shape(key, f'({self.num_nodes},) or ({self.num_nodes}, splits)', fits)
            self.rows[key] = (shapes[key], np.dtype(bool))
        self.edges = NpzEdges(self._file, who)

    def _check_shape(self, key: str, shape: str, fits: bool) -> None:
        if not fits:
            raise ValueError(
                explain(self._who, f"'{key}' must have shape {shape}", self._file.shapes[key],
                        'Every array must describe the same nodes and edges.')
            )  # fmt: skip

    def _read_csr_shape(self) -> tuple[int, int]:
        shape = as_int64(self._who, 'x_shape', self._file.load('x_shape'))
        check_shape(self._who, 'x_shape', '(2,)', shape.shape == (2,), shape)
        rows, columns = int(shape[0]), int(shape[1])
        indptr = as_int64(self._who, 'x_indptr', self._file.load('x_indptr'))
        size = self._file.shapes['x_data']
        if not (
            rows >= 0
            and columns > 0
            and size == self._file.shapes['x_indices'] == (int(indptr[-1]),)
            and indptr.shape == (rows + 1,)
            and indptr[0] == 0
            and bool((np.diff(indptr) >= 0).all())
        ):
            raise ValueError(
                explain(self._who, f"{', '.join(CSR_KEYS)} must be the parts of one CSR matrix",
                        f'x_shape {(rows, columns)}, x_indptr {indptr.shape}, x_data {size}',
                        "Save the attributes of one 'scipy.sparse.csr_matrix'.")
            )  # fmt: skip
        self._indptr = indptr
        return rows, columns

    def copy_to(
        self, key: str, mapped: np.ndarray, y: np.ndarray, start: int = 0
    ) -> Iterator[tuple[int, int]]:
        """Fill a node-level array from a row on; yields the row reached, and the rows since.

        Args:
            key: Its name.
            mapped: The array.
            y: Labels, filled already unless they are what is filled.
            start: The first row to fill.

        Raises:
            ValueError: Values break one of the rules of :func:`load_npz`.
        """
        shape, dtype = self.rows[key]
        piece = max(1, CHUNK // max(1, dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))))
        if key == 'x' and self._indptr is not None:
            pieces = self._dense_pieces(piece, start)
        else:
            pieces = self._file.pieces(key, piece, start)
        for values in pieces:
            stop = start + len(values)
            if key == 'x':
                mapped[start:stop] = as_float(self._who, key, values)
            elif key == 'y':
                mapped[start:stop] = read_y(self._who, values, len(values)).numpy()
            else:
                labelled = (y[start:stop] >= 0).reshape(len(values), -1).all(axis=1)
                rows = read_mask(self._who, key, values, torch.from_numpy(labelled))
                mapped[start:stop] = rows.numpy()
            release(mapped)
            yield stop, stop - start
            start = stop

    def _dense_pieces(self, piece: int, start: int) -> Iterator[np.ndarray]:
        """Rows of a CSR matrix, dense; entries given twice add up."""
        assert self._indptr is not None
        (num_rows, width), dtype = self.rows['x']
        bounds = [*range(start, num_rows, piece), num_rows]
        ends = self._indptr[bounds]
        values, columns = (
            _cut(self._file.pieces(key, EDGES, int(ends[0])), np.diff(ends))
            for key in ('x_data', 'x_indices')
        )
        for first, last, data, column in zip(bounds, bounds[1:], values, columns, strict=False):
            column = as_int64(self._who, 'x_indices', column)
            check_range(self._who, 'x_indices', column, width)
            row = np.repeat(np.arange(last - first), np.diff(self._indptr[first : last + 1]))
            out = np.zeros((last - first, width), dtype)
            np.add.at(out, (row, column), as_float(self._who, 'x_data', data))
            yield out


def _cut(pieces: Iterator[np.ndarray], lengths: np.ndarray) -> Iterator[np.ndarray]:
    """The same values in pieces of other lengths."""
    rest: np.ndarray | None = None
    for length in lengths.tolist():
        parts: list[np.ndarray] = []
        while length > 0:
            rest = next(pieces) if rest is None or not len(rest) else rest
            parts.append(rest[:length])
            length -= len(parts[-1])
            rest = rest[len(parts[-1]) :]
        yield np.concatenate(parts) if parts else np.empty(0, np.int64)


class NpzEdges:
    """The edges of an ``.npz`` file; see :class:`EdgeStream`."""

    def __init__(self, file: NpzFile, who: str) -> None:
        self._file, self._who = file, who
        shape = file.shapes['edge_index']
        if len(shape) != 2 or shape[0] != 2:
            raise ValueError(
                explain(who, "'edge_index' must have shape (2, E)", shape,
                        'Put sources above targets.')
            )  # fmt: skip
        self.num_edges = shape[1]
        self.values: dict[str, ValueType] = {}
        for key in OPTIONAL_KEYS:
            if key not in file.shapes:
                continue
            shape = file.shapes[key]
            wanted = 2 if key == 'edge_attr' else 1
            if len(shape) != wanted or shape[0] != self.num_edges:
                form = f'({self.num_edges}, D)' if wanted == 2 else f'({self.num_edges},)'
                raise ValueError(
                    explain(who, f"'{key}' must have shape {form}", shape,
                            'Every array must describe the same nodes and edges.')
                )  # fmt: skip
            dtype = np.dtype(np.int64 if key == 'edge_type' else np.float32)
            self.values[key] = (dtype, shape[1:])

    def chunks(self) -> Iterator[EdgeChunk]:
        streams = {key: self._file.pieces(key, EDGES) for key in self.values}
        for source, target in self._file.pairs('edge_index', EDGES):
            values = {
                key: as_int64(self._who, key, next(stream))
                if key == 'edge_type'
                else as_float(self._who, key, next(stream))
                for key, stream in streams.items()
            }
            source, target = (as_int64(self._who, 'edge_index', ids) for ids in (source, target))
            yield EdgeChunk(source, target, values)
