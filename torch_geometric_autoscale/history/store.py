"""What a history needs from a storage medium."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

# Which rows: ids, contiguous chunks as pairs of first row and length, or all of them in order.
Where = Tensor | Sequence[tuple[int, int]] | None


class Store(ABC):
    """A table of ``num_rows`` rows of ``width`` numbers on some medium, in some encoding.

    A store trusts its caller: :class:`History` has checked shapes, ids and chunks before.

    Attributes:
        tier: Name of the medium, as in ``history.tier=``.
    """

    tier: ClassVar[str]
    num_rows: int
    width: int

    @property
    @abstractmethod
    def dtype(self) -> torch.dtype:
        """Type in which numbers are kept."""

    @property
    @abstractmethod
    def device(self) -> torch.device:
        """Where rows can be read without a transfer."""

    @property
    @abstractmethod
    def table(self) -> Tensor:
        """All rows as a tensor, ``(num_rows, width)``."""

    @abstractmethod
    def pull(self, index: Tensor | None, out: Tensor | None = None) -> Tensor:
        """A copy of rows, or ``out`` filled with them, in any type and on any device."""

    @abstractmethod
    def push(self, rows: Tensor, where: Where) -> None:
        """Write rows, of any type and on any device."""

    @abstractmethod
    def reset(self) -> None:
        """Set every row to zero."""

    @abstractmethod
    def widen(self, dtype: torch.dtype) -> None:
        """Keep numbers in another type from now on, with the rows as they are."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """What is kept, by name, without a copy: for a checkpoint, which reads it in pieces."""

    @abstractmethod
    def load(self, state: dict[str, Tensor]) -> None:
        """Take over a copy of what :meth:`state` of a store of this encoding gave."""
