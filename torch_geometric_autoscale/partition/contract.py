"""What every partitioner takes and gives: ``num_parts`` in, ``(perm, ptr)`` out."""

import heapq
import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import explain
from .simple_graph import Ints


def check_num_parts(num_parts: Any, num_nodes: int, who: str) -> int:
    """Return ``num_parts`` as an integer in ``[1, num_nodes]`` or raise."""
    try:
        count = operator.index(num_parts)
    except TypeError:
        count = None
    if count is None or isinstance(num_parts, bool):
        raise TypeError(
            explain(who, "'num_parts' must be an integer", repr(num_parts), 'Pass e.g. 64.')
        )
    if num_nodes == 0:
        raise ValueError(
            explain(who, 'the graph must have at least one node', 0, 'Pass a graph with nodes.')
        )
    if count < 1:
        raise ValueError(explain(who, "'num_parts' must be positive", count, 'Pass at least 1.'))
    if count > num_nodes:
        raise ValueError(
            explain(
                who,
                f"there cannot be more parts than nodes: 'num_parts' must be at most {num_nodes:,}",
                f'{count:,}',
                'Ask for fewer parts.',
            )
        )
    return count


def fill_empty_parts(part: Ints, num_parts: int) -> Ints:
    """Give every empty part half of what is the largest part at that moment.

    Partitioners leave parts empty when there are hardly more nodes than parts, or when the graph
    has a few nodes of very high degree. With ``num_parts <= len(part)`` no part stays empty.

    Args:
        part: ``(N,)`` part of every node.
        num_parts: Number of parts.

    Returns:
        ``(N,)`` parts; ``part`` itself where nothing was empty.
    """
    size = np.bincount(part, minlength=num_parts)
    empty = np.flatnonzero(size == 0)
    if len(empty) == 0:
        return part
    order = np.argsort(part, kind='stable')
    stop = np.cumsum(size)
    # Runs of 'order', the largest first; a split run goes back as two.
    runs = [(-int(size[p]), int(stop[p] - size[p]), int(p)) for p in np.flatnonzero(size)]
    heapq.heapify(runs)
    part = part.copy()
    for new in empty.tolist():
        negative, start, old = heapq.heappop(runs)
        keep = (1 - negative) // 2
        part[order[start + keep : start - negative]] = new
        heapq.heappush(runs, (-keep, start, old))
        heapq.heappush(runs, (negative + keep, start + keep, new))
    return part


def to_perm_and_ptr(part: Ints, num_parts: int) -> tuple[Tensor, Tensor]:
    """Sort nodes by part, and by id within a part.

    Args:
        part: ``(N,)`` part of every node.
        num_parts: Number of parts.

    Returns:
        ``perm`` ``(N,)`` and ``ptr`` ``(num_parts + 1,)``: the nodes of part ``p`` are
        ``perm[ptr[p]:ptr[p + 1]]``.
    """
    parts = torch.from_numpy(part)
    ptr = torch.zeros(num_parts + 1, dtype=torch.long)
    torch.cumsum(torch.bincount(parts, minlength=num_parts), 0, out=ptr[1:])
    return parts.argsort(stable=True), ptr


def check_perm(perm: Any, num_nodes: int, who: str) -> Tensor:
    """Return ``perm`` as int64 if it is a permutation of ``num_nodes`` nodes, else raise."""
    if not isinstance(perm, Tensor) or perm.is_floating_point() or perm.dtype == torch.bool:
        got = perm.dtype if isinstance(perm, Tensor) else type(perm).__name__
        raise TypeError(
            explain(who, "'perm' must be a tensor of integers", got, "Pass what 'metis' returned.")
        )
    if perm.dim() != 1 or perm.numel() != num_nodes:
        raise ValueError(
            explain(
                who,
                f"'perm' must have shape ({num_nodes},)",
                tuple(perm.shape),
                'Pass the permutation of this very graph.',
            )
        )
    perm = perm.long()
    if num_nodes == 0:
        return perm
    low, high = (int(bound) for bound in perm.aminmax())
    if low < 0 or high >= num_nodes:
        raise ValueError(
            explain(
                who,
                f"'perm' must hold ids in [0, {num_nodes:,})",
                low if low < 0 else high,
                'Pass the permutation of this very graph.',
            )
        )
    count = torch.bincount(perm, minlength=num_nodes)
    if int(count.max()) > 1:
        raise ValueError(
            explain(
                who,
                "'perm' must hold every node once",
                f'node {int(count.argmax())} {int(count.max())} times',
                'Pass a permutation.',
            )
        )
    return perm


def check_ptr(ptr: Any, num_nodes: int, who: str) -> Tensor:
    """Return ``ptr`` as int64 on the CPU if it bounds ``num_nodes`` nodes, else raise."""
    if not isinstance(ptr, Tensor) or ptr.is_floating_point() or ptr.dtype == torch.bool:
        got = ptr.dtype if isinstance(ptr, Tensor) else type(ptr).__name__
        raise TypeError(
            explain(who, "'ptr' must be a tensor of integers", got, "Pass what 'metis' returned.")
        )
    rule = f"'ptr' must rise from 0 to {num_nodes}"
    if ptr.dim() != 1 or ptr.numel() < 2:
        raise ValueError(
            explain(who, rule, f'shape {tuple(ptr.shape)}', 'Pass the bounds of all parts.')
        )
    ptr = ptr.long().cpu()
    if int(ptr[0]) != 0 or int(ptr[-1]) != num_nodes or bool((ptr.diff() < 0).any()):
        got = f'{int(ptr[0])} to {int(ptr[-1])}'
        if bool((ptr.diff() < 0).any()):
            got += ', falling in between'
        raise ValueError(explain(who, rule, got, 'Pass the bounds of all parts of this graph.'))
    return ptr
