"""The adjacency of one batch: a sparse CSR matrix that keeps its transpose and knows its graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .batch_edges import BatchEdges
from .batching import contiguous
from .csr_tensor import CsrTensor
from .errors import explain
from .graph import Graph, VariantKey
from .lazy import LazyRows
from .sparse_product import product
from .tags import halo_is_constant, mark_halo_constant, version_of
from .torch_csr import csr_matrix


class Adjacency(CsrTensor):
    """The adjacency of a batch, ``(B, n)`` or ``(n, n)``; rows are targets.

    Behaves as a ``torch.sparse_csr`` tensor. Products with dense matrices run on 32-bit indices
    in both directions (the built-in backward of ``torch.sparse.mm`` is several times slower than
    a product with a prepared transpose); everything else is answered by a real CSR tensor.
    Values are constants: no gradient reaches edge weights through it.
    """

    edges: BatchEdges
    key: VariantKey | None
    is_square: bool
    _cache: dict[Any, Any]
    _prepared: dict[Any, Any]  # of what may be asked for, and has not been yet
    _own_values: Tensor | None

    @staticmethod
    def __new__(
        cls,
        edges: BatchEdges,
        key: VariantKey | None = None,
        square: bool = False,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = 'cpu',
    ) -> 'Adjacency':
        num_nodes = edges.nodes.n_id.numel()
        size = (num_nodes if square else edges.nodes.batch_size, num_nodes)
        self: Adjacency = Tensor._make_wrapper_subclass(
            cls, size, dtype=dtype, device=torch.device(device)
        )
        self.edges, self.key, self.is_square = edges, key, square
        self._cache, self._prepared = {}, {}
        self._own_values = None
        return self

    @property
    def graph(self) -> Graph:
        """The whole graph that this batch was cut from."""
        return self.edges.graph

    @property
    def batch_size(self) -> int:
        """Number of batch nodes ``B``; the first ``B`` rows and columns."""
        return self.edges.nodes.batch_size

    @property
    def has_own_values(self) -> bool:
        """Whether :meth:`with_values` gave the values, not the graph."""
        return self._own_values is not None

    @property
    def weight(self) -> Tensor | None:
        """The whole graph's edge weights, or ``None`` where it has none."""
        if self._own_values is not None:
            return self._own_values
        return self.graph.variant(self.key).weight

    # Other forms #################################################################

    def with_(self, **changes: Any) -> 'Adjacency':
        """The same batch with another ``key``, ``square``, ``dtype`` or ``device``."""
        current = {
            'key': self.key, 'square': self.is_square, 'dtype': self.dtype, 'device': self.device,
        }  # fmt: skip
        form = {**current, **changes}
        if form == current:
            return self
        if self._own_values is not None:
            other = Adjacency(self.edges, **form)
            other._own_values = self._own_values
            return other
        name = tuple(form.items())
        if name not in self._cache:
            other = Adjacency(self.edges, **form)
            self._cache[name] = other
        return self._cache[name]

    def with_values(self, values: Tensor) -> 'Adjacency':
        """The same edges with other constant values, ``(E_b,)``; it cannot be normalised."""
        num_edges = self._arrays()[1].numel()
        if values.shape != (num_edges,):
            raise ValueError(
                explain('adj_t', f"'values' must have shape ({num_edges},), one per edge",
                        tuple(values.shape), 'Compute them from adj_t.values().')
            )  # fmt: skip
        other = Adjacency(self.edges, self.key, self.is_square, self.dtype, self.device)
        other._cache['arrays'] = self._arrays()
        other._own_values = values.detach()
        return other

    def square(self) -> 'Adjacency':
        """The ``(n, n)`` form; rows of halo nodes are empty."""
        return self.with_(square=True)

    def gcn_norm(self, improved: bool, add_self_loops: bool, dtype: torch.dtype) -> 'Adjacency':
        """This batch's rows of the normalised *whole* graph."""
        if self.key not in (None, 'unweighted') or self._own_values is not None:
            raise ValueError(
                explain('gcn_norm', 'only the adjacency that the loader gave can be normalised',
                        self.key or 'an adjacency with values of its own',
                        'Normalise first, then drop edges; or use normalize=False.')
            )  # fmt: skip
        key = self.graph.gcn_norm(improved, add_self_loops, dtype, self.key is None)
        return self.with_(key=key, dtype=dtype)

    def without_weight(self) -> 'Adjacency':
        """This batch as a part of the graph without edge weights."""
        return self.with_(key=self.graph.unweighted())

    # Arrays ######################################################################

    def _kept(self, name: Any, compute: Callable[[], Any]) -> Any:
        if name in self._prepared:
            self._cache[name] = self._prepared.pop(name)
        elif name not in self._cache:
            # It may serve a training step later, and is nothing that a forward calls.
            with torch.inference_mode(False), torch._C.DisableTorchFunction():
                self._cache[name] = compute()
        return self._cache[name]

    def _arrays(self) -> tuple[Tensor, Tensor]:
        """``crow`` and ``col`` (int32) of this form on this device."""

        def compute() -> tuple[Tensor, Tensor]:
            crow, col, _ = self.edges.slice(self.key)
            rows = self.size(0)
            if (
                self._own_values is not None
                and self._own_values.numel() < col.numel()
                and (crow.numel() == rows + 1)
            ):
                raise ValueError(
                    explain('adj_t', 'values of its own must cover the edges into halo nodes too',
                            f'{self._own_values.numel()} values for {col.numel()} edges',
                            'Take adj_t.square() first, or a loader with bipartite=False.')
                )  # fmt: skip
            if crow.numel() < rows + 1:
                crow = torch.cat([crow, crow[-1:].expand(rows + 1 - crow.numel())])
            elif crow.numel() > rows + 1:
                crow = crow[: rows + 1]
                col = col[: int(crow[-1])]
            # Pageable memory is staged before the call returns: the host waits for no device.
            crow = crow.to(self.device, non_blocking=True)
            return crow, col.to(self.device, non_blocking=True)

        return self._kept('arrays', compute)

    def values_as(self, dtype: torch.dtype) -> Tensor:
        """Edge weights in ``dtype``; ones where the graph has none. ``(E_b,)``."""

        def compute() -> Tensor:
            _, col = self._arrays()
            weight = self._own_values
            if weight is None:
                weight = self.edges.slice(self.key).weight
            if weight is None:
                return torch.ones(col.numel(), dtype=dtype, device=self.device)
            return weight[: col.numel()].to(self.device, dtype, non_blocking=True)

        return self._kept(('values', dtype), compute)

    def _target(self) -> Tensor:
        """The local target of every edge, ``(E_b,)`` int64."""

        def compute() -> Tensor:
            crow, col = self._arrays()
            count = (crow[1:] - crow[:-1]).long()
            ids = torch.arange(self.size(0), device=self.device)
            return torch.repeat_interleave(ids, count, output_size=col.numel())

        return self._kept('target', compute)

    def _forward_matrix(self, dtype: torch.dtype) -> Tensor:
        crow, col = self._arrays()
        return csr_matrix(crow, col, self.values_as(dtype), tuple(self.shape))

    def _backward_matrix(self, dtype: torch.dtype, num_sources: int) -> Tensor:
        """The transpose, restricted to the first ``num_sources`` columns."""

        def compute() -> Tensor:
            _, col = self._arrays()
            row, value = self._target().int(), self.values_as(dtype)
            if self.device.type != 'cpu':
                return self._transposed(col, row, value, num_sources)
            if num_sources < self.size(1):
                keep = (col < num_sources).nonzero().view(-1)
                row, col, value = row[keep], col[keep], value[keep]
            order = torch.argsort(col, stable=True)
            crow = torch.zeros(num_sources + 1, dtype=torch.int32, device=self.device)
            crow[1:] = torch.bincount(col, minlength=num_sources).cumsum(0)
            return csr_matrix(crow, row[order], value[order], (num_sources, self.size(0)))

        return self._kept(('transpose', dtype, num_sources), compute)

    def _transposed(self, col: Tensor, row: Tensor, value: Tensor, num_sources: int) -> Tensor:
        """The same on a device, whose numbers the host does not wait for."""
        on_host = self.edges.slice(self.key).col[: col.numel()]
        kept = int((on_host < num_sources).sum())
        col, order = torch.sort(col, stable=True)
        order = order[:kept]
        bounds = torch.arange(num_sources + 1, dtype=torch.int32, device=self.device)
        crow = torch.searchsorted(col[:kept], bounds, out_int32=True)
        return csr_matrix(crow, row[order], value[order], (num_sources, self.size(0)))

    def values(self) -> Tensor:
        """Edge weights in this adjacency's type; ones where the graph has none. ``(E_b,)``."""
        return self.values_as(self.dtype)

    def has_values(self, weight: Tensor) -> bool:
        """Whether ``weight`` holds this adjacency's edge weights, in whatever type."""
        if self.weight is None or weight.device != self.device:
            return False
        values = self.values_as(weight.dtype)
        with torch._C.DisableTorchFunction():  # the forward decides nothing by it
            return weight is values or torch.equal(weight, values)

    def to_csr(self) -> Tensor:
        """A plain ``torch.sparse_csr`` tensor with 64-bit indices."""

        def compute() -> Tensor:
            crow, col = self._arrays()
            values = self.values_as(self.dtype)
            return csr_matrix(crow.long(), col.long(), values, tuple(self.shape))

        return self._kept('csr', compute)

    def edge_index(self) -> Tensor:
        """Local sources and targets, ``(2, E_b)`` int64, in the order of the values."""
        return torch.stack([self._arrays()[1].long(), self._target()])

    # Products ####################################################################

    def propagate(self, x: Tensor, reduce: str = 'sum') -> Tensor:
        """Aggregate rows of sources at their targets.

        Args:
            x: ``(n, F)`` rows of all nodes of the batch.
            reduce: ``'sum'`` (or ``'add'``), ``'mean'``, ``'min'`` or ``'max'`` over each node's
                edges; nodes without edges get zeros, as in PyG.
        """
        reduce = {'add': 'sum'}.get(reduce, reduce)
        if reduce not in _REDUCTIONS:
            raise ValueError(
                explain('adj_t', f"'reduce' must be one of {sorted(_REDUCTIONS)}", repr(reduce),
                        'Use batch.edge_index for other aggregations.')
            )  # fmt: skip
        if not x.is_floating_point():
            # No TypeError: Python would take it as a request to try the reflected product.
            raise ValueError(
                explain('adj_t', 'the dense matrix must be of a floating-point type', x.dtype,
                        'Convert it, e.g. with x.float().')
            )  # fmt: skip
        if x.size(0) != self.size(1):
            raise ValueError(
                explain('adj_t', f'the dense matrix must have {self.size(1)} rows, one per node of '
                        'the batch (batch nodes, then halo)', f'{x.size(0)} rows',
                        'Pass the rows of batch.n_id, e.g. what push_and_pull returns.')
            )  # fmt: skip
        if reduce == 'sum':
            return self._sum(x)
        if reduce == 'mean':
            return self._mean(x)
        messages = x.index_select(0, self._arrays()[1]) * self.values_as(x.dtype).view(-1, 1)
        index = self._target().view(-1, 1).expand_as(messages)
        zeros = x.new_zeros(self.size(0), x.size(1))
        return zeros.scatter_reduce(0, index, messages, _REDUCTIONS[reduce], include_self=False)

    def _mean(self, x: Tensor) -> Tensor:
        if self._own_values is None and x.dtype in (torch.float32, torch.float64):
            return self.with_(key=self.graph.mean(self.key, x.dtype))._sum(x)
        crow, _ = self._arrays()
        return self._sum(x) / (crow[1:] - crow[:-1]).clamp(min=1).to(x.dtype).view(-1, 1)

    def _sum(self, x: Tensor) -> Tensor:
        if x.dtype in (torch.bfloat16, torch.float16):  # as under autocast; summed in full
            wide = x.float()
            wide = mark_halo_constant(wide) if halo_is_constant(x) else wide
            return _SparseSum.apply(wide, self).to(x.dtype)
        if x.dtype not in (torch.float32, torch.float64):
            messages = x.index_select(0, self._arrays()[1]) * self.values_as(x.dtype).view(-1, 1)
            return x.new_zeros(self.size(0), x.size(1)).index_add_(0, self._target(), messages)
        if self.knows_product(x):
            return self.known_product().clone()  # the caller may write to it
        return _SparseSum.apply(x, self)

    def knows_product(self, x: Tensor) -> bool:
        """Whether the product with ``x``, the batch's untouched features, is known beforehand."""
        features = self.edges.features
        if features is None or x is not features.rows or self.is_square or self.has_own_values:
            return False
        if isinstance(x, LazyRows):
            return x.is_untouched
        return not x.requires_grad and version_of(x) == features.version

    def known_product(self) -> Tensor:
        """The product with the batch's features, ``(B, F)``; may be a view: not to be changed."""
        assert self.edges.features is not None
        product = self.graph.variant(self.key).product(self.edges.features.whole)
        chunks = [product[a:b] for a, b in contiguous(self.edges.nodes)]
        return chunks[0] if len(chunks) == 1 else torch.cat(chunks)

    def __copy__(self) -> 'Adjacency':
        return self

    def __deepcopy__(self, memo: dict) -> 'Adjacency':
        return self

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return (
            f'{type(self).__name__}(size={tuple(self.shape)}, nnz={self._arrays()[1].numel()}, '
            f'batch_size={self.batch_size}, dtype={self.dtype}, device={self.device})'
        )


class _SparseSum(torch.autograd.Function):
    """``A @ x`` whose backward is a product with the prepared transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, adj: Adjacency) -> Tensor:
        ctx.adj = adj
        # Pulled halo rows are constants: no gradient is owed to them.
        ctx.num_sources = adj.batch_size if halo_is_constant(x) else adj.size(1)
        return product(adj._forward_matrix(x.dtype), x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        adj: Adjacency = ctx.adj
        matrix = adj._backward_matrix(grad.dtype, ctx.num_sources)
        if ctx.num_sources == adj.size(1):
            return product(matrix, grad), None
        out = grad.new_empty(adj.size(1), grad.size(1))
        out[ctx.num_sources :] = 0
        product(matrix, grad, out=out[: ctx.num_sources])
        return out, None


_REDUCTIONS = {'sum': 'sum', 'mean': 'mean', 'min': 'amin', 'max': 'amax'}
