"""Whether Triton's kernels run here, and why not."""

import importlib.util
import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ..errors import missing_package


def why_not(device: torch.device | str, *tables: Tensor) -> str | None:
    """Why the kernels cannot be used, in words; ``None`` if they can.

    Args:
        device: Where results go.
        *tables: Tensors that they are to read or write as well.
    """
    device = torch.device(device)
    if importlib.util.find_spec('triton') is None:
        return missing_package('kernels', 'triton', 'gpu')
    if device.type != 'cuda' and not interprets():
        return f"Triton's kernels run on CUDA devices, not on '{device}'"
    if device.type == 'cuda':
        if not torch.cuda.is_available():
            return 'PyTorch finds no CUDA device'
        capability = torch.cuda.get_device_capability(device)
        if torch.version.hip is None and capability < (7, 0):
            found = '.'.join(map(str, capability))
            return f'Triton needs a device of compute capability 7.0, and this one has {found}'
    for table in tables:
        # What is pinned lies in the device's address space too, and is read over the bus.
        if table.device != device and not (table.device.type == 'cpu' and _is_pinned(table)):
            return f'a table on {table.device} that is not in pinned memory is out of its reach'
    return None


def available(device: torch.device | str, *tables: Tensor) -> bool:
    """Whether the kernels can be used; :func:`why_not` says why not."""
    return why_not(device, *tables) is None


def interprets() -> bool:
    """Whether Triton runs its kernels in Python (``TRITON_INTERPRET=1``), for tests on the CPU."""
    if importlib.util.find_spec('triton') is None:
        return False
    import triton

    knobs = getattr(triton, 'knobs', None)
    if knobs is not None:
        return bool(knobs.runtime.interpret)
    return os.environ.get('TRITON_INTERPRET', '0') == '1'


def on(device: torch.device) -> AbstractContextManager[None]:
    """Launch kernels on ``device``, whichever is current."""
    if device.type != 'cuda':
        return nullcontext()
    return torch.cuda.device(device)


def _is_pinned(table: Tensor) -> bool:
    return torch.cuda.is_available() and table.is_pinned()
