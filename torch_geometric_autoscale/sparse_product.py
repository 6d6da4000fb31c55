"""Products of an adjacency with rows, by whatever is faster on the device at hand."""

import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .errors import explain
from .graph import multiply
from .kernels import available
from .kernels.spmm import spmm

WAYS = ('auto', 'torch', 'kernel')
TIMES = 5

_way = 'auto'
_chosen: dict[tuple, str] = {}


def choose_product(way: str) -> None:
    """Say how products with a batch's adjacency are computed on a CUDA device.

    Args:
        way: ``'torch'``: by cuSPARSE, through PyTorch. ``'kernel'``: by a Triton kernel.
            ``'auto'``, the default: by whichever is faster, measured at the first product of each
            width and type. Sums may differ in their last bits between the two. On the CPU it is
            PyTorch.

    Raises:
        ValueError: There is no such way.
    """
    global _way
    if way not in WAYS:
        raise ValueError(
            explain('choose_product', f"'way' must be one of {', '.join(WAYS)}", repr(way),
                    'Pass one of them.')
        )  # fmt: skip
    _way = way
    _chosen.clear()


def product(matrix: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    """``matrix @ x`` for a matrix in CSR layout, in the type of ``x``.

    Args:
        matrix: ``(R, n)``.
        x: ``(n, F)``.
        out: Where to; by default a new tensor ``(R, F)``.
    """
    if x.device.type == 'cpu' or _way == 'torch' or not available(x.device):
        return _by_torch(matrix, x, out)
    if _way == 'kernel' or _faster(matrix, x) == 'kernel':
        return _by_kernel(matrix, x, out)
    return _by_torch(matrix, x, out)


def _by_torch(matrix: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    if out is None:
        return multiply(matrix, x)
    with torch.autocast(x.device.type, enabled=False):
        return torch.mm(matrix, x, out=out)


def _by_kernel(matrix: Tensor, x: Tensor, out: Tensor | None = None) -> Tensor:
    crow, col, values = matrix.crow_indices(), matrix.col_indices(), matrix.values()
    return spmm(crow, col, values, x, out=out)


def _faster(matrix: Tensor, x: Tensor) -> str:
    """``'torch'`` or ``'kernel'``; measured once for each device, width and type."""
    key = (x.device, x.dtype, x.size(1))
    if key not in _chosen:
        ways = {'torch': _by_torch, 'kernel': _by_kernel}
        taken = {name: _seconds(partial(way, matrix, x)) for name, way in ways.items()}
        _chosen[key] = min(taken, key=lambda name: taken[name])
    return _chosen[key]


def _seconds(work: Callable[[], object]) -> float:
    """Least seconds of several times; the first compiles the kernel."""
    taken = []
    for _ in range(TIMES + 1):
        _synchronize()
        begun = time.perf_counter()
        work()
        _synchronize()
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
