"""Mini-batches of whole partitions with their 1-hop halo."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import Data, FeatureStore

from .adjacency import Adjacency
from .ahead import one_ahead
from .batch import SubgraphBatch
from .batch_edges import BatchEdges, Features
from .batching import BatchBuilder, BatchNodes, EdgeSlice, contiguous
from .errors import explain
from .graph import VariantKey
from .lazy import LazyRows
from .loader_input import LoaderInput, as_mask, read_input, with_features_of
from .mapped import mapped_file
from .operators import teach_pyg
from .prepared import Uses, prepare, uses_of
from .sparse_rows import SparseRows
from .stored_rows import StoredRows


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
    if isinstance(value, StoredRows):
        return value.rows(nodes.n_id)
    if isinstance(value, SparseRows):
        return value.take(nodes.n_id)
    out = value.new_empty((nodes.n_id.numel(), *value.shape[1:]))
    start = 0
    for a, b in contiguous(nodes):
        out[start : start + b - a] = value[a:b]
        start += b - a
    if out.size(0) > start:
        out[start:] = value.index_select(0, nodes.n_id[start:].to(value.device))
    return out


class PartitionLoader(DataLoader):
    """Loads batches of partitions from a prepared graph; the base of all loaders.

    Args:
        who: The public call on whose behalf errors speak.
        prepared: The graph.
        batch_size, bipartite, log, input_nodes, drop_unlabelled, keep_first_propagation, prefetch,
            sweep_batch_size, kwargs: As in :class:`SubgraphLoader`.
    """

    def __init__(
        self,
        who: str,
        prepared: LoaderInput,
        batch_size: int = 1,
        bipartite: bool = True,
        log: bool = True,
        *,
        input_nodes: Tensor | None = None,
        drop_unlabelled: bool = False,
        keep_first_propagation: bool = True,
        prefetch: bool = False,
        sweep_batch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        teach_pyg()
        check_batch_size(who, batch_size)
        if sweep_batch_size is not None:
            check_batch_size(who, sweep_batch_size, 'sweep_batch_size')
        self.sweep_batch_size = sweep_batch_size
        self.bipartite = bipartite
        self.prefetch = prefetch
        self.keep_first_propagation = keep_first_propagation
        self._take(prepared)
        num_nodes = self.graph.num_nodes
        self.input_mask = as_mask(who, input_nodes, num_nodes)
        # Counted once: the whole mask is as long as the graph, and there is a batch every moment.
        self._num_inputs = 1 if self.input_mask is None else max(int(self.input_mask.sum()), 1)
        # Partitions without nodes have nothing to compute.
        self.parts = (self.ptr[1:] > self.ptr[:-1]).nonzero().view(-1)
        parts = self.parts
        if self.input_mask is not None and drop_unlabelled:
            total = torch.zeros(num_nodes + 1, dtype=torch.int64)
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
                f'{who}: {num_nodes:,} nodes and {self.graph.num_edges:,} edges in '
                f'{parts.numel():,} partitions, {batch_size:,} per batch'
            )
        super().__init__(
            parts.tolist(),  # type: ignore[arg-type]
            batch_size=batch_size,
            collate_fn=self._assemble,
            **kwargs,
        )

    def _take(self, prepared: LoaderInput) -> None:
        self.ptr, self.graph, self.builder = prepared.ptr, prepared.graph, prepared.builder
        self.node_attrs, self.edge_attrs = prepared.node_attrs, prepared.edge_attrs
        self._assemble = _Assemble(self.builder, self.node_attrs)
        x = self.node_attrs.get('x')
        stored = isinstance(x, StoredRows)
        self._features_lie_elsewhere = stored or (x is not None and mapped_file(x) is not None)

    def __iter__(self) -> Iterator[SubgraphBatch]:  # type: ignore[override]
        if self.prefetch:
            return self.ahead()
        return self._batches()

    def _batches(self) -> Iterator[SubgraphBatch]:
        for raw in super().__iter__():
            yield self._wrap(raw)

    def ahead(
        self, ready: Callable[[SubgraphBatch, Uses], SubgraphBatch] | None = None
    ) -> Iterator[SubgraphBatch]:
        """The same batches, each assembled in a thread while its predecessor is in use.

        What a batch's adjacency was asked for, the next but one has prepared: its edges in that
        variant, their transpose. The first two have not.

        Args:
            ready: Does the rest in that thread, with what was prepared; by default nothing.
        """
        uses = Uses({}, ())

        def assembled() -> Iterator[SubgraphBatch]:
            for raw in DataLoader.__iter__(self):
                batch, known = self._wrap(raw), uses
                prepare(batch, known)
                yield batch if ready is None else ready(batch, known)

        for batch in one_ahead(assembled()):
            yield batch
            uses = uses_of(batch)
            del batch

    @property
    def num_sweep_batches(self) -> int:
        """Number of batches of :meth:`sweep`."""
        return -(-self.parts.numel() // self.parts_per_sweep_batch)

    @property
    def parts_per_sweep_batch(self) -> int:
        """Partitions in a batch of :meth:`sweep`."""
        return self.sweep_batch_size or self.batch_size or 1

    def sweep(self, names: Collection[str] | None = None) -> Iterator[SubgraphBatch]:
        """Every partition once, in order, in this process, whatever the sampler.

        Args:
            names: The node-level attributes to fill in (default: all).

        Draws no random numbers, so that an inference leaves the training's randomness alone.
        """
        parts, step = self.parts.tolist(), self.parts_per_sweep_batch
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
        if isinstance(self.node_attrs.get('x'), SparseRows):
            return None  # the product would be dense, and as wide as they are
        if self._features_lie_elsewhere:
            return None  # the product might not find room in memory either
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
            batch.input_rows = batch.input_mask.nonzero().view(-1)
            batch.loss_weight = batch.input_rows.numel() / self._num_inputs
        return batch


class SubgraphLoader(PartitionLoader):
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
            ``batch.input_mask`` (``(B,)``), its rows ``batch.input_rows``, and
            ``batch.loss_weight``.
        drop_unlabelled: With ``input_nodes``: leave out partitions without any of them. Their
            histories then age until the next refresh.
        keep_first_propagation: Whether the product of the adjacency and untouched features, the
            same in every epoch, is computed once and kept: one more table as large as ``x``. Not
            done for features that are mapped from a file or lie in a feature store.
        prefetch: Assemble each batch in a thread while its predecessor is in use, whatever
            ``num_workers``: the same batches in the same order. At most one is kept ahead.
        sweep_batch_size: Partitions per batch of an exact inference or ``refresh`` over this loader
            (default: ``batch_size``). Those keep no activations for a backward, so that larger
            batches fit the same memory, and fewer of them cost less.
        feature_store: Where the features are, if ``data`` has no ``x``: a PyG ``FeatureStore`` that
            gives rows by ``TensorAttr(group_name=None, attr_name='x', index=ids)``. Each batch
            reads its rows in one call, in the order of ``n_id``.
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
        prefetch: bool = False,
        sweep_batch_size: int | None = None,
        feature_store: FeatureStore | None = None,
        **kwargs: Any,
    ) -> None:
        who = type(self).__name__
        check_batch_size(who, batch_size)
        if feature_store is not None:
            data = with_features_of(who, data, feature_store)
        prepared = read_input(who, data, ptr, direction)
        self.data = data
        super().__init__(
            who, prepared, batch_size, bipartite, log, input_nodes=input_nodes,
            drop_unlabelled=drop_unlabelled, keep_first_propagation=keep_first_propagation,
            prefetch=prefetch, sweep_batch_size=sweep_batch_size, **kwargs,
        )  # fmt: skip


def check_batch_size(who: str, batch_size: Any, name: str = 'batch_size') -> None:
    """Raise unless ``batch_size`` is a positive number of partitions."""
    if type(batch_size) is not int or batch_size < 1:
        raise ValueError(
            explain(who, f"'{name}' must be a positive number of partitions", batch_size,
                    'Pass how many partitions to join in one batch.')
        )  # fmt: skip


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
