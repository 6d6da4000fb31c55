"""The ways that a forward takes: in which order it calls operators and meets boundaries."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Of a model that draws its steps by chance, as with stochastic depth, no more are told apart.
MOST_WAYS = 64


class NewWay(Exception):
    """A forward takes a step that did not follow the earlier ones before."""


class Ways:
    """The ways that a model is known to take, as a tree: each step leads to those behind it."""

    def __init__(self) -> None:
        self.number = 0
        self._first: dict[int, dict] = {}

    def add(self, steps: list[int]) -> None:
        """Add a way that was guarded."""
        self.number += 1
        here = self._first
        for step in steps:
            here = here.setdefault(step, {})

    @contextmanager
    def following(self) -> Iterator[None]:
        """Raise :class:`NewWay` where this block leaves the known ways; it may end before them."""
        here = self._first

        def follow(step: int) -> None:
            nonlocal here
            if step not in here:
                raise NewWay
            here = here[step]

        token = _current.set(None if self.number >= MOST_WAYS else follow)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[Callable[[int], None] | None] = ContextVar('way', default=None)


@contextmanager
def recorded_steps() -> Iterator[list[int]]:
    """The steps that a block has taken."""
    steps: list[int] = []
    token = _current.set(steps.append)
    try:
        yield steps
    finally:
        _current.reset(token)


def note_step(step: object) -> None:
    """Note that the forward at hand takes a step: an operator, or the object of a boundary."""
    note = _current.get()
    if note is not None:
        note(id(step))
