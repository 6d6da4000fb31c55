"""The edges of a graph, as pairs or grouped by target, and ways to go through them in pieces."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .mapped import folder_beside

CHUNK = 2**20  # entries that are worked on at once: a few of such arrays fit a cache


@dataclass(frozen=True)
class Edges:
    """The edges of a graph as plain tensors, in the form in which they were handed over.

    Either ``pairs`` is there, or ``rowptr`` and ``col`` are.

    Attributes:
        num_nodes: Number of nodes ``N``; all ids lie in ``[0, N)``.
        weight: ``(E,)`` or ``(E, D)`` edge weights, or :obj:`None`.
        pairs: ``(2, E)`` integers; row 0 holds sources, row 1 targets.
        rowptr: ``(N + 1,)`` integers; the edges into node ``i`` are ``rowptr[i]:rowptr[i + 1]``.
        col: ``(E,)`` integers, their sources.
    """

    num_nodes: int
    weight: Tensor | None = None
    pairs: Tensor | None = None
    rowptr: Tensor | None = None
    col: Tensor | None = None

    @property
    def num_edges(self) -> int:
        """Number of edges ``E``."""
        return self.sources.numel()

    @property
    def sources(self) -> Tensor:
        """``(E,)`` source of every edge, in the type they are stored in."""
        if self.col is not None:
            return self.col
        assert self.pairs is not None
        return self.pairs[0]

    @property
    def folder(self) -> Path | None:
        """Where files go for what is made of edges that are mapped; ``None``: they are not."""
        return folder_beside(self.sources)

    @property
    def edge_index(self) -> Tensor:
        """``(2, E)`` int64, all at once: sources and targets."""
        if self.pairs is not None:
            return self.pairs.long()
        assert self.rowptr is not None
        assert self.col is not None
        return torch.stack([self.col.long(), expand(self.rowptr)])

    def pieces(self, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Sources and targets of runs of edges, in stored order, on the CPU.

        Args:
            size: Edges of a run at most (default: ``CHUNK``). A run of grouped edges holds whole
                rows: it may be one row that is larger.
        """
        if self.pairs is not None:
            for start, stop in spans(self.num_edges, size):
                source, target = self.pairs[:, start:stop].cpu()
                yield source, target
            return
        assert self.rowptr is not None
        assert self.col is not None
        rowptr, col = self.rowptr.cpu(), self.col
        for a, b in row_blocks(rowptr, size):
            yield col[int(rowptr[a]) : int(rowptr[b])].cpu(), targets(rowptr, a, b)


def spans(length: int, size: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut ``0:length`` into ranges of ``size``, or of ``CHUNK``.

    Example:
        >>> list(spans(5, 2))
        [(0, 2), (2, 4), (4, 5)]
    """
    size = size or CHUNK
    for start in range(0, length, size):
        yield start, min(start + size, length)


def row_blocks(rowptr: Tensor, size: int | None = None) -> Iterator[tuple[int, int]]:
    """Cut rows into ranges that hold ``size`` entries (``CHUNK``) at most, or a single row."""
    size = size or CHUNK
    num_rows, first = rowptr.numel() - 1, 0
    end = int(rowptr[-1])
    while first < num_rows:
        reach = min(int(rowptr[first]) + size, end)
        last = int(torch.searchsorted(rowptr, reach, right=True)) - 1
        last = min(max(last, first + 1), first + size)
        yield first, last
        first = last


def targets(rowptr: Tensor, first: int, last: int) -> Tensor:
    """The row of every entry of the rows ``first:last``, int64."""
    degree = rowptr[first : last + 1].diff().long()
    return torch.arange(first, last).repeat_interleave(degree)


def expand(rowptr: Tensor) -> Tensor:
    """The row of every entry: ``[0, 2, 2, 3] -> [0, 0, 2]``, int64."""
    ids = torch.arange(rowptr.numel() - 1, device=rowptr.device)
    return ids.repeat_interleave(rowptr.diff().long())
