"""Mini-batches of whole partitions with their 1-hop halo."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from .adjacency import Adjacency, BatchEdges, Features, adjacency_of, tag_edge_index
from .batching import BatchBuilder, BatchNodes, EdgeSlice, contiguous
from .errors import explain
from .graph import Graph, VariantKey
from .graph_input import to_edges
from .lazy import LazyRows
from .operators import teach_pyg


class SubgraphBatch(Data):
    """One batch: batch nodes first, then their halo.

    Unpacks as ``batch, batch_size, n_id, offset, count`` and answers by name like any
    :class:`~torch_geometric.data.Data`. With ``n`` nodes, ``B`` of them batch nodes:

    Attributes:
        x, y, train_mask, ...: Node-level attributes, ``n`` rows in the order of ``n_id``.
        adj_t: :class:`Adjacency`, ``(B, n)``, or ``(n, n)`` with ``bipartite=False``.
        edge_index: ``(2, E_b)`` with local ids; ``edge_attr`` and ``edge_weight`` follow its order.
        n_id: ``(n,)`` rows of the loader's data.
        batch_size: ``B``.
        offset, count: The batch nodes as contiguous chunks of rows of the loader's data.
        loss_weight: Share of the loader's ``input_nodes`` in this batch, if those were given: the
            mean losses of an epoch's batches, each times its weight, add up to the full loss.
    """

    def __iter__(self) -> Iterator[Any]:
        yield from (self, self.batch_size, self.n_id, self.offset, self.count)

    # Edge-level attributes are cut when first asked for: most models need none of them.

    @property
    def edge_index(self) -> Tensor:
        return self._edge_level('edge_index')

    @property
    def edge_attr(self) -> Any:
        return self._edge_level('edge_attr')

    @property
    def edge_weight(self) -> Any:
        return self._edge_level('edge_weight')

    def __getattr__(self, key: str) -> Any:
        if key in self.__dict__.get('_whole_edges', {}) and key not in self._store:
            return self._edge_level(key)
        return super().__getattr__(key)

    def __getitem__(self, key: str) -> Any:
        return self._edge_level(key) if key in self._lazy() else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute ``key``, or ``default`` if there is none."""
        return self[key] if key in self else default  # noqa: SIM401

    def _lazy(self) -> list[str]:
        """Names of the edge-level attributes that are not cut yet."""
        adj = self._store.get('adj_t')
        if not isinstance(adj, Adjacency):
            return []
        names = ['edge_index', *self.__dict__.get('_whole_edges', {})]
        if adj.weight is not None and 'edge_weight' not in names:
            names.append('edge_weight')
        return [name for name in names if name not in self._store]

    def _edge_level(self, key: str) -> Any:
        if key not in self._lazy():
            return self._store.get(key)
        square = self.adj_t.square()
        if key == 'edge_index':
            # Whoever changes the weights first must not be taken for somebody who knows them.
            weight = self.edge_weight
            known = isinstance(weight, Tensor) and square.has_values(weight)
            value = tag_edge_index(square.edge_index(), square, weight if known else None)
        elif key in self.__dict__.get('_whole_edges', {}):
            whole = self.__dict__['_whole_edges'][key]
            value = whole.index_select(0, square.edges.positions().to(whole.device))
            for func in self.__dict__.get('_applied', ()):
                value = func(value)
        else:
            value = square.values()
        self._store[key] = value
        return value

    def _cut_all(self) -> 'SubgraphBatch':
        for key in self._lazy():
            self._edge_level(key)
        return self

    def __contains__(self, key: str) -> bool:
        return key in self.keys()

    def keys(self) -> list[str]:
        """Names of all attributes, those included that are not cut yet."""
        return [*super().keys(), *self._lazy()]

    def to_dict(self) -> dict[str, Any]:
        return super(SubgraphBatch, self._cut_all()).to_dict()

    def edge_attrs(self) -> list[str]:
        return super(SubgraphBatch, self._cut_all()).edge_attrs()

    def is_node_attr(self, key: str) -> bool:
        return key in self and super(SubgraphBatch, self._cut_all()).is_node_attr(key)

    def is_edge_attr(self, key: str) -> bool:
        return key in self and super(SubgraphBatch, self._cut_all()).is_edge_attr(key)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'SubgraphBatch':
        whole = self.__dict__.get('_whole_edges', {})
        memo[id(whole)] = whole  # belongs to the loader
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[str, Any]:
        # A copy elsewhere has no loader to cut from.
        state = dict(self._cut_all().__dict__)
        state.pop('_whole_edges', None)
        state.pop('_applied', None)
        return state

    @property
    def num_nodes(self) -> int:
        return self.n_id.numel()

    @property
    def num_edges(self) -> int:
        return int(self.edge_index.size(1))

    def apply(self, func: Any, *args: str) -> 'SubgraphBatch':
        """Apply ``func``, e.g. a move to a device, to every tensor."""
        if adjacency_of(self._store.get('edge_index')) is not None:
            self._store.pop('edge_index')  # tied to adj_t: cut again when asked for
        lazy = {name for name in self._lazy() if name != 'edge_index'}
        if args and lazy & set(args):
            self._cut_all()
        super().apply(func, *args)
        if not args:
            self.__dict__['_applied'] = (*self.__dict__.get('_applied', ()), func)
        return self


class _Assemble:
    """Collects the plain tensors of one batch; runs in worker processes."""

    def __init__(self, builder: BatchBuilder, node_attrs: dict[str, Tensor]) -> None:
        self.builder = builder
        self.node_attrs = node_attrs

    def __call__(
        self, parts: Sequence[int], names: Collection[str] | None = None
    ) -> dict[str, Any]:
        nodes = self.builder.nodes(parts)
        slices = {}
        if torch.utils.data.get_worker_info() is not None:
            # Cut here what the operators have asked for; in the main process it is cut lazily.
            keys: tuple[VariantKey | None, ...] = self.builder.graph.variant_keys or (None,)
            slices = {key: self.builder.edges(parts, nodes, key) for key in keys}
        attrs = {
            name: _rows(value, nodes)
            for name, value in self.node_attrs.items()
            if names is None or name in names
        }
        return {'parts': list(parts), 'nodes': nodes, 'slices': slices, 'attrs': attrs}


def _rows(value: Tensor, nodes: BatchNodes) -> Tensor:
    """Rows of ``value`` for all nodes of a batch; batch nodes are read in contiguous chunks."""
    out = value.new_empty((nodes.n_id.numel(), *value.shape[1:]))
    start = 0
    for a, b in contiguous(nodes):
        out[start : start + b - a] = value[a:b]
        start += b - a
    if out.size(0) > start:
        out[start:] = value.index_select(0, nodes.n_id[start:].to(value.device))
    return out


class SubgraphLoader(DataLoader):
    """Loads batches that join ``batch_size`` partitions, with every edge into a batch node.

    Args:
        data: The graph, permuted so that each partition is contiguous (see ``permute``). Uses
            ``data.adj_t`` where present (rows are targets, values are edge weights), else
            ``data.edge_index`` with ``edge_weight`` and ``edge_attr``.
        ptr: ``(num_parts + 1,)`` bounds of the partitions, as ``metis`` returns them.
        batch_size: Partitions per batch.
        bipartite: Whether ``adj_t`` is rectangular ``(B, n)`` or square ``(n, n)`` with empty rows
            for halo nodes.
        log: Print one line about what was prepared.
        direction: ``'in'``: the halo holds every source of an edge into the batch. ``'both'``:
            also every target of an edge out of it, and those edges, for operators that read both
            ways.
        input_nodes: Boolean mask or ids of the nodes that a loss is taken on. Adds
            ``batch.input_mask`` (``(B,)``) and ``batch.loss_weight``.
        drop_unlabelled: With ``input_nodes``: leave out partitions without any of them. Their
            histories then age until the next refresh.
        keep_first_propagation: Whether the product of the adjacency and untouched features, the
            same in every epoch, is computed once and kept: one more table as large as ``x``.
        **kwargs: Further arguments of :class:`torch.utils.data.DataLoader`.

    Raises:
        ValueError: If ``ptr`` does not bound the rows of ``data``, or features, labels or edge
            attributes do not match the graph, or features hold NaN.
    """

    def __init__(
        self,
        data: Data,
        ptr: Tensor,
        batch_size: int = 1,
        bipartite: bool = True,
        log: bool = True,
        *,
        direction: str = 'in',
        input_nodes: Tensor | None = None,
        drop_unlabelled: bool = False,
        keep_first_propagation: bool = True,
        **kwargs: Any,
    ) -> None:
        who = type(self).__name__
        teach_pyg()
        if direction not in ('in', 'both'):
            raise ValueError(
                explain(who, "'direction' must be 'in' or 'both'", repr(direction),
                        "Use 'both' for operators that also read out-neighbours.")
            )  # fmt: skip
        if type(batch_size) is not int or batch_size < 1:
            raise ValueError(
                explain(who, "'batch_size' must be a positive number of partitions", batch_size,
                        'Pass how many partitions to join in one batch.')
            )  # fmt: skip
        if not isinstance(data, Data):
            raise TypeError(
                explain(who, "'data' must be a torch_geometric.data.Data", type(data).__name__,
                        'Wrap a graph as Data(x=x, edge_index=edge_index).')
            )  # fmt: skip
        edges = to_edges(data, who=who)
        self.ptr = check_ptr(who, ptr, edges.num_nodes)
        self.data = data
        self.bipartite = bipartite
        self.keep_first_propagation = keep_first_propagation
        self.graph = Graph(edges.edge_index, edges.num_nodes, scalar_weight(who, edges.weight))
        self.node_attrs, self.edge_attrs = split_attributes(who, data, self.graph)
        if edges.weight is not None and edges.weight.dim() > 1 and data.get('adj_t') is not None:
            order = self.graph.edge_id
            rows = edges.weight if order is None else edges.weight[order.to(edges.weight.device)]
            self.edge_attrs['edge_weight'] = rows
        self.builder = BatchBuilder(self.graph, self.ptr, direction == 'both')
        self.input_mask = as_mask(who, input_nodes, edges.num_nodes)
        # Partitions without nodes have nothing to compute.
        self.parts = (self.ptr[1:] > self.ptr[:-1]).nonzero().view(-1)
        parts = self.parts
        if self.input_mask is not None and drop_unlabelled:
            total = torch.zeros(edges.num_nodes + 1, dtype=torch.int64)
            torch.cumsum(self.input_mask, 0, out=total[1:])
            parts = parts[total[self.ptr[parts + 1]] > total[self.ptr[parts]]]
        if not parts.numel():
            raise ValueError(
                explain(who, 'at least one batch must be left',
                        f'{self.parts.numel()} partitions with nodes, {parts.numel()} of them with '
                        'input nodes', 'Check the split, or leave out drop_unlabelled.')
            )  # fmt: skip
        if log:
            print(
                f'{who}: {edges.num_nodes:,} nodes and {self.graph.num_edges:,} edges in '
                f'{parts.numel():,} partitions, {batch_size:,} per batch'
            )
        self._assemble = _Assemble(self.builder, self.node_attrs)
        super().__init__(
            parts.tolist(),  # type: ignore[arg-type]
            batch_size=batch_size,
            collate_fn=self._assemble,
            **kwargs,
        )

    def __iter__(self) -> Iterator[SubgraphBatch]:  # type: ignore[override]
        for raw in super().__iter__():
            yield self._wrap(raw)

    @property
    def num_sweep_batches(self) -> int:
        """Number of batches of :meth:`sweep`."""
        return -(-self.parts.numel() // (self.batch_size or 1))

    def sweep(self, names: Collection[str] | None = None) -> Iterator[SubgraphBatch]:
        """Every partition once, in order, in this process, whatever the sampler.

        Args:
            names: The node-level attributes to fill in (default: all).

        Draws no random numbers, so that an inference leaves the training's randomness alone.
        """
        parts = self.parts.tolist()
        step = self.batch_size or 1
        for start in range(0, len(parts), step):
            yield self._wrap(self._assemble(parts[start : start + step], names))

    def fill_lazily(self, batch: SubgraphBatch, name: str, device: torch.device) -> None:
        """Give a batch a node-level attribute whose rows are gathered when they are read."""
        whole, nodes = self.node_attrs[name], batch.adj_t.edges.nodes
        size = (nodes.n_id.numel(), *whole.shape[1:])
        batch[name] = LazyRows(lambda: _rows(whole, nodes).to(device), size, whole.dtype, device)
        if name == 'x' and device == whole.device:
            batch.adj_t.edges.features = self._features(batch[name])

    def _features(self, x: Tensor | None) -> Features | None:
        """What an adjacency needs to recognise the features whose product it may know."""
        if not self.keep_first_propagation or x is None or x.dim() != 2:
            return None
        if not x.is_floating_point() or x.is_inference():
            return None
        version = -1 if isinstance(x, LazyRows) else x._version
        return Features(x, version, self.node_attrs['x'])

    def _wrap(self, raw: dict[str, Any]) -> SubgraphBatch:
        nodes = BatchNodes(*raw['nodes'])
        slices = {key: EdgeSlice(*edges) for key, edges in raw['slices'].items()}
        edges = BatchEdges(self.builder, raw['parts'], nodes, slices)
        dtype = torch.get_default_dtype()
        if 'x' in self.node_attrs and self.node_attrs['x'].is_floating_point():
            dtype = self.node_attrs['x'].dtype
        adj = Adjacency(edges, square=not self.bipartite, dtype=dtype)
        edges.features = self._features(raw['attrs'].get('x'))
        batch = SubgraphBatch(adj_t=adj, **raw['attrs'])
        batch.n_id, batch.offset, batch.count = nodes.n_id, nodes.offset, nodes.count
        batch.batch_size = nodes.batch_size
        batch.__dict__['_whole_edges'] = self.edge_attrs
        if self.input_mask is not None:
            batch.input_mask = self.input_mask[nodes.n_id[: nodes.batch_size]]
            total = max(int(self.input_mask.sum()), 1)
            batch.loss_weight = int(batch.input_mask.sum()) / total
        return batch


class EvalSubgraphLoader(SubgraphLoader):
    """A :class:`SubgraphLoader` that visits the partitions in order, each exactly once.

    Args:
        data, ptr, batch_size, bipartite, log: As in :class:`SubgraphLoader`.
        **kwargs: Further arguments of :class:`torch.utils.data.DataLoader`, without ``shuffle``.
    """

    def __init__(
        self,
        data: Data,
        ptr: Tensor,
        batch_size: int = 1,
        bipartite: bool = True,
        log: bool = True,
        **kwargs: Any,
    ) -> None:
        for name in ('shuffle', 'drop_last', 'drop_unlabelled', 'sampler', 'batch_sampler'):
            if kwargs.get(name):
                raise ValueError(
                    explain('EvalSubgraphLoader', f"'{name}' must be left out", kwargs[name],
                            'Use SubgraphLoader for training on some partitions or in another '
                            'order.')
                )  # fmt: skip
        kwargs.pop('shuffle', None)
        super().__init__(data, ptr, batch_size, bipartite, log, shuffle=False, **kwargs)


def check_ptr(who: str, ptr: Tensor, num_nodes: int) -> Tensor:
    """``ptr`` as int64 on the CPU, if it bounds ``num_nodes`` rows."""
    ptr = torch.as_tensor(ptr).cpu()
    fine = ptr.dim() == 1 and ptr.numel() >= 2 and not ptr.is_floating_point()
    if not fine or ptr[0] != 0 or ptr[-1] != num_nodes or bool((ptr[1:] < ptr[:-1]).any()):
        raise ValueError(
            explain(who, f"'ptr' must rise from 0 to the {num_nodes} nodes of 'data'",
                    f'shape {tuple(ptr.shape)} ending in {ptr.view(-1)[-1:].tolist()}',
                    'Pass the ptr that metis returned for this graph.')
        )  # fmt: skip
    return ptr.long()


def scalar_weight(who: str, weight: Tensor | None) -> Tensor | None:
    """Edge weights that an adjacency can hold as values."""
    if weight is None or weight.dim() > 1:
        return None
    if weight.requires_grad:
        raise ValueError(
            explain(who, 'edge weights must be constants', 'weights that require a gradient',
                    'Detach them, or compute learned weights inside the model from '
                    'batch.edge_attr and pass them with batch.edge_index.')
        )  # fmt: skip
    return weight


def as_mask(who: str, nodes: Tensor | None, num_nodes: int) -> Tensor | None:
    """A boolean mask from a mask or from ids."""
    if nodes is None:
        return None
    nodes = torch.as_tensor(nodes).cpu()
    if nodes.dtype == torch.bool:
        if nodes.shape != (num_nodes,):
            raise ValueError(
                explain(who, f"a mask as 'input_nodes' must have shape ({num_nodes},)",
                        tuple(nodes.shape), 'Pick one split: data.train_mask[:, split].')
            )  # fmt: skip
        return nodes
    if nodes.dim() != 1 or nodes.is_floating_point() or nodes.dtype == torch.uint8:
        raise TypeError(
            explain(who, "'input_nodes' must be a boolean mask or a vector of integer ids",
                    f'shape {tuple(nodes.shape)} of {nodes.dtype}',
                    'Pass data.train_mask or ids of type torch.long.')
        )  # fmt: skip
    if nodes.numel() and (int(nodes.min()) < 0 or int(nodes.max()) >= num_nodes):
        raise ValueError(
            explain(who, f"ids in 'input_nodes' must lie in [0, {num_nodes})",
                    f'{int(nodes.min())} to {int(nodes.max())}',
                    "Pass ids of the permuted data's nodes.")
        )  # fmt: skip
    mask = torch.zeros(num_nodes, dtype=torch.bool)
    mask[nodes] = True
    return mask


def split_attributes(
    who: str, data: Data, graph: Graph
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The node-level and the edge-level tensors of ``data``, checked against the graph."""
    node: dict[str, Tensor] = {}
    edge: dict[str, Tensor] = {}
    adj_t_wins = data.get('adj_t') is not None
    two_orders = adj_t_wins and data.get('edge_index') is not None
    for name, value in data.to_dict().items():
        if value is None:
            continue
        if name in ('x', 'y', 'edge_attr') and not isinstance(value, Tensor):
            raise TypeError(
                explain(who, f"'data.{name}' must be a dense tensor", type(value).__name__,
                        'Convert it, e.g. with torch.as_tensor.')
            )  # fmt: skip
        if name in ('edge_index', 'adj_t') or not isinstance(value, Tensor) or value.dim() == 0:
            continue
        if name == 'edge_weight' and adj_t_wins:
            continue  # the values of adj_t are the weights
        if value.layout != torch.strided:
            raise TypeError(
                explain(who, f"'data.{name}' must be a dense tensor", value.layout,
                        f'Convert it, e.g. with data.{name}.to_dense().')
            )  # fmt: skip
        if data.__cat_dim__(name, value) != 0 and value.dim() > 1:
            continue  # ids, e.g. 'edge_label_index': they would mean other nodes in a batch
        if name in ('x', 'y', 'pos') or (name.endswith('_mask') and 'edge' not in name):
            if value.size(0) != graph.num_nodes:
                raise ValueError(
                    explain(who, f"'data.{name}' must have one row per node "
                            f'({graph.num_nodes})', f'{value.size(0)} rows',
                            'Check that features, labels and edges describe the same graph.')
                )  # fmt: skip
            node[name] = value
        elif name in ('edge_attr', 'edge_weight', 'edge_type'):
            if value.size(0) != graph.num_edges and not two_orders:
                raise ValueError(
                    explain(who, f"'data.{name}' must have one row per edge "
                            f'({graph.num_edges})', f'{value.size(0)} rows',
                            'Check that edge attributes and edges describe the same graph.')
                )  # fmt: skip
            edge[name] = value
        elif value.size(0) == graph.num_edges and (
            'edge' in name or graph.num_edges != graph.num_nodes
        ):
            edge[name] = value
        elif value.size(0) == graph.num_nodes:
            node[name] = value
    x = node.get('x')
    if x is not None and x.is_floating_point():
        bad = int(torch.isnan(x).sum())
        if bad:
            raise ValueError(
                explain(who, "'data.x' must not hold NaN", f'{bad} NaN values',
                        'Clean the features, e.g. data.x = data.x.nan_to_num().')
            )  # fmt: skip
    if edge and two_orders:
        raise ValueError(
            explain(who, "'data.adj_t' wins over 'data.edge_index', whose order edge attributes "
                    'follow', f"both, and edge attributes {', '.join(sorted(edge))}",
                    'Remove data.adj_t to use the attributes, or the attributes to use adj_t.')
        )  # fmt: skip
    if graph.edge_id is not None:
        order = graph.edge_id
        edge = {name: value.index_select(0, order.to(value.device)) for name, value in edge.items()}
    return node, edge
