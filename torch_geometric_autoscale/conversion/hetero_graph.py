"""A heterogeneous graph as one graph over the nodes of all types, so that it can be cut as one."""

import warnings

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from ..errors import explain
from ..graph import Graph

_WHO = 'autoscale'


class UnionGraph:
    """All node types in one row of ids, all edge types in one list of edges.

    Args:
        data: The graph; every edge type needs an ``edge_index``.

    Attributes:
        node_types, edge_types: In the order of ``data``.
        first: ``(T + 1,)`` ids of the first node of each type; the last entry is ``N``.
        edge_index: ``(2, E)`` over all types.
        edge_type: ``(E,)`` which edge type each edge is of.
        edge_id: ``(E,)`` its position in that type's ``edge_index``.
    """

    def __init__(self, data: HeteroData) -> None:
        _refuse_compressed(data)
        self.node_types: list[str] = list(data.node_types)
        self.edge_types: list[EdgeType] = list(data.edge_types)
        counts = [_num_nodes(data, node_type) for node_type in self.node_types]
        self.first = torch.zeros(len(counts) + 1, dtype=torch.int64)
        torch.cumsum(torch.tensor(counts), 0, out=self.first[1:])
        start = dict(zip(self.node_types, self.first.tolist(), strict=False))
        pieces, kinds, ids = [], [], []
        for kind, edge_type in enumerate(self.edge_types):
            edge_index = _edges(data, edge_type)
            shift = torch.tensor([[start[edge_type[0]]], [start[edge_type[2]]]])
            pieces.append(edge_index + shift)
            kinds.append(torch.full((edge_index.size(1),), kind))
            ids.append(torch.arange(edge_index.size(1)))
        self.edge_index = torch.cat([torch.empty(2, 0, dtype=torch.int64), *pieces], dim=1)
        self.edge_type = torch.cat([torch.empty(0, dtype=torch.int64), *kinds])
        self.edge_id = torch.cat([torch.empty(0, dtype=torch.int64), *ids])

    @property
    def num_nodes(self) -> int:
        return int(self.first[-1])

    @property
    def num_nodes_by_type(self) -> dict[str, int]:
        counts = (self.first[1:] - self.first[:-1]).tolist()
        return dict(zip(self.node_types, counts, strict=True))

    def type_of(self, nodes: Tensor) -> Tensor:
        """Which node type each node is of, as a position in ``node_types``."""
        return torch.searchsorted(self.first, nodes, right=True) - 1


class PermutedUnion:
    """A union graph with contiguous partitions.

    Every node type has tables of its own. Their rows follow the order of the partitions, so the
    nodes of one type in one partition are a contiguous range of rows, too.

    Args:
        union: The graph.
        perm: ``(N,)``: row ``i`` is node ``perm[i]`` of the union.

    Attributes:
        graph: The permuted graph.
        edge_type, edge_id: Of every edge, in the edge order of ``graph``.
        node_type: ``(N,)`` type of every row.
        table_row: ``(N,)`` row of every row in the tables of its type.
        node_of: Which of the caller's nodes each table row belongs to, by node type.
    """

    def __init__(self, union: UnionGraph, perm: Tensor) -> None:
        rows = torch.empty_like(perm)
        rows[perm] = torch.arange(perm.numel())
        self.graph = Graph(rows[union.edge_index], perm.numel())
        order = self.graph.edge_id
        self.edge_type, self.edge_id = union.edge_type, union.edge_id
        if order is not None:
            self.edge_type, self.edge_id = self.edge_type[order], self.edge_id[order]
        self.node_type = union.type_of(perm)
        self.table_row = torch.empty_like(perm)
        self.node_of: dict[str, Tensor] = {}
        for kind, node_type in enumerate(union.node_types):
            mine = (self.node_type == kind).nonzero().view(-1)
            self.table_row[mine] = torch.arange(mine.numel())
            self.node_of[node_type] = perm[mine] - union.first[kind]

    def bounds(self, kind: int, ptr: Tensor) -> Tensor:
        """Bounds of the partitions in the tables of one node type, ``(num_parts + 1,)``."""
        before = torch.zeros(self.node_type.numel() + 1, dtype=torch.int64)
        torch.cumsum(self.node_type == kind, 0, out=before[1:])
        return before[ptr]


def _refuse_compressed(data: HeteroData) -> None:
    """Raise for sparse attributes whose rows cannot be picked; COO tensors' can."""
    for node_type in data.node_types:
        for name, value in data[node_type].items():
            if isinstance(value, Tensor) and value.layout not in (torch.strided, torch.sparse_coo):
                raise TypeError(
                    explain(_WHO, f"'{name}' of '{node_type}' must be dense or a COO tensor",
                            value.layout, f"Use data['{node_type}'].{name}.to_sparse_coo().")
                )  # fmt: skip


def _num_nodes(data: HeteroData, node_type: str) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # PyG's guess without features: said better below
        count = data[node_type].num_nodes
    if count is None:
        raise ValueError(
            explain(_WHO, 'every node type must tell how many nodes it has',
                    f"nothing for '{node_type}'", f"Set data['{node_type}'].num_nodes.")
        )  # fmt: skip
    return int(count)


def _edges(data: HeteroData, edge_type: EdgeType) -> Tensor:
    edge_index = data[edge_type].get('edge_index')
    if not isinstance(edge_index, Tensor):
        raise ValueError(
            explain(_WHO, "every edge type must have an 'edge_index'", f'none for {edge_type}',
                    f'Set data[{edge_type}].edge_index.')
        )  # fmt: skip
    edge_index = edge_index.as_subclass(Tensor).cpu().long()
    for end, node_type in ((0, edge_type[0]), (1, edge_type[2])):
        count = _num_nodes(data, node_type)
        ids = edge_index[end]
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < count:
            raise ValueError(
                explain(_WHO, f"ids of '{node_type}' in {edge_type} must lie in [0, {count})",
                        f'{int(ids.min())} to {int(ids.max())}', 'Correct the edges.')
            )  # fmt: skip
    return edge_index
