"""Self-loops and weights of edges grouped by target, computed piece by piece.

The arrays that are given and those that come out may lie in mapped files: each function holds a
few numbers per node in memory, and a piece of the edges.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from .edges import row_blocks, targets
from .mapped import new_tensor


class Grouped(NamedTuple):
    """Edges grouped by target.

    Attributes:
        rowptr: ``(N + 1,)`` int64; the edges into node ``i`` are ``rowptr[i]:rowptr[i + 1]``.
        col: ``(E,)`` their sources.
        weight: ``(E,)``, or ``None``.
    """

    rowptr: Tensor
    col: Tensor
    weight: Tensor | None

    def blocks(self) -> Iterator[tuple[int, int, slice]]:
        """Ranges of rows ``a:b``, each with the range of its edges."""
        for a, b in row_blocks(self.rowptr):
            yield a, b, slice(int(self.rowptr[a]), int(self.rowptr[b]))

    @property
    def degree(self) -> Tensor:
        """Edges into each node, ``(N,)``."""
        return self.rowptr[1:] - self.rowptr[:-1]


def with_self_loops(
    who: str, graph: Grouped, fill: float = 1.0, folder: Path | None = None
) -> Grouped:
    """One self-loop per node, as the last edge into it; PyG's ``add_remaining_self_loops``.

    Args:
        who: The public call on whose behalf errors speak.
        graph: Its self-loops are replaced; the last one of a node passes on its weight.
        fill: Weight of self-loops that were not there.
        folder: Where files go; ``None``: arrays stay in memory.
    """
    num_nodes = graph.rowptr.numel() - 1
    num_loops = torch.zeros(num_nodes, dtype=torch.int64)
    for a, b, edges in graph.blocks():
        row = targets(graph.rowptr, a, b)
        row = row[graph.col[edges] == row]
        num_loops[a:b] = torch.bincount(row - a, minlength=b - a)
    rowptr = torch.zeros_like(graph.rowptr)
    torch.cumsum(graph.degree - num_loops + 1, 0, out=rowptr[1:])

    size = (int(rowptr[-1]),)
    col = new_tensor(who, size, graph.col.dtype, folder)
    weight = None if graph.weight is None else new_tensor(who, size, graph.weight.dtype, folder)
    for a, b, edges in graph.blocks():
        here = slice(int(rowptr[a]), int(rowptr[b]))
        source, row = graph.col[edges], targets(graph.rowptr, a, b)
        is_loop = source == row
        kept = (~is_loop).nonzero().view(-1)
        # Behind each of the rows before, there is one self-loop.
        place = torch.arange(kept.numel()) + (row[kept] - a)
        last = rowptr[a + 1 : b + 1] - 1 - here.start
        col[here][place] = source[kept]
        col[here][last] = torch.arange(a, b, dtype=col.dtype)
        if weight is not None and graph.weight is not None:
            values = graph.weight[edges]
            of_loops = torch.full((b - a,), fill, dtype=values.dtype)
            of_loops[row[is_loop] - a] = values[is_loop]
            weight[here][place] = values[kept]
            weight[here][last] = of_loops
    return Grouped(rowptr, col, weight)


def symmetric_weights(
    who: str, graph: Grouped, dtype: torch.dtype, folder: Path | None = None
) -> Tensor:
    """``w / sqrt(d_j d_i)`` for every edge ``j -> i`` (Kipf & Welling 2017, eq. 2), ``(E,)``."""
    if graph.weight is None:
        degree = graph.degree.to(dtype)
    else:
        degree = torch.zeros(graph.rowptr.numel() - 1, dtype=dtype)
        for a, b, edges in graph.blocks():
            degree.scatter_add_(0, targets(graph.rowptr, a, b), graph.weight[edges].to(dtype))
    scale = degree.pow_(-0.5)
    scale.masked_fill_(scale == float('inf'), 0)
    out = new_tensor(who, graph.col.shape, dtype, folder)
    for a, b, edges in graph.blocks():
        value = scale.index_select(0, graph.col[edges])
        if graph.weight is not None:
            value *= graph.weight[edges].to(dtype)
        torch.mul(value, scale[a:b].repeat_interleave(graph.degree[a:b]), out=out[edges])
    return out


def mean_weights(
    who: str, graph: Grouped, dtype: torch.dtype, folder: Path | None = None
) -> Tensor:
    """The weights, each divided by its target's number of edges, ``(E,)``."""
    share = 1 / graph.degree.clamp(min=1).to(dtype)
    out = new_tensor(who, graph.col.shape, dtype, folder)
    for a, b, edges in graph.blocks():
        value = share[a:b].repeat_interleave(graph.degree[a:b])
        out[edges] = value if graph.weight is None else graph.weight[edges].to(dtype) * value
    return out
