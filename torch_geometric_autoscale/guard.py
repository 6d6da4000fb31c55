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

from .errors import explain
from .provenance import Provenance

_checked: 'WeakSet[torch.nn.Module]' = WeakSet()


@dataclass(frozen=True)
class Propagated:
    """The mark of rows that a propagation gave: rows of halo nodes are not to be relied on."""

    name: str


class Guard(Provenance):
    """Marks what propagations give, and refuses propagations that read it."""

    @contextmanager
    def watching(self, owner: torch.nn.Module) -> Iterator[None]:
        """Watch all operators inside ``owner``."""
        handles = []
        for path, module in owner.named_modules():
            if isinstance(module, MessagePassing):
                name = type(module).__name__ + (f" '{path}'" if path else '')
                handles.append(module.register_propagate_forward_pre_hook(self._before(name)))
                handles.append(module.register_propagate_forward_hook(self._after(name)))
        token = _active.set(self)
        try:
            with self:
                yield
        finally:
            _active.reset(token)
            for handle in handles:
                handle.remove()

    def _before(self, name: str) -> Callable[[Any, Any], None]:
        def before(_: Any, inputs: Any) -> None:
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
            rule = 'what it propagates must have passed a layer boundary'
            raise ValueError(explain(name, rule, came, remedy))

        return before

    def _after(self, name: str) -> Callable[[Any, Any, Any], Any]:
        def after(_: Any, __: Any, out: Any) -> Any:
            return self.mark(out, [*self.of(out), Propagated(name)]) if _is_tensor(out) else None

        return after


_active: ContextVar[Guard | None] = ContextVar('guard', default=None)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


@contextmanager
def _guarding_once(owner: torch.nn.Module) -> Iterator[None]:
    if owner in _checked or _active.get() is not None:
        yield
        return
    with Guard().watching(owner):
        yield
    _checked.add(owner)


def guard_model(model: torch.nn.Module) -> Any:
    """Guard a model's first call on a batch: every propagation must follow a boundary."""
    return _guarding_once(model)


def guard_operator(operator: MessagePassing) -> Any:
    """Guard an operator's first call: it must not propagate what it has propagated."""
    return _guarding_once(operator)


def passed_boundary(rows: Tensor) -> Tensor:
    """Note that the halo rows of ``rows`` have been replaced."""
    guard = _active.get()
    if guard is not None:
        guard.forget(rows)
    return rows
