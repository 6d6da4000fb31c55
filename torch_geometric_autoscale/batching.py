"""Cut batches out of a graph: batch nodes, their halo, and the edges between them.

Everything here is plain tensors and plain index arithmetic, so that it runs in worker processes.
"""

import threading
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .bucket_sort import BucketSort
from .edges import spans
from .graph import Graph, VariantKey


class BatchNodes(NamedTuple):
    """The nodes of one batch.

    Attributes:
        n_id: ``(n,)`` int64, the batch nodes in loader order, then the halo in ascending order.
        batch_size: Number of batch nodes ``B``.
        offset: ``(chunks,)`` first node of each contiguous chunk of batch nodes.
        count: ``(chunks,)`` length of each chunk; sums to ``B``.
    """

    n_id: Tensor
    batch_size: int
    offset: Tensor
    count: Tensor  # type: ignore[assignment]


def contiguous(nodes: BatchNodes) -> list[tuple[int, int]]:
    """The batch nodes as few ranges of rows, in order; neighbouring partitions are joined."""
    ranges: list[tuple[int, int]] = []
    with torch._C.DisableTorchFunction():  # nothing that a forward does
        chunks = zip(nodes.offset.tolist(), nodes.count.tolist(), strict=True)
    for start, length in chunks:
        if ranges and ranges[-1][1] == start:
            ranges[-1] = (ranges[-1][0], start + length)
        else:
            ranges.append((start, start + length))
    return ranges


class EdgeSlice(NamedTuple):
    """The edges of one batch with local ids, grouped by target.

    Attributes:
        crow: ``(B + 1,)`` int32, or ``(n + 1,)`` if halo nodes are targets too.
        col: ``(E_b,)`` int32 local sources.
        weight: ``(E_b,)`` or ``None``.
    """

    crow: Tensor
    col: Tensor
    weight: Tensor | None


class BatchBuilder:
    """Builds the batches that join some partitions of a graph.

    Args:
        graph: The whole graph; each partition is a contiguous range of its nodes.
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        both_directions: Also take in the nodes that batch nodes point to, with those edges.
    """

    def __init__(self, graph: Graph, ptr: Tensor, both_directions: bool = False) -> None:
        self.graph = graph
        self.ptr = ptr
        self.both_directions = both_directions
        self._halos: dict[int, Tensor] = {}
        self._by_source: tuple[Tensor, Tensor] | None = None
        self._scratch = _Scratch(graph.num_nodes)

    @property
    def _local_id(self) -> Tensor:
        return self._scratch.local_id

    @property
    def _inside(self) -> Tensor:
        return self._scratch.inside

    # Nodes #######################################################################

    def nodes(self, parts: Sequence[int]) -> BatchNodes:
        """The nodes of the batch that joins ``parts``."""
        start = self.ptr[torch.as_tensor(parts, dtype=torch.int64)]
        stop = self.ptr[torch.as_tensor(parts, dtype=torch.int64) + 1]
        ranges = list(zip(start.tolist(), stop.tolist(), strict=True))
        batch = torch.cat([torch.arange(a, b) for a, b in ranges])
        halo = torch.cat([self._partition_halo(part) for part in parts])
        if len(parts) > 1:
            for a, b in ranges:
                self._inside[a:b] = True
            halo = _sorted_unique(halo[~self._inside[halo]])
            for a, b in ranges:
                self._inside[a:b] = False
        return BatchNodes(torch.cat([batch, halo.long()]), batch.numel(), start, stop - start)

    def _partition_halo(self, part: int) -> Tensor:
        """Nodes outside one partition with an edge into it, ascending; kept between epochs."""
        if part not in self._halos:
            a, b = int(self.ptr[part]), int(self.ptr[part + 1])
            neighbour = self.graph.col[self.graph.rowptr[a] : self.graph.rowptr[b]]
            if self.both_directions:
                neighbour = torch.cat([neighbour, self._out_edges(a, b)[0]])
            outside = (neighbour < a) | (neighbour >= b)
            self._halos[part] = _sorted_unique(neighbour[outside])
        return self._halos[part]

    # Edges #######################################################################

    def edges(self, parts: Sequence[int], nodes: BatchNodes, key: VariantKey | None) -> EdgeSlice:
        """The edges of a batch in one variant of the graph."""
        graph = self.graph.variant(key)
        self._local_id[nodes.n_id] = torch.arange(nodes.n_id.numel(), dtype=torch.int32)
        crow, col, weight = [torch.zeros(1, dtype=torch.int64)], [], []
        num_edges = 0
        for part in parts:
            a, b = int(self.ptr[part]), int(self.ptr[part + 1])
            first, last = int(graph.rowptr[a]), int(graph.rowptr[b])
            crow.append(graph.rowptr[a + 1 : b + 1] - first + num_edges)
            col.append(graph.col[first:last])
            if graph.weight is not None:
                weight.append(graph.weight[first:last])
            num_edges += last - first
        if self.both_directions and key is None:
            source, target, extra = self._edges_into_halo(parts, nodes)
            in_halo = torch.bincount(target, minlength=nodes.n_id.numel())[nodes.batch_size :]
            crow.append(num_edges + in_halo.cumsum(0))
            col.append(source)
            if graph.weight is not None:
                weight.append(graph.weight[extra])
        return EdgeSlice(
            torch.cat(crow).int(),
            self._local_id[torch.cat(col)],
            torch.cat(weight) if weight else None,
        )

    def edge_positions(self, parts: Sequence[int], nodes: BatchNodes) -> Tensor:
        """Where each edge of a batch stands in the graph's edge order, ``(E_b,)`` int64."""
        rowptr = self.graph.rowptr
        bounds = [(int(self.ptr[part]), int(self.ptr[part + 1])) for part in parts]
        pieces = [torch.arange(int(rowptr[a]), int(rowptr[b])) for a, b in bounds]
        if self.both_directions:
            self._local_id[nodes.n_id] = torch.arange(nodes.n_id.numel(), dtype=torch.int32)
            pieces.append(self._edges_into_halo(parts, nodes)[2])
        return torch.cat(pieces)

    def _out_edges(self, a: int, b: int) -> tuple[Tensor, Tensor]:
        """Targets and positions of the edges that leave nodes ``a:b``."""
        if self._by_source is None:
            self._by_source = _group_by_source(self.graph)
        pointer, order = self._by_source
        position = order[pointer[a] : pointer[b]]
        target = torch.searchsorted(self.graph.rowptr, position, right=True) - 1
        return target.to(self.graph.col.dtype), position

    def _edges_into_halo(
        self, parts: Sequence[int], nodes: BatchNodes
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Global sources, local targets and positions of the edges from batch to halo nodes."""
        pieces = [self._out_edges(int(self.ptr[p]), int(self.ptr[p + 1])) for p in parts]
        target = self._local_id[torch.cat([piece[0] for piece in pieces])]
        position = torch.cat([piece[1] for piece in pieces])
        leaving = target >= nodes.batch_size
        # By target, and within one target in the graph's own edge order.
        position = position[leaving].sort()[0]
        target = self._local_id[torch.searchsorted(self.graph.rowptr, position, right=True) - 1]
        order = torch.argsort(target, stable=True)
        return self.graph.col[position[order]], target[order], position[order]

    def __getstate__(self) -> dict[str, Any]:
        # Tensors sent to a spawned worker are shared with it; workers must not share scratch space.
        state = {**self.__dict__, '_by_source': None}
        del state['_scratch']
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._scratch = _Scratch(self.graph.num_nodes)


class _Scratch(threading.local):
    """Space to work in, for each thread its own: one may cut ahead while another computes.

    Attributes:
        local_id: ``(N,)`` only read for nodes of the batch at hand, so it is never cleared.
        inside: ``(N,)`` false but while it is in use.
    """

    def __init__(self, num_nodes: int) -> None:
        with torch.inference_mode(False):  # it is written to in training, too
            self.local_id = torch.empty(num_nodes, dtype=torch.int32)
            self.inside = torch.zeros(num_nodes, dtype=torch.bool)


def _sorted_unique(ids: Tensor) -> Tensor:
    ids = torch.sort(ids, stable=True)[0]  # stable: a radix sort for integers on the CPU
    if ids.numel() < 2:
        return ids
    first = torch.ones_like(ids, dtype=torch.bool)
    torch.ne(ids[1:], ids[:-1], out=first[1:])
    return ids[first]


def _group_by_source(graph: Graph) -> tuple[Tensor, Tensor]:
    """Bounds, and positions of the edges out of each node, ``(N + 1,)`` and ``(E,)`` int64."""

    def edges() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for start, stop in spans(graph.num_edges):
            yield graph.col[start:stop].long().numpy(), np.arange(start, stop)

    counts = torch.bincount(graph.col, minlength=graph.num_nodes)
    in_order = BucketSort("direction='both'", counts, edges, graph.folder)
    reached = 0
    for _, _, _, position in in_order.buckets():
        in_order.store[reached : reached + len(position)] = position
        reached += len(position)
    return in_order.bounds, torch.from_numpy(in_order.store)
