"""Propagations that a model computes itself, without an operator: along the edges of a batch.

A product with the adjacency reads all rows, a gather those that the ids of its edges name, and a
scatter gives rows. What a scatter or a product gives is right at batch nodes alone, where all edges
end. So gathering at targets is right (a softmax over the edges into a node does it); a halo row
that reaches a batch node is not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .adjacency import Adjacency
from .calls import BatchCall, current_call
from .provenance import Provenance

_PRODUCTS = {'mm', 'mv', 'matmul', '__matmul__', '_sparse_mm', 'spmm', 'dsmm', 'hspmm', 'smm'}
_GATHERS = {'__getitem__', 'index_select', 'gather', 'take_along_dim'}
_SCATTERS = {
    'scatter', 'scatter_', 'scatter_add', 'scatter_add_', 'scatter_reduce', 'scatter_reduce_',
    'index_add', 'index_add_', 'index_reduce', 'index_reduce_', 'index_put', 'index_put_',
    'bincount',
}  # fmt: skip


class RowMarks(Protocol):
    """Who knows which rows a propagation gave."""

    def propagation_of(self, *values: Any) -> str | None:
        """The name of a propagation whose rows ``values`` hold, if any."""

    def mark_propagated(self, value: Tensor, name: str) -> None:
        """Note that rows of halo nodes in ``value`` are not to be relied on."""

    def unmark_propagated(self, value: Tensor) -> None:
        """Note that all that ``value`` holds may be relied on."""

    def refuse(self, name: str, came: str) -> None:
        """Raise because ``name`` propagates what ``came`` gave."""


class _Edges:
    """The mark of ids that stand for edges, and of sparse matrices of edges."""


@dataclass(frozen=True, eq=False)
class _HaloReads:
    """The mark of values by edge, some of which are rows of halo nodes that a propagation gave.

    Attributes:
        name: The propagation.
        where: ``(E,)`` which; or another shape that holds one or more for each edge.
    """

    name: str
    where: Tensor


class ByHand(TorchFunctionMode):
    """Watches products, gathers and scatters outside of operators.

    Attributes:
        is_inside_operator: Whether an operator runs: what it computes is its own affair.
        is_undecided: Whether a batch without a halo left open if a gather reads halo rows.
    """

    def __init__(self, rows: RowMarks) -> None:
        super().__init__()
        self.edges = Provenance()
        self.is_inside_operator = self.is_undecided = False
        self._rows = rows

    def follow(self, values: Iterable[Any]) -> None:
        """Take edges among what a model is given for edges: ids ``(2, E)``, sparse matrices."""
        for value in tree_leaves(list(values)):
            if not isinstance(value, Tensor) or isinstance(value, Adjacency):
                continue
            pairs = value.dim() == 2 and value.size(0) == 2 and _holds_ids(value)
            if pairs or value.layout != torch.strided:
                self.edges.set(value, {_Edges})

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs, name, call = kwargs or {}, getattr(func, '__name__', ''), current_call()
        if call is not None and not self.is_inside_operator:
            for names, watch in (
                (_GATHERS, self._gather), (_SCATTERS, self._scatter), (_PRODUCTS, self._product),
            ):  # fmt: skip
                if name in names:
                    tensors = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
                    return watch(name, lambda: func(*args, **kwargs), tensors, call)
        return func(*args, **kwargs)

    def check_messages(self, name: str, target: Tensor, messages: Any) -> None:
        """Refuse a halo row of a propagation in what ``name`` brings to batch nodes.

        Args:
            name: Who propagates.
            target: ``(E,)`` the node at which each edge ends.
            messages: What it propagates.
        """
        call = current_call()
        marks = [m for m in self.edges.of(messages) if isinstance(m, _HaloReads)]
        if call is None or not marks:
            return
        at_batch = target < call.batch_size
        for mark in marks:
            where = _by_edge(mark.where, at_batch.numel())
            if where is None or bool((where & at_batch).any()):
                self._rows.refuse(name, mark.name)

    # Functions ###################################################################

    def _product(self, name: str, run: Callable, tensors: list[Tensor], call: BatchCall) -> Any:
        matrix = next((tensor for tensor in tensors if self._is_matrix(tensor)), None)
        if matrix is None:
            return run()
        name = f"a product with the edges ('{name}')"
        came = self._rows.propagation_of([t for t in tensors if t.layout == torch.strided])
        if came is not None:
            self._rows.refuse(name, came)
        out = run()
        self._give(out, name)
        return out

    def _gather(self, name: str, run: Callable, tensors: list[Tensor], call: BatchCall) -> Any:
        out = run()
        ids = next((tensor for tensor in tensors[1:] if self._are_ids(tensor)), None)
        if ids is None or call.num_nodes not in tensors[0].shape or not isinstance(out, Tensor):
            return out
        came = self._rows.propagation_of(tensors[0])
        if came is None:
            return out
        self.is_undecided |= call.num_nodes == call.batch_size
        where = ids >= call.batch_size
        self._rows.unmark_propagated(out)
        self.edges.set(out, {_HaloReads(came, where)} if bool(where.any()) else ())
        return out

    def _scatter(self, name: str, run: Callable, tensors: list[Tensor], call: BatchCall) -> Any:
        rest = tensors if name == 'bincount' else tensors[1:]  # the first is written to
        ids = next((tensor for tensor in rest if self._are_ids(tensor)), None)
        if ids is None:
            return run()
        name = f"a scatter along edges ('{name}')"
        self.check_messages(name, _one_by_edge(ids), [t for t in rest if t is not ids])
        out = run()
        if isinstance(out, Tensor) and {call.num_nodes, call.batch_size} & {*out.shape}:
            self._give(out, name)
        return out

    def _give(self, out: Any, name: str) -> None:
        if isinstance(out, Tensor):
            self._rows.mark_propagated(out, name)
            self.edges.forget(out)

    def _are_ids(self, tensor: Tensor) -> bool:
        return tensor.dim() > 0 and _holds_ids(tensor) and _Edges in self.edges.of(tensor)

    def _is_matrix(self, tensor: Tensor) -> bool:
        if isinstance(tensor, Adjacency):
            return True
        return tensor.layout != torch.strided and _Edges in self.edges.of(tensor)


def _holds_ids(tensor: Tensor) -> bool:
    integer = not tensor.is_floating_point() and not tensor.is_complex()
    return integer and tensor.dtype != torch.bool and tensor.layout == torch.strided


def _one_by_edge(ids: Tensor) -> Tensor:
    """Ids ``(E,)`` of ids that a scatter has spread over channels."""
    while ids.dim() > 1:
        repeated = [d for d in range(ids.dim()) if ids.stride(d) == 0 or ids.size(d) == 1]
        ids = ids.select(repeated[0] if repeated else ids.dim() - 1, 0)
    return ids


def _by_edge(where: Tensor, num_edges: int) -> Tensor | None:
    """Whether anything was read for each edge, ``(E,)``; ``None`` if these are other edges."""
    if where.numel() == num_edges:
        return where.reshape(-1)
    for dim in (where.dim() - 1, 0):
        if where.size(dim) == num_edges:
            return where.movedim(dim, 0).reshape(num_edges, -1).any(1)
    return None
