"""Products of a sparse CSR matrix with a dense one, as an alternative to PyTorch's."""

import torch
from torch import Tensor

from ..errors import explain
from .support import on, why_not

_WHO = 'spmm'
TYPES = (torch.float64, torch.float32, torch.float16)
TILE = 1024  # numbers that one program adds up at a time
WIDEST = 256  # columns of a tile


def spmm(
    crow: Tensor,
    col: Tensor,
    values: Tensor | None,
    x: Tensor,
    reduce: str = 'sum',
    out: Tensor | None = None,
) -> Tensor:
    """Add up rows of sources at their targets, on the current stream of their device.

    Each row of the result is one program's, so the sums do not depend on what else runs.

    Args:
        crow: ``(R + 1,)`` int32 or int64: the edges into row ``i`` are ``crow[i]:crow[i + 1]``.
        col: ``(E,)`` int32 or int64 sources. Trusted to be rows of ``x``.
        values: ``(E,)`` weights of the edges; ``None``: ones.
        x: ``(n, F)`` of ``float64``, ``float32`` or ``float16``. Sums are ``float32`` at least.
        reduce: ``'sum'``, or ``'mean'``: divided by each row's number of edges.
        out: Where to, ``(R, F)``; by default a new tensor of the type of ``x``.

    Raises:
        ValueError: Shapes, types or places do not fit.
    """
    num_rows, width = crow.numel() - 1, x.size(1) if x.dim() == 2 else -1
    if x.dim() != 2 or x.dtype not in TYPES or reduce not in ('sum', 'mean'):
        raise ValueError(
            explain(_WHO, "'x' is a matrix of float64, float32 or float16, and 'reduce' sum or "
                    'mean', f'shape {tuple(x.shape)} of {x.dtype}, {reduce!r}', 'Convert it.')
        )  # fmt: skip
    if values is not None and values.shape != col.shape:
        raise ValueError(
            explain(_WHO, f"'values' holds one number for each of the {col.numel()} edges",
                    tuple(values.shape), 'Pass None for ones.')
        )  # fmt: skip
    out = x.new_empty(num_rows, width) if out is None else out
    if tuple(out.shape) != (num_rows, width) or (width > 1 and out.stride(1) != 1):
        raise ValueError(
            explain(_WHO, f"'out' must have shape {(num_rows, width)} and rows without gaps",
                    f'{tuple(out.shape)} with strides {out.stride()}', 'Leave it out.')
        )  # fmt: skip
    tensors = [t for t in (crow, col, values, out) if t is not None]
    reason = why_not(x.device) or next(
        (f'a tensor on {t.device}' for t in tensors if t.device != x.device), None
    )
    if reason is not None:
        raise ValueError(explain(_WHO, 'the kernel must be able to run', reason, 'Use torch.mm.'))
    if num_rows == 0 or width == 0:
        return out
    from . import spmm_triton

    x = x if width == 1 or x.stride(1) == 1 else x.contiguous()
    columns = min(WIDEST, 1 << max(width - 1, 0).bit_length())
    with on(x.device):
        spmm_triton.multiply[(num_rows, -(-width // columns))](
            crow, col, col if values is None else values, x, out, num_rows, width, x.stride(0),
            out.stride(0), HAS_VALUES=values is not None, MEAN=reduce == 'mean',
            WIDE=x.dtype == torch.float64, EDGES=max(1, TILE // columns), COLUMNS=columns,
        )  # fmt: skip
    return out
