"""The rows of one call of a model on a batch: pulled ahead, pushed behind."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from ..history import History
from .pool import AsyncIOPool, Pull


@dataclass(frozen=True)
class Rows:
    """Which rows of a history a call reads and writes.

    Attributes:
        n_id: ``(n,)`` row ids as the model is given them, batch nodes first.
        batch_size: Number of batch nodes.
        host_n_id: The same on the host.
        offset, count: The batch nodes as contiguous chunks, on the host, if known.
    """

    n_id: Tensor
    batch_size: int
    host_n_id: Tensor
    offset: Tensor | None = None
    count: Tensor | None = None


class BatchMoves:
    """Pulls that have begun, and where pushes go.

    Args:
        pool: Moves the rows.
        rows: For each history that the call may meet.

    Raises:
        ValueError: As in :meth:`History.pull`.
    """

    def __init__(self, pool: AsyncIOPool, rows: Iterable[tuple[History, Rows]]) -> None:
        self.pool = pool
        self._rows = dict(rows)
        self._pulls: dict[History, Pull] = {}
        for history, here in self._rows.items():
            # Those in the device's memory are read when they are asked for.
            if pool.moves(history) and here.host_n_id.numel() > here.batch_size:
                halo = here.host_n_id[here.batch_size :]
                self._pulls[history] = pool.pull_async(history, halo, lead=here.batch_size)

    def rows_of(self, history: History, n_id: Tensor, batch_size: int) -> Rows | None:
        """What is known of a boundary's rows, if they are the call's own."""
        here = self._rows.get(history)
        ours = here is not None and here.n_id is n_id and here.batch_size == batch_size
        return here if ours else None

    def exchange(self, history: History, x: Tensor, here: Rows) -> Tensor | None:
        """Push the batch rows of ``x``, and give pulled rows, ``(n, C)``, if there is a halo.

        Raises:
            TypeError, ValueError: As in :meth:`History.push`.
        """
        batch = x[: here.batch_size].detach()
        if not self.pool.moves(history):
            return self._exchange_there(history, x, batch, here)
        rows = None
        if here.host_n_id.numel() > here.batch_size:
            pull = self._pulls.pop(history, None)
            if pull is None:  # a second exchange of the same rows sees the first
                halo = here.host_n_id[here.batch_size :]
                pull = self.pool.pull_async(history, halo, lead=here.batch_size)
            rows = pull.wait()
            if rows.dtype != x.dtype:
                rows = rows.to(x.dtype)
        ids = here.host_n_id[: here.batch_size] if here.offset is None else None
        self.pool.push_async(history, batch, ids, here.offset, here.count)
        return rows

    def _exchange_there(
        self, history: History, x: Tensor, batch: Tensor, here: Rows
    ) -> Tensor | None:
        """With a table in the device's memory; ids are looked at on the host."""
        rows, host = None, here.host_n_id
        store = history.store
        if host.numel() > here.batch_size:
            history.check_ids('pull', host[here.batch_size :])
            rows = x.new_empty((host.numel(), history.embedding_dim))
            with torch.no_grad():
                store.pull(here.n_id[here.batch_size :], rows[here.batch_size :])
        ids = host[: here.batch_size] if here.offset is None else None
        self.pool.push_there(history, batch, here.n_id, ids, here.offset, here.count)
        return rows


_current: ContextVar[BatchMoves | None] = ContextVar('batch_moves', default=None)


def current_moves() -> BatchMoves | None:
    """What moves rows in the call that is running, if not the call itself."""
    return _current.get()


@contextmanager
def moving(
    pool: AsyncIOPool | None, rows: Iterable[tuple[History, Rows]]
) -> Iterator[BatchMoves | None]:
    """Begin to pull ``rows`` and let boundaries inside this block make use of it."""
    if pool is None:
        yield None
        return
    moves = BatchMoves(pool, rows)
    token = _current.set(moves)
    try:
        yield moves
    finally:
        _current.reset(token)
