"""The log of PyTorch's C++ code."""

import ctypes
import os
from contextlib import suppress
from pathlib import Path

import torch

_ERROR = 2


def log_errors_only() -> None:
    """Keep all but errors of PyTorch's log from the terminal, if nobody has set its level.

    Its profiler, which counts a step's memory, else tells of blocks that were allocated before. The
    variable ``TORCH_CPP_LOG_LEVEL`` is read when PyTorch is imported, which is too early for a
    command. Where the level is kept elsewhere nothing happens.
    """
    if 'TORCH_CPP_LOG_LEVEL' in os.environ:
        return
    with suppress(OSError, ValueError):
        library = ctypes.CDLL(str(Path(torch.__file__).with_name('lib') / 'libc10.so'))
        ctypes.c_int.in_dll(library, 'FLAGS_caffe2_log_level').value = _ERROR
