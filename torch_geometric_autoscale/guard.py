"""Catches propagations that read rows which no layer boundary has made right.

After a propagation, halo rows are empty or wrong until they are replaced at a boundary. Reading
them with another propagation gives numbers that look fine and are not. The first call of an
operator, and of a model each call that takes its steps in a new order, run under this guard.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from .adjacency import Adjacency
from .by_hand import ByHand
from .calls import current_call
from .errors import NeedsBothDirections, explain
from .provenance import Provenance
from .ways import NewWay, Ways, recorded_steps

# In train() and in eval() a forward may go another way.
_checked: dict[bool, 'WeakSet[torch.nn.Module]'] = {False: WeakSet(), True: WeakSet()}
_ways: dict[bool, 'WeakKeyDictionary[torch.nn.Module, Ways]'] = {
    False: WeakKeyDictionary(), True: WeakKeyDictionary()
}  # fmt: skip


@dataclass(frozen=True)
class Propagated:
    """The mark of rows that a propagation gave: rows of halo nodes are not to be relied on.

    Attributes:
        name: The operator, or the function of PyTorch.
        by_hand: Whether no operator has computed them.
    """

    name: str
    by_hand: bool = False


class Guard(Provenance):
    """Marks what propagations give, and refuses propagations that read it."""

    def __init__(self) -> None:
        super().__init__()
        self.propagated: set[torch.nn.Module] = set()
        self.by_hand = ByHand(self)
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

    @contextmanager
    def watching_functions(self, edges: Iterable[Any]) -> Iterator[None]:
        """Watch what is computed outside of operators, too, along ``edges``, ids or matrices."""
        with self.by_hand.edges, self.by_hand:
            self.by_hand.follow(edges)
            yield

    @contextmanager
    def inside_operator(self) -> Iterator[None]:
        """Leave the functions of this block to the operator that calls them."""
        before, self.by_hand.is_inside_operator = self.by_hand.is_inside_operator, True
        try:
            yield
        finally:
            self.by_hand.is_inside_operator = before

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
        target = 1 if flow == 'source_to_target' else 0

        def before(module: Any, inputs: Any) -> None:
            _refuse_reversed(name, inputs[0], target)
            if _is_edge_index(inputs[0]):
                self.by_hand.check_messages(name, inputs[0][target], inputs[1:])
            read = next(self._reads(module, inputs[2]), None)
            if read is not None:
                self._refuse(name, read)

        return before

    def _reads(self, module: Any, values: Any) -> Iterator[Propagated]:
        """The marks of what a propagation reads at sources."""
        named = values if isinstance(values, dict) else {'': values}
        for name, value in named.items():
            at_targets = _is_read_at_targets(module, name)
            for mark in self._marks(value):
                if not (at_targets and mark.by_hand):
                    yield mark

    def _marks(self, *values: Any) -> list[Propagated]:
        return [mark for mark in self.of(*values) if isinstance(mark, Propagated)]

    def _refuse(self, name: str, read: Propagated) -> None:
        if read.name == name and not read.by_hand:
            came = 'its own earlier propagation'
            remedy = (
                'An operator that propagates several times has no place for a boundary: unroll '
                'it into single steps with push_and_pull in between.'
            )
        else:
            came = f'the output of {read.name}'
            remedy = 'Call push_and_pull between the two layers.'
        if read.by_hand:
            remedy = (
                'Call push_and_pull between the two, or compute it for the whole graph before the '
                'loader is made, e.g. degrees as an attribute of nodes.'
            )
        call = current_call()
        if call is not None and call.prefers_matrix:
            remedy = (
                'At the conversion the layers came in another order: let it depend neither on '
                'the data nor on the epoch, or convert the module again with autoscale().'
            )
        rule = 'what it propagates must have passed a layer boundary'
        raise ValueError(explain(name, rule, came, remedy))

    def _after(self, name: str) -> Callable[[Any, Any, Any], Any]:
        def after(module: torch.nn.Module, _: Any, out: Any) -> Any:
            self.propagated.add(module)
            return self.mark(out, [*self.of(out), Propagated(name)]) if _is_tensor(out) else None

        return after

    # What propagations by hand need ##############################################

    def propagation_of(self, *values: Any) -> str | None:
        """The name of a propagation whose rows ``values`` hold, if any."""
        return next((mark.name for mark in self._marks(*values)), None)

    def mark_propagated(self, value: Tensor, name: str) -> None:
        """Note that rows of halo nodes in ``value`` are not to be relied on."""
        self.set(value, [*self.of(value), Propagated(name, by_hand=True)])

    def unmark_propagated(self, value: Tensor) -> None:
        """Note that all that ``value`` holds may be relied on."""
        self.set(value, [m for m in self.of(value) if not isinstance(m, Propagated)])

    def refuse(self, name: str, came: str) -> None:
        """Raise because ``name`` propagates what ``came`` gave."""
        self._refuse(name, Propagated(came, by_hand=True))


_active: ContextVar[Guard | None] = ContextVar('guard', default=None)


def _refuse_reversed(name: str, edge_index: Any, target: int) -> None:
    """Refuse edges that end in halo nodes where the batch holds no such edges, or not all."""
    call = current_call()
    if call is None or call.adj_t is None or call.adj_t.edges.builder.both_directions:
        return
    if not _is_edge_index(edge_index):
        return
    into_halo = edge_index[target] >= call.batch_size
    if bool((into_halo & (edge_index[0] != edge_index[1])).any()):
        raise NeedsBothDirections(
            explain(name, 'a batch holds the edges into its nodes, from source to target',
                    'edges into halo nodes, e.g. reversed ones',
                    "Make the loader with direction='both' to read both ways.")
        )  # fmt: skip


def _is_edge_index(value: Any) -> bool:
    """Whether a value holds ids of edges, and is no matrix."""
    if isinstance(value, Adjacency) or not _is_tensor(value) or value.layout != torch.strided:
        return False
    return value.dim() == 2 and value.size(0) == 2


def _is_read_at_targets(module: Any, name: str) -> bool:
    """Whether a propagation reads its argument ``name`` at targets of edges alone."""
    read = {*module._user_args, *module._fused_user_args}
    return f'{name}_i' in read and not {name, f'{name}_j'} & read


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def run_guarded(model: torch.nn.Module, run: Callable[[], Any]) -> Any:
    """Run a model on a batch; under the guard if it goes another way than before.

    Args:
        model: The model.
        run: Calls it. Called twice where a way turns out to be new: what the first time has pushed
            is pushed again.
    """
    if _active.get() is not None:
        return run()
    ways = _ways[model.training].setdefault(model, Ways())
    if ways.number:
        try:
            with ways.following():
                return run()
        except NewWay:
            pass
    guard = Guard()
    with recorded_steps() as steps, guard.watching(model):
        out = run()
    if not guard.by_hand.is_undecided:  # a batch with a halo will tell
        ways.add(steps)
    _checked[model.training].update(guard.propagated)
    return out


@contextmanager
def guard_operator(operator: MessagePassing) -> Iterator[None]:
    """Guard an operator's first call: it must not propagate what it has propagated."""
    checked = _checked[operator.training]
    if operator in checked or _active.get() is not None:
        yield
        return
    guard = Guard()
    with guard.watching(operator):
        yield
    checked.update({operator, *guard.propagated})


@contextmanager
def watch_functions(edges: Iterable[Any]) -> Iterator[None]:
    """Let the guard that is on watch what is computed along ``edges`` outside of operators."""
    guard = _active.get()
    with nullcontext() if guard is None else guard.watching_functions(edges):
        yield


def inside_operator() -> Any:
    """Leave what is computed in this block to an operator."""
    guard = _active.get()
    return nullcontext() if guard is None else guard.inside_operator()


def current_guard() -> Guard | None:
    """The guard that is on, if any."""
    return _active.get()


def passed_boundary(rows: Tensor) -> Tensor:
    """Note that the halo rows of ``rows`` have been replaced."""
    guard = _active.get()
    if guard is not None:
        guard.forget(rows)
        guard.by_hand.edges.forget(rows)
    return rows
