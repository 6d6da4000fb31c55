"""Batches that are on the device before anybody asks for them."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .batch import SubgraphBatch
from .errors import explain
from .loader import PartitionLoader
from .prepared import Uses, move_prepared
from .transfer.cuda import CudaRuntime
from .transfer.runtime import Runtime

_ALIGNED = 256  # bytes; every tensor of a batch begins at a multiple of it


class DevicePrefetcher:
    """Iterates over a loader's batches, each already on the device.

    A thread assembles the next batch while one is in use, with its adjacency in every form that
    earlier batches were asked for, puts all its tensors into one block of pinned memory, and has a
    stream of its own copy that, without blocking anybody. Whoever takes the batch lets its own
    stream wait for the copy; the host does not wait.

    The batches are those of the loader, in its order. At most one is ahead. On the CPU there is
    nothing to copy, and batches are assembled ahead.

    Args:
        loader: A loader of this library.
        device: Where batches go.
        runtime: Stands for the device, in tests.

    Raises:
        TypeError: If it is another kind of loader.
        ValueError: If the device does not exist.
    """

    def __init__(
        self,
        loader: PartitionLoader,
        device: torch.device | str = 'cuda',
        runtime: Runtime | None = None,
    ) -> None:
        if not isinstance(loader, PartitionLoader):
            raise TypeError(
                explain('DevicePrefetcher', "'loader' must be a SubgraphLoader",
                        type(loader).__name__, 'Pass SubgraphLoader(data, ptr).')
            )  # fmt: skip
        self.loader, self.device = loader, torch.device(device)
        if runtime is None and self.device.type == 'cuda':
            if not torch.cuda.is_available():
                raise ValueError(
                    explain('DevicePrefetcher', "'device' must be there", f"no '{self.device}'",
                            "Pass device='cpu', where batches are only assembled ahead.")
                )  # fmt: skip
            runtime = CudaRuntime(self.device)
        # One for all epochs: memory that one stream has given back is not given to another.
        self._copies = None if runtime is None else _Copies(runtime)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[SubgraphBatch]:
        if self._copies is None:
            return self.loader.ahead(lambda batch, _: batch.to(self.device))
        return self._on_device(self._copies)

    def _on_device(self, copies: '_Copies') -> Iterator[SubgraphBatch]:
        for batch in self.loader.ahead(copies.begin):
            copies.await_them(batch)
            yield batch
            del batch


class _Copies:
    """Copies batches to a device, in a stream of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.stream = runtime.stream()

    def begin(self, batch: SubgraphBatch, uses: Uses) -> SubgraphBatch:
        """The batch on the device, where it will be once its copy is over."""
        blocks: list[Tensor] = []

        def move(tensors: list[Tensor]) -> list[Tensor]:
            block, copies = self._copied(tensors)
            blocks.append(block)
            return copies

        adj_t = batch.adj_t
        batch.move(self.runtime.device, move)
        move_prepared(adj_t, batch.adj_t, uses, move)
        batch.__dict__['_arrival'] = (blocks, self.stream.record())
        return batch

    def _copied(self, tensors: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """A block of the device's memory, and the tensors in it."""
        starts, size = [], 0
        for tensor in tensors:
            starts.append(size)
            size += -(-tensor.numel() * tensor.element_size() // _ALIGNED) * _ALIGNED
        pinned = self.runtime.pinned(size)
        for start, tensor in zip(starts, tensors, strict=True):
            _inside(pinned, start, tensor).copy_(tensor)
        block = self.runtime.empty((size,), torch.int8, self.stream)
        self.stream.run(lambda: block.view(torch.uint8).copy_(pinned, non_blocking=True))
        inside = [_inside(block, start, t) for start, t in zip(starts, tensors, strict=True)]
        return block, inside

    def await_them(self, batch: SubgraphBatch) -> None:
        """Let the caller's stream go on with the batch once it is there."""
        blocks, event = batch.__dict__.pop('_arrival')
        current = self.runtime.current()
        current.wait(event)
        for block in blocks:
            self.runtime.keep(block, current)


def _inside(block: Tensor, start: int, like: Tensor) -> Tensor:
    """A tensor at byte ``start`` of a block.

    No view: a write to one tensor must not look like a write to all that share the block.
    """
    stride = torch.empty(like.shape, device='meta').stride()
    first = (block.storage_offset() * block.element_size() + start) // like.element_size()
    out = torch.empty(0, dtype=like.dtype, device=block.device)
    return out.set_(block.untyped_storage(), first, like.shape, stride)
