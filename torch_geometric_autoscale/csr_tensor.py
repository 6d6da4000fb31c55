"""A tensor that stands for a sparse CSR matrix and answers for it."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .errors import explain
from .torch_csr import csr_matrix


class CsrTensor(Tensor):
    """Behaves as a ``torch.sparse_csr`` tensor of constant values.

    Subclasses answer products with dense matrices and conversions; everything else is answered by
    the real CSR tensor that :meth:`to_csr` gives.
    """

    layout = property(lambda self: torch.sparse_csr)
    is_sparse_csr = property(lambda self: True)

    def to_csr(self) -> Tensor:
        """A plain ``torch.sparse_csr`` tensor."""
        raise NotImplementedError

    def propagate(self, x: Tensor, reduce: str = 'sum') -> Tensor:
        """The product with a dense matrix ``(n, F)``, or another reduction over its rows."""
        raise NotImplementedError

    def with_(self, **changes: Any) -> Any:
        """The same matrix with another ``dtype`` or ``device``."""
        raise NotImplementedError

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        of_matrix = bool(args) and isinstance(args[0], CsrTensor)
        if func in _PRODUCTS and of_matrix and len(args) > 1:
            other = args[1]
            if isinstance(other, Tensor) and not isinstance(other, CsrTensor) and other.dim() == 2:
                reduce = args[2] if len(args) > 2 else kwargs.get('reduce', 'sum')
                return args[0].propagate(other, {'amax': 'max', 'amin': 'min'}.get(reduce, reduce))
        if func in _CONVERSIONS and of_matrix:
            return _convert(func, *args, **kwargs)
        if func in _IDENTITIES and of_matrix:
            return args[0]
        if func is Tensor.requires_grad_:
            raise ValueError(
                explain('adj_t', 'edge weights must be constants', 'requires_grad_()',
                        'Compute learned weights inside the model from batch.edge_attr and pass '
                        'them with batch.edge_index.')
            )  # fmt: skip
        if func in _PLAIN:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **kwargs)
        args, kwargs = _to_csr(list(args)), _to_csr(kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return func(*_to_csr(list(args)), **_to_csr(kwargs or {}))

    def __reduce_ex__(self, protocol: Any) -> Any:
        csr = self.to_csr()
        return csr_matrix, (csr.crow_indices(), csr.col_indices(), csr.values(), tuple(self.shape))


_PRODUCTS = {
    torch.sparse.mm, torch.mm, torch.spmm, torch.matmul,
    Tensor.mm, Tensor.matmul, Tensor.__matmul__,
}  # fmt: skip
_CONVERSIONS = {
    Tensor.to, Tensor.type, Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16,
    Tensor.cuda, Tensor.cpu,
}  # fmt: skip
_IDENTITIES = {
    Tensor.detach,
    Tensor.clone,
    Tensor.contiguous,
    Tensor.coalesce,
    Tensor.to_sparse_csr,
}
_PLAIN: set[Any] = {
    Tensor.size, Tensor.dim, Tensor.ndimension, Tensor.numel, Tensor.is_floating_point,
}  # fmt: skip
_PLAIN |= {
    getattr(Tensor, name).__get__
    for name in (
        'shape', 'dtype', 'device', 'ndim', 'is_cuda', 'is_cpu', 'requires_grad', 'is_leaf',
        'grad_fn', 'grad', 'is_sparse', 'is_mkldnn',
    )
}  # fmt: skip


def _convert(func: Callable, adj: CsrTensor, *args: Any, **kwargs: Any) -> Any:
    # Let PyTorch parse the many ways to name a dtype and a device on an empty stand-in.
    stand_in = func(torch.empty(0, dtype=adj.dtype, device=adj.device), *args, **kwargs)
    if isinstance(stand_in, str):  # Tensor.type() without arguments
        return stand_in
    return adj.with_(dtype=stand_in.dtype, device=stand_in.device)


def _to_csr(value: Any) -> Any:
    if isinstance(value, CsrTensor):
        return value.to_csr()
    if isinstance(value, (list, tuple)):
        return type(value)(_to_csr(item) for item in value)
    if isinstance(value, dict):
        return {name: _to_csr(item) for name, item in value.items()}
    return value
