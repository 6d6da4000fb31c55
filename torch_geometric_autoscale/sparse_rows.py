"""Feature rows of which only the entries that are not zero are stored."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map

from .errors import explain
from .graph import multiply
from .lazy import LazyRows
from .row_pattern import RowPattern
from .torch_csr import csr_matrix, hush_beta_warning

_WHO = 'SparseRows'


class SparseRows(Tensor):
    """A dense matrix ``(n, F)`` to whoever asks, stored without its zeros.

    For bag-of-words features: dropout acts on the stored entries alone (a zero stays zero either
    way), rows are selected, and products with a dense matrix from the right (``F.linear``,
    ``x @ w``) run over stored entries, forward and backward. Everything else is answered by a
    dense copy, which is correct and takes the room of one; views (``x.t()``) are of such copies.
    The rows are constants: they take neither a gradient nor writes in place.

    Make one with :meth:`from_dense` or :meth:`from_sparse`.

    Attributes:
        pattern: Where the stored entries are.
        stored: ``(nnz,)`` the entries.
    """

    pattern: RowPattern
    stored: Tensor

    @staticmethod
    def __new__(cls, pattern: RowPattern, stored: Tensor) -> 'SparseRows':
        self: SparseRows = Tensor._make_wrapper_subclass(
            cls, pattern.size, dtype=stored.dtype, device=stored.device
        )
        self.pattern, self.stored = pattern, stored
        return self

    @classmethod
    def from_dense(cls, x: Tensor) -> 'SparseRows':
        """Leave out the zeros of ``x``, ``(n, F)`` of a floating-point type."""
        if isinstance(x, SparseRows):
            return x
        if not isinstance(x, Tensor) or x.dim() != 2 or x.layout != torch.strided:
            came = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(
                explain(f'{_WHO}.from_dense', "'x' must be a dense matrix (n, F)", came,
                        'Pass one row per node.')
            )  # fmt: skip
        _check_constant(x)
        hush_beta_warning()
        return cls.from_sparse(x.to_sparse_csr())

    @classmethod
    def from_sparse(cls, matrix: Tensor) -> 'SparseRows':
        """The rows of a ``torch.sparse`` matrix ``(n, F)`` in CSR, CSC or COO layout."""
        sparse = isinstance(matrix, Tensor) and matrix.layout in _SPARSE_LAYOUTS
        if not sparse or matrix.dim() != 2 or matrix.dense_dim():
            came = matrix.layout if isinstance(matrix, Tensor) else type(matrix).__name__
            raise ValueError(
                explain(f'{_WHO}.from_sparse', "'matrix' must be a torch.sparse matrix (n, F)",
                        came, 'Use SparseRows.from_dense for dense features.')
            )  # fmt: skip
        _check_constant(matrix)
        hush_beta_warning()
        csr = matrix.to_sparse_csr()
        small = max(csr.shape) < 2**31 and csr.values().numel() < 2**31
        index = torch.int32 if small else torch.int64  # products are faster with 32 bits
        crow, col = csr.crow_indices().to(index), csr.col_indices().to(index)
        return cls(RowPattern(crow, col, csr.size(1)), csr.values().detach())

    def dense(self) -> Tensor:
        """A dense copy, ``(n, F)``."""
        out = torch.zeros(self.pattern.size, dtype=self.stored.dtype, device=self.stored.device)
        index = (self.pattern.row(), self.pattern.col.long())
        return out.index_put_(index, self.stored, accumulate=True)

    def with_stored(self, stored: Tensor) -> 'SparseRows':
        """Other entries ``(nnz,)`` in the same places."""
        return SparseRows(self.pattern.to(stored.device), stored)

    def take(self, ids: Tensor) -> 'SparseRows':
        """The rows ``ids``, each in ``[0, n)``."""
        pattern, entries = self.pattern.take(ids.to(self.stored.device))
        return SparseRows(pattern, self.stored.index_select(0, entries))

    def between(self, start: int, stop: int) -> 'SparseRows':
        """The rows ``start:stop``."""
        pattern, entries = self.pattern.between(start, stop)
        return SparseRows(pattern, self.stored[entries])

    # Tensor protocol #############################################################

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        answer = _ANSWERS.get(func)
        if answer is not None and args and isinstance(args[0], SparseRows):
            out = answer(func, *args, **kwargs)
            if out is not NotImplemented:
                return out
        if func in _LEAVES_PYTORCH:
            args, kwargs = tree_map(_dense, (tuple(args), kwargs))
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        schema = func._schema  # type: ignore[attr-defined]
        if schema.is_mutable:
            named = dict(zip((a.name for a in schema.arguments), args, strict=False)) | kwargs
            for argument in schema.arguments:
                written = argument.alias_info is not None and argument.alias_info.is_write
                if written and isinstance(named.get(argument.name), SparseRows):
                    _refuse_write(func)
        args, kwargs = tree_map(_dense, (tuple(args), kwargs))
        return func(*args, **kwargs)

    def __reduce_ex__(self, protocol: Any) -> Any:
        pattern = self.pattern
        return _rebuild, (pattern.crow, pattern.col, pattern.num_columns, self.stored)

    def __copy__(self) -> 'SparseRows':
        return SparseRows(self.pattern, self.stored)

    def __deepcopy__(self, memo: dict) -> 'SparseRows':
        # Nobody writes to a pattern.
        return SparseRows(self.pattern, self.stored.clone())

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return (
            f'{type(self).__name__}(size={tuple(self.shape)}, stored={self.stored.numel()}, '
            f'dtype={self.dtype}, device={self.device})'
        )


def is_kept_sparse(x: Tensor) -> bool:
    """Whether ``x`` are such rows, now or once they are gathered."""
    return isinstance(x.gathered() if isinstance(x, LazyRows) else x, SparseRows)


class _Product(torch.autograd.Function):
    """``x @ weight`` over stored entries; the backward is a product with the transpose."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, stored: Tensor, pattern: RowPattern) -> Tensor:
        ctx.save_for_backward(stored)
        ctx.pattern = pattern
        return multiply(csr_matrix(pattern.crow, pattern.col, stored, pattern.size), weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (stored,) = ctx.saved_tensors
        num_rows, num_columns = ctx.pattern.size
        bounds, row, order = ctx.pattern.by_column()
        values = stored.index_select(0, order)
        transpose = csr_matrix(bounds, row, values, (num_columns, num_rows))
        return multiply(transpose, grads[0]), None, None


def _rebuild(crow: Tensor, col: Tensor, num_columns: int, stored: Tensor) -> SparseRows:
    return SparseRows(RowPattern(crow, col, num_columns), stored)


def _dense(value: Any) -> Any:
    return value.dense() if isinstance(value, SparseRows) else value


def _check_constant(x: Tensor) -> None:
    if x.requires_grad or not x.is_floating_point():
        came = 'features that require a gradient' if x.requires_grad else x.dtype
        raise ValueError(
            explain(_WHO, 'the rows must be constants of a floating-point type', came,
                    'Keep learned features dense; convert integers, e.g. with x.float().')
        )  # fmt: skip


def _refuse_write(func: Any, *_: Any, **__: Any) -> Any:
    raise ValueError(
        explain(_WHO, 'rows that are kept sparse cannot be written to, nor take a gradient',
                getattr(func, '__name__', str(func)), 'Take x.to_dense() first.')
    )  # fmt: skip


# What is answered over stored entries ############################################
# Each is called as ``answer(func, *args, **kwargs)`` with a ``SparseRows`` in the first place, and
# gives ``NotImplemented`` where it takes a dense copy.


def _multiply(func: Any, input: SparseRows, other: Any, **kwargs: Any) -> Any:
    fits = isinstance(other, Tensor) and not isinstance(other, SparseRows) and not kwargs
    if not fits or other.dim() != 2 or other.layout != torch.strided:
        return NotImplemented
    if other.dtype != input.dtype or input.dtype not in (torch.float32, torch.float64):
        return NotImplemented
    if other.size(0) != input.size(1) or other.device != input.device:
        return NotImplemented
    return _Product.apply(other, input.stored, input.pattern)


def _linear(func: Any, input: SparseRows, weight: Tensor, bias: Tensor | None = None) -> Any:
    out = _multiply(func, input, weight.t()) if weight.dim() == 2 else NotImplemented
    return out if out is NotImplemented or bias is None else out + bias


def _dropout(
    func: Any, input: SparseRows, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Any:
    if inplace and training:
        _refuse_write('dropout with inplace=True')
    return input.with_stored(F.dropout(input.stored, p, training)) if training else input


def _plain_dropout(func: Any, input: SparseRows, p: float, train: bool) -> Any:
    return _dropout(func, input, p, train)


def _index_select(func: Any, input: SparseRows, dim: int, index: Tensor) -> Any:
    if dim not in (0, -2) or not isinstance(index, Tensor) or index.dim() != 1:
        return NotImplemented
    return input.take(index)


def _narrow(func: Any, input: SparseRows, dim: int, start: Any, length: int) -> Any:
    fits = dim in (0, -2) and isinstance(start, int) and start >= 0
    if not fits or length < 0 or start + length > input.size(0):
        return NotImplemented
    return input.between(start, start + length)


def _getitem(func: Any, input: SparseRows, index: Any) -> Any:
    num_rows = input.size(0)
    if isinstance(index, slice) and index.step in (None, 1):
        start, stop, _ = index.indices(num_rows)
        return input.between(start, max(start, stop))
    if not isinstance(index, Tensor) or index.dim() != 1:
        return NotImplemented
    if index.dtype == torch.bool:
        fits = index.numel() == num_rows
        return input.take(index.nonzero().view(-1)) if fits else NotImplemented
    if index.dtype not in (torch.int32, torch.int64):
        return NotImplemented
    if index.numel() and not -num_rows <= int(index.min()) <= int(index.max()) < num_rows:
        return NotImplemented  # the dense copy says what is wrong
    return input.take(torch.where(index < 0, index + num_rows, index))


def _on_entries(func: Any, input: SparseRows, *args: Any, **kwargs: Any) -> Any:
    """Let the entries answer, and keep the places."""
    out = func(input.stored, *args, **kwargs)
    if out is input.stored:
        return input
    return input.with_stored(out) if isinstance(out, Tensor) else out


def _like_entries(func: Any, input: SparseRows, *args: Any, **kwargs: Any) -> Any:
    """Let the entries answer what depends on type and device alone."""
    return func(input.stored, *args, **kwargs)


def _pinned(func: Any, input: SparseRows, *args: Any) -> Any:
    pattern = input.pattern
    crow, col, stored = (func(t, *args) for t in (pattern.crow, pattern.col, input.stored))
    return _rebuild(crow, col, pattern.num_columns, stored)


def _to_dense(func: Any, input: SparseRows, dtype: Any = None, **kwargs: Any) -> Any:
    return input.dense() if dtype is None else input.dense().to(dtype)


def _same(func: Any, input: SparseRows, *args: Any, **kwargs: Any) -> Any:
    return SparseRows(input.pattern, input.stored)


def _requires_grad(func: Any, input: SparseRows, requires_grad: bool = True) -> Any:
    return _refuse_write(func) if requires_grad else input


_torch = torch._C._VariableFunctions  # PyG puts a wrapper in the place of torch.index_select
_data, _grad = vars(torch._C.TensorBase)['data'], vars(torch._C.TensorBase)['requires_grad']
_SPARSE_LAYOUTS = (torch.sparse_csr, torch.sparse_csc, torch.sparse_coo)
_LEAVES_PYTORCH = {
    Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__array__, Tensor.__dlpack__,
}  # fmt: skip
_ANSWERS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        (torch.mm, torch.matmul, Tensor.mm, Tensor.matmul, Tensor.__matmul__), _multiply
    ),
    F.linear: _linear,
    F.dropout: _dropout,
    torch.dropout: _plain_dropout,
    **dict.fromkeys((_torch.index_select, Tensor.index_select), _index_select),
    **dict.fromkeys((torch.narrow, Tensor.narrow), _narrow),
    Tensor.__getitem__: _getitem,
    **dict.fromkeys(
        (Tensor.to, Tensor.type, Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16,
         Tensor.cuda, Tensor.cpu, Tensor.clone, torch.clone, Tensor.is_shared, Tensor.is_pinned),
        _on_entries,
    ),
    **dict.fromkeys(
        (Tensor.new_zeros, Tensor.new_ones, Tensor.new_empty, Tensor.new_full, Tensor.new_tensor),
        _like_entries,
    ),
    **dict.fromkeys((Tensor.pin_memory, Tensor.share_memory_), _pinned),
    Tensor.to_dense: _to_dense,
    **dict.fromkeys(
        (Tensor.detach, torch.detach, Tensor.contiguous, _data.__get__), _same
    ),
    Tensor.requires_grad_: _requires_grad,
    _grad.__set__: _requires_grad,
    **dict.fromkeys((Tensor.__setitem__, _data.__set__, Tensor.set_), _refuse_write),
}  # fmt: skip
