"""Catches propagations that read rows which no layer boundary has made right.

After a propagation, halo rows are empty or wrong until they are replaced at a boundary. Reading
them with another propagation gives numbers that look fine and are not. The first call of an
operator, and the first call of a model, run under this guard.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from .adjacency import Adjacency
from .calls import current_call
from .errors import NeedsBothDirections, explain
from .provenance import Provenance

# In train() and in eval() a forward may go another way.
_checked: dict[bool, 'WeakSet[torch.nn.Module]'] = {False: WeakSet(), True: WeakSet()}


@dataclass(frozen=True)
class Propagated:
    """The mark of rows that a propagation gave: rows of halo nodes are not to be relied on."""

    name: str


class Guard(Provenance):
    """Marks what propagations give, and refuses propagations that read it."""

    def __init__(self) -> None:
        super().__init__()
        self.propagated: set[torch.nn.Module] = set()
        self._steps: dict[torch.nn.Module, tuple[Callable, Callable]] = {}

    @contextmanager
    def watching(self, owner: torch.nn.Module) -> Iterator[None]:
        """Watch all operators inside ``owner``."""
        handles = []
        for path, module in owner.named_modules():
            if isinstance(module, MessagePassing):
                name = type(module).__name__ + (f" '{path}'" if path else '')
                before, after = self._before(name, module.flow), self._after(name)
                self._steps[module] = (before, after)
                handles.append(module.register_propagate_forward_pre_hook(before))
                handles.append(module.register_propagate_forward_hook(after))
        token = _active.set(self)
        try:
            with self:
                yield
        finally:
            _active.reset(token)
            for handle in handles:
                handle.remove()

    def watch(self, module: torch.nn.Module, inputs: Any, propagate: Callable[[], Any]) -> Any:
        """Watch a propagation that does not go through ``module.propagate``."""
        if module not in self._steps:
            return propagate()
        before, after = self._steps[module]
        before(module, inputs)
        return after(module, inputs, propagate())

    def hooks_of(self, module: torch.nn.Module) -> tuple[Callable, ...]:
        """The hooks with which this guard watches ``module``."""
        return self._steps.get(module, ())

    def _before(self, name: str, flow: str) -> Callable[[Any, Any], None]:
        def before(_: Any, inputs: Any) -> None:
            _refuse_reversed(name, inputs[0], 1 if flow == 'source_to_target' else 0)
            read = next((m for m in self.of(inputs[1:]) if isinstance(m, Propagated)), None)
            if read is None:
                return
            if read.name == name:
                came = 'its own earlier propagation'
                remedy = (
                    'An operator that propagates several times has no place for a boundary: unroll '
                    'it into single steps with push_and_pull in between.'
                )
            else:
                came = f'the output of {read.name}'
                remedy = 'Call push_and_pull between the two layers.'
            call = current_call()
            if call is not None and call.prefers_matrix:
                remedy = (
                    'At the conversion the layers came in another order: let it depend neither on '
                    'the data nor on the epoch.'
                )
            rule = 'what it propagates must have passed a layer boundary'
            raise ValueError(explain(name, rule, came, remedy))

        return before

    def _after(self, name: str) -> Callable[[Any, Any, Any], Any]:
        def after(module: torch.nn.Module, _: Any, out: Any) -> Any:
            self.propagated.add(module)
            return self.mark(out, [*self.of(out), Propagated(name)]) if _is_tensor(out) else None

        return after


_active: ContextVar[Guard | None] = ContextVar('guard', default=None)


def _refuse_reversed(name: str, edge_index: Any, target: int) -> None:
    """Refuse edges that end in halo nodes where the batch holds no such edges, or not all."""
    call = current_call()
    if call is None or call.adj_t is None or call.adj_t.edges.builder.both_directions:
        return
    if isinstance(edge_index, Adjacency) or not _is_tensor(edge_index):
        return
    if edge_index.layout != torch.strided or edge_index.dim() != 2 or edge_index.size(0) != 2:
        return
    into_halo = edge_index[target] >= call.batch_size
    if bool((into_halo & (edge_index[0] != edge_index[1])).any()):
        raise NeedsBothDirections(
            explain(name, 'a batch holds the edges into its nodes, from source to target',
                    'edges into halo nodes, e.g. reversed ones',
                    "Make the loader with direction='both' to read both ways.")
        )  # fmt: skip


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


@contextmanager
def _guarding_once(owner: torch.nn.Module) -> Iterator[None]:
    checked = _checked[owner.training]
    if owner in checked or _active.get() is not None:
        yield
        return
    guard = Guard()
    with guard.watching(owner):
        yield
    checked.update({owner, *guard.propagated})


def guard_model(model: torch.nn.Module) -> Any:
    """Guard a model's first call on a batch: every propagation must follow a boundary."""
    return _guarding_once(model)


def guard_operator(operator: MessagePassing) -> Any:
    """Guard an operator's first call: it must not propagate what it has propagated."""
    return _guarding_once(operator)


def current_guard() -> Guard | None:
    """The guard that is on, if any."""
    return _active.get()


def passed_boundary(rows: Tensor) -> Tensor:
    """Note that the halo rows of ``rows`` have been replaced."""
    guard = _active.get()
    if guard is not None:
        guard.forget(rows)
    return rows
