"""The context of one call of a model on one batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from .adjacency import Adjacency


@dataclass
class BatchCall:
    """What is known while a model runs on a batch.

    Attributes:
        batch_size: Number of batch nodes ``B``.
        n_id: ``(n,)`` global ids, batch nodes first.
        offset: First node of each contiguous chunk of batch nodes, or ``None``.
        count: Length of each chunk, or ``None``.
        adj_t: The batch's adjacency where it came from a loader of this library.
        written: The histories that this call has written so far.
        prefers_matrix: Whether operators that know both forms are given the adjacency where the
            model hands them the ``edge_index`` made from it, and may return batch rows only.
    """

    batch_size: int
    n_id: Tensor
    offset: Tensor | None = None
    count: Tensor | None = None
    adj_t: Adjacency | None = None
    written: list[Any] = field(default_factory=list)
    prefers_matrix: bool = False

    @property
    def num_nodes(self) -> int:
        """Number of rows ``n`` of the batch: batch nodes and halo."""
        return self.n_id.numel()

    @property
    def fingerprint(self) -> str | None:
        """The graph that the batch was cut from, where its loader told."""
        return None if self.adj_t is None else self.adj_t.graph.fingerprint


_current: ContextVar[BatchCall | None] = ContextVar('batch_call', default=None)


def current_call() -> BatchCall | None:
    """The batch call that is running, if any."""
    return _current.get()


@contextmanager
def batch_call(call: BatchCall | None) -> Iterator[BatchCall | None]:
    """Run a block as part of ``call``."""
    token = _current.set(call)
    try:
        yield call
    finally:
        _current.reset(token)
