"""Features that a PyG ``FeatureStore`` keeps, read by rows."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import FeatureStore, TensorAttr

from .errors import explain

_WHO = 'feature_store'


class StoredRows(Tensor):
    """A matrix ``(N, F)`` that lies in a feature store and is read by rows alone.

    It has a shape and a type, and answers ``rows(ids)``, ``index_select(0, ids)`` and
    ``x[a:b]`` with tensors in memory. It takes part in no computation.

    Args:
        store: Where the rows are; row ``i`` is what it gives for index ``i``.
        num_rows: Number of nodes ``N``.
        name: What the store calls the attribute; its group is ``None``.

    Raises:
        TypeError: ``store`` is none, or gives no tensors.
        ValueError: It has no such rows.
    """

    store: FeatureStore
    key: str

    @staticmethod
    def __new__(cls, store: FeatureStore, num_rows: int, name: str = 'x') -> 'StoredRows':
        if not isinstance(store, FeatureStore):
            raise TypeError(
                explain(_WHO, 'it must be a PyG FeatureStore', type(store).__name__,
                        "Derive a class from torch_geometric.data.FeatureStore, or set 'data.x'.")
            )  # fmt: skip
        ends = torch.tensor([0, num_rows - 1] if num_rows else [], dtype=torch.int64)
        try:
            sample = _read(store, name, ends)
        except (KeyError, IndexError, AttributeError) as error:
            raise ValueError(
                explain(_WHO, f"it must give rows of '{name}' for {num_rows} nodes, in group None",
                        f'{type(error).__name__}: {error}', 'Put one row per node into it.')
            ) from error  # fmt: skip
        shape = (num_rows, *sample.shape[1:])
        self: StoredRows = Tensor._make_wrapper_subclass(cls, shape, dtype=sample.dtype)
        self.store, self.key = store, name
        return self

    def rows(self, ids: Tensor) -> Tensor:
        """The rows of some nodes, in their order, in memory.

        Raises:
            ValueError: The store gives another number, width or type of them.
        """
        rows = _read(self.store, self.key, ids)
        wanted = (ids.numel(), *self.shape[1:])
        if tuple(rows.shape) != wanted or rows.dtype != self.dtype:
            raise ValueError(
                explain(_WHO, f"rows of '{self.key}' must have shape {wanted} and be {self.dtype}",
                        f'{tuple(rows.shape)} of {rows.dtype}', 'Return one row per index.')
            )  # fmt: skip
        return rows

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func in (Tensor.index_select, torch.index_select) and args[1] == 0:
            return args[0].rows(args[2])
        if func is Tensor.__getitem__ and isinstance(args[1], slice):
            return args[0].rows(torch.arange(*args[1].indices(args[0].size(0))))
        if func not in _SHAPE:
            # No TypeError: Python would take it as a request to try the reflected operation.
            raise ValueError(
                explain(_WHO, 'features in a store are read by rows',
                        getattr(func, '__name__', func), 'Work with the rows of a batch, batch.x.')
            )  # fmt: skip
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return func(*args, **(kwargs or {}))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self.store, self.size(0), self.key)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'StoredRows':
        return self

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f'{type(self).__name__}(shape={tuple(self.shape)}, dtype={self.dtype})'


def _read(store: FeatureStore, name: str, ids: Tensor) -> Tensor:
    rows = store.get_tensor(TensorAttr(group_name=None, attr_name=name, index=ids))
    if rows is None:
        raise KeyError(name)
    if not isinstance(rows, Tensor):
        rows = torch.as_tensor(rows)
    return rows


_SHAPE: set[Any] = {
    Tensor.size, Tensor.dim, Tensor.numel, Tensor.is_floating_point, Tensor.is_inference,
    Tensor.is_complex, Tensor.__len__,
    *(getattr(Tensor, name).__get__ for name in (
        'shape', 'dtype', 'device', 'ndim', 'is_cuda', 'is_cpu', 'layout', 'requires_grad',
        'is_sparse', 'is_sparse_csr',
    )),
}  # fmt: skip
