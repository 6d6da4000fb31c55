"""A device that is none: streams are threads that take their time.

Everything lies in main memory. What an ordering forgets to wait for has then, now and then, not
happened yet, and tensors that the engine gets hold NaN until something is copied to them: so a
test on the CPU can fail where a device would.
"""

import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..history.encoding import Int8Encoding
from .runtime import Event, Runtime, Stream


class SimulatedEvent(Event):
    """A flag that the thread of a stream raises."""

    def __init__(self) -> None:
        self.flag = threading.Event()
        self.error: BaseException | None = None

    def block(self) -> None:
        self.flag.wait()
        if self.error is not None:
            raise self.error

    @property
    def is_over(self) -> bool:
        return self.flag.is_set()


class CallersStream(Stream):
    """The stream in which a test computes: the calling thread itself, that is never late."""

    def run(self, operation: Callable[[], Any]) -> None:
        operation()

    def wait(self, event: Event) -> None:
        event.block()

    def record(self) -> SimulatedEvent:
        event = SimulatedEvent()
        event.flag.set()
        return event


class SimulatedStream(Stream):
    """A thread that does one operation after the other, each after a random pause.

    Args:
        delay: Pauses.
    """

    def __init__(self, delay: Callable[[], None]) -> None:
        self._delay = delay
        self._queue: queue.SimpleQueue[Callable[[], Any] | None] = queue.SimpleQueue()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name='simulated-stream', daemon=True)
        self._thread.start()

    def run(self, operation: Callable[[], Any]) -> None:
        self._queue.put(operation)

    def wait(self, event: Event) -> None:
        self._queue.put(event.block)

    def record(self) -> SimulatedEvent:
        event = SimulatedEvent()

        def raise_flag() -> None:
            event.error = self._error
            event.flag.set()

        self._queue.put(raise_flag)
        return event

    def close(self) -> None:
        """Let the thread end after what it has been given."""
        self._queue.put(None)
        self._thread.join()

    @torch.inference_mode()  # writes to tensors of either kind
    def _work(self) -> None:
        while (operation := self._queue.get()) is not None:
            self._delay()
            is_event = getattr(operation, '__name__', '') == 'raise_flag'
            if self._error is not None and not is_event:
                continue  # as on a device, nothing happens after an error
            try:
                operation()
            except BaseException as error:
                self._error = error


class SimulatedRuntime(Runtime):
    """A device for tests.

    Args:
        seed: Decides the pauses.
        longest_pause: In seconds; half of the operations have none.
        kernel: Whether the device can gather and scatter rows by itself.
        device: Where tensors are made.

    Attributes:
        pinned_bytes: Of all pinned memory that was asked for.
    """

    def __init__(
        self, seed: int = 0, longest_pause: float = 2e-4, kernel: bool = True,
        device: torch.device | str = 'cpu',
    ) -> None:  # fmt: skip
        self.device = torch.device(device)
        self.longest_pause, self.kernel = longest_pause, kernel
        self.pinned_bytes = 0
        self._random = random.Random(seed)
        self._current: Stream = CallersStream()

    def delay(self) -> None:
        if self._random.random() < 0.5:
            time.sleep(self._random.random() * self.longest_pause)

    def stream(self) -> SimulatedStream:
        return SimulatedStream(self.delay)

    def current(self) -> Stream:
        return self._current

    @contextmanager
    def computing_in(self, stream: Stream) -> Iterator[None]:
        """Take ``stream`` for the one in which the caller computes."""
        before, self._current = self._current, stream
        try:
            yield
        finally:
            self._current = before

    def pinned(self, num_bytes: int) -> Tensor:
        self.pinned_bytes += num_bytes
        with torch.inference_mode(False):
            return torch.full((num_bytes,), 0xFF, dtype=torch.uint8)  # NaN, or -1

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, stream: Stream) -> Tensor:
        fill = float('nan') if dtype.is_floating_point else -1
        return torch.full(shape, fill, dtype=dtype, device=self.device)

    def keep(self, tensor: Tensor, stream: Stream) -> None:
        pass  # what a stream still has to do holds its tensors

    def why_no_kernel(self, *tables: Tensor) -> str | None:
        return None if self.kernel else 'this simulated device has none'

    def gather(self, table: Tensor, index: Tensor, out: Tensor, scale: Tensor | None) -> None:
        rows = table.index_select(0, index)
        if scale is None:
            out.copy_(rows)
        else:
            fields = {'emb': rows, 'scale': scale.index_select(0, index)}
            out.copy_(Int8Encoding().decode(fields))

    def scatter(self, rows: Tensor, table: Tensor, index: Tensor, scale: Tensor | None) -> None:
        if scale is None:
            table.index_copy_(0, index, rows.to(table.dtype))
            return
        fields = Int8Encoding().encode(rows)
        table.index_copy_(0, index, fields['emb'])
        scale.index_copy_(0, index, fields['scale'])
