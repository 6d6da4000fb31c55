"""How a piece is cut for the check: large parts, and a few tiny ones that see little of it.

A large part and its halo may hold all nodes of a piece, or just those with the extreme values; what
a module takes over all nodes then comes out right by chance. Few nodes with few neighbours do not.
"""

import torch
from torch import Tensor

NUM_LARGE = 3
_NUM_TINY = 5
# Two nodes of each type: for one row, statistics and `squeeze` are another matter.
_TINY = 2
# Of each type, at most one node in so many is in a tiny part.
_AT_MOST = 3


def cut_into_parts(edge_index: Tensor, kind: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Parts of a piece, the large ones first; every node is in one.

    Args:
        edge_index: ``(2, E)``.
        kind: ``(N,)`` the type of each node.
        seed: Chance decides among nodes with as many neighbours, and about the large parts.

    Returns:
        ``(perm, ptr)``: part ``k`` holds the nodes ``perm[ptr[k]:ptr[k + 1]]``.
    """
    num_nodes = kind.numel()
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(num_nodes, generator=generator)
    tiny = _tiny_parts(edge_index, kind, order)
    left = torch.ones(num_nodes, dtype=torch.bool)
    for nodes in tiny:
        left[nodes] = False
    rest = order[left[order]]
    num_large = min(NUM_LARGE, rest.numel())
    large = [rest.numel() * (part + 1) // num_large for part in range(num_large)]
    sizes = torch.tensor([0, *(nodes.numel() for nodes in tiny)])
    ptr = torch.cat([torch.tensor([0, *large[:-1]]), rest.numel() + sizes.cumsum(0)])
    return torch.cat([rest, *tiny]), ptr


def _tiny_parts(edge_index: Tensor, kind: Tensor, order: Tensor) -> list[Tensor]:
    """Parts of few nodes with few neighbours, some of every type that has enough of them."""
    num_nodes, num_edges = kind.numel(), 2 * edge_index.size(1) + 1
    source, target = edge_index
    into = torch.bincount(target, minlength=num_nodes)
    degree = into + torch.bincount(source, minlength=num_nodes)
    # Away from hubs first: in a batch that holds the largest hub, its degree is the maximum.
    nearby = degree.scatter_reduce(0, target, degree[source], 'amax')
    nearby = nearby.scatter_reduce(0, source, degree[target], 'amax')
    # Nodes that hear from nobody come last: operators may do without edges in a way of their own.
    rank = (nearby + (into == 0) * num_edges) * num_edges + degree
    by_rank = order[torch.argsort(rank[order], stable=True)]
    queues = [by_rank[kind[by_rank] == one] for one in kind.unique()]
    queues = [nodes for nodes in queues if nodes.numel() >= _TINY * _AT_MOST]
    if not queues:
        return []
    shortest = min(nodes.numel() for nodes in queues)
    count = min(_NUM_TINY, shortest // (_TINY * _AT_MOST))
    return [
        torch.cat([nodes[_TINY * part : _TINY * (part + 1)] for nodes in queues])
        for part in range(count)
    ]
