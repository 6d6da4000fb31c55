"""A device that has shapes and types but no numbers, to follow a step without a device.

It is PyTorch's ``'meta'``: whatever would make the host wait for a number (``item``, ``nonzero``, a
boolean mask, a copy to the host) raises. What would go wrong on a device besides is told here.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from torch_geometric_autoscale.transfer.runtime import Runtime
from torch_geometric_autoscale.transfer.simulated import CallersStream

DEVICE = torch.device('meta')
_COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}


class Waits(AssertionError):
    """The host would wait for the device."""


class Mixed(AssertionError):
    """Tensors of several devices meet in an operation."""


class OnDevice(TorchDispatchMode):
    """Refuses copies to the device that wait, and operations on tensors of several devices."""

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if func in _COPIES:
            self._check_copy(func, tensors, args, kwargs)
        elif {t.device.type for t in tensors if t.dim() > 0} == {'cpu', 'meta'}:
            raise Mixed(f'{func}: {[(tuple(t.shape), t.device.type) for t in tensors]}')
        return func(*args, **kwargs)

    def _check_copy(self, func: Callable, tensors: list[Tensor], args: Any, kwargs: Any) -> None:
        source = tensors[-1].device
        if func is torch.ops.aten.copy_.default:
            target = tensors[0].device
            waits = not (args[2] if len(args) > 2 else kwargs.get('non_blocking', False))
        else:
            target, waits = kwargs.get('device') or source, not kwargs.get('non_blocking', False)
        if source.type == 'cpu' and torch.device(target).type == 'meta' and waits:
            raise Waits(f'{func}: a copy to the device that waits')


class _Stream(CallersStream):
    """Does nothing: there are no numbers to move."""

    def run(self, operation: Callable[[], Any]) -> None:
        pass


class PretendRuntime(Runtime):
    """Streams of the device without numbers."""

    device = DEVICE

    def stream(self) -> _Stream:
        return _Stream()

    current = stream

    def pinned(self, num_bytes: int) -> Tensor:
        with torch.inference_mode(False):
            return torch.zeros(num_bytes, dtype=torch.uint8)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype, stream: Any) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=DEVICE)

    def keep(self, tensor: Tensor, stream: Any) -> None:
        assert tensor.device == DEVICE

    def why_no_kernel(self, *tables: Tensor) -> str | None:
        return None

    def gather(self, *_: Any) -> None:
        pass

    scatter = gather
