"""Arrays that lie in files: which tensors are such, and new ones beside them.

The system reads the pages of a mapped file when they are used and takes them back when memory is
short. They are no part of the process's own data, so that a graph may be larger than memory.
"""

import mmap
import os
import tempfile
from collections.abc import Sequence
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from .errors import explain
from .files import reserve_room

_MAPS = Path('/proc/self/maps')
_IN_MEMORY = ('/dev/', '/memfd:', '/SYSV', '[')  # files in name only


def mapped_file(tensor: Tensor) -> Path | None:
    """The file that a tensor is mapped from; ``None`` for one in memory.

    Answers from what Linux knows of the process's mappings, so that arrays of ``numpy.memmap``,
    of ``torch.load(..., mmap=True)`` and of :func:`new_tensor` are all recognised. Other systems
    do not tell: there, every array counts as one in memory.
    """
    is_plain = type(tensor) is Tensor and tensor.device.type == 'cpu'
    if not is_plain or tensor.numel() == 0 or not _MAPS.exists():
        return None
    address = tensor.data_ptr()
    with _MAPS.open() as lines:
        for line in lines:
            span, _, _, _, _, *path = line.rstrip('\n').split(maxsplit=5)
            first, last = (int(bound, 16) for bound in span.split('-'))
            if first <= address < last:
                is_file = bool(path) and not path[0].startswith(_IN_MEMORY)
                return Path(path[0]) if is_file else None
    return None


def folder_beside(tensor: Tensor) -> Path | None:
    """A folder that takes further arrays, if ``tensor`` is mapped: its own, or the system's."""
    file = mapped_file(tensor)
    if file is None:
        return None
    return file.parent if os.access(file.parent, os.W_OK) else Path(tempfile.gettempdir())


def new_tensor(
    who: str, shape: Sequence[int], dtype: torch.dtype, folder: Path | None = None
) -> Tensor:
    """An array to be filled: in memory, or in a file without a name that is gone with the process.

    Args:
        who: The public call on whose behalf errors speak.
        shape, dtype: Of the array.
        folder: Where the file is to lie; ``None``: in memory.

    Raises:
        OSError: The folder cannot be written to, or the disk has not enough room.
    """
    size = prod(shape) * dtype.itemsize
    with torch.inference_mode(False):  # it may outlive an evaluation
        if folder is None or size == 0:
            return torch.empty(tuple(shape), dtype=dtype)
        try:
            mapped = map_new_file(folder, size)
        except OSError as error:
            raise type(error)(
                error.errno,
                explain(who, f'the folder of the graph must take {size:,} more bytes',
                        f"'{folder}': {error.strerror}",
                        'Make room, or move the graph to another disk.'),
            ) from error  # fmt: skip
        return torch.frombuffer(mapped, dtype=dtype).view(tuple(shape))


def map_new_file(folder: Path, size: int) -> mmap.mmap:
    """Bytes in a file without a name, for which the disk has set room aside.

    Raises:
        OSError: The folder cannot be written to, or the disk has not enough room.
    """
    with tempfile.TemporaryFile(dir=folder, prefix='array-') as file:
        reserve_room(file.fileno(), size)
        return mmap.mmap(file.fileno(), size)  # keeps the file open by itself
