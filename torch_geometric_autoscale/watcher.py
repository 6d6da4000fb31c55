"""Watches a forward from outside: where operators, propagations and functions give their values."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch_geometric.nn import MessagePassing


@dataclass(frozen=True)
class Site:
    """A place in a forward.

    Attributes:
        kind: ``'operator'``: what an operator returns; ``'propagation'``: what one of its
            propagations gives, before its update is used further; ``'function'``: what a function
            of PyTorch gives outside of operators.
        name: Path of the operator in the model, or name of the function.
        time: How many values the same operator, propagation or function gave before.
        type_name: Class of the operator, or empty.
    """

    kind: str
    name: str
    time: int
    type_name: str = ''

    def __str__(self) -> str:
        times = f', call {self.time + 1}' if self.time or self.kind == 'propagation' else ''
        if self.kind == 'function':
            return f"function '{self.name}'{times}"
        what = '' if self.kind == 'operator' else 'propagation inside '
        return f"{what}{self.type_name} '{self.name}'{times}"


class Watcher:
    """Is told of every value that operators and, where asked for, propagations and functions give.

    Subclasses may replace each value in :meth:`reached`. ``functions`` are the names of the
    functions of PyTorch that are watched; ``None`` means all, and then ``seen`` collects all names,
    those inside of operators included.

    Args:
        module: The model that runs while this watcher is active.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._paths = {m: path for path, m in module.named_modules()}
        self._times: Counter[tuple[str, str]] = Counter()
        self._inside = 0
        self._nested = 0
        self.functions: Collection[str] | None = ()
        self.seen: set[str] = set()

    def propagations(self) -> list[MessagePassing]:
        """The operators whose single propagations are watched."""
        return []

    def reached(self, site: Site, value: Any, dim: int) -> Any:
        """Called with each value; what it returns goes on in its place.

        Args:
            site: Where the forward is.
            value: A tensor or a container of tensors.
            dim: The dimension in which tensors of the value hold nodes.
        """
        return value

    def _tell(self, site: Site, value: Any, dim: int) -> Any:
        with self.paused():  # what is computed meanwhile is not the model's
            return self.reached(site, value, dim)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take what happens inside this block for a single step that nobody is told of."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    @property
    def is_inside_operator(self) -> bool:
        return self._inside > 0

    @property
    def is_inside_nested_operator(self) -> bool:
        """Whether an operator runs that another operator has called."""
        return self._nested > 0

    # Operators ###################################################################

    def operator(self, operator: MessagePassing, compute: Callable[[], Any]) -> Any:
        """Run an operator; only the outermost one counts."""
        if self._inside:
            self._nested += 1
            try:
                return compute()
            finally:
                self._nested -= 1
        self._inside += 1
        try:
            out = self.compute_operator(operator, compute)
        finally:
            self._inside -= 1
        return self._tell(self._site('operator', operator), out, operator.node_dim)

    def compute_operator(self, operator: MessagePassing, compute: Callable[[], Any]) -> Any:
        return compute()

    def _propagate(self, operator: MessagePassing, original: Any, *args: Any, **kwargs: Any) -> Any:
        out = self.compute_propagation(operator, original, args, kwargs)
        return self._tell(self._site('propagation', operator), out, operator.node_dim)

    def compute_propagation(
        self, operator: MessagePassing, propagate: Callable, args: Any, kwargs: Any
    ) -> Any:
        return propagate(*args, **kwargs)

    def path(self, operator: torch.nn.Module) -> str:
        return self._paths.get(operator, '')

    def _site(self, kind: str, operator: MessagePassing) -> Site:
        name = self.path(operator)
        return Site(kind, name, self._count(kind, name), type(operator).__name__)

    def _count(self, kind: str, name: str) -> int:
        self._times[kind, name] += 1
        return self._times[kind, name] - 1

    # Functions ###################################################################

    def function(self, func: Callable, args: Any, kwargs: Any) -> Any:
        """Run a function of PyTorch that was called outside of operators."""
        name = getattr(func, '__name__', '')
        out = self.compute_function(name, func, args, kwargs)
        if self.functions is None or name in self.functions:
            return self._tell(Site('function', name, self._count('function', name)), out, 0)
        return out

    def compute_function(self, name: str, func: Callable, args: Any, kwargs: Any) -> Any:
        return func(*args, **kwargs)

    # Activity ####################################################################

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Be told of all that happens inside this block."""
        watched = self.propagations()
        before = [vars(operator).get('propagate') for operator in watched]
        token = _current.set(self)
        try:
            for operator in watched:
                vars(operator)['propagate'] = partial(self._propagate, operator, operator.propagate)
            with ExitStack() as stack:
                if self.functions is None or self.functions:
                    stack.enter_context(_Functions(self))
                yield
        finally:
            _current.reset(token)
            for operator, propagate in zip(watched, before, strict=True):
                del vars(operator)['propagate']
                if propagate is not None:
                    vars(operator)['propagate'] = propagate


class _Functions(TorchFunctionMode):
    def __init__(self, watcher: Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        wanted = self.watcher.functions
        skipped = wanted is not None and getattr(func, '__name__', '') not in wanted
        if wanted is None:
            self.watcher.seen.add(getattr(func, '__name__', ''))
        if skipped or self.watcher.is_inside_operator:
            return func(*args, **kwargs)
        return self.watcher.function(func, args, kwargs)


_current: ContextVar[Watcher | None] = ContextVar('watcher', default=None)


def current_watcher() -> Watcher | None:
    """The watcher that is told of what happens, if any."""
    return _current.get()
