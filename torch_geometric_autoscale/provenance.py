"""Which recorded values a tensor was computed from."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .sparse_rows import SparseRows


class Provenance(TorchDispatchMode):
    """Follows values through every operation, in-place writes and views included.

    Provenance belongs to a storage: all views of a tensor share it. A result takes the union of its
    inputs' provenance.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sources: dict[int, frozenset[Hashable]] = {}
        # A weak reference keeps the address of a freed storage from being given away again.
        self._seen: dict[int, StorageWeakRef] = {}

    def of(self, *values: Any) -> frozenset[Hashable]:
        """The marks that ``values`` (tensors, or containers of tensors) depend on."""
        keys = [self._key(leaf) for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
        return frozenset().union(*(self._sources.get(key, frozenset()) for key in keys))

    def mark(self, value: Tensor, marks: Iterable[Hashable]) -> Tensor:
        """Start a new provenance: from here on the result depends on ``marks`` alone."""
        with torch._C._DisableTorchDispatch():
            value = value.clone()  # its own storage, shared with no other value
        self.set(value, marks)
        return value

    def set(self, value: Tensor, marks: Iterable[Hashable]) -> None:
        """Let ``value`` depend on ``marks`` alone."""
        self._sources[self._key(value)] = frozenset(marks)

    def forget(self, value: Tensor) -> None:
        """From here on ``value`` depends on nothing."""
        self.set(value, ())

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        sources = self.of(inputs)
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._sources[self._key(tensor)] = sources
        schema = getattr(func, '_schema', None)
        if schema is not None and schema.is_mutable:
            names = (argument.name for argument in schema.arguments)
            named = {**dict(zip(names, args, strict=False)), **(kwargs or {})}
            for argument in schema.arguments:
                if argument.alias_info is not None and argument.alias_info.is_write:
                    for tensor in tree_leaves(named.get(argument.name)):
                        if isinstance(tensor, Tensor):
                            key = self._key(tensor)
                            self._sources[key] = self._sources.get(key, frozenset()) | sources
        return out

    def _key(self, tensor: Tensor) -> int:
        if isinstance(tensor, SparseRows):
            tensor = tensor.stored
        with torch._C._DisableTorchDispatch():
            if tensor.layout == torch.sparse_coo:
                tensor = tensor._values()
            elif tensor.layout != torch.strided and type(tensor) is Tensor:
                tensor = tensor.values()
            try:
                storage = tensor.untyped_storage()
            except (RuntimeError, NotImplementedError):
                return 0  # a wrapper without a storage, such as a batch's adjacency: a constant
        key = storage._cdata
        if key not in self._seen:
            self._seen[key] = StorageWeakRef(storage)
        return key
