"""The graph that a model is converted for: partitioned once, and kept in step with the caller's."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader.cluster import Partition

from ..adjacency import Adjacency
from ..batch import SubgraphBatch
from ..calls import BatchCall
from ..errors import explain
from ..graph_input import to_edges
from ..loader_input import LoaderInput, read_input, refuse_nan
from ..partition import partition as find_partition
from ..partition import permute
from .boundaries import ONLY
from .loader import AutoscaleLoader
from .rows import TypeRows

_WHO = 'autoscale'
_NODES_PER_PART = 2_000


class GraphSource:
    """A homogeneous graph, permuted so that partitions are contiguous.

    Args:
        data: The caller's graph; it is not changed.
        perm: ``(N,)``: row ``i`` of the permuted graph is the caller's node ``perm[i]``.
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        ids: ``(N,)`` what ``batch.n_id`` calls the caller's nodes (default: their positions).
        others: Attributes of the graph that ``data`` lacks.
    """

    def __init__(
        self,
        data: Data,
        perm: Tensor,
        ptr: Tensor,
        ids: Tensor | None = None,
        others: Mapping[str, Any] | None = None,
    ) -> None:
        self.data = data
        self.others = others or {}
        self.perm, self.ptr = perm, ptr
        self.ids = perm if ids is None else ids[perm]
        self._inputs: dict[str, LoaderInput] = {}
        self._seen: dict[str, tuple[Tensor, int]] = {}
        self._remember()
        self._prepare('in')

    @property
    def num_nodes(self) -> dict[str, int]:
        return {ONLY: self.perm.numel()}

    @property
    def fingerprint(self) -> str:
        return self._inputs['in'].graph.fingerprint

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self  # a copy of a converted model is of the same graph

    def available(self) -> set[str]:
        """Names that a model's ``forward`` can be given."""
        names = {name for name, value in self.data.to_dict().items() if value is not None}
        if 'adj_t' in names or 'edge_weight' in names:
            names.add('edge_weight')
        return {*names, 'edge_index', 'adj_t', 'n_id', 'num_nodes'} - self.withheld()

    def withheld(self) -> set[str]:
        """Names of attributes that hold node ids, e.g. ``edge_label_index``."""
        everything = self.data.to_dict().items()
        return {name for name, value in everything if self._holds_node_ids(name, value)}

    def _holds_node_ids(self, name: str, value: Any) -> bool:
        """Whether an attribute such as ``edge_label_index`` would mean other nodes in a batch."""
        if name in ('edge_index', 'adj_t') or not isinstance(value, Tensor) or value.dim() < 2:
            return False
        return self.data.__cat_dim__(name, value) != 0

    def in_batch(self, batch: Any, name: str) -> Any:
        """What a ``forward`` is given under ``name`` on a batch."""
        if name == 'edge_weight':
            return batch.edge_weight
        if name == 'num_nodes':
            return batch.num_nodes
        value = batch.get(name)
        value = self.data.get(name) if value is None else value
        return self.others.get(name) if value is None else value

    def rows_of(self, batch: Any) -> dict[str, TypeRows]:
        nodes = batch.adj_t.edges.nodes
        return {ONLY: TypeRows(nodes.n_id, nodes.batch_size, nodes.offset, nodes.count)}

    def call_on(self, batch: Any) -> BatchCall:
        nodes = batch.adj_t.edges.nodes
        return BatchCall(
            nodes.batch_size, nodes.n_id, nodes.offset, nodes.count, batch.adj_t,
            prefers_matrix=True,
        )  # fmt: skip

    def fingerprint_of(self, batch: Any) -> str:
        """The graph that a batch comes from.

        Raises:
            TypeError: If it is no batch of a loader of this library.
        """
        adj = batch.get('adj_t') if isinstance(batch, SubgraphBatch) else None
        if not isinstance(adj, Adjacency):
            came = type(batch).__name__
            came += ' that was pickled' if isinstance(batch, SubgraphBatch) else ''
            raise TypeError(
                explain(_WHO, 'it runs on batches of its own loader', came,
                        'Pass a batch of gas.loader(); run a whole graph with gas.module(...).')
            )  # fmt: skip
        return adj.graph.fingerprint

    # Batches #####################################################################

    def loader(self, direction: str, **kwargs: Any) -> AutoscaleLoader:
        nodes = kwargs.get('input_nodes')
        if nodes is not None:
            kwargs['input_nodes'] = self._permuted_nodes(torch.as_tensor(nodes))
        return AutoscaleLoader(lambda: self.current(direction), self.ids, **kwargs)

    def _permuted_nodes(self, nodes: Tensor) -> Tensor:
        size = self.perm.numel()
        if nodes.dtype == torch.bool and nodes.shape == (size,):
            return nodes[self.perm.to(nodes.device)]
        fits = nodes.dim() == 1 and not nodes.is_floating_point() and nodes.dtype != torch.bool
        if fits and nodes.numel() and int(nodes.min()) >= 0 and int(nodes.max()) < size:
            return self.rows()[nodes.cpu()]
        return nodes  # the loader says what is wrong with it

    def rows(self) -> Tensor:
        """Where each of the caller's nodes stands in the permuted graph, ``(N,)``."""
        rows = torch.empty_like(self.perm)
        rows[self.perm] = torch.arange(self.perm.numel())
        return rows

    def in_callers_order(self, out: Tensor, node_type: str = ONLY) -> Tensor:
        """Rows of the permuted graph as rows of the caller's."""
        return out.index_select(0, self.rows().to(out.device))

    # The caller's data ###########################################################

    def current(self, direction: str) -> LoaderInput:
        """The prepared graph, with what the caller has changed since.

        Raises:
            ValueError: If edges have changed: the partition and every history belong to the old
                ones.
        """
        self._follow_changes()
        return self._prepare(direction)

    def _prepare(self, direction: str) -> LoaderInput:
        if direction not in self._inputs:
            permuted = permute(self.data, self.perm, log=False)
            self._inputs[direction] = read_input(_WHO, permuted, self.ptr, direction)
        return self._inputs[direction]

    def _remember(self) -> None:
        self._seen = _versions(self.data)

    def _follow_changes(self) -> None:
        now, seen = _versions(self.data), self._seen
        changed = {name for name in now.keys() ^ seen.keys()}
        for name in now.keys() & seen.keys():
            if now[name][0] is not seen[name][0] or now[name][1] != seen[name][1]:
                changed.add(name)
        if not changed:
            return
        if 'x' in changed and isinstance(self.data.get('x'), Tensor):
            refuse_nan(_WHO, self.data.x)
        known = self._inputs['in'].node_attrs
        if all(self._is_new_rows(name, known) for name in changed):
            rows = {
                name: self.data[name].index_select(0, self.perm.to(self.data[name].device))
                for name in changed
            }
            self._inputs = {
                name: replace(prepared, node_attrs={**prepared.node_attrs, **rows})
                for name, prepared in self._inputs.items()
            }
        else:
            self._prepare_anew()
        self._remember()

    def _is_new_rows(self, name: str, known: dict[str, Tensor]) -> bool:
        value = self.data.get(name)
        return name in known and isinstance(value, Tensor) and value.shape[:1] == self.perm.shape

    def _prepare_anew(self) -> None:
        before = self._inputs
        num_nodes = to_edges(self.data, who=_WHO).num_nodes
        fresh = {}
        if num_nodes == self.perm.numel():
            permuted = permute(self.data, self.perm, log=False)
            fresh = {name: read_input(_WHO, permuted, self.ptr, name) for name in before}
        if not fresh or fresh['in'].graph.fingerprint != before['in'].graph.fingerprint:
            raise ValueError(
                explain(_WHO, "the edges of 'data' must stay as they were at the conversion",
                        'other edges or nodes', 'Call autoscale again on the changed graph; '
                        'features, labels and masks may change at any time.')
            )  # fmt: skip
        self._inputs = fresh


def _versions(data: Data) -> dict[str, tuple[Tensor, int]]:
    """What tells whether an attribute was replaced or written to since."""
    return {
        name: (value, -1 if value.is_inference() else value._version)
        for name, value in data.to_dict().items()
        if isinstance(value, Tensor)
    }


def partition_of(data: Data, num_parts: int | None, how: Any, seed: int) -> tuple[Tensor, Tensor]:
    """``perm`` and ``ptr`` from whatever ``partition`` says.

    Args:
        data: The graph.
        num_parts: Number of partitions; by default about one for every 2,000 nodes.
        how: A method of :func:`~torch_geometric_autoscale.partition.partition`, ``(N,)`` part ids,
            ``(perm, ptr)``, or PyG's ``Partition``.
        seed: Seed of the partitioner.
    """
    num_nodes = to_edges(data, who=_WHO).num_nodes
    if isinstance(how, str):
        if num_parts is None:
            num_parts = max(1, -(-num_nodes // _NODES_PER_PART))
        return find_partition(data, num_parts, how, seed=seed, log=False)
    if isinstance(how, Partition):
        perm, ptr = how.node_perm, how.partptr
    elif isinstance(how, Tensor):
        perm, ptr = _sorted_by_part(how, num_nodes)
    elif isinstance(how, tuple) and len(how) == 2:
        perm, ptr = how
    else:
        raise TypeError(
            explain(_WHO, "'partition' must be a method's name, a tensor of part ids, (perm, ptr) "
                    'or a PyG Partition', type(how).__name__, "Pass 'auto'.")
        )  # fmt: skip
    if num_parts is not None and num_parts != ptr.numel() - 1:
        raise ValueError(
            explain(_WHO, "'num_parts' must agree with 'partition'",
                    f'{num_parts}, and a partition with {ptr.numel() - 1} parts',
                    "Leave out 'num_parts'.")
        )  # fmt: skip
    return perm.cpu(), ptr.cpu()


def _sorted_by_part(part: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    if part.shape != (num_nodes,) or part.is_floating_point() or part.dtype == torch.bool:
        raise ValueError(
            explain(_WHO, f"part ids in 'partition' must be integers of shape ({num_nodes},)",
                    f'shape {tuple(part.shape)} of {part.dtype}', 'Pass one part id per node.')
        )  # fmt: skip
    part = part.cpu().long()
    if part.numel() and int(part.min()) < 0:
        raise ValueError(
            explain(_WHO, "part ids in 'partition' must not be negative", int(part.min()),
                    'Number the parts from 0 on.')
        )  # fmt: skip
    ptr = torch.zeros(int(part.max()) + 2 if part.numel() else 2, dtype=torch.int64)
    torch.cumsum(torch.bincount(part, minlength=ptr.numel() - 1), 0, out=ptr[1:])
    return torch.argsort(part, stable=True), ptr
