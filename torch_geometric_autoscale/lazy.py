"""Rows that are gathered when somebody reads them."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map


class LazyRows(Tensor):
    """A tensor that knows its shape, and computes its content when an operation first needs it.

    Most phases of a layer-wise inference hand the input features to the model without reading
    them: gathering their rows would cost more than the phase itself.

    Args:
        compute: Gathers the rows, of this ``size``, ``dtype`` and ``device``.
    """

    compute: Callable[[], Tensor]
    rows: Tensor | None
    version: int

    @staticmethod
    def __new__(
        cls,
        compute: Callable[[], Tensor],
        size: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> 'LazyRows':
        self: LazyRows = Tensor._make_wrapper_subclass(cls, size, dtype=dtype, device=device)
        self.compute, self.rows, self.version = compute, None, 0
        return self

    def gathered(self) -> Tensor:
        """The rows; they are gathered when first asked for."""
        if self.rows is None:
            self.rows = self.compute()
            self.version = 0 if self.rows.is_inference() else self.rows._version
        return self.rows

    @property
    def is_untouched(self) -> bool:
        """Whether the rows are as they were gathered: nobody has written to them."""
        if self.rows is None:
            return True
        return not self.rows.is_inference() and self.rows._version == self.version

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func not in _SHAPE:
            args, kwargs = tree_map(_content, (tuple(args), kwargs or {}))
            return func(*args, **kwargs)  # the rows may be of a class of their own
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        args, kwargs = tree_map(_content, (tuple(args), kwargs or {}))
        return func(*args, **kwargs)


def _content(value: Any) -> Any:
    return value.gathered() if isinstance(value, LazyRows) else value


_SHAPE: set[Any] = {
    Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point, Tensor.is_inference,
    *(getattr(Tensor, name).__get__ for name in (
        'shape', 'dtype', 'device', 'ndim', 'is_cuda', 'is_cpu', 'layout', 'requires_grad',
    )),
}  # fmt: skip
