"""``autoscale``: any module built from PyG's operators, trained with histories."""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import MessagePassing

from ..batch import SubgraphBatch
from ..boundary import push_and_pull_rows
from ..errors import explain
from ..graph import check_same_graph
from ..history import History, move_histories
from ..inference import LayerwiseInference, current_replay
from ..norms import refuse_graph_statistics
from ..operators import refuse_whole_graph_operators, teach_pyg
from ..scalable import ScalableGNN, refuse_several_processes
from ..staleness import note_exchange, note_refresh, note_reset
from ..trace_memory import TraceMemory
from ..transfer import Rows, moving, place, pool_for
from .boundaries import Boundary, Plan
from .conversion import Conversion
from .given import check_given
from .hetero_graph import UnionGraph
from .hetero_loader import HeteroAutoscaleLoader
from .hetero_source import HeteroSource
from .hetero_whole import HeteroWhole, take_hetero_whole
from .inputs import ForwardInputs, Inputs
from .levels import LevelInference
from .loader import AutoscaleLoader
from .node_parameters import node_parameters
from .planning import find_plan, refuse_without_messages
from .rows import TypeRows, map_outputs
from .source import GraphSource, partition_of
from .whole import Whole, take_whole

_WHO = 'autoscale'


# A conversion follows gradients, whatever the mode it is called in.
@torch.inference_mode(False)
@torch.enable_grad()
def autoscale(
    module: torch.nn.Module,
    data: Data | HeteroData,
    num_parts: int | None = None,
    partition: Any = 'auto',
    *,
    verify: bool = True,
    inputs: Inputs = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    tier: str | None = None,
    folder: str | Path | None = None,
    cache: int | str | None = None,
    seed: int = 0,
) -> 'AutoScaled':
    """Convert a module built from PyG's operators to training with histories (GNNAutoScale).

    The module stays as it is: its parameters are trained in place, and its ``state_dict`` is that
    of the plain module. Where halo rows must be replaced is found by following one pass; whether
    batches then give what the whole graph gives is checked on a piece of the graph.

    Args:
        module: Any :class:`torch.nn.Module` that returns one row per node.
        data: The graph. Features, labels and masks may change later, edges may not.
        num_parts: Number of partitions; by default one for about 2,000 nodes.
        partition: A method of :func:`partition`, ``(N,)`` part ids, ``(perm, ptr)``, or PyG's
            :class:`~torch_geometric.loader.cluster.Partition`.
        verify: Whether to check the conversion (well under two seconds).
        inputs: By default each parameter of ``forward`` is given the attribute of its name.
            ``('x', 'edge_index')`` narrows that, ``{'feats': 'x'}`` renames.
        device, dtype, tier, folder: How and where the histories are kept, as in :class:`History`
            (default: in main memory, in the type of the values).
        cache: Bytes, or text such as ``'256MB'``, of the caches of all histories together.
        seed: Seed of the partitioner.

    Raises:
        TypeError: If ``module`` or ``data`` is of a wrong kind.
        ValueError: If the module has no message passing, returns something else than rows of nodes,
            or needs inputs that ``data`` does not have.
        VerificationError: If a batch would not give what the whole graph gives; names the place.
    """
    refuse_several_processes(_WHO)
    _check_module(module)
    teach_pyg()
    source = _source_of(data, num_parts, partition, seed)
    forward_inputs = ForwardInputs(module, source.available(), inputs, source.withheld())
    takes_edges = {'edge_index', 'adj_t'} & set(forward_inputs.sources.values())
    if not takes_edges and not any(isinstance(m, MessagePassing) for m in module.modules()):
        refuse_without_messages(module)
    forward_inputs.check_complete()
    check_given(type(module).__name__, data, forward_inputs)
    whole: Whole | HeteroWhole
    if isinstance(source, HeteroSource):
        whole = take_hetero_whole(source, forward_inputs)
    else:
        whole = take_whole(source, forward_inputs)
    per_node = node_parameters(module, sum(source.num_nodes.values()))
    plan = find_plan(module, whole, forward_inputs, verify, per_node)
    storage = {'device': device, 'dtype': dtype, 'tier': tier, 'folder': folder}
    gas = AutoScaled(module, source, forward_inputs, plan, storage)
    if cache is not None:
        move_histories(gas, cache=cache)
    return gas


def _source_of(
    data: Data | HeteroData, num_parts: int | None, partition: Any, seed: int
) -> GraphSource | HeteroSource:
    """The partitioned graph."""
    if isinstance(data, HeteroData):
        union = UnionGraph(data)
        plain = Data(edge_index=union.edge_index, num_nodes=union.num_nodes)
        return HeteroSource(data, union, *partition_of(plain, num_parts, partition, seed))
    if not isinstance(data, Data):
        raise TypeError(
            explain(_WHO, "'data' must be a torch_geometric.data.Data or HeteroData",
                    type(data).__name__, 'Wrap a graph as Data(x=x, edge_index=edge_index).')
        )  # fmt: skip
    return GraphSource(data, *partition_of(data, num_parts, partition, seed))


class AutoScaled(torch.nn.Module):
    """A converted module; made by :func:`autoscale`.

    Attributes:
        module: The caller's module, unchanged.
        histories: One :class:`History` per boundary, rows in the order of the partitions.
        boundaries: Where they are.
    """

    histories: torch.nn.ModuleList

    def __init__(
        self,
        module: torch.nn.Module,
        source: GraphSource | HeteroSource,
        inputs: ForwardInputs,
        plan: Plan,
        storage: Mapping[str, Any],
    ) -> None:
        super().__init__()
        self.module = module
        self.training = module.training
        self._source = source
        self._plan = plan
        self._conversion = Conversion(inputs, plan, source)
        histories = [
            History(source.num_nodes[boundary.node_type], boundary.width, **storage)
            for boundary in plan.eval
        ]
        # No submodule: what a checkpoint of the plain module holds, it holds here, too.
        self.__dict__['histories'] = torch.nn.ModuleList(histories)

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        return self._plan.eval

    @property
    def perm(self) -> Tensor:
        """``(N,)``: row ``i`` of every history belongs to the caller's node ``perm[i]``."""
        return self._source.perm

    @property
    def ptr(self) -> Tensor:
        """``(num_parts + 1,)`` bounds of the partitions."""
        return self._source.ptr

    # Batches #####################################################################

    def loader(self, batch_size: int = 1, **kwargs: Any) -> AutoscaleLoader | HeteroAutoscaleLoader:
        """Batches of the graph.

        Args:
            batch_size: Partitions per batch.
            **kwargs: ``shuffle``, ``num_workers``, ``input_nodes``, ... as in
                :class:`SubgraphLoader`; ids and masks are those of the caller's data.
        """
        return self._source.loader(self._plan.direction, batch_size=batch_size, **kwargs)

    def forward(self, batch: Any, **overrides: Any) -> Any:
        """Run on a batch: ``(B, *)`` rows out; every history gets its batch rows.

        Every tensor of a tuple that has one row per node is cut to the batch rows.

        Args:
            batch: From :meth:`loader`.
            **overrides: Arguments of the module's ``forward`` in place of the batch's.
        """
        refuse_several_processes(_WHO)
        fingerprint = self._source.fingerprint_of(batch)
        for known in (self._source.fingerprint, *(h.graph for h in self.histories)):
            check_same_graph(_WHO, known, fingerprint)  # type: ignore[arg-type]
        _check_rows(batch, overrides, self._conversion.inputs.sources)
        rows = self._source.rows_of(batch)

        def exchange(k: int, boundary: Boundary, value: Tensor) -> Tensor:
            here = rows[boundary.node_type]
            if value.size(0) not in (here.batch_size, here.num_nodes):
                raise ValueError(
                    explain(_WHO, f'at {boundary} there must be one row per node of the batch '
                            f'({here.num_nodes})', f'{value.size(0)} rows',
                            'Pass inputs with the rows of batch.n_id.')
                )  # fmt: skip
            return push_and_pull_rows(
                _WHO, self.histories[k], value, here.batch_size,  # type: ignore[arg-type]
                here.n_id, here.offset, here.count, fingerprint,
            )  # fmt: skip

        with self._moving(rows):
            out = self._conversion.run(self.module, batch, exchange, overrides)
        self._note_exchange(rows)
        return out

    def _moving(self, rows: Mapping[str, TypeRows]) -> Any:
        """Begin to pull the halo rows of every boundary, where a pool moves them."""
        parameter = next(self.parameters(), None)
        device = torch.device('cpu') if parameter is None else parameter.device
        pool = pool_for(device)
        if pool is None:
            return nullcontext()
        place(self.histories, device)
        wanted: Any = (
            (history, Rows(here.n_id, here.batch_size, here.n_id, here.offset, here.count))
            for history, boundary in zip(self.histories, self.boundaries, strict=True)
            for here in (rows[boundary.node_type],)
        )
        return moving(pool, wanted)

    def _note_exchange(self, rows: Mapping[str, TypeRows]) -> None:
        for node_type, here in rows.items():
            histories: Any = [
                history
                for history, boundary in zip(self.histories, self.boundaries, strict=True)
                if boundary.node_type == node_type
            ]
            note_exchange(histories, here.n_id, here.batch_size, here.offset, here.count)

    # Exact inference #############################################################

    def inference(self, batch_size: int = 1) -> Any:
        """Exact outputs of all nodes, layer by layer; histories are neither read nor written.

        Runs in eval mode and restores every module's mode.

        Args:
            batch_size: Partitions per batch.

        Returns:
            ``(N, *)`` on the CPU, in the order of the caller's data. Of a tuple, its first element:
            wrap the module to return another one, or several side by side.
        """
        return self._layerwise(batch_size, write=False)

    def refresh(self, batch_size: int = 1) -> Any:
        """Recompute every history exactly with the current weights.

        Returns:
            The exact outputs, as :meth:`inference` does: one pass serves both.
        """
        out = self._layerwise(batch_size, write=True)
        note_refresh(self.histories)  # type: ignore[arg-type]
        return out

    def reset_histories(self) -> None:
        """Set every history to zero."""
        for history in self.histories:
            history.reset()  # type: ignore[operator]
        note_reset(self.histories)  # type: ignore[arg-type]

    def _layerwise(self, batch_size: int, write: bool) -> Any:
        refuse_several_processes(_WHO)
        source = self._source
        loader: Any = self.loader(batch_size)
        if isinstance(source, HeteroSource):
            out = self._infer_by_levels(loader, write)
            order = source.in_callers_order
            return map_outputs(out, self._plan.outputs[False], order)
        inputs = set(self._conversion.inputs.sources.values())
        opened = _with_ancestors(self.module, self._plan.opened())
        memory = vars(self).setdefault('_traces', TraceMemory())
        run = LayerwiseInference(
            self.module, self._replay_batch, loader, write, inputs, opened, memory,
            constants=(self._plan, self._conversion, *self.histories),
        ).run  # fmt: skip
        return source.in_callers_order(run())

    def _infer_by_levels(self, loader: Any, write: bool) -> Any:
        # A history of a chosen type may round, and what follows must be exact.
        histories: Any = self.histories
        tables = [h if write and not h.dtype_is_chosen else h.scratch() for h in histories]
        inference = LevelInference(
            self.module, self._conversion, tables, self._plan.levels, self._source.num_nodes,
            histories, write,
        )  # fmt: skip
        return inference.run(loader, self._source.fingerprint)

    def _replay_batch(self, module: torch.nn.Module, batch: SubgraphBatch) -> Any:
        def answer(k: int, boundary: Boundary, rows: Tensor) -> Tensor:
            replay = current_replay()
            assert replay is not None
            return replay.boundary(rows, self.histories[k])  # type: ignore[arg-type]

        return self._conversion.run(module, batch, answer)

    # State #######################################################################

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The plain module's state under its own names.

        The histories travel along as metadata, which survives ``torch.save`` and which the plain
        module's ``load_state_dict`` does not look at.
        """
        state: Any = self.module.state_dict(*args, **kwargs)
        prefix = kwargs.get('prefix', args[1] if len(args) > 1 else '')
        own = state._metadata.setdefault(prefix[:-1], {})
        own['histories'] = [history.get_extra_state() for history in self.histories]
        return state

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Load a state of this or of the plain module.

        Histories are loaded if the state has them; if not, they stay as they are: call
        :meth:`refresh`.
        """
        own = getattr(state_dict, '_metadata', {}).get('', {})
        self._check_histories(own)
        result = self.module.load_state_dict(state_dict, strict=strict, assign=assign)
        self._load_histories(own)
        return result

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *args: Any
    ) -> None:
        # As a part of another module: the names lack the step from here to the plain module.
        self._check_histories(local_metadata)
        inner = f'{prefix}module.'
        mine = {name: state_dict[name] for name in state_dict if name.startswith(prefix)}
        for name in mine:
            del state_dict[name]
        state_dict.update({inner + name[len(prefix) :]: value for name, value in mine.items()})
        self._load_histories(local_metadata)

    def _check_histories(self, metadata: dict[str, Any]) -> None:
        states = metadata.get('histories', [])
        if states and len(states) != len(self.histories):
            raise ValueError(
                explain(_WHO, f'a state must hold {len(self.histories)} histories',
                        f'{len(states)}', 'Load the state of the same model and graph.')
            )  # fmt: skip
        if any(state.get('graph') not in (None, self._source.fingerprint) for state in states):
            raise ValueError(
                explain(_WHO, 'histories of a state must be of this graph and partition',
                        'those of another', 'Convert with the partition of the state, '
                        'autoscale(..., partition=(perm, ptr)), or load the state of gas.module '
                        'alone and call refresh().')
            )  # fmt: skip

    def _load_histories(self, metadata: dict[str, Any]) -> None:
        for history, state in zip(self.histories, metadata.get('histories', []), strict=False):
            history.set_extra_state(state)

    def reset_parameters(self) -> None:
        """Reset the module's parameters, if it can, and every history."""
        reset = getattr(self.module, 'reset_parameters', None)
        if reset is not None:
            reset()
        self.reset_histories()

    def extra_repr(self) -> str:
        places = [f'  {boundary}: {boundary.width} channels' for boundary in self.boundaries]
        return '\n'.join([f'{self.ptr.numel() - 1} partitions, histories at', *places])


def _check_rows(batch: Any, overrides: Mapping[str, Any], sources: Mapping[str, str]) -> None:
    for name, value in overrides.items():
        source = sources.get(name, name)
        like = batch.get(source) if isinstance(batch, SubgraphBatch) else None
        if not isinstance(like, Tensor) or not batch.is_node_attr(source):
            continue
        if isinstance(value, Tensor) and value.shape[:1] != like.shape[:1]:
            raise ValueError(
                explain(_WHO, f"'{name}' must have one row for each of the {like.size(0)} nodes in "
                        "'batch.n_id'", f'shape {tuple(value.shape)}',
                        f'Index with batch.n_id, e.g. {name}[batch.n_id].')
            )  # fmt: skip


def _check_module(module: Any) -> None:
    if not isinstance(module, torch.nn.Module):
        raise TypeError(
            explain(_WHO, "'module' must be a torch.nn.Module", type(module).__name__,
                    'Pass a model, not its class.')
        )  # fmt: skip
    if isinstance(module, (ScalableGNN, AutoScaled)):
        raise TypeError(
            explain(_WHO, "'module' must be a plain module", type(module).__name__,
                    'It has histories already: use it as it is.')
        )  # fmt: skip
    who = type(module).__name__
    refuse_graph_statistics(who, module.named_modules())
    refuse_whole_graph_operators(who, module.named_modules())


def _with_ancestors(module: torch.nn.Module, paths: set[str]) -> set[str]:
    """``paths`` and the paths of all modules around them."""
    names = {path for path, _ in module.named_modules()}
    around = {path for path in names for inner in paths if path and inner.startswith(f'{path}.')}
    return {*paths, *around}
