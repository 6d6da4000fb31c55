"""One traced run of a forward: its steps, and which step reads which."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves
from torch_geometric.nn import MessagePassing

from .adjacency import Adjacency
from .batch import SubgraphBatch
from .batch_run import BatchRun
from .guard import Guard, Propagated
from .history import History
from .leavings import Leavings
from .steps import Step

# Marks of what a batch holds. A step is marked by its position.
_NODES, _EDGES = 'node-level', 'edge-level'


@dataclass(frozen=True)
class _Left:
    """The mark of what the unit at this position has left on itself."""

    position: int


@dataclass(frozen=True)
class Trace:
    """What a traced run has found.

    Attributes:
        steps: In the order of the forward.
        output_reads: The steps that the output reads, by position.
        is_precise: Whether what is read is known: no value has left PyTorch, and none has gone
            into a tensor of the model.
        is_lasting: Whether the way of the forward depended on no tensor's content, so that another
            run of the same model takes it again.
    """

    steps: tuple[Step, ...]
    output_reads: frozenset[Any]
    is_precise: bool
    is_lasting: bool

    def fresh_steps(self) -> list[Step]:
        """Steps to be planned and filled; those of the trace stay as they are."""
        return [replace(step) for step in self.steps]


class Tracer(BatchRun):
    """Traces a model on one batch."""

    def trace(self, batch: SubgraphBatch) -> Trace:
        """Run a copy of the model on ``batch`` and note its steps."""
        probe = _copy_without_hooks(self.model)
        self._originals = dict(zip(probe.modules(), self.model.modules(), strict=True))
        self._steps: list[Step] = []
        self._guard = Guard()
        self._escapes = escapes = _Escapes(self._guard)
        state = [*probe.parameters(), *probe.buffers()]
        run_model = self.run_model

        def run(model: torch.nn.Module, batch: SubgraphBatch) -> Any:
            self._mark_inputs(batch)
            return run_model(model, batch)

        self.run_model = run
        try:
            with self.answering(probe), self._guard.watching(probe), escapes:
                out = self.call(probe, batch)
                out = out[0] if isinstance(out, (tuple, list)) and out else out
                reads = self._reads(out)
        finally:
            self.run_model = run_model
        is_precise = not escapes.of_steps and not self._reads(state)
        return Trace(tuple(self._steps), reads, is_precise, not escapes.outside_units)

    def _mark_inputs(self, batch: SubgraphBatch) -> None:
        edge_level = {'edge_index', 'edge_attr', 'edge_weight', *self.loader.edge_attrs}
        for name, value in batch.to_dict().items():
            for leaf in tree_leaves(value):
                if isinstance(leaf, Tensor) and not isinstance(leaf, Adjacency):
                    self._guard.set(leaf, [_EDGES if name in edge_level else _NODES])
        self._guard.set(self.n_id, [_NODES])
        self._num_edges = batch.num_edges

    def boundary(self, x: Tensor, history: History | None = None) -> Tensor:
        phase = sum(step.is_boundary for step in self._steps)
        step = Step(self._reads(x), history=history, phase=phase)
        return self._record(step, x.new_zeros((self.num_nodes, *x.shape[1:])))

    def unit(
        self, module: torch.nn.Module, args: Any, kwargs: Any, method: Callable | None = None
    ) -> Any:
        reads = self._reads(args, kwargs)
        leavings = Leavings(module, args, kwargs)
        self._escapes.inside += 1
        try:
            value = self.compute(module, args, kwargs, method)
        finally:
            self._escapes.inside -= 1
        # Also what it has read without being given it, such as what another unit has left.
        step = Step(reads | self._reads(value), module=self._originals[module])
        for tensor in leavings.on_module():
            self._guard.set(tensor, {*self._guard.of(tensor), _Left(len(self._steps))})
        if self._is_node_level(module, value) and not leavings.writes_to_arguments():
            return self._record(step, value)
        step.is_rows = False
        self._steps.append(step)
        return value

    def _is_node_level(self, module: torch.nn.Module, value: Any) -> bool:
        """Whether a value has rows of nodes, where the number of rows alone may mislead."""
        if not self.is_rows(value) or isinstance(module, MessagePassing):
            return self.is_rows(value)
        marks = self._guard.of(value)
        if not marks:  # from parameters alone
            return False
        return _EDGES not in marks or value.size(0) != self._num_edges

    def _reads(self, *values: Any) -> frozenset[int]:
        """The steps that values depend on; those whose leavings are read are no longer rows."""
        marks = self._guard.of(*values)
        for mark in marks:
            if isinstance(mark, _Left):  # so it must be left in later phases, too
                self._steps[mark.position].is_rows = False
        return frozenset(mark for mark in marks if isinstance(mark, int))

    def _record(self, step: Step, value: Tensor) -> Tensor:
        marks: set[Any] = {len(self._steps)}
        if not step.is_boundary:  # a boundary makes halo rows right, a unit does not
            marks |= {mark for mark in self._guard.of(value) if isinstance(mark, Propagated)}
            step.on_batch = value.size(0) == self.batch_size
        step.tail, step.dtype = tuple(value.shape[1:]), value.dtype
        self._steps.append(step)
        return self._guard.mark(value, marks)


class _Escapes(TorchFunctionMode):
    """Notices values that leave PyTorch, where provenance cannot follow them.

    Attributes:
        of_steps: Whether one depended on a step.
        outside_units: Whether one left between the units, where the forward decides its way.
        inside: How many units are running.
    """

    def __init__(self, guard: Guard) -> None:
        super().__init__()
        self.guard = guard
        self.of_steps = self.outside_units = False
        self.inside = 0

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = getattr(func, '__name__', '')
        if name in _LEAVES_PYTORCH:
            self.of_steps |= any(isinstance(mark, (int, _Left)) for mark in self.guard.of(args))
            self.outside_units |= not self.inside and name != 'data_ptr'  # a place, no content
        return func(*args, **(kwargs or {}))


_LEAVES_PYTORCH = {
    'numpy', '__array__', 'tolist', 'item', '__bool__', '__float__', '__int__', '__index__',
    '__dlpack__', 'data_ptr', '__contains__', 'is_nonzero', 'equal', 'allclose',
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
