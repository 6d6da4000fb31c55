"""The runtime of a CUDA device: PyTorch's streams, events and page-locked memory."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..errors import explain
from ..kernels import gather_rows, scatter_rows, why_not
from .runtime import Event, Runtime, Stream


class CudaEvent(Event):
    """An event whose waiting thread sleeps, and leaves the processor to others."""

    def __init__(self) -> None:
        self.event = torch.cuda.Event(blocking=True)

    def block(self) -> None:
        self.event.synchronize()

    @property
    def is_over(self) -> bool:
        return bool(self.event.query())


class CudaStream(Stream):
    """A stream of the device."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.stream = stream

    def run(self, operation: Callable[[], Any]) -> None:
        with torch.cuda.stream(self.stream):  # of the calling thread alone; sets its device too
            operation()

    def wait(self, event: Event) -> None:
        assert isinstance(event, CudaEvent)
        self.stream.wait_event(event.event)

    def record(self) -> CudaEvent:
        event = CudaEvent()
        event.event.record(self.stream)
        return event


class CudaRuntime(Runtime):
    """A CUDA device.

    Args:
        device: Which one.

    Raises:
        ValueError: There is none.
    """

    def __init__(self, device: torch.device | str = 'cuda') -> None:
        device = torch.device(device)
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device.type != 'cuda' or (device.index or 0) >= count:
            raise ValueError(
                explain('AsyncIOPool', f"'device' must be one of the {count} CUDA devices here",
                        f"'{device}'", 'Keep the model on the CPU, where nothing is to be moved.')
            )  # fmt: skip
        index = torch.cuda.current_device() if device.index is None else device.index
        self.device = torch.device('cuda', index)

    def stream(self) -> CudaStream:
        return CudaStream(torch.cuda.Stream(self.device))

    def current(self) -> CudaStream:
        return CudaStream(torch.cuda.current_stream(self.device))

    def pinned(self, num_bytes: int) -> Tensor:
        with torch.inference_mode(False):
            return torch.empty(num_bytes, dtype=torch.uint8, device='cpu', pin_memory=True)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, stream: Stream) -> Tensor:
        # From the stream's own share of the allocator: what was freed by the stream that computes
        # could be in use there still, and waiting for that would undo the overlap.
        assert isinstance(stream, CudaStream)
        with torch.cuda.stream(stream.stream):
            return torch.empty(shape, dtype=dtype, device=self.device)

    def keep(self, tensor: Tensor, stream: Stream) -> None:
        assert isinstance(stream, CudaStream)
        tensor.record_stream(stream.stream)

    def why_no_kernel(self, *tables: Tensor) -> str | None:
        return why_not(self.device, *tables)

    def gather(self, table: Tensor, index: Tensor, out: Tensor, scale: Tensor | None) -> None:
        gather_rows(table, index, out, scale)

    def scatter(self, rows: Tensor, table: Tensor, index: Tensor, scale: Tensor | None) -> None:
        scatter_rows(rows, table, index, scale)
