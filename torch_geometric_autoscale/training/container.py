"""The file format of checkpoints: checked at every byte, read without pickle.

    preamble   64 bytes: magic, format version, length of the header, length of the file,
               SHA-256 of the header, CRC-32 of the 60 bytes before it
    header     JSON: kind of content, version of the library, the content with its tensors left
               out, and of each tensor type, shape, place and CRC-32
    tensors    raw little-endian bytes, each from a multiple of 64 on

Every byte counts for one of the checksums, padding included. The preamble has this form in every
version to come, so that a file from a later version can be told from a damaged one.

Tensors are written in pieces: one that lies in a mapped file never is in memory as a whole. Nor
need it be when read: ``mapped=True`` gives tensors that lie in the file.
"""

import hashlib
import json
import math
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from .. import _version
from ..errors import explain
from ..files import write_atomically
from ..progress import ProgressBar, progress
from .tree import decode, encode

MAGIC = b'PYGASCKP'
FORMAT_VERSION = 1
PREAMBLE = struct.Struct('<8sIQQ32sI')
ALIGNMENT = 64
PIECE = 8 * 2**20

_DTYPES = {
    str(dtype).removeprefix('torch.'): dtype
    for dtype in (
        torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32,
        torch.int16, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.complex128,
    )
}  # fmt: skip


class DamagedFile(ValueError):
    """A file that is not what was once written."""


class LaterVersion(ValueError):
    """A file that a later version of the library has written."""


# Writing #########################################################################


def write_container(path: str | Path, kind: str, content: dict[str, Any]) -> None:
    """Write a file, whole or not at all; one of the same name is replaced.

    Args:
        path: Its name.
        kind: What it holds, in words; asked for again when it is read.
        content: Plain containers with tensors, see :func:`encode`.

    Raises:
        TypeError: For content that is more than that.
        OSError: The disk is full, the folder may not be written to, and the like.
    """
    tensors: list[Tensor] = []
    tree = encode(content, tensors)
    for tensor in tensors:
        if tensor.dtype not in _DTYPES.values():
            raise TypeError(
                explain('save_checkpoint', 'tensors must be of a common type', tensor.dtype,
                        f'Convert it to one of {", ".join(_DTYPES)}.')
            )  # fmt: skip
    write_atomically(path, lambda file: _write(file, kind, tree, tensors))


def _write(file: BinaryIO, kind: str, tree: Any, tensors: list[Tensor]) -> None:
    entries, end = [], 0
    for tensor in tensors:
        size = _padded(tensor.numel() * tensor.element_size())
        entries.append({
            'dtype': str(tensor.dtype).removeprefix('torch.'), 'shape': list(tensor.shape),
            'offset': end, 'size': size, 'crc32': '00000000',
        })  # fmt: skip
        end += size
    header = {
        'kind': kind, 'package_version': _version.__version__, 'byteorder': sys.byteorder,
        'content': tree, 'tensors': entries,
    }  # fmt: skip
    start = PREAMBLE.size + len(_header_bytes(header))
    file.seek(start)
    with _bytes_done(f'Saving a {kind}', end) as bar:
        for tensor, entry in zip(tensors, entries, strict=True):
            entry['crc32'] = _write_tensor(file, tensor, bar)
    text = _header_bytes(header)  # as long as before: a checksum has eight digits
    fields = (MAGIC, FORMAT_VERSION, len(text), start + end, hashlib.sha256(text).digest())
    preamble = PREAMBLE.pack(*fields, 0)[:-4]
    file.seek(0)
    file.write(preamble + struct.pack('<I', zlib.crc32(preamble)) + text)


def _header_bytes(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, ensure_ascii=True, allow_nan=False, separators=(',', ':')).encode()
    return text + b' ' * (_padded(len(text)) - len(text))


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _write_tensor(file: BinaryIO, tensor: Tensor, bar: ProgressBar) -> str:
    """Write the bytes of a tensor, filled up with zeros; returns their checksum."""
    content = raw_bytes(tensor)
    checksum = 0
    for start in range(0, len(content), PIECE):
        piece = content[start : start + PIECE]
        checksum = zlib.crc32(piece, checksum)
        file.write(piece)
        bar.update(len(piece))
    padding = bytes(_padded(len(content)) - len(content))
    file.write(padding)
    return f'{zlib.crc32(padding, checksum):08x}'


def _bytes_done(what: str, total: int) -> ProgressBar:
    return progress(what, total, 'B', unit_scale=True, unit_divisor=1024)


def raw_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor in row-major order, without a copy where it is so in main memory."""
    plain = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous()
    return plain.view(-1).view(torch.uint8).numpy().data


# Reading #########################################################################


def read_container(path: str | Path, kind: str, mapped: bool = False) -> dict[str, Any]:
    """Read a file and check every byte of it.

    Args:
        path: Its name.
        kind: What it must hold.
        mapped: Leave large tensors in the file, which must then stay as it is while they are
            used. Writing to such a tensor does not change the file.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFile: It is cut short or damaged, or of another kind.
        LaterVersion: A later version of the library has written it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            explain('load_checkpoint', 'the file must exist', f"nothing at '{path}'",
                    'Pass a file that a training has written.')
        )  # fmt: skip
    with path.open('rb') as file:
        try:
            return _read(file, path, kind, mapped)
        except _Damage as damage:
            raise DamagedFile(
                explain('load_checkpoint', f"'{path.name}' must be a whole {kind} of this library",
                        damage, 'Train again, or take a copy that is not damaged.')
            ) from damage.__cause__  # fmt: skip


class _Damage(Exception):
    """What is wrong with a file."""


def _read(file: BinaryIO, path: Path, kind: str, mapped: bool) -> dict[str, Any]:
    length = os.fstat(file.fileno()).st_size
    preamble = file.read(PREAMBLE.size)
    if not MAGIC.startswith(preamble[: len(MAGIC)]):
        raise _Damage('another kind of file, or one whose first bytes are damaged')
    if len(preamble) < PREAMBLE.size:
        raise _Damage(f'a file cut short, {length:,} bytes long')
    _, version, header_length, file_length, digest, checksum = PREAMBLE.unpack(preamble)
    if zlib.crc32(preamble[:-4]) != checksum:
        raise _Damage('a file whose first bytes are damaged')
    if version > FORMAT_VERSION:
        raise LaterVersion(
            explain('load_checkpoint', f"the format of '{path.name}' must be version "
                    f'{FORMAT_VERSION} at most', f'version {version}, of a later release',
                    'Read it with a later version of this library.')
        )  # fmt: skip
    if length != file_length:
        what = 'cut short' if length < file_length else 'with something behind its end'
        raise _Damage(f'a file {what}, {length:,} bytes instead of {file_length:,}')
    text = file.read(min(header_length, length))
    if hashlib.sha256(text).digest() != digest:
        raise _Damage('a file whose header is damaged')
    try:
        return _read_content(file, json.loads(text), PREAMBLE.size + len(text), kind, mapped)
    except (
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
        OverflowError,
    ) as error:
        raise _Damage('a file whose header makes no sense') from error


def _read_content(
    file: BinaryIO, header: dict[str, Any], start: int, kind: str, mapped: bool
) -> dict[str, Any]:
    if header['kind'] != kind:
        raise _Damage(f'a {header["kind"]}')
    if header['byteorder'] != sys.byteorder:
        raise _Damage(f'a file of a {header["byteorder"]}-endian machine')
    size = sum(entry['size'] for entry in header['tensors'])
    with _bytes_done(f'Reading a {kind}', size) as bar:
        tensors = [
            _read_tensor(file, entry, start, f'tensor {i} of {len(header["tensors"])}', mapped, bar)
            for i, entry in enumerate(header['tensors'])
        ]
    content = decode(header['content'], tensors)
    if not isinstance(content, dict):
        raise TypeError
    return content


def _read_tensor(
    file: BinaryIO,
    entry: dict[str, Any],
    start: int,
    name: str,
    mapped: bool,
    bar: ProgressBar,
) -> Tensor:
    dtype, shape, size = _DTYPES[entry['dtype']], entry['shape'], entry['size']
    length = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size != _padded(length):
        raise ValueError(shape)
    start += entry['offset']
    if start + size > os.fstat(file.fileno()).st_size:
        raise ValueError(start)
    mapped = mapped and size >= PIECE
    content = (
        np.memmap(file, np.uint8, mode='c', offset=start, shape=(size,)) if mapped
        else np.empty(size, np.uint8)
    )  # fmt: skip
    file.seek(start)
    checksum = 0
    buffer = bytearray(min(PIECE, size)) if mapped else b''
    for first in range(0, size, PIECE):
        count = min(PIECE, size - first)
        piece = memoryview(buffer)[:count] if mapped else content.data[first : first + count]
        if file.readinto(piece) != count:  # type: ignore[attr-defined]
            raise _Damage(f'a file that ends within {name}')
        checksum = zlib.crc32(piece, checksum)
        bar.update(count)
    if f'{checksum:08x}' != entry['crc32']:
        raise _Damage(f'a file whose {name} is damaged')
    if length == 0:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(content[:length]).view(dtype).view(shape)
