"""Columns of a table as NumPy arrays, each value checked."""

from typing import Any

import numpy as np

from ..errors import explain
from .table import TableChunk

LONGEST_TEXT = 255  # bytes of a node's name


def integers(chunk: TableChunk, name: str, who: str) -> np.ndarray:
    """A column of whole numbers, ``(n,)`` int64, without gaps."""
    _refuse_gaps(chunk, name, who)
    return np.asarray(chunk.columns[name].to_numpy(zero_copy_only=False), dtype=np.int64)


def flags(chunk: TableChunk, name: str, who: str) -> np.ndarray:
    """A column of truth values, ``(n,)`` bool, without gaps."""
    _refuse_gaps(chunk, name, who)
    return np.asarray(chunk.columns[name].to_numpy(zero_copy_only=False), dtype=bool)


def numbers(chunk: TableChunk, name: str, who: str) -> np.ndarray:
    """A column of finite numbers, ``(n,)`` float32, without gaps."""
    _refuse_gaps(chunk, name, who)
    values = np.asarray(chunk.columns[name].to_numpy(zero_copy_only=False), dtype=np.float32)
    wrong = np.flatnonzero(~np.isfinite(values))
    if wrong.size:
        raise ValueError(
            explain(who, f"column '{name}' must hold finite numbers",
                    f'{values[wrong[0]]} in {chunk.places.of(int(wrong[0]))}', 'Replace it.')
        )  # fmt: skip
    return values


def texts(chunk: TableChunk, name: str, who: str) -> tuple[np.ndarray, np.ndarray]:
    """A column of texts: the different ones, sorted, as bytes ``S<n>``, and which each row has."""
    _refuse_gaps(chunk, name, who)
    encoded = chunk.columns[name].dictionary_encode()
    codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False))
    different = _fixed_width(encoded.dictionary, chunk, codes, name, who)
    order = np.argsort(different, kind='stable')
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return different[order], rank[codes]


def _refuse_gaps(chunk: TableChunk, name: str, who: str) -> None:
    column = chunk.columns[name]
    if column.null_count:
        gaps = np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))
        raise ValueError(
            explain(who, f"column '{name}' must have a value in every row",
                    f'none in {chunk.places.of(int(gaps[0]))}', 'Fill it, or leave out the row.')
        )  # fmt: skip


def _fixed_width(
    values: Any, chunk: TableChunk, codes: np.ndarray, name: str, who: str
) -> np.ndarray:
    """Texts of ``pyarrow.binary`` as an array ``S<n>`` of the longest one's width."""
    _, offsets_buffer, data_buffer = values.buffers()
    if len(values) == 0:
        return np.empty(0, dtype='S1')
    offsets = np.frombuffer(offsets_buffer, np.int32)[values.offset :][: len(values) + 1]
    size = np.diff(offsets)
    odd = np.flatnonzero((size == 0) | (size > LONGEST_TEXT))
    if odd.size:
        row = int(np.flatnonzero(codes == odd[0])[0])
        raise ValueError(
            explain(who, f"names of nodes in column '{name}' must have 1 to {LONGEST_TEXT} bytes",
                    f'{size[odd[0]]} in {chunk.places.of(row)}', 'Shorten or number them.')
        )  # fmt: skip
    data = np.frombuffer(data_buffer, np.uint8)[offsets[0] : offsets[-1]]
    out = np.zeros((len(values), int(size.max())), np.uint8)
    out[np.arange(out.shape[1]) < size[:, None]] = data
    return out.view(f'S{out.shape[1]}').reshape(-1)
