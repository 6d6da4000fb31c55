"""Arrays of a safetensors file, mapped: nothing is read before it is used.

The format is a length of eight bytes, a JSON header of names, types, shapes and places, and the
numbers: https://github.com/huggingface/safetensors#format. It needs no package.
"""

import json
import sys
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import explain
from .graph_folder import as_tensor

_DTYPES = {
    'BOOL': torch.bool, 'U8': torch.uint8, 'I8': torch.int8, 'I16': torch.int16,
    'I32': torch.int32, 'I64': torch.int64, 'F16': torch.float16, 'BF16': torch.bfloat16,
    'F32': torch.float32, 'F64': torch.float64,
}  # fmt: skip
_LONGEST_HEADER = 100_000_000  # bytes, as the format has it


def map_safetensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, over its mapped bytes; they must not be written to.

    Args:
        path: The file, e.g. with features: ``data.x = map_safetensors('x.safetensors')['x']``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is of another format, cut short, or holds a type that PyTorch lacks.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            explain('map_safetensors', "'path' must name a file", f"'{path}'",
                    'Check the spelling and the folder.')
        )  # fmt: skip
    header, start = _read_header(path)
    size = path.stat().st_size - start
    tensors = {}
    for name, entry in header.items():
        if name != '__metadata__':
            dtype, shape, first, last = _check_entry(path, name, entry, size)
            if first == last:
                tensors[name] = torch.empty(shape, dtype=dtype)
                continue
            plain = np.memmap(path, np.uint8, 'r', start + first, (last - first,))
            tensors[name] = _typed(as_tensor(plain), dtype).view(shape)
    return tensors


def _read_header(path: Path) -> tuple[dict[str, Any], int]:
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        text = file.read(length) if length <= _LONGEST_HEADER else b''
    try:
        header = json.loads(text)
    except ValueError:
        header = None
    if len(text) < length or not isinstance(header, dict) or sys.byteorder != 'little':
        raise _damaged(path, 'no header of that format')
    return header, 8 + length


def _check_entry(
    path: Path, name: str, entry: Any, size: int
) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    try:
        shape, (first, last) = tuple(map(int, entry['shape'])), map(int, entry['data_offsets'])
        kind = str(entry['dtype'])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, f"a damaged entry '{name}'") from error
    if kind not in _DTYPES:
        raise ValueError(
            explain('map_safetensors', f"types must be of {', '.join(_DTYPES)}",
                    f"'{name}' of {kind}", 'Convert it before it is saved.')
        )  # fmt: skip
    dtype = _DTYPES[kind]
    if not 0 <= first <= last or min(shape, default=0) < 0:
        raise _damaged(path, f"a damaged entry '{name}'")
    if last > size:
        raise _damaged(path, f"'{name}' up to byte {last:,} of {size:,}: cut short")
    if last - first != prod(shape) * dtype.itemsize:
        raise _damaged(path, f"'{name}' of shape {shape} in {last - first:,} bytes")
    return dtype, shape, first, last


def _typed(plain: Tensor, dtype: torch.dtype) -> Tensor:
    if plain.data_ptr() % dtype.itemsize:
        raise ValueError(
            explain('map_safetensors', f'{dtype} must begin at a multiple of {dtype.itemsize} '
                    'bytes', 'another place', 'Save the file again: its writer pads the header.')
        )  # fmt: skip
    return plain.view(dtype)


def _damaged(path: Path, came: str) -> ValueError:
    return ValueError(
        explain('map_safetensors', f"'{path.name}' must be a whole safetensors file", came,
                'Copy or save it again.')
    )  # fmt: skip
