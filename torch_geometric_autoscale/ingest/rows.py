"""Node-level values wherever they lie, copied in chunks of rows."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import FeatureStore

from ..errors import explain
from ..graph_folder.arrays import release
from ..safetensors_file import map_safetensors
from ..stored_rows import StoredRows

CHUNK = 2**24  # bytes that are copied at once


class Rows:
    """Rows of numbers that are read by slices.

    Args:
        values: A tensor (one over a mapped file and :class:`StoredRows` included) or an array.
        name: What it will be called.
        who: The public call on whose behalf errors speak.

    Attributes:
        shape: ``(N, ...)``.
        dtype: NumPy's; ``bfloat16`` is widened to ``float32``.
    """

    def __init__(self, values: Tensor | np.ndarray, name: str, who: str) -> None:
        self._values, self._name, self._who = values, name, who
        self.shape = tuple(values.shape)
        if isinstance(values, Tensor):
            kind = torch.float32 if values.dtype == torch.bfloat16 else values.dtype
            self.dtype = torch.empty(0, dtype=kind).numpy().dtype
        else:
            self.dtype = values.dtype.newbyteorder('=')
        _check_kind(name, self.shape, self.dtype, who)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Some rows.

        Raises:
            ValueError: Features hold NaN.
        """
        rows: Any = self._values[start:stop]
        if isinstance(rows, Tensor):
            rows = rows.detach().cpu()
            rows = (rows.float() if rows.dtype == torch.bfloat16 else rows).numpy()
        rows = np.asarray(rows, dtype=self.dtype)
        if self._name == 'x' and self.dtype.kind == 'f':
            wrong = np.flatnonzero(np.isnan(rows).reshape(len(rows), -1).any(axis=1))
            if wrong.size:
                raise ValueError(
                    explain(self._who, "features 'x' must not hold NaN",
                            f'NaN in row {start + wrong[0]:,} (from 0)',
                            'Replace it, e.g. with 0.')
                )  # fmt: skip
        return rows

    def copy_to(self, mapped: np.ndarray, start: int = 0) -> Iterator[tuple[int, int]]:
        """Fill an array from a row on; yields the row reached, and the number of rows since."""
        row_bytes = max(1, self.dtype.itemsize * int(np.prod(self.shape[1:], dtype=np.int64)))
        step = max(1, CHUNK // row_bytes)
        for first in range(start, self.shape[0], step):
            last = min(first + step, self.shape[0])
            mapped[first:last] = self.read(first, last)
            release(mapped)
            if isinstance(self._values, np.memmap):
                release(self._values)
            yield last, last - first


def _check_kind(name: str, shape: tuple[int, ...], dtype: np.dtype, who: str) -> None:
    if name == 'x' and not (len(shape) == 2 and shape[1] > 0 and dtype.kind in 'biuf'):
        raise ValueError(
            explain(who, "features 'x' must be numbers of shape (N, F)", f'{dtype} of {shape}',
                    'Give one row per node.')
        )  # fmt: skip
    if name.endswith('_mask') and dtype.kind != 'b':
        raise ValueError(
            explain(who, f"'{name}' must be boolean", dtype, "Save 'mask.astype(bool)'.")
        )


def open_rows(value: Any, name: str, num_nodes: int | None, who: str) -> Rows:
    """What a caller gave for a node-level attribute, opened but not read.

    Args:
        value: A tensor, an array (a ``numpy.memmap`` included), the path of a ``.npy`` file or of
            a ``.safetensors`` file, optionally with ``#name`` of the tensor in it, or a
            :class:`~torch_geometric.data.FeatureStore` that has the attribute under group ``None``.
        name: The attribute.
        num_nodes: Number of nodes; needed for a feature store.
        who: The public call on whose behalf errors speak.

    Raises:
        FileNotFoundError: There is no such file.
        TypeError: It is something else.
        ValueError: The file is cut short or of another format, or holds no such tensor.
    """
    if isinstance(value, FeatureStore) and not isinstance(value, Tensor):
        if num_nodes is None:
            raise ValueError(
                explain(who, f"'num_nodes' is needed where '{name}' comes from a feature store",
                        None, 'Pass num_nodes.')
            )  # fmt: skip
        return Rows(StoredRows(value, num_nodes, name), name, who)
    if isinstance(value, (str, Path)):
        return Rows(_open_file(str(value), name, who), name, who)
    if isinstance(value, (Tensor, np.ndarray)):
        return Rows(value, name, who)
    raise TypeError(
        explain(who, f"'{name}' must be a tensor, an array, the path of a .npy or .safetensors "
                'file, or a FeatureStore', type(value).__name__, 'Pass one of these.')
    )  # fmt: skip


def file_of(value: Any) -> Path | None:
    """The file that a value names, if it names one."""
    return Path(str(value).partition('#')[0]) if isinstance(value, (str, Path)) else None


def _open_file(value: str, name: str, who: str) -> Tensor | np.ndarray:
    file, _, key = value.partition('#')
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(
            explain(who, f"'{name}' must name a file", f"'{path}'", 'Check the spelling.')
        )
    if path.suffix.lower() == '.safetensors':
        tensors = map_safetensors(path)
        key = key or (next(iter(tensors)) if len(tensors) == 1 else name)
        if key not in tensors:
            raise ValueError(
                explain(who, f"'{path.name}' must hold a tensor '{key}'", ', '.join(tensors),
                        f"Name one as '{path.name}#{next(iter(tensors), 'name')}'.")
            )  # fmt: skip
        return tensors[key]
    if path.suffix.lower() != '.npy':
        raise ValueError(
            explain(who, f"'{name}' must be a .npy or .safetensors file", f"'{path.name}'",
                    'Save it as one of these.')
        )  # fmt: skip
    try:
        return np.load(path, mmap_mode='r', allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            explain(who, f"'{path.name}' must be a whole .npy file of numbers", error,
                    'Save or fetch it again.')
        ) from error  # fmt: skip
