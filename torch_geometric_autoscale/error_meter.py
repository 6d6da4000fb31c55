"""How far the rows of histories are from fresh ones, measured while these are computed."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor

from .history import History


@dataclass(frozen=True)
class HistoryError:
    r"""Distance of a history's rows from those that the weights at hand give.

    With :math:`\bar h_v` the history's row of node :math:`v` and :math:`h_v` the exact one:

    Attributes:
        relative: :math:`\Vert \bar H - H \Vert_F / \Vert H \Vert_F`.
        mean_row: Mean of :math:`\Vert \bar h_v - h_v \Vert_2` over all nodes, divided by the mean
            of :math:`\Vert h_v \Vert_2`.
        max_row: The largest of these distances, divided by the same mean.
    """

    relative: float
    mean_row: float
    max_row: float


class ErrorMeter:
    """Compares a history's rows with fresh ones, batch by batch, without a table of its own."""

    def __init__(self) -> None:
        self._sums: dict[History, _Sums] = {}

    @torch.no_grad()
    def compare(self, history: History, fresh: Tensor, chunks: Iterable[tuple[int, int]]) -> None:
        """Add the rows ``(B, C)`` of the nodes in some chunks; after all nodes it begins anew.

        Args:
            history: As it was before.
            fresh: Exact rows.
            chunks: Their nodes, as pairs of first node and length.
        """
        sums = self._sums.get(history)
        if sums is None or sums.rows >= history.num_embeddings:
            sums = self._sums[history] = _Sums()
        fresh = fresh.detach()
        old = _stored_rows(history, chunks).to(fresh.device, fresh.dtype)
        distances = torch.linalg.vector_norm(old - fresh, dim=1).double()
        lengths = torch.linalg.vector_norm(fresh, dim=1).double()
        sums.rows += fresh.size(0)
        sums.distance += float(distances.sum())
        sums.distance_squared += float(distances.square().sum())
        sums.length += float(lengths.sum())
        sums.length_squared += float(lengths.square().sum())
        if distances.numel():
            sums.largest = max(sums.largest, float(distances.max()))

    def errors(self, histories: Sequence[History]) -> list[HistoryError]:
        """One entry for each history; NaN for one that no fresh row was computed for."""
        nothing = HistoryError(math.nan, math.nan, math.nan)
        return [
            self._sums[history].error() if history in self._sums else nothing
            for history in histories
        ]


def _stored_rows(history: History, chunks: Iterable[tuple[int, int]]) -> Tensor:
    """Rows of a history, past its cache: that is for rows that are pulled."""
    store = history.store
    rows = [store.encoding.decode(store.read_range(*chunk)) for chunk in chunks if chunk[1]]
    return torch.cat(rows) if rows else torch.empty(0, history.embedding_dim)


@dataclass
class _Sums:
    rows: int = 0
    distance: float = 0.0
    distance_squared: float = 0.0
    length: float = 0.0
    length_squared: float = 0.0
    largest: float = 0.0

    def error(self) -> HistoryError:
        mean_length = max(self.length / max(self.rows, 1), _TINY)
        return HistoryError(
            (self.distance_squared**0.5) / max(self.length_squared**0.5, _TINY),
            self.distance / max(self.rows, 1) / mean_length,
            self.largest / mean_length,
        )


_TINY = 1e-12  # of rows that are all zero, the error is then finite still

_current: ContextVar[ErrorMeter | None] = ContextVar('error_meter', default=None)


def current_meter() -> ErrorMeter | None:
    """What the exact inference that is running compares its rows with, if anything."""
    return _current.get()


@contextmanager
def measuring() -> Iterator[ErrorMeter]:
    """Measure the histories during every exact inference, or refresh, in a block."""
    meter = ErrorMeter()
    token = _current.set(meter)
    try:
        yield meter
    finally:
        _current.reset(token)
