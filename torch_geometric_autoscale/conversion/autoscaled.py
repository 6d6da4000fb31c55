"""``autoscale``: any module built from PyG's operators, trained with histories."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing

from ..batch import SubgraphBatch
from ..boundary import push_and_pull_rows
from ..errors import NeedsBothDirections, explain
from ..graph import check_same_graph
from ..history import History
from ..inference import LayerwiseInference, current_replay
from ..norms import refuse_graph_statistics
from ..operators import refuse_whole_graph_operators, teach_pyg
from ..scalable import ScalableGNN, refuse_several_processes
from .boundaries import Boundary, Plan, same_values
from .conversion import Conversion, rows_of_batch
from .finder import BoundaryFinder
from .inputs import ForwardInputs, Inputs
from .loader import AutoscaleLoader
from .piece import take_piece
from .source import GraphSource, partition_of
from .verification import rows_among, working_copy
from .verification import verify as verify_conversion
from .whole import Whole

_WHO = 'autoscale'


def autoscale(
    module: torch.nn.Module,
    data: Data,
    num_parts: int | None = None,
    partition: Any = 'auto',
    *,
    verify: bool = True,
    inputs: Inputs = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
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
        device: Where the histories live (default: the CPU).
        dtype: Type of the histories (default: that of the values).
        seed: Seed of the partitioner.

    Raises:
        TypeError: If ``module`` or ``data`` is of a wrong kind.
        ValueError: If the module has no message passing, returns something else than rows of nodes,
            or needs inputs that ``data`` does not have.
        VerificationError: If a batch would not give what the whole graph gives; names the place.
    """
    refuse_several_processes(_WHO)
    _check_module(module)
    if not isinstance(data, Data):
        raise TypeError(
            explain(_WHO, "'data' must be a torch_geometric.data.Data", type(data).__name__,
                    'Wrap a graph as Data(x=x, edge_index=edge_index).')
        )  # fmt: skip
    teach_pyg()
    perm, ptr = partition_of(data, num_parts, partition, seed)
    source = GraphSource(data, perm, ptr)
    forward_inputs = ForwardInputs(module, source.available(), inputs)
    takes_edges = {'edge_index', 'adj_t'} & set(forward_inputs.sources.values())
    if not takes_edges and not any(isinstance(m, MessagePassing) for m in module.modules()):
        _refuse_without_messages(module)
    forward_inputs.check_complete()
    plan = find_plan(module, source, forward_inputs, verify)
    return AutoScaled(module, source, forward_inputs, plan, device, dtype)


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
        source: GraphSource,
        inputs: ForwardInputs,
        plan: Plan,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.module = module
        self.training = module.training
        self._source = source
        self._plan = plan
        self._conversion = Conversion(inputs, plan, source.in_batch)
        histories = [
            History(source.num_nodes[boundary.node_type], boundary.width, device, dtype)
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

    def loader(self, batch_size: int = 1, **kwargs: Any) -> AutoscaleLoader:
        """Batches of the graph.

        Args:
            batch_size: Partitions per batch.
            **kwargs: ``shuffle``, ``num_workers``, ``input_nodes``, ... as in
                :class:`SubgraphLoader`; ids and masks are those of the caller's data.
        """
        return self._source.loader(self._plan.direction, batch_size=batch_size, **kwargs)

    def forward(self, batch: SubgraphBatch, **overrides: Any) -> Any:
        """Run on a batch: ``(B, *)`` rows out; every history gets its batch rows.

        Args:
            batch: From :meth:`loader`.
            **overrides: Arguments of the module's ``forward`` in place of the batch's.
        """
        refuse_several_processes(_WHO)
        self._check_batch(batch, overrides)
        nodes = batch.adj_t.edges.nodes
        fingerprint = batch.adj_t.graph.fingerprint
        for history in self.histories:
            check_same_graph(_WHO, history.graph, fingerprint)  # type: ignore[arg-type]

        def exchange(k: int, boundary: Boundary, rows: Tensor) -> Tensor:
            if rows.size(0) not in (nodes.batch_size, nodes.n_id.numel()):
                raise ValueError(
                    explain(_WHO, f'at {boundary} there must be one row per node of the batch '
                            f'({nodes.n_id.numel()})', f'{rows.size(0)} rows',
                            'Pass inputs with the rows of batch.n_id.')
                )  # fmt: skip
            return push_and_pull_rows(
                _WHO, self.histories[k], rows, nodes.batch_size,  # type: ignore[arg-type]
                nodes.n_id, nodes.offset, nodes.count, fingerprint,
            )  # fmt: skip

        out = self._conversion.run(self.module, batch, exchange, overrides)
        return rows_of_batch(out, nodes.batch_size, nodes.n_id.numel())

    def _check_batch(self, batch: Any, overrides: dict[str, Any]) -> None:
        adj = batch.get('adj_t') if isinstance(batch, SubgraphBatch) else None
        if adj is None or not hasattr(adj, 'edges'):
            raise TypeError(
                explain(_WHO, 'it runs on batches of its own loader', type(batch).__name__,
                        'Pass a batch of gas.loader(); run a whole graph with gas.module(...).')
            )  # fmt: skip
        check_same_graph(_WHO, self._source.fingerprint, adj.graph.fingerprint)
        num_nodes = batch.adj_t.edges.nodes.n_id.numel()
        for name, value in overrides.items():
            like = batch.get(name)
            is_rows = isinstance(like, Tensor) and like.dim() > 0 and like.size(0) == num_nodes
            if is_rows and isinstance(value, Tensor) and value.size(0) != num_nodes:
                raise ValueError(
                    explain(_WHO, f"'{name}' must have one row for each of the {num_nodes} nodes "
                            "in 'batch.n_id'", f'{value.size(0)} rows',
                            f'Index with batch.n_id, e.g. {name}[batch.n_id].')
                )  # fmt: skip

    # Exact inference #############################################################

    def inference(self, batch_size: int = 1) -> Tensor:
        """Exact outputs of all nodes, layer by layer; histories are neither read nor written.

        Runs in eval mode and restores every module's mode.

        Args:
            batch_size: Partitions per batch.

        Returns:
            ``(N, *)`` on the CPU, in the order of the caller's data.
        """
        return self._layerwise(batch_size, write=False)

    def refresh(self, batch_size: int = 1) -> Tensor:
        """Recompute every history exactly with the current weights.

        Returns:
            The exact outputs, as :meth:`inference` does: one pass serves both.
        """
        return self._layerwise(batch_size, write=True)

    def reset_histories(self) -> None:
        """Set every history to zero."""
        for history in self.histories:
            history.reset()  # type: ignore[operator]

    def _layerwise(self, batch_size: int, write: bool) -> Tensor:
        refuse_several_processes(_WHO)
        loader = self.loader(batch_size)
        inputs = set(self._conversion.inputs.sources.values())
        opened = _with_ancestors(self.module, self._plan.opened())
        run = LayerwiseInference(self.module, self._replay_batch, loader, write, inputs, opened).run
        return self._source.in_callers_order(run())

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
        result = self.module.load_state_dict(state_dict, strict=strict, assign=assign)
        self._load_histories(own)
        return result

    def _load_from_state_dict(
        self, state_dict: Any, prefix: str, local_metadata: Any, *args: Any
    ) -> None:
        # As a part of another module: the names lack the step from here to the plain module.
        inner = f'{prefix}module.'
        for name in [name for name in state_dict if name.startswith(prefix)]:
            if not name.startswith(inner):
                state_dict[inner + name[len(prefix) :]] = state_dict.pop(name)
        self._load_histories(local_metadata)

    def _load_histories(self, metadata: dict[str, Any]) -> None:
        states = metadata.get('histories')
        if states is None:
            return
        if len(states) != len(self.histories):
            raise ValueError(
                explain(_WHO, f'a state must hold {len(self.histories)} histories',
                        f'{len(states)}', 'Load the state of the same model and graph.')
            )  # fmt: skip
        for history, state in zip(self.histories, states, strict=True):
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


# Finding the plan ################################################################


def find_plan(
    module: torch.nn.Module, source: GraphSource, inputs: ForwardInputs, check: bool
) -> Plan:
    """Find the boundaries of a module, and check that batches give what the whole graph gives."""
    prepared = source.current('in')
    piece, rows = take_piece(prepared.graph, prepared.node_attrs, prepared.edge_attrs)
    given = {*piece.to_dict(), 'edge_index', 'adj_t', 'edge_weight'}
    others = {name: value for name, value in source.data.to_dict().items() if name not in given}
    whole = Whole(piece, source.ids[rows], inputs, others)
    with torch.random.fork_rng(devices=[]):
        with _on_the_piece(module, whole.num_nodes):
            _initialize(module, whole)
            twin, whole = working_copy(module, whole)
        boundaries = {mode: _boundaries(twin, whole, mode) for mode in (False, True)}
        if not same_values(boundaries[False], boundaries[True]):
            boundaries[True] = boundaries[False]  # met in neither order: the check will tell
        first: Exception | None = None
        for plan in _plans(boundaries):
            try:
                conversion = Conversion(inputs, plan, whole.in_batch)
                if check:
                    verify_conversion(twin, whole, conversion)
                return plan
            except NeedsBothDirections as error:
                first = first or error
                if plan.direction == 'both':
                    raise
            except (ValueError, RuntimeError) as error:
                first = first or error
    assert first is not None
    raise first


def _plans(boundaries: dict[bool, tuple[Boundary, ...]]) -> Iterator[Plan]:
    """From the cheapest on."""
    for direction in ('in', 'both'):
        for pad in (False, True):
            yield Plan(boundaries, pad, direction)


def _boundaries(module: torch.nn.Module, whole: Whole, training: bool) -> tuple[Boundary, ...]:
    module.train(training)
    finder = BoundaryFinder(module, whole.num_nodes_by_type)
    with torch.no_grad():
        out = finder.follow(lambda: whole.run(module), whole.edges())
    if not finder.num_propagations:
        _refuse_without_messages(module)
    rows_among(type(module).__name__, out, whole.num_nodes)
    return finder.boundaries()


def _refuse_without_messages(module: torch.nn.Module) -> NoReturn:
    raise ValueError(
        explain(_WHO, 'the module must pass messages along edges',
                f'{type(module).__name__}, which does not',
                'Train it on rows of nodes; it needs no graph.')
    )  # fmt: skip


@contextmanager
def _on_the_piece(module: torch.nn.Module, num_nodes: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        rule = f'forward must run on a piece of the graph, {num_nodes} nodes as a graph of its own'
        raise ValueError(
            explain(type(module).__name__, rule, f'{type(error).__name__}: {error}',
                    'If it fails on the whole graph, too, mend it first; what the module keeps '
                    'for each node of the graph must be looked up by n_id.')
        ) from error  # fmt: skip


def _initialize(module: torch.nn.Module, whole: Whole) -> None:
    """Give lazy parameters their shape, as a first full-batch call would."""
    if any(map(is_lazy, module.parameters())):
        device = next(module.parameters()).device
        training = module.training
        with torch.no_grad():
            whole.run(module.eval().cpu())
        module.train(training).to(device)


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
