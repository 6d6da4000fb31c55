"""A piece of a heterogeneous graph as a graph of its own."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from .caches import without_caches
from .hetero_graph import UnionGraph
from .hetero_loader import HeteroAutoscaleLoader
from .hetero_source import HeteroSource, attribute_of
from .inputs import ForwardInputs
from .parts import cut_into_parts
from .piece import take_piece

_AT_LEAST = 12  # nodes of every type, as far as there are


class HeteroWhole:
    """A heterogeneous piece; node types have different numbers of nodes.

    Args:
        data: The piece.
        ids: Ids of its nodes in the caller's data, by node type.
        inputs: What a model's ``forward`` is given.
    """

    def __init__(self, data: HeteroData, ids: dict[str, Tensor], inputs: ForwardInputs) -> None:
        self.data, self.ids, self.inputs = data, ids, inputs
        union = UnionGraph(data)
        kind = union.type_of(torch.arange(union.num_nodes))
        perm, ptr = cut_into_parts(union.edge_index, kind)
        self.source = HeteroSource(data, union, perm, ptr, ids)

    @property
    def num_nodes_by_type(self) -> dict[str, int]:
        return self.source.num_nodes

    @property
    def table_order(self) -> dict[str, Tensor]:
        """Which node of the piece each row of a table belongs to, by node type."""
        return self.source.permuted.node_of

    def run(self, module: torch.nn.Module) -> Any:
        """Call a module on the piece as PyG's users do."""
        args, kwargs = self.inputs.fill(self.attribute, {})
        with without_caches(module):
            return module(*args, **kwargs)

    def edges(self) -> list[Any]:
        """What the module is given that holds edges."""
        return [self.data[edge_type].edge_index for edge_type in self.data.edge_types]

    def attribute(self, name: str) -> Any:
        """What a ``forward`` is given under ``name``."""
        if name in ('n_id', 'n_id_dict'):
            return self.ids
        return attribute_of(self.data, name)

    def loader(self, direction: str) -> HeteroAutoscaleLoader:
        return self.source.loader(direction, batch_size=1)

    def double(self) -> 'HeteroWhole':
        """The same piece with floating-point attributes in double precision."""
        data = copy.copy(self.data)
        for store in data.stores:
            for name in list(store):
                value = store[name]
                if isinstance(value, Tensor) and value.is_floating_point():
                    store[name] = value.double()
        return HeteroWhole(data, self.ids, self.inputs)


def take_hetero_whole(source: HeteroSource, inputs: ForwardInputs) -> HeteroWhole:
    """A piece of a source's graph."""
    union, permuted = source.union, source.permuted
    rows = take_piece(permuted.graph, {}, {})[1]
    nodes = _with_different_counts(union, source.perm[rows])
    kind = union.type_of(nodes)
    piece = HeteroData()
    ids, local = {}, torch.full((union.num_nodes,), -1)
    for position, node_type in enumerate(union.node_types):
        mine = nodes[kind == position]
        local[mine] = torch.arange(mine.numel())
        ids[node_type] = mine - union.first[position]
        piece[node_type].num_nodes = mine.numel()
        store = source.data[node_type]
        for name in store:
            value = store[name]
            if isinstance(value, Tensor) and store.is_node_attr(name):
                chosen = ids[node_type].to(value.device)
                piece[node_type][name] = value.index_select(0, chosen).cpu()
    ends = local[union.edge_index]
    inside = (ends >= 0).all(dim=0)
    for position, edge_type in enumerate(union.edge_types):
        mine = (inside & (union.edge_type == position)).nonzero().view(-1)
        piece[edge_type].edge_index = ends[:, mine]
        store = source.data[edge_type]
        for name in store:
            value = store[name]
            if name != 'edge_index' and isinstance(value, Tensor) and store.is_edge_attr(name):
                chosen = union.edge_id[mine].to(value.device)
                piece[edge_type][name] = value.index_select(0, chosen).cpu()
    return HeteroWhole(piece, ids, inputs)


def _with_different_counts(union: UnionGraph, nodes: Tensor) -> Tensor:
    """``nodes`` and a few more or less, so that every type is there and no two have as many."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.zeros(union.num_nodes, dtype=torch.bool)
    chosen[nodes] = True
    taken: set[int] = set()
    bounds = union.first.tolist()
    by_size = sorted(range(len(bounds) - 1), key=lambda kind: bounds[kind + 1] - bounds[kind])
    for kind in by_size:  # small types first: they have the least choice
        mine = chosen[bounds[kind] : bounds[kind + 1]]
        wanted = max(int(mine.sum()), min(_AT_LEAST, mine.numel()))
        count = _free_count(wanted, mine.numel(), taken)
        taken.add(count)
        others = torch.randperm(mine.numel(), generator=generator)
        ranked = torch.cat([others[mine[others]], others[~mine[others]]])  # the chosen ones first
        mine[ranked[count:]] = False
        mine[ranked[:count]] = True
    return chosen.nonzero().view(-1)


def _free_count(wanted: int, most: int, taken: set[int]) -> int:
    """The next number of nodes that no other type has: rather more than are wanted than fewer."""
    larger = (count for count in range(wanted, most + 1) if count not in taken)
    smaller = (count for count in range(wanted - 1, 0, -1) if count not in taken)
    return next(larger, next(smaller, wanted))
