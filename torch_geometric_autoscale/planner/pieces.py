"""Single batches of a graph as graphs of their own, to try a model's step on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..edges import Edges
from .fit import Counts

_RUN = 2**19  # edges that are looked at together


@dataclass(frozen=True)
class Piece:
    """Some nodes of a graph, their halo, and the edges into the former.

    As a batch it is what the whole graph would give for these nodes. The batch nodes are two
    partitions, so that their rows do not stand next to each other. The halo nodes, which have no
    edges into them here, are partitions of no more nodes, so that no batch is larger.

    Attributes:
        data: The batch nodes, then the halo.
        ptr: Bounds of the partitions.
        parts: Those that a batch joins, not in order.
    """

    data: Data
    ptr: Tensor
    parts: tuple[int, ...]

    @property
    def num_nodes(self) -> int:
        return int(self.ptr[-1])

    @property
    def num_bytes(self) -> int:
        """Bytes of its tensors."""
        tensors = [value for value in self.data.to_dict().values() if isinstance(value, Tensor)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    @property
    def counts(self) -> Counts:
        rows = int(self.ptr[len(self.parts)])
        return Counts(rows, self.num_nodes - rows, self.data.edge_index.size(1))


class _Found(NamedTuple):
    """Edges at some nodes.

    Attributes:
        source, target: Node ids, int64.
        position: Where each edge stands in the graph's edge order.
    """

    source: Tensor
    target: Tensor
    position: Tensor


def cut_pieces(
    data: Data,
    edges: Edges,
    nodes: Sequence[Tensor],
    num_chunks: int = 2,
    both_directions: bool = False,
) -> Iterator[Piece]:
    """Cut pieces out of a graph, one after the other, in one pass over its edges.

    Args:
        data: The graph; features and edges may lie in mapped files.
        edges: Its edges.
        nodes: Distinct ids of each piece's batch nodes, at least one.
        num_chunks: Partitions that the batch nodes make up.
        both_directions: Also take the edges out of batch nodes.
    """
    wanted = torch.zeros(edges.num_nodes, dtype=torch.bool)
    for ids in nodes:
        wanted[ids] = True
    found = _edges_at(edges, wanted, both_directions)
    for ids in nodes:
        yield _cut(data, edges, found, ids.sort()[0], num_chunks, both_directions)


def _edges_at(edges: Edges, wanted: Tensor, both_directions: bool) -> _Found:
    found: list[_Found] = []
    if edges.rowptr is not None and not both_directions:
        rowptr = edges.rowptr.cpu()
        ids = wanted.nonzero().view(-1)
        first, degree = rowptr[ids].long(), rowptr[ids + 1].long() - rowptr[ids].long()
        ends = degree.cumsum(0)
        position = torch.arange(int(degree.sum())) + (first - ends + degree).repeat_interleave(
            degree
        )
        source = edges.sources[position].long()
        return _Found(source, ids.repeat_interleave(degree), position)
    start = 0
    for source, target in edges.pieces(_RUN):
        hit = wanted[target.long()]
        if both_directions:
            hit |= wanted[source.long()]
        kept = hit.nonzero().view(-1)
        found.append(_Found(source[kept].long(), target[kept].long(), kept + start))
        start += source.numel()
    if not found:
        empty = torch.empty(0, dtype=torch.int64)
        return _Found(empty, empty, empty)
    return _Found(*(torch.cat(columns) for columns in zip(*found, strict=True)))


def _cut(
    data: Data, edges: Edges, found: _Found, ids: Tensor, num_chunks: int, both_directions: bool
) -> Piece:
    inside = torch.zeros(edges.num_nodes, dtype=torch.bool)
    inside[ids] = True
    mine = inside[found.target]
    if both_directions:
        mine |= inside[found.source]
    source, target, position = (column[mine] for column in found)
    ends = torch.cat([source, target])
    halo = ends[~inside[ends]].unique()
    order = torch.cat([ids, halo])
    local = torch.empty(edges.num_nodes, dtype=torch.int64)
    local[order] = torch.arange(order.numel())
    # By target, as in a permuted graph: there nothing has to be sorted again.
    by_target = torch.argsort(target, stable=True)
    edge_index = torch.stack([local[source], local[target]])[:, by_target]
    piece = Data(edge_index=edge_index, num_nodes=order.numel())
    if edges.weight is not None:
        piece.edge_weight = _rows(edges.weight, position[by_target])
    for name, value in data.to_dict().items():
        if name in ('edge_index', 'adj_t', 'edge_weight', 'num_nodes') or value is None:
            continue
        if data.is_node_attr(name):
            piece[name] = _rows(value, order)
        elif data.is_edge_attr(name):
            piece[name] = _rows(value, position[by_target])
    chunks = min(num_chunks, ids.numel())
    bounds = [ids.numel() * i // chunks for i in range(chunks + 1)]
    ptr = [*bounds, *range(ids.numel() + bounds[1], order.numel(), bounds[1])]
    ptr += [order.numel()] if halo.numel() else []
    return Piece(piece, torch.tensor(ptr), tuple(reversed(range(chunks))))


def _rows(value: Any, ids: Tensor) -> Any:
    rows = value.index_select(0, ids.to(value.device))
    return rows.cpu() if rows.device.type != 'cpu' else rows
