"""A small piece of a graph with the nodes in it at which conversions go wrong."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..graph import Graph

# Enough for every kind of node, few enough for a check in well under two seconds.
_NUM_NODES = 240
_MAX_EDGES_PER_NODE = 48
_LOOK_AT = 2**22  # edges, when looking for self-loops


def take_piece(
    graph: Graph,
    node_attrs: dict[str, Tensor],
    edge_attrs: dict[str, Tensor],
    ids: Tensor | None = None,
    seed: int = 12345,
) -> tuple[Data, Tensor]:
    """A graph of a few hundred nodes of ``graph``, with edges among them.

    It is grown from random seeds, from hubs, from isolated nodes and from nodes with self-loops.

    Args:
        graph: The whole graph.
        node_attrs: Node-level tensors, ``N`` rows.
        edge_attrs: Edge-level tensors, ``E`` rows in the graph's edge order.
        ids: ``(N,)`` the caller's ids of the nodes, whose order the piece keeps; the first and the
            last node are taken in.
        seed: Which seeds are drawn.

    Returns:
        The piece, and its nodes' rows in ``graph``.
    """
    generator = torch.Generator().manual_seed(seed)
    nodes = _choose_nodes(graph, generator, ids)
    local = torch.full((graph.num_nodes,), -1)
    local[nodes] = torch.arange(nodes.numel())
    kept, target = _edges_into(graph, nodes, generator)
    source = local[graph.col[kept].long()]
    kept, target, source = (ids[source >= 0] for ids in (kept, target, source))
    piece = Data(edge_index=torch.stack([source, local[target]]), num_nodes=nodes.numel())
    if graph.weight is not None:
        piece.edge_weight = graph.weight[kept]
    for name, value in node_attrs.items():
        piece[name] = value.index_select(0, nodes.to(value.device)).cpu()
    for name, value in edge_attrs.items():
        piece[name] = value.index_select(0, kept.to(value.device)).cpu()
    return piece, nodes


def _choose_nodes(graph: Graph, generator: torch.Generator, ids: Tensor | None) -> Tensor:
    """The piece's nodes in the order of ``ids``; all of them in a small graph."""
    num_nodes = graph.num_nodes
    if num_nodes <= _NUM_NODES:
        return torch.arange(num_nodes) if ids is None else torch.argsort(ids)
    indegree = graph.rowptr[1:] - graph.rowptr[:-1]
    degree = indegree + torch.bincount(graph.col, minlength=num_nodes)
    chosen = torch.zeros(num_nodes, dtype=torch.bool)
    isolated = (degree == 0).nonzero().view(-1)
    for kind, count in ((degree.topk(3)[1], 3), (_with_self_loop(graph), 4), (isolated, 4)):
        chosen[_some(kind, count, generator)] = True
    chosen[torch.randint(num_nodes, (12,), generator=generator)] = True
    if ids is not None:
        chosen[torch.stack([ids.argmin(), ids.argmax()])] = True
    front = chosen.nonzero().view(-1)
    while (room := _NUM_NODES - int(chosen.sum())) > 0:
        fresh = graph.col[_edges_into(graph, front, generator)[0]].long().unique()
        fresh = fresh[~chosen[fresh]]
        if not fresh.numel():
            fresh, room = (~chosen).nonzero().view(-1), min(room, 8)
        front = _some(fresh, room, generator)
        chosen[front] = True
    nodes = chosen.nonzero().view(-1)
    return nodes if ids is None else nodes[torch.argsort(ids[nodes])]


def _edges_into(graph: Graph, nodes: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Positions and targets of edges into ``nodes``, some of those of a hub."""
    positions = []
    for a, b in zip(graph.rowptr[nodes].tolist(), graph.rowptr[nodes + 1].tolist(), strict=True):
        positions.append(_some(torch.arange(a, b), _MAX_EDGES_PER_NODE, generator).sort()[0])
    count = torch.tensor([position.numel() for position in positions])
    return torch.cat(positions), torch.repeat_interleave(nodes, count)


def _with_self_loop(graph: Graph) -> Tensor:
    rows = int(torch.searchsorted(graph.rowptr, _LOOK_AT, right=True)) - 1
    rows = max(rows, 0)
    degree = graph.rowptr[1 : rows + 1] - graph.rowptr[:rows]
    target = torch.repeat_interleave(torch.arange(rows), degree)
    return target[graph.col[: target.numel()] == target]


def _some(ids: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """At most ``count`` of ``ids``, at random."""
    if ids.numel() <= count:
        return ids
    return ids[torch.randperm(ids.numel(), generator=generator)[:count]]
