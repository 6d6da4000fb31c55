"""Tensors in memory-mapped files.

Such a file is working memory that happens to lie on a disk: it has no name, is written in place and
without ceremony, and is gone with the process that made it, however that ends. So there is no
file that a crash could leave half-written and nobody who could read one. What outlives the process
are checkpoints: each holds a copy of every table, with checksums, and becomes visible only once it
is whole (``training/container.py``). A resumed run fills new working files from it; whatever was
pushed after the checkpoint is thereby rolled back.

Against an undo journal this costs the copy of a table per checkpoint, and a copy back when a run
is resumed. It buys that no push ever waits for the disk, that the two checkpoints that are kept
share no byte (damage to one leaves the other whole), and that tables on disk and in memory are
treated alike. In training every row is written about twice an epoch, so that a journal would soon
hold as many bytes as the copy.

The disk is asked for all the room when the file is made. A mapped page without room behind it
would end the process with SIGBUS when it is written; like this, a full disk is an error with a
message before the training begins.
"""

import tempfile
from math import prod
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import explain
from ..mapped import map_new_file
from .medium import Medium


class Disk(Medium):
    """Files without a name.

    Args:
        folder: A folder on the disk to use (default: the system's for temporary files).

    Raises:
        OSError: When a tensor is made: the folder cannot be written to, or the disk has not enough
            room.
    """

    tier: ClassVar[str] = 'disk'

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = Path(tempfile.gettempdir() if folder is None else folder)

    def zeros(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        size = prod(shape) * dtype.itemsize
        if size == 0:
            return torch.zeros(shape, dtype=dtype)
        try:
            mapped = map_new_file(self.folder, size)
        except OSError as error:
            raise type(error)(
                error.errno,
                explain('History', f"the folder of tables on disk must take {size:,} bytes",
                        f"'{self.folder}': {error.strerror}",
                        'Make room, name a folder on another disk, or keep the table in memory.'),
            ) from error  # fmt: skip
        return torch.frombuffer(mapped, dtype=dtype).view(shape)
