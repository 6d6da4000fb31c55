"""What the engine needs of a device: streams, events, memory.

A *stream* works off what it is given in order. An *event* marks a place in a stream: it is over
once the stream has come there. Between streams, and between a stream and the host, there is no
other order.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Event(ABC):
    """A place in a stream."""

    @abstractmethod
    def block(self) -> None:
        """Let the calling host thread wait until the stream has come here."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether the stream has come here; does not wait."""


class Stream(ABC):
    """Works off operations in order, beside the host."""

    @abstractmethod
    def run(self, operation: Callable[[], Any]) -> None:
        """Let the stream do what ``operation``, which must not wait for the device, asks of it."""

    @abstractmethod
    def wait(self, event: Event) -> None:
        """Let what is given to the stream from here on begin after ``event``; the host goes on."""

    @abstractmethod
    def record(self) -> Event:
        """The place behind all that the stream was given so far."""

    def close(self) -> None:  # noqa: B027
        """Nothing more will be given to it."""


class Runtime(ABC):
    """A device.

    Attributes:
        device: Where rows go.
    """

    device: torch.device

    @abstractmethod
    def stream(self) -> Stream:
        """A new stream."""

    @abstractmethod
    def current(self) -> Stream:
        """The stream in which the calling thread computes."""

    @abstractmethod
    def pinned(self, num_bytes: int) -> Tensor:
        """New bytes of main memory, ``(num_bytes,)``, that the device reads and writes itself."""

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, stream: Stream) -> Tensor:
        """Memory of the device that ``stream`` may use at once."""

    @abstractmethod
    def keep(self, tensor: Tensor, stream: Stream) -> None:
        """Give the memory of ``tensor`` to nobody before ``stream`` has done what it has now."""

    @abstractmethod
    def why_no_kernel(self, *tables: Tensor) -> str | None:
        """Why the device cannot gather and scatter rows of main memory by itself, or ``None``."""

    @abstractmethod
    def gather(self, table: Tensor, index: Tensor, out: Tensor, scale: Tensor | None) -> None:
        """As :func:`kernels.gather_rows`, for an operation of a stream."""

    @abstractmethod
    def scatter(self, rows: Tensor, table: Tensor, index: Tensor, scale: Tensor | None) -> None:
        """As :func:`kernels.scatter_rows`, for an operation of a stream."""

    def delay(self) -> None:  # noqa: B027
        """Called where a host thread may be late; does nothing on a real device."""
