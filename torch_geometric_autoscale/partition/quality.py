"""How good a partition is for training with histories."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..bucket_sort import BucketSort
from ..edges import Edges
from ..graph_input import to_edges
from .contract import check_perm, check_ptr


@dataclass(frozen=True)
class PartitionQuality:
    """Three numbers that say what a partition costs; lower is better for all.

    Attributes:
        edge_cut: Fraction of directed edges, self-loops left out, whose ends lie in different
            parts: messages that come from a history.
        halo_per_batch_node: Distinct nodes outside a part with an edge into it, summed over
            parts and divided by ``N``: rows pulled per batch node by a loader that takes one
            part per batch.
        balance: Nodes in the largest part over the mean; it sets the memory of a step.
    """

    edge_cut: float
    halo_per_batch_node: float
    balance: float

    def __str__(self) -> str:
        return (
            f'{self.edge_cut:.1%} of edges cut, {self.halo_per_batch_node:.2f} halo rows per node, '
            f'largest part {self.balance:.2f}x the mean'
        )


def partition_quality(
    graph: Any, perm: Tensor, ptr: Tensor, num_nodes: int | None = None
) -> PartitionQuality:
    """Measure how much a partition cuts, pulls and weighs.

    Args:
        graph: The graph that was partitioned, in the numbering ``perm`` refers to: anything
            :func:`metis` takes. For a graph that :func:`permute` has already reordered, ``perm``
            is ``torch.arange(N)``.
        perm: ``(N,)`` nodes sorted by part.
        ptr: ``(num_parts + 1,)`` bounds of the parts in ``perm``.
        num_nodes: Number of nodes, where ``graph`` is a plain ``edge_index``.

    Raises:
        TypeError: If ``graph``, ``perm`` or ``ptr`` is of a wrong kind.
        ValueError: If ``perm`` is no permutation of the nodes or ``ptr`` does not bound them.
    """
    who = 'partition_quality'
    edges = to_edges(graph, num_nodes, who)
    perm = check_perm(perm, edges.num_nodes, who)
    ptr = check_ptr(ptr, edges.num_nodes, who)
    return quality_of(edges, perm, ptr)


def quality_of(edges: Edges, perm: Tensor, ptr: Tensor) -> PartitionQuality:
    """The same for arguments that are known to be right."""
    if edges.num_nodes == 0:
        return PartitionQuality(0.0, 0.0, 1.0)
    size = ptr.diff()
    part = torch.empty(edges.num_nodes, dtype=torch.long)
    part[perm.cpu()] = torch.arange(size.numel()).repeat_interleave(size)

    num_proper = 0
    num_cut = torch.zeros_like(size)  # edges into each part
    for source, target in edges.pieces():
        num_proper += int((source != target).sum())
        num_cut += torch.bincount(_pulled(part, source, target)[0], minlength=size.numel())
    return PartitionQuality(
        edge_cut=int(num_cut.sum()) / max(num_proper, 1),
        halo_per_batch_node=_num_halo(edges, part, num_cut) / edges.num_nodes,
        balance=int(size.max()) * size.numel() / edges.num_nodes,
    )


def _num_halo(edges: Edges, part: Tensor, num_cut: Tensor) -> int:
    """Distinct pairs of a part and a node outside with an edge into it."""

    def pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for source, target in edges.pieces():
            parts, nodes = _pulled(part, source, target)
            yield parts.numpy(), nodes.long().numpy()

    found = 0
    in_order = BucketSort('partition_quality', num_cut, pairs, edges.folder)
    for _, _, parts, nodes in in_order.buckets():
        changes = (parts[1:] != parts[:-1]) | (nodes[1:] != nodes[:-1])
        found += int(changes.sum()) + (len(nodes) > 0)
    return found


def _pulled(part: Tensor, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """For every edge between parts, the part it leads into and the node it comes from."""
    into = part[target]
    cut = part[source] != into
    return into[cut], source[cut]
