"""Exact layer-wise inference, derived from a model's own ``forward``.

A trace on one batch lists the *steps* of the forward and which step reads which (``trace.py``).
Phase ``p`` then replays the forward on every batch up to boundary ``p``. A step that an earlier
phase has finished is answered from a table if this phase reads it, and by a placeholder if not;
the code in between runs as it is. So each operator runs once per batch, and what outlives a batch
is one table for each value that a later phase still reads.
"""

import copy
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .batch import SubgraphBatch
from .batch_run import BatchRun, Reached, Run, current_replay
from .batching import contiguous
from .error_meter import current_meter
from .errors import explain
from .graph import check_same_graph
from .history import History
from .hook_effects import HookEffects
from .loader import PartitionLoader
from .norms import refuse_graph_statistics
from .progress import progress
from .step_tables import StepTables, write_rows
from .steps import Step, count_phases, make_plan
from .trace import Trace, Tracer
from .trace_memory import TraceMemory, key_of_trace

__all__ = ['KEEP_BATCHES_UP_TO', 'LayerwiseInference', 'current_replay', 'evaluating']

# Batches are cut once and kept between phases while the whole graph has at most so many edges.
KEEP_BATCHES_UP_TO = 2**22


class LayerwiseInference(BatchRun):
    """Runs a model layer by layer over all batches of a loader.

    Args:
        model: The model, run in ``eval()`` mode; every mode is restored afterwards.
        run: ``run(model, batch)`` calls the model on one batch.
        loader: Visited in order, every partition once, whatever its sampler.
        write: Whether the boundary values become the histories' content.
        inputs: Names of the node-level attributes that ``run`` passes to the model.
        opened: Paths of operators with boundaries inside: their propagations are units, not they.
        memory: Traces of earlier inferences of the model, and where this one's goes.
        constants: What ``run`` works with, besides model and batch; a remembered trace is for
            these very objects.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        run: Run,
        loader: PartitionLoader,
        write: bool,
        inputs: Collection[str] = ('x',),
        opened: Collection[str] = (),
        memory: TraceMemory | None = None,
        constants: Collection[Any] = (),
    ) -> None:
        if not isinstance(loader, PartitionLoader):
            raise TypeError(
                explain(type(model).__name__, "'loader' must be a SubgraphLoader",
                        type(loader).__name__, 'Pass EvalSubgraphLoader(data, ptr).')
            )  # fmt: skip
        refuse_graph_statistics(type(model).__name__, model.named_modules())
        super().__init__(model, run, loader, inputs, opened)
        self.write = write
        self.steps: list[Step] = []
        self.tables = StepTables(self)
        self._shared: set[History] = set()  # which serve several boundaries
        self._memory = TraceMemory() if memory is None else memory
        self._constants = constants
        self._kept: list[SubgraphBatch] | None = None
        self._phase = 0
        self._position = 0

    @torch.no_grad()
    def run(self) -> Tensor:
        """The output for all nodes, ``(N, *)``."""
        with evaluating(self.model):
            batch = next((b for b in self._batches() if b.num_nodes > b.batch_size), None)
            if batch is None:  # no batch has a halo: one phase does it all
                with self.answering(self.model):
                    return self._run_phases()
            key = key_of_trace(self, self._constants)
            trace = self._memory.get(key)
            if trace is not None:
                try:
                    return self._follow(trace)
                except Exception:  # something has changed that the key does not tell
                    self._memory.forget(key)
            return self._follow(self._trace(batch, key))

    def _trace(self, batch: SubgraphBatch, key: Hashable | None) -> Trace:
        tracer = Tracer(self.model, self.run_model, self.loader, self.inputs, self.opened)
        trace = tracer.trace(batch)
        self._memory.put(key, trace)
        return trace

    def _follow(self, trace: Trace) -> Tensor:
        self.steps = trace.fresh_steps()
        times = Counter(step.history for step in self.steps if step.history is not None)
        self._shared = {history for history in times if times[history] > 1}
        self.tables = StepTables(self, next(iter(times), None))
        with self.answering(self.model), HookEffects(self.model) as hooks:
            make_plan(self.steps, trace.output_reads, precise=trace.is_precise)
            try:
                out = self._run_phases()
            except Exception:
                if not hooks.found and len(hooks.hooked) < 2:
                    raise
                hooks.found = True
            if hooks.found:
                # What one hook hands to another is not traced: all of them run in every phase.
                for step in self.steps:
                    step.is_rows &= step.module not in hooks.hooked
            elif not (out.is_floating_point() and bool(torch.isnan(out).any())):
                return out
            # Else either the model gives NaN, or it hid from the trace that a value is read.
            # With every value kept it is the model's.
            make_plan(self.steps, trace.output_reads, precise=False)
            return self._run_phases()

    # Phases ######################################################################

    def _run_phases(self) -> Tensor:
        out: Tensor | None = None
        num_phases = count_phases(self.steps)
        what = 'Refresh' if self.write else 'Inference'
        with progress(what, num_phases * self.loader.num_sweep_batches) as bar:
            for self._phase in range(num_phases):
                bar.set_description(f'{what}, layer {self._phase + 1}/{num_phases}', refresh=False)
                for batch in self._batches():
                    self._position = 0
                    value = self.call(self.model, batch)
                    if self._phase == num_phases - 1:
                        rows = self._output_rows(value)
                        if out is None:
                            out = self.tables.new_table(rows)
                        write_rows(out, rows, self.nodes)
                    bar.update()
                for step in self.steps:
                    if step.table is not None and max(step.read_in, default=-1) <= self._phase:
                        step.table = None
        assert out is not None
        return out

    def _output_rows(self, out: Any) -> Tensor:
        if isinstance(out, (tuple, list)) and out:
            out = out[0]
        if not self.is_rows(out):
            came = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                explain(type(self.model).__name__, 'forward must return one row per batch node '
                        f'({self.batch_size}) or per node of the batch ({self.num_nodes})', came,
                        'Pool or reduce outside of the model.')
            )  # fmt: skip
        return out[: self.batch_size]

    def _batches(self) -> Iterator[SubgraphBatch]:
        if self._kept is not None:
            # Copies: what a forward does to edge attributes must not reach the next phase.
            return map(copy.copy, self._kept)
        batches = (batch.to(self.device) for batch in self.loader.sweep(()))
        if self.loader.graph.num_edges > KEEP_BATCHES_UP_TO:
            return batches
        self._kept = list(batches)
        return map(copy.copy, self._kept)

    # Steps #######################################################################

    def boundary(self, x: Tensor, history: History | None = None) -> Tensor:
        """Answer a boundary: exact rows for all nodes of the batch, ``(n, C)``."""
        if not self.steps:  # no batch has a halo
            return self._without_halo(x, history)
        step = self._next(None)
        if step.phase < self._phase:  # finished
            return self.tables.answer(step, self._phase)
        if not self.is_rows(x) or tuple(x.shape[1:]) != step.tail:
            self._lost(None)
        self._store_boundary(step, x[: self.batch_size])
        raise Reached

    def _store_boundary(self, step: Step, rows: Tensor) -> None:
        history = step.history
        self._measure(history, rows)
        if self.write and history is not None:
            self._push(history, rows)
            if history.dtype == rows.dtype and history not in self._shared:
                step.table = history  # exact as it is: no second table
                return
        if step.read_in:
            self.tables.store(step, rows)

    def _without_halo(self, x: Tensor, history: History | None) -> Tensor:
        self._measure(history, x[: self.batch_size])
        if self.write and history is not None:
            self._push(history, x)
        return x

    def _measure(self, history: History | None, rows: Tensor) -> None:
        meter = current_meter()
        if meter is not None and history is not None:
            ranges = contiguous(self.nodes)
            meter.compare(history, rows, [(first, stop - first) for first, stop in ranges])

    def _push(self, history: History, rows: Tensor) -> None:
        nodes, fingerprint = self.nodes, self.loader.graph.fingerprint
        check_same_graph('refresh', history.graph, fingerprint)
        history.push(rows, self.n_id[: self.batch_size], nodes.offset, nodes.count)
        history.belong_to(fingerprint)

    def unit(
        self, module: torch.nn.Module, args: Any, kwargs: Any, method: Callable | None = None
    ) -> Any:
        """Answer the call of a unit: compute it in its phase, look it up in later ones."""
        if not self.steps:  # no batch has a halo
            return self.compute(module, args, kwargs, method)
        step = self._next(module)
        if step.is_rows and step.computed_in != self._phase:
            return self.tables.answer(step, self._phase)
        value = self.compute(module, args, kwargs, method)
        if not step.is_rows:
            return value
        rows = self.batch_size if step.on_batch else self.num_nodes
        if not isinstance(value, Tensor) or tuple(value.shape) != (rows, *step.tail):
            self._lost(module)
        if step.read_in:
            self.tables.store(step, value[: self.batch_size])
        return value

    def _next(self, module: torch.nn.Module | None) -> Step:
        position = self._position
        if position >= len(self.steps) or self.steps[position].module is not module:
            self._lost(module)
        self._position = position + 1
        return self.steps[position]

    def _lost(self, module: torch.nn.Module | None) -> None:
        what = 'another boundary' if module is None else f'another call of {type(module).__name__}'
        raise ValueError(
            explain(type(self.model).__name__, 'forward must take the same steps on every batch',
                    what, 'Do not let the order or the shape of layers depend on the data.')
        )  # fmt: skip


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Run a block in ``eval()`` mode and restore the mode of every module."""
    training = {module: module.training for module in model.modules()}
    try:
        model.eval()
        yield
    finally:
        for module, mode in training.items():
            module.training = mode
