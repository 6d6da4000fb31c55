"""The boundary between two layers: batch rows go on, halo rows are replaced."""

from typing import Any

import torch
from torch import Tensor

from .guard import passed_boundary
from .tags import mark_halo_constant


class _ReplaceHalo(torch.autograd.Function):
    """Puts batch rows before halo rows that are already in place; gradients reach batch rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rows: Tensor, batch_size: int) -> Tensor:
        ctx.batch_size, ctx.num_rows = batch_size, x.size(0)
        rows[:batch_size] = x[:batch_size]
        ctx.mark_dirty(rows)
        return rows

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        grad = grads[0][: ctx.batch_size]
        if ctx.num_rows > ctx.batch_size:
            padded = grad.new_zeros((ctx.num_rows, *grad.shape[1:]))
            padded[: ctx.batch_size] = grad
            grad = padded
        return grad, None, None


def replace_halo(x: Tensor, rows: Tensor, batch_size: int) -> Tensor:
    """Join computed batch rows and pulled halo rows.

    Args:
        x: ``(B, C)`` or ``(n, C)``; only the first ``B`` rows are read.
        rows: ``(n, C)`` whose rows from ``B`` on are filled; taken over by the result.
        batch_size: ``B``.
    """
    out = _ReplaceHalo.apply(x, rows, batch_size)
    return mark_halo_constant(passed_boundary(out))
