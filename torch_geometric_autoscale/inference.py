"""Exact layer-wise inference, derived from a model's own ``forward``.

A traced run on one batch lists the *steps* of the forward: units (calls of operators and of leaf
modules with parameters) and boundaries, and which step reads which. Phase ``p`` then replays the
forward on every batch up to boundary ``p``. A step that an earlier phase has finished is answered
from a table if this phase reads it, and by a placeholder if not; the code in between runs as it
is. So each unit runs once per batch, and what outlives a batch is one table per value that a
later phase still reads.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from .calls import BatchCall, batch_call
from .errors import explain
from .guard import Guard, Propagated
from .history import History
from .loader import SubgraphBatch, SubgraphLoader
from .norms import refuse_graph_statistics
from .progress import progress

_BOUNDARY = 'boundary'
_UNIT = 'unit'


@dataclass
class Step:
    """One recorded step of a forward.

    Attributes:
        kind: A unit, or a boundary.
        reads: Positions of the earlier steps whose values it reads.
        module: The module of a unit.
        history: The history of a boundary.
        on_batch: Whether its value has the ``B`` batch rows, or all ``n`` rows of a batch.
        tail: Shape of one row.
        dtype: Type of the value.
        computed_in: The phase that computes it.
        read_in: The later phases that read it.
        table: Its rows for all nodes, while a later phase reads them.
    """

    kind: str
    reads: frozenset[int]
    module: torch.nn.Module | None = None
    history: History | None = None
    on_batch: bool = False
    tail: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    computed_in: int = -1
    read_in: set[int] = field(default_factory=set)
    table: Any = None


class _Reached(Exception):
    """The phase's boundary was reached: the rest of the forward is not needed."""


class LayerwiseInference:
    """Runs a model layer by layer over all batches of a loader.

    Args:
        model: The model, run in ``eval()`` mode; every mode is restored afterwards.
        run: Calls the model on one batch.
        loader: Visited in order, every partition once, whatever its sampler.
        write: Whether the boundary values become the histories' content.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        run: Callable[[SubgraphBatch], Any],
        loader: SubgraphLoader,
        write: bool,
    ) -> None:
        if not isinstance(loader, SubgraphLoader):
            raise TypeError(
                explain(type(model).__name__, "'loader' must be a SubgraphLoader",
                        type(loader).__name__, 'Pass EvalSubgraphLoader(data, ptr).')
            )  # fmt: skip
        refuse_graph_statistics(type(model).__name__, model.named_modules())
        self.model = model
        self.run_batch = run
        self.loader = loader
        self.write = write
        self.num_nodes = loader.graph.num_nodes
        self.steps: list[Step] = []
        self.output_reads: frozenset[int] = frozenset()
        self._position = 0
        self._phase = -1  # tracing
        self._batch: Any = None
        self._provenance: Guard | None = None

    # The phases ##################################################################

    @torch.no_grad()
    def run(self) -> Tensor:
        """The output for all nodes, ``(N, *)``."""
        with ExitStack() as stack:
            stack.enter_context(_evaluating(self.model))
            stack.enter_context(self._intercepting())
            stack.enter_context(_replaying(self))
            self._trace()
            out = self._run_phases(precise=True)
            if out.is_floating_point() and bool(torch.isnan(out).any()):
                # Either the model gives NaN, or it hid from the trace that a value is read
                # (say, by a detour through numpy). With every value kept it is the model's.
                out = self._run_phases(precise=False)
        return out

    def _run_phases(self, precise: bool) -> Tensor:
        boundaries = [i for i, step in enumerate(self.steps) if step.kind == _BOUNDARY]
        self._plan(boundaries, precise)
        out: Tensor | None = None
        total = len(boundaries) + 1
        with progress('Inference', total * self.loader.num_sweep_batches) as bar:
            for self._phase in range(total):
                for batch in self.loader.sweep():
                    value = self._replay(batch)
                    if self._phase == total - 1:
                        rows = self._output_rows(value, batch)
                        if out is None:
                            out = rows.new_empty((self.num_nodes, *rows.shape[1:]))
                        _write(out, rows, batch)
                    bar.update()
                for step in self.steps:
                    if step.table is not None and max(step.read_in, default=-1) <= self._phase:
                        step.table = None
        if out is None:
            raise ValueError(
                explain(type(self.model).__name__, 'the loader must have batches', 'none',
                        'Pass a loader over a graph with nodes.')
            )  # fmt: skip
        return out

    def _plan(self, boundaries: list[int], precise: bool) -> None:
        """Decide in which phase each step is computed, and in which later ones it is read."""
        for step in self.steps:
            step.computed_in, step.read_in, step.table = -1, set(), None
        targets = [self.steps[i].reads for i in boundaries] + [self.output_reads]
        for phase, reads in enumerate(targets):
            last = boundaries[phase] if phase < len(boundaries) else len(self.steps)
            pending = list(reads) if precise else list(range(last))
            seen: set[int] = set()
            while pending:
                i = pending.pop()
                if i in seen:
                    continue
                seen.add(i)
                step = self.steps[i]
                if step.kind == _UNIT and step.computed_in in (-1, phase):
                    step.computed_in = phase
                    pending.extend(step.reads)
                else:
                    step.read_in.add(phase)

    def _replay(self, batch: SubgraphBatch) -> Any:
        self._position, self._batch = 0, batch
        try:
            with batch_call(BatchCall(batch.batch_size, batch.n_id, adj_t=batch.adj_t)):
                return self.run_batch(batch)
        except _Reached:
            return None

    def _output_rows(self, out: Any, batch: SubgraphBatch) -> Tensor:
        if isinstance(out, tuple) and out:
            out = out[0]
        if (
            not isinstance(out, Tensor)
            or out.dim() == 0
            or out.size(0) not in (batch.batch_size, batch.num_nodes)
        ):
            came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                explain(type(self.model).__name__, 'forward must return one row per batch node '
                        f'({batch.batch_size}) or per node of the batch ({batch.num_nodes})', came,
                        'Pool or reduce outside of the model.')
            )  # fmt: skip
        return out[: batch.batch_size]

    # Tracing #####################################################################

    def _trace(self) -> None:
        self._phase, self.steps = -1, []
        batch = next(iter(self.loader.sweep()))
        self._provenance = Guard()
        with self._provenance.watching(self.model):
            out = self._replay(batch)
            out = out[0] if isinstance(out, tuple) and out else out
            self.output_reads = self._reads(out)
        self._provenance = None

    def _reads(self, *values: Any) -> frozenset[int]:
        assert self._provenance is not None
        return frozenset(mark for mark in self._provenance.of(*values) if isinstance(mark, int))

    def _record(self, step: Step, value: Tensor, batch_size: int) -> Tensor:
        assert self._provenance is not None
        marks: set[Any] = set()
        if step.kind == _UNIT:  # a boundary makes halo rows right, a unit does not
            marks = {m for m in self._provenance.of(value) if isinstance(m, Propagated)}
        step.on_batch = value.size(0) == batch_size
        step.tail, step.dtype = tuple(value.shape[1:]), value.dtype
        self.steps.append(step)
        return self._provenance.mark(value, {len(self.steps) - 1, *marks})

    # Steps #######################################################################

    def boundary(self, x: Tensor, history: History | None = None) -> Tensor:
        """Answer a boundary: exact rows for all nodes of the batch, ``(n, C)``."""
        batch = self._batch
        if self._phase < 0:
            step = Step(_BOUNDARY, self._reads(x), history=history)
            rows = x.new_zeros((batch.num_nodes, *x.shape[1:]))
            return self._record(step, rows, -1)
        step = self._next(_BOUNDARY, None)
        boundary_number = sum(s.kind == _BOUNDARY for s in self.steps[: self._position])
        if boundary_number <= self._phase:
            return self._answer(step)
        self._store_boundary(step, x[: batch.batch_size])
        raise _Reached

    def _store_boundary(self, step: Step, rows: Tensor) -> None:
        history, batch = step.history, self._batch
        if self.write and history is not None:
            history.push(rows, batch.n_id[: batch.batch_size], batch.offset, batch.count)
            history.belong_to(self.loader.graph.fingerprint)
            shared = sum(other.history is history for other in self.steps) > 1
            if history.dtype == rows.dtype and not shared:
                step.table = history  # exact as it is: no second table
                return
        if step.read_in:
            self._store(step, rows)

    def _unit(self, module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        if self._phase < 0:
            step = Step(_UNIT, self._reads(args, kwargs), module=module)
            value = self._compute(module, args, kwargs)
            if _is_rows(value, self._batch):
                value = self._record(step, value, self._batch.batch_size)
            return value
        if self._position >= len(self.steps) or self.steps[self._position].module is not module:
            return self._compute(module, args, kwargs)  # was not recorded as a unit
        step = self._next(_UNIT, module)
        if step.computed_in != self._phase:
            return self._answer(step)
        value = self._compute(module, args, kwargs)
        if not _is_rows(value, self._batch) or tuple(value.shape[1:]) != step.tail:
            self._lost(module)
        if step.read_in:
            self._store(step, value[: self._batch.batch_size])
        return value

    def _next(self, kind: str, module: torch.nn.Module | None) -> Step:
        if self._position >= len(self.steps):
            self._lost(module)
        step = self.steps[self._position]
        if step.kind != kind or step.module is not module:
            self._lost(module)
        self._position += 1
        return step

    def _lost(self, module: torch.nn.Module | None) -> None:
        what = 'another boundary' if module is None else f'another call of {type(module).__name__}'
        raise ValueError(
            explain(type(self.model).__name__, 'forward must take the same steps on every batch',
                    what, 'Do not let the order of layers depend on the data.')
        )  # fmt: skip

    def _answer(self, step: Step) -> Tensor:
        batch = self._batch
        rows = batch.batch_size if step.on_batch else batch.num_nodes
        if self._phase in step.read_in and step.table is not None:
            n_id = batch.n_id[:rows]
            device = batch.n_id.device
            if isinstance(step.table, History):
                return step.table.pull(n_id).to(device)
            return step.table.index_select(0, n_id.to(step.table.device)).to(device)
        # Nobody reads it in this phase; NaN would show if somebody did.
        fill = float('nan') if step.dtype.is_floating_point else 0
        return torch.full((rows, *step.tail), fill, dtype=step.dtype, device=batch.n_id.device)

    def _store(self, step: Step, rows: Tensor) -> None:
        if step.table is None:
            step.table = rows.new_empty((self.num_nodes, *rows.shape[1:]))
        _write(step.table, rows, self._batch)

    # Interception ################################################################

    @contextmanager
    def _intercepting(self) -> Iterator[None]:
        """Route the outermost calls of units through :meth:`_unit`."""
        units = [module for module in self.model.modules() if _is_unit(module)]
        try:
            for module in units:
                self._install(module)
            yield
        finally:
            for module in units:
                vars(module).pop('_call_impl', None)

    def _install(self, module: torch.nn.Module) -> None:
        vars(module)['_call_impl'] = lambda *args, **kwargs: self._unit(module, args, kwargs)

    def _compute(self, module: torch.nn.Module, args: Any, kwargs: Any) -> Any:
        inner = [m for m in module.modules() if '_call_impl' in vars(m)]
        for m in inner:
            del vars(m)['_call_impl']
        try:
            return module(*args, **kwargs)
        finally:
            for m in inner:
                self._install(m)


def _is_unit(module: torch.nn.Module) -> bool:
    if isinstance(module, MessagePassing):
        return True
    is_leaf = next(module.children(), None) is None
    return is_leaf and next(module.parameters(), None) is not None


def _is_rows(value: Any, batch: SubgraphBatch) -> bool:
    return (
        isinstance(value, Tensor)
        and value.dim() > 0
        and value.size(0) in (batch.batch_size, batch.num_nodes)
    )


def _write(table: Tensor, rows: Tensor, batch: SubgraphBatch) -> None:
    start = 0
    for a, c in zip(batch.offset.tolist(), batch.count.tolist(), strict=True):
        table[a : a + c] = rows[start : start + c]
        start += c


@contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


_replay: ContextVar[LayerwiseInference | None] = ContextVar('replay', default=None)


def current_replay() -> LayerwiseInference | None:
    """The layer-wise inference that is running, if any."""
    return _replay.get()


@contextmanager
def _replaying(replay: LayerwiseInference) -> Iterator[None]:
    token = _replay.set(replay)
    try:
        yield
    finally:
        _replay.reset(token)
