"""Which recorded values a tensor was computed from."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Provenance(TorchDispatchMode):
    """Follows values through every operation, in-place writes and views included.

    Provenance belongs to a storage: all views of a tensor share it. A fresh result takes the union
    of its inputs' provenance and replaces whatever a freed tensor left at the same address.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[int, frozenset[Hashable]] = {}

    def of(self, *values: Any) -> frozenset[Hashable]:
        """The marks that ``values`` (tensors, or containers of tensors) depend on."""
        keys = [_storage(leaf) for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
        return frozenset().union(*(self._sources.get(key, frozenset()) for key in keys))

    def mark(self, value: Tensor, marks: Iterable[Hashable]) -> Tensor:
        """Start a new provenance: from here on the result depends on ``marks`` alone."""
        with torch._C._DisableTorchDispatch():
            value = value.clone()  # its own storage, shared with no other value
        self._sources[_storage(value)] = frozenset(marks)
        return value

    def forget(self, value: Tensor) -> None:
        """From here on ``value`` depends on nothing."""
        self._sources[_storage(value)] = frozenset()

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        sources = self.of(inputs)
        shared = {_storage(tensor) for tensor in inputs}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._sources[_storage(tensor)] = sources
        schema = getattr(func, '_schema', None)
        if schema is not None and schema.is_mutable:
            for key in shared:
                self._sources[key] = self._sources.get(key, frozenset()) | sources
        return out


def _storage(tensor: Tensor) -> int:
    if tensor.layout != torch.strided:
        return 0 if not hasattr(tensor, 'values') else id(tensor)
    try:
        return tensor.untyped_storage()._cdata
    except (RuntimeError, NotImplementedError):
        return id(tensor)
