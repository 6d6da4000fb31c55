"""The boundary between two layers: batch rows go on, halo rows are replaced."""

from typing import Any

import torch
from torch import Tensor

from .graph import check_same_graph
from .guard import passed_boundary
from .history import History
from .tags import mark_halo_constant
from .transfer import current_moves


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


def push_and_pull_rows(
    who: str,
    history: History,
    x: Tensor,
    batch_size: int,
    n_id: Tensor,
    offset: Tensor | None = None,
    count: Tensor | None = None,
    fingerprint: str | None = None,
) -> Tensor:
    """Push the batch rows of ``x`` and put pulled rows in the place of its halo rows.

    Args:
        who: The public call on whose behalf errors speak.
        history: The table of this boundary.
        x: ``(B, C)`` or ``(n, C)``.
        batch_size: ``B``.
        n_id: ``(n,)`` rows of the table, batch nodes first.
        offset, count: The batch nodes as contiguous chunks, if known.
        fingerprint: The graph that the batch comes from, if known.

    Returns:
        ``(n, C)``; ``x`` itself if there is no halo.

    Raises:
        ValueError: If the history holds rows of another graph or width. It is untouched then.
    """
    check_same_graph(who, history.graph, fingerprint)
    moves = current_moves()
    here = None if moves is None else moves.rows_of(history, n_id, batch_size)
    if moves is not None and here is not None:
        rows = moves.exchange(history, x, here)
    else:
        halo, rows = n_id[batch_size:], None
        if halo.numel():
            rows = x.new_empty((n_id.numel(), history.embedding_dim))
            history.pull(halo, out=rows[batch_size:])
        history.push(x[:batch_size].detach(), n_id[:batch_size], offset, count)
    history.belong_to(fingerprint)
    return passed_boundary(x) if rows is None else replace_halo(x, rows, batch_size)
