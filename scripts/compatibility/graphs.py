"""Small random graphs that have what goes wrong: hubs, isolated nodes, self-loops, duplicates."""

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import add_self_loops, coalesce, remove_self_loops, to_undirected

NODES = 120
CHANNELS = 8  # of x
EDGE_CHANNELS = 3
EDGE_TYPES = 3
NODE_TYPES = 2
CLASSES = 4
PARTS = 4


def _random_edges(rng: torch.Generator) -> Tensor:
    """Directed edges; nodes 0 and 1 are hubs, the last three are isolated."""
    linked = NODES - 3
    edges = torch.randint(0, linked, (2, 320), generator=rng)
    into_hub = torch.stack([torch.randperm(linked, generator=rng)[:40], torch.zeros(40).long()])
    out_of_hub = torch.stack([torch.ones(40).long(), torch.randperm(linked, generator=rng)[:40]])
    loops = torch.randint(0, linked, (1, 6), generator=rng).expand(2, -1)
    edges = torch.cat([edges, into_hub, out_of_hub, loops], dim=1)
    edges = torch.cat([edges, edges[:, :25], loops[:, :2]], dim=1)  # duplicates
    return edges[:, torch.randperm(edges.size(1), generator=rng)]


def _general(edges: Tensor) -> Tensor:
    return edges


def _sorted(edges: Tensor) -> Tensor:
    """Edges sorted by target, which aggregations over sequences ask for.

    Without those into the hub: they pad every sequence to the longest, and forget what came before.
    """
    edges = edges[:, edges[1] != 0]
    return edges[:, edges[1].argsort(stable=True)]


def _sorted_with_hub(edges: Tensor) -> Tensor:
    return edges[:, edges[1].argsort(stable=True)]


def _simple(edges: Tensor) -> Tensor:
    """No self-loops and no duplicates."""
    return coalesce(remove_self_loops(edges)[0], num_nodes=NODES)


def _looped(edges: Tensor) -> Tensor:
    """One self-loop at each node, after all other edges."""
    return add_self_loops(_simple(edges), num_nodes=NODES)[0]


def _undirected(edges: Tensor) -> Tensor:
    return to_undirected(_simple(edges), num_nodes=NODES)


def _mesh(_: Tensor) -> Tensor:
    """Four neighbours for each node, side by side and in a fixed order, as of a mesh's edges."""
    ids = torch.arange(NODES)
    neighbours = torch.stack([(ids + step) % NODES for step in (1, 7, -1, -7)], dim=1)
    return torch.stack([neighbours.flatten(), ids.repeat_interleave(4)])


_EDGES: dict[str, Callable[[Tensor], Tensor]] = {
    'general': _general,
    'sorted': _sorted,
    'sorted, with a hub': _sorted_with_hub,
    'simple': _simple,
    'unweighted': _simple,  # its matrix holds ones
    'looped': _looped,
    'undirected': _undirected,
    'mesh': _mesh,
}


def _matrix(rows: Tensor, values: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # CSR is in beta, says PyTorch
        return torch.sparse_coo_tensor(rows, values, (NODES, NODES)).to_sparse_csr()


@cache
def everything(kind: str) -> Data:
    """The graph of a kind with every attribute an operator may ask for, in float64."""
    rng = torch.Generator().manual_seed(12)
    edge_index = _EDGES[kind](_random_edges(rng))
    num_edges = edge_index.size(1)

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=rng, dtype=torch.float64)

    def uniform(*size: int) -> Tensor:
        return torch.rand(size, generator=rng, dtype=torch.float64)

    y = torch.randint(0, CLASSES, (NODES,), generator=rng)
    weight = 0.5 + uniform(num_edges)
    values = torch.ones_like(weight) if kind == 'unweighted' else weight
    rows = edge_index.flip(0)  # targets
    return Data(
        num_nodes=NODES,
        x=normal(NODES, CHANNELS),
        edge_index=edge_index,
        edge_weight=weight,
        edge_attr=uniform(num_edges, EDGE_CHANNELS),
        edge_type=torch.randint(0, EDGE_TYPES, (num_edges,), generator=rng),
        adj_t=_matrix(rows, values),
        node_type=torch.randint(0, NODE_TYPES, (NODES,), generator=rng),
        pos=normal(NODES, 3),
        normal=torch.nn.functional.normalize(normal(NODES, 3)),
        y=y,
        mask=uniform(NODES) < 0.5,
        color=y.clone(),
        z=torch.randint(1, 9, (NODES,), generator=rng),
        batch=torch.zeros(NODES, dtype=torch.int64),
        pos_edge_index=edge_index[:, ::2],
        neg_edge_index=edge_index[:, 1::2],
        hyperedge_index=torch.stack([edge_index[0], edge_index[1] % 30]),
    )


def graph(kind: str, attrs: tuple[str, ...]) -> Data:
    """A graph that has the named attributes, its edges and nothing else."""
    whole = everything(kind)
    names = dict.fromkeys((*attrs, *(() if 'adj_t' in attrs else ('edge_index',))))
    return Data(num_nodes=NODES, **{name: whole[name] for name in names})


def partition() -> Tensor:
    """A part for each node at random: the worst case, most edges leave their part."""
    rng = torch.Generator().manual_seed(5)
    return torch.arange(NODES)[torch.randperm(NODES, generator=rng)] % PARTS


NODE_COUNTS = {'paper': 70, 'author': 50}
RELATIONS = [
    ('paper', 'cites', 'paper'),
    ('author', 'writes', 'paper'),
    ('paper', 'written_by', 'author'),
    ('author', 'knows', 'author'),
]


@cache
def hetero_graph() -> HeteroData:
    """Two node types and four relations, with duplicates, self-loops and isolated nodes."""
    rng = torch.Generator().manual_seed(21)
    data = HeteroData()
    for name, count in NODE_COUNTS.items():
        data[name].x = torch.randn(count, CHANNELS, generator=rng, dtype=torch.float64)
    for source, relation, target in RELATIONS:
        high = torch.tensor([NODE_COUNTS[source] - 2, NODE_COUNTS[target] - 2])
        edges = (torch.rand(2, 160, generator=rng) * high.view(2, 1)).long()
        edges = torch.cat([edges, edges[:, :10]], dim=1)
        data[source, relation, target].edge_index = edges
    return data


def describe() -> dict[str, Any]:
    """What the page says about the graph."""
    edge_index = everything('general').edge_index
    return {
        'nodes': NODES,
        'edges': edge_index.size(1),
        'parts': PARTS,
        'cut': float((partition()[edge_index[0]] != partition()[edge_index[1]]).double().mean()),
    }
