"""Exact layer-wise inference, derived from a model's own ``forward``.

A trace on one batch lists the *steps* of the forward and which step reads which (``steps.py``).
Phase ``p`` then replays the forward on every batch up to boundary ``p``. A step that an earlier
phase has finished is answered from a table if this phase reads it, and by a placeholder if not;
the code in between runs as it is. So each operator runs once per batch, and what outlives a batch
is one table for each value that a later phase still reads.
"""

import copy
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch_geometric.nn import MessagePassing

from .batch import SubgraphBatch
from .batching import BatchNodes, contiguous
from .calls import BatchCall, batch_call
from .errors import explain
from .graph import check_same_graph
from .guard import Guard, Propagated
from .history import History
from .loader import PartitionLoader
from .norms import refuse_graph_statistics
from .progress import progress
from .steps import Step, count_phases, make_plan

# Batches are cut once and kept between phases while the whole graph has at most so many edges.
_KEEP_BATCHES_UP_TO = 2**22


class LayerwiseInference:
    """Runs a model layer by layer over all batches of a loader.

    Args:
        model: The model, run in ``eval()`` mode; every mode is restored afterwards.
        run: ``run(model, batch)`` calls the model on one batch.
        loader: Visited in order, every partition once, whatever its sampler.
        write: Whether the boundary values become the histories' content.
        inputs: Names of the node-level attributes that ``run`` passes to the model.
        opened: Paths of operators with boundaries inside: their propagations are units, not they.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        run: Callable[[Any, SubgraphBatch], Any],
        loader: PartitionLoader,
        write: bool,
        inputs: Collection[str] = ('x',),
        opened: Collection[str] = (),
    ) -> None:
        if not isinstance(loader, PartitionLoader):
            raise TypeError(
                explain(type(model).__name__, "'loader' must be a SubgraphLoader",
                        type(loader).__name__, 'Pass EvalSubgraphLoader(data, ptr).')
            )  # fmt: skip
        refuse_graph_statistics(type(model).__name__, model.named_modules())
        self.model = model
        self.run_model = run
        self.loader = loader
        self.write = write
        parameter = next(model.parameters(), None)
        self.device = torch.device('cpu') if parameter is None else parameter.device
        self.inputs = [name for name in loader.node_attrs if name in inputs]
        self._opened = frozenset(opened)
        self.steps: list[Step] = []
        self.output_reads: frozenset[Any] = frozenset()
        self._kept: list[SubgraphBatch] | None = None
        self._placeholders: dict[Any, Tensor] = {}
        self._guard: Guard | None = None  # set while tracing
        self._escapes = _Escapes()
        self._originals: dict[torch.nn.Module, torch.nn.Module] = {}
        self._phase = 0
        self._position = 0
        self._batch_size, self._num_nodes, self._n_id = 0, 0, torch.empty(0)
        self._nodes: Any = None

    # Phases ######################################################################

    @torch.no_grad()
    def run(self) -> Tensor:
        """The output for all nodes, ``(N, *)``."""
        with evaluating(self.model), _replaying(self):
            if not self._trace():
                return self._run_phases()
            with self._intercepting(self.model):
                make_plan(self.steps, self.output_reads, precise=not self._escapes.found)
                out = self._run_phases()
                if out.is_floating_point() and bool(torch.isnan(out).any()):
                    # Either the model gives NaN, or it hid from the trace that a value is read.
                    # With every value kept it is the model's.
                    make_plan(self.steps, self.output_reads, precise=False)
                    out = self._run_phases()
        return out

    def _run_phases(self) -> Tensor:
        out: Tensor | None = None
        num_phases = count_phases(self.steps)
        with progress('Inference', num_phases * self.loader.num_sweep_batches) as bar:
            for self._phase in range(num_phases):
                for batch in self._batches():
                    value = self._replay(self.model, batch)
                    if self._phase == num_phases - 1:
                        rows = self._output_rows(value)
                        if out is None:
                            out = self._new_table(rows)
                        _write(out, rows, self._nodes)
                    bar.update()
                for step in self.steps:
                    if step.table is not None and max(step.read_in, default=-1) <= self._phase:
                        step.table = None
        assert out is not None
        return out

    def _replay(self, model: torch.nn.Module, batch: SubgraphBatch) -> Any:
        for name in self.inputs:
            self.loader.fill_lazily(batch, name, self.device)
        self._position = 0
        self._nodes = nodes = batch.adj_t.edges.nodes
        self._n_id = nodes.n_id.to(self.device)
        self._batch_size, self._num_nodes = nodes.batch_size, nodes.n_id.numel()
        try:
            with batch_call(BatchCall(self._batch_size, self._n_id, adj_t=batch.adj_t)):
                return self.run_model(model, batch)
        except _Reached:
            return None

    def _output_rows(self, out: Any) -> Tensor:
        if isinstance(out, (tuple, list)) and out:
            out = out[0]
        if not self._is_rows(out):
            came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                explain(type(self.model).__name__, 'forward must return one row per batch node '
                        f'({self._batch_size}) or per node of the batch ({self._num_nodes})', came,
                        'Pool or reduce outside of the model.')
            )  # fmt: skip
        return out[: self._batch_size]

    def _is_rows(self, value: Any) -> bool:
        return (
            isinstance(value, Tensor)
            and value.dim() > 0
            and value.size(0) in (self._batch_size, self._num_nodes)
        )

    # Batches #####################################################################

    def _batches(self) -> Iterator[SubgraphBatch]:
        if self._kept is not None:
            # Copies: what a forward does to edge attributes must not reach the next phase.
            return map(copy.copy, self._kept)
        batches = (batch.to(self.device) for batch in self.loader.sweep(()))
        if self.loader.graph.num_edges > _KEEP_BATCHES_UP_TO:
            return batches
        self._kept = list(batches)
        return map(copy.copy, self._kept)

    # Tracing #####################################################################

    def _trace(self) -> bool:
        """List the steps; ``False`` if no batch has a halo, so that one phase does it all."""
        batch = next((b for b in self._batches() if b.num_nodes > b.batch_size), None)
        if batch is None:
            return False
        probe = _copy_without_hooks(self.model)
        self._originals = dict(zip(probe.modules(), self.model.modules(), strict=True))
        self.steps, self._guard = [], Guard()
        self._escapes.guard = self._guard
        with ExitStack() as stack:
            stack.enter_context(self._intercepting(probe))
            stack.enter_context(self._guard.watching(probe))
            stack.enter_context(self._escapes)
            out = self._replay(probe, batch)
            out = out[0] if isinstance(out, (tuple, list)) and out else out
            self.output_reads = self._reads(out)
        self._guard, self._originals = None, {}
        return True

    def _reads(self, *values: Any) -> frozenset[Any]:
        assert self._guard is not None
        marks = self._guard.of(*values)
        return frozenset(mark for mark in marks if not isinstance(mark, Propagated))

    def _record(self, step: Step, value: Tensor) -> Tensor:
        assert self._guard is not None
        marks: set[Any] = {len(self.steps)}
        if not step.is_boundary:  # a boundary makes halo rows right, a unit does not
            marks |= {mark for mark in self._guard.of(value) if isinstance(mark, Propagated)}
            step.on_batch = value.size(0) == self._batch_size
        step.tail, step.dtype = tuple(value.shape[1:]), value.dtype
        self.steps.append(step)
        return self._guard.mark(value, marks)

    # Steps #######################################################################

    def boundary(self, x: Tensor, history: History | None = None) -> Tensor:
        """Answer a boundary: exact rows for all nodes of the batch, ``(n, C)``."""
        if self._guard is not None:
            phase = sum(step.is_boundary for step in self.steps)
            step = Step(self._reads(x), history=history, phase=phase)
            return self._record(step, x.new_zeros((self._num_nodes, *x.shape[1:])))
        if not self.steps:  # no batch has a halo
            return self._without_halo(x, history)
        step = self._next(None)
        if step.phase < self._phase:
            return self._answer(step)
        if not self._is_rows(x) or tuple(x.shape[1:]) != step.tail:
            self._lost(None)
        self._store_boundary(step, x[: self._batch_size])
        raise _Reached

    def _store_boundary(self, step: Step, rows: Tensor) -> None:
        history = step.history
        if self.write and history is not None:
            self._push(history, rows)
            shared = sum(other.history is history for other in self.steps) > 1
            if history.dtype == rows.dtype and not shared:
                step.table = history  # exact as it is: no second table
                return
        if step.read_in:
            self._store(step, rows)

    def _without_halo(self, x: Tensor, history: History | None) -> Tensor:
        if self.write and history is not None:
            self._push(history, x)
        return x

    def _push(self, history: History, rows: Tensor) -> None:
        nodes, fingerprint = self._nodes, self.loader.graph.fingerprint
        check_same_graph('refresh', history.graph, fingerprint)
        history.push(rows, self._n_id[: self._batch_size], nodes.offset, nodes.count)
        history.belong_to(fingerprint)

    def unit(
        self, module: torch.nn.Module, args: Any, kwargs: Any, method: Callable | None = None
    ) -> Any:
        """Answer the call of a unit: compute it in its phase, look it up in later ones.

        Args:
            module: The unit, or the operator whose propagation is one.
            args, kwargs: What it was called with.
            method: What computes it (default: the module itself).
        """
        if self._guard is not None:
            step = Step(self._reads(args, kwargs), module=self._originals[module])
            value = self._compute(module, args, kwargs, method)
            if self._is_rows(value):
                return self._record(step, value)
            step.is_rows = False
            self.steps.append(step)
            return value
        if not self.steps:  # no batch has a halo
            return self._compute(module, args, kwargs, method)
        step = self._next(module)
        if not step.is_rows:
            return self._compute(module, args, kwargs, method)
        if step.computed_in != self._phase:
            return self._answer(step)
        value = self._compute(module, args, kwargs, method)
        rows = self._batch_size if step.on_batch else self._num_nodes
        if not isinstance(value, Tensor) or tuple(value.shape) != (rows, *step.tail):
            self._lost(module)
        if step.read_in:
            self._store(step, value[: self._batch_size])
        return value

    def _next(self, module: torch.nn.Module | None) -> Step:
        step = self.steps[self._position] if self._position < len(self.steps) else None
        if step is None or step.module is not module:
            self._lost(module)
        self._position += 1
        return step  # type: ignore[return-value]

    def _lost(self, module: torch.nn.Module | None) -> None:
        what = 'another boundary' if module is None else f'another call of {type(module).__name__}'
        raise ValueError(
            explain(type(self.model).__name__, 'forward must take the same steps on every batch',
                    what, 'Do not let the order or the shape of layers depend on the data.')
        )  # fmt: skip

    def _answer(self, step: Step) -> Tensor:
        rows = self._batch_size if step.on_batch else self._num_nodes
        if step.table is None or self._phase not in step.read_in:
            return self._placeholder(rows, step.tail, step.dtype)
        if isinstance(step.table, History):
            return step.table.pull(self._n_id[:rows])
        return step.table.index_select(0, self._n_id[:rows].cpu()).to(self.device)

    def _placeholder(self, rows: int, tail: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """What nobody reads in this phase; NaN would show if somebody did."""
        buffer = self._placeholders.get((tail, dtype))
        if buffer is None or buffer.size(0) < rows:
            fill = float('nan') if dtype.is_floating_point else 0
            buffer = torch.full((rows, *tail), fill, dtype=dtype, device=self.device)
            self._placeholders[tail, dtype] = buffer
        return buffer[:rows]

    def _store(self, step: Step, rows: Tensor) -> None:
        if step.table is None:
            step.table = self._new_table(rows)
        _write(step.table, rows, self._nodes)

    def _new_table(self, rows: Tensor) -> Tensor:
        # In main memory, whatever device the model is on: a table has a row for every node.
        size = (self.loader.graph.num_nodes, *rows.shape[1:])
        return torch.empty(size, dtype=rows.dtype)

    # Interception ################################################################

    @contextmanager
    def _intercepting(self, model: torch.nn.Module) -> Iterator[None]:
        """Route the outermost calls of units through :meth:`unit`."""
        units = [
            module
            for path, module in model.named_modules()
            if _is_unit(module) and path not in self._opened
        ]
        try:
            for module in units:
                self._install(module)
            yield
        finally:
            for module in units:
                vars(module).pop('_call_impl', None)

    def _install(self, module: torch.nn.Module) -> None:
        vars(module)['_call_impl'] = lambda *args, **kwargs: self.unit(module, args, kwargs)

    def _compute(
        self, module: torch.nn.Module, args: Any, kwargs: Any, method: Callable | None
    ) -> Any:
        inner = [m for m in module.modules() if '_call_impl' in vars(m)]
        for m in inner:
            del vars(m)['_call_impl']
        try:
            return (method or module)(*args, **kwargs)
        finally:
            for m in inner:
                self._install(m)


class _Reached(Exception):
    """The phase's boundary was reached: the rest of the forward is not needed."""


def _is_unit(module: torch.nn.Module) -> bool:
    if isinstance(module, MessagePassing):
        return True
    is_leaf = next(module.children(), None) is None
    return is_leaf and next(module.parameters(), None) is not None


def _write(table: Tensor, rows: Tensor, nodes: BatchNodes) -> None:
    start = 0
    for a, b in contiguous(nodes):
        table[a:b] = rows[start : start + b - a]
        start += b - a


class _Escapes(TorchFunctionMode):
    """Notices values that leave PyTorch, where provenance cannot follow them."""

    def __init__(self) -> None:
        super().__init__()
        self.guard: Guard | None = None
        self.found = False

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        leaves = getattr(func, '__name__', '') in _LEAVES_PYTORCH
        if leaves and self.guard is not None and self.guard.of(args):
            self.found = True
        return func(*args, **(kwargs or {}))


_LEAVES_PYTORCH = {
    'numpy', '__array__', 'tolist', 'item', '__bool__', '__float__', '__int__', '__index__',
    '__dlpack__', 'data_ptr',
}  # fmt: skip


def _copy_without_hooks(model: torch.nn.Module) -> torch.nn.Module:
    """A copy to trace, so that the model itself runs once per batch; histories are shared."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        if isinstance(module, History):
            memo[id(module)] = module
        for value in tree_leaves(dict(vars(module))):
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach()  # left by an earlier call; cannot be copied
    probe = copy.deepcopy(model, memo)
    for module in probe.modules():
        for name, value in vars(module).items():
            if name.endswith('_hooks') and isinstance(value, dict):
                value.clear()
    return probe


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


_current: ContextVar[LayerwiseInference | None] = ContextVar('inference', default=None)


def current_replay() -> LayerwiseInference | None:
    """The layer-wise inference that is running, if any."""
    return _current.get()


@contextmanager
def _replaying(replay: LayerwiseInference) -> Iterator[None]:
    token = _current.set(replay)
    try:
        yield
    finally:
        _current.reset(token)
