"""The heterogeneous graph that a model is converted for."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData
from torch_geometric.typing import EdgeType

from ..calls import BatchCall
from ..errors import explain
from ..tags import tag_normaliser
from .hetero_graph import PermutedUnion, UnionGraph
from .hetero_loader import CutHetero, HeteroAutoscaleLoader
from .hetero_norm import EdgeNormaliser, WholeNorm
from .rows import TypeRows

_WHO = 'autoscale'


class HeteroSource:
    """A heterogeneous graph, partitioned over all node types together.

    Node and edge attributes are read from the caller's data when a batch needs them.

    Args:
        data: The caller's graph; it is not changed.
        union: Its nodes and edges in one list.
        perm: ``(N,)``: row ``i`` of the permuted union is its node ``perm[i]``.
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        ids: What ``batch[node_type].n_id`` calls the caller's nodes (default: their positions).
    """

    def __init__(
        self,
        data: HeteroData,
        union: UnionGraph,
        perm: Tensor,
        ptr: Tensor,
        ids: dict[str, Tensor] | None = None,
    ) -> None:
        self.data, self.union = data, union
        self.perm, self.ptr = perm, ptr
        self.permuted = PermutedUnion(union, perm)
        self.ids = ids or {}
        self._cuts: dict[str, CutHetero] = {}
        self._norms: dict[EdgeType, WholeNorm] = {}
        self._seen = self._edges_now()

    @property
    def num_nodes(self) -> dict[str, int]:
        return self.union.num_nodes_by_type

    @property
    def fingerprint(self) -> str:
        return self.permuted.graph.fingerprint

    def withheld(self) -> set[str]:
        """Names of attributes that cannot be given to a batch; none are known."""
        return set()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self  # a copy of a converted model is of the same graph

    def available(self) -> set[str]:
        """Names that a model's ``forward`` can be given, plain and with ``_dict``."""
        names = {key for store in self.data.stores for key in store}
        names |= {'edge_index', 'n_id'}
        return {*names, *(f'{name}_dict' for name in names)}

    # Batches #####################################################################

    def loader(self, direction: str, **kwargs: Any) -> HeteroAutoscaleLoader:
        self._check_edges()
        if direction not in self._cuts:
            both = direction == 'both'
            self._cuts[direction] = CutHetero(self.union, self.permuted, self.ptr, both)
        return HeteroAutoscaleLoader(self._cuts[direction], self._fill, **kwargs)

    def _fill(self, raw: dict[str, Any]) -> HeteroData:
        self._check_edges()
        batch = HeteroData()
        for node_type, rows in raw['rows'].items():
            nodes = self.permuted.node_of[node_type][rows.n_id]
            store = self.data[node_type]
            batch[node_type].num_nodes = nodes.numel()
            for name in store:
                value = store[name]
                if isinstance(value, Tensor) and store.is_node_attr(name):
                    batch[node_type][name] = value.index_select(0, nodes.to(value.device))
            ids = self.ids.get(node_type)
            batch[node_type].n_id = nodes if ids is None else ids[nodes]
            batch[node_type].batch_size = rows.batch_size
        for edge_type, (edge_index, e_id) in zip(self.union.edge_types, raw['edges'], strict=True):
            store = self.data[edge_type]
            batch[edge_type].edge_index = edge_index
            for name in store:
                value = store[name]
                if name != 'edge_index' and isinstance(value, Tensor) and store.is_edge_attr(name):
                    batch[edge_type][name] = value.index_select(0, e_id.to(value.device))
            batch[edge_type].e_id = e_id
            if edge_type[0] == edge_type[2]:
                self._tag(batch, edge_type, raw['rows'][edge_type[0]].n_id)
        batch.__dict__['_autoscale_rows'] = raw['rows']
        batch.__dict__['_autoscale_graph'] = self.fingerprint
        return batch

    def _tag(self, batch: HeteroData, edge_type: EdgeType, n_id: Tensor) -> None:
        """Let operators look up degrees among all edges of a type."""
        whole, part = self.data[edge_type], batch[edge_type]
        if edge_type not in self._norms:
            edge_index = whole.edge_index.as_subclass(Tensor).cpu().long()
            self._norms[edge_type] = WholeNorm(edge_index, self.num_nodes[edge_type[0]])
        normaliser = EdgeNormaliser(
            self._norms[edge_type], part.e_id, self.permuted.node_of[edge_type[0]][n_id],
            whole.get('edge_weight'), part.get('edge_weight'),
        )  # fmt: skip
        tag_normaliser(part.edge_index, normaliser)

    def in_batch(self, batch: HeteroData, name: str) -> Any:
        """What a ``forward`` is given under ``name`` on a batch."""
        return attribute_of(batch, name)

    def rows_of(self, batch: HeteroData) -> dict[str, TypeRows]:
        return batch.__dict__['_autoscale_rows']

    def call_on(self, batch: HeteroData) -> BatchCall:
        rows = self.rows_of(batch).values()
        n_id = torch.cat([here.n_id for here in rows])
        return BatchCall(sum(here.batch_size for here in rows), n_id)

    def fingerprint_of(self, batch: Any) -> str:
        """The graph that a batch comes from.

        Raises:
            TypeError: If it is no batch of this library.
        """
        if not isinstance(batch, HeteroData) or '_autoscale_graph' not in batch.__dict__:
            raise TypeError(
                explain(_WHO, 'it runs on batches of its own loader', type(batch).__name__,
                        'Pass a batch of gas.loader(); run a whole graph with gas.module(...).')
            )  # fmt: skip
        return batch.__dict__['_autoscale_graph']

    def in_callers_order(self, out: Tensor, node_type: str) -> Tensor:
        """Rows of a type's tables as rows of the caller's nodes."""
        ordered = torch.empty_like(out)
        ordered[self.permuted.node_of[node_type]] = out
        return ordered

    # The caller's data ###########################################################

    def _edges_now(self) -> list[tuple[Any, int]]:
        edges = [self.data[edge_type].get('edge_index') for edge_type in self.data.edge_types]
        return [(e, -1 if e is None or e.is_inference() else e._version) for e in edges]

    def _check_edges(self) -> None:
        now = self._edges_now()
        same = len(now) == len(self._seen) and all(
            one[0] is two[0] and one[1] == two[1] for one, two in zip(now, self._seen, strict=True)
        )
        if same:
            return
        union = UnionGraph(self.data)
        if union.edge_types != self.union.edge_types or not (
            torch.equal(union.first, self.union.first)
            and torch.equal(union.edge_index, self.union.edge_index)
        ):
            raise ValueError(
                explain(_WHO, "the edges of 'data' must stay as they were at the conversion",
                        'other edges or nodes', 'Call autoscale again on the changed graph; '
                        'features, labels and masks may change at any time.')
            )  # fmt: skip
        self._seen = now


def attribute_of(data: HeteroData, name: str) -> dict[Any, Any] | None:
    """An attribute of all node types, or of all edge types, that have it, as PyG collects it."""
    key = name.removesuffix('_dict')
    of_nodes = {t: data[t][key] for t in data.node_types if key in data[t]}
    of_edges = {t: data[t][key] for t in data.edge_types if key in data[t]}
    return of_nodes or of_edges or None
