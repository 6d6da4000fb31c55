"""Finds the history boundaries of a model, by following one full-batch pass.

Every propagation reads rows of its sources. Where such a row was computed by an earlier
propagation, halo rows must have been replaced in between. The value at which they are is chosen as
close behind the earlier propagation as possible, so that as little as can be (no activation, no
dropout of the next layer) ends in the history:

* the output of the earlier operator, if both are different calls of operators;
* the output of the earlier propagation, if both happen inside the same call of an operator;
* the value that joins several operators (the sum over relations in ``HeteroConv`` or in what
  ``to_hetero`` makes), where one narrow history does the work of several.

Products and scatters along edges that a model computes itself count as propagations, too.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch_geometric.nn import MessagePassing

from ..errors import explain
from ..provenance import Provenance
from ..watcher import Site, Watcher
from .boundaries import Boundary

_SCATTERS = {
    'scatter_add', 'scatter_add_', 'scatter_reduce', 'scatter_reduce_', 'index_add', 'index_add_',
    'index_reduce', 'index_reduce_', 'scatter', 'scatter_', 'index_put', 'index_put_',
}  # fmt: skip
_IN_PLACE = {'__setitem__', 'copy_', 'set_'}


@dataclass(eq=False)
class Source:
    """A value whose halo rows are not to be relied on until a boundary replaces them.

    Attributes:
        serial: Its place in the order of the forward.
        boundary: Where the boundary would be, or ``None`` if its rows are no rows of nodes.
        joins: The values that were joined into this one, if it is not an operator's.
    """

    serial: int
    boundary: Boundary | None
    site: Site
    joins: frozenset['Source'] = frozenset()

    def operators(self) -> frozenset['Source']:
        """The operators whose values it holds."""
        return self.joins or frozenset({self})


class _Edges:
    """The mark of ids that stand for edges."""


class BoundaryFinder(Watcher):
    """Follows one pass over a whole graph.

    Args:
        model: Run once inside :meth:`following`.
        num_nodes: Number of nodes by node type, all different.
    """

    def __init__(self, model: torch.nn.Module, num_nodes: Mapping[str, int]) -> None:
        super().__init__(model)
        self.functions = None  # all
        self.num_propagations = 0
        self._operators = [m for m in self._paths if isinstance(m, MessagePassing)]
        self._type_of = {count: node_type for node_type, count in num_nodes.items()}
        self._provenance = Provenance()
        self._sources = 0
        self._chosen: dict[Source, None] = {}
        self._made: list[Source] = []

    def follow(self, run: Callable[[], Any], edges: Iterable[Any]) -> Any:
        """Run the model; ``edges`` are the tensors that hold its edges."""
        for tensor in tree_leaves(list(edges)):
            if isinstance(tensor, Tensor):
                self._provenance.set(tensor, {_Edges})
        with ExitStack() as stack:
            stack.enter_context(self.watching())
            stack.enter_context(self._provenance)
            return run()

    def boundaries(self) -> tuple[Boundary, ...]:
        """The boundaries found, in the order of the forward."""
        chosen = sorted(self._chosen, key=lambda source: source.serial)
        return tuple(source.boundary for source in chosen if source.boundary is not None)

    # What happens ################################################################

    def propagations(self) -> list[MessagePassing]:
        return self._operators

    def compute_propagation(
        self, operator: MessagePassing, propagate: Callable, args: Any, kwargs: Any
    ) -> Any:
        self.num_propagations += 1
        inputs = (args[1:], {k: v for k, v in kwargs.items() if k not in ('edge_index', 'size')})
        self._read(f"{type(operator).__name__} '{self.path(operator)}'", inputs)
        return propagate(*args, **kwargs)

    def compute_operator(self, operator: MessagePassing, compute: Callable[[], Any]) -> Any:
        self._made = []
        return compute()

    def reached(self, site: Site, value: Any, dim: int) -> Any:
        if site.kind == 'function':
            return value  # marked where it was computed
        if site.kind == 'operator' and not self._made:
            return value  # it did not propagate
        for leaf, tensor in enumerate(tree_leaves(value)):
            if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
                continue
            marks = self._unreliable(tensor)
            if site.kind == 'propagation' or marks:
                self._new_source(tensor, site, leaf, dim, frozenset())
        return value

    def compute_function(self, name: str, func: Callable, args: Any, kwargs: Any) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        along_edges = any(self._are_edges(tensor) for tensor in tensors)
        if along_edges:
            self._read(f"function '{name}'", [t for t in tensors if t.is_floating_point()])
        result = func(*args, **kwargs)
        # Of what is returned beside the values, e.g. by max, nothing is a row of a node.
        out = result[0] if isinstance(result, tuple) and result else result
        if not isinstance(out, Tensor) or not out.is_floating_point() or not tensors:
            return result
        site = Site('function', name, self._times['function', name])
        if along_edges and self._is_product_or_scatter(name, tensors):
            self.num_propagations += 1
            self._new_source(out, site, 0, 0, frozenset())
        else:
            self._join(out, site)
        return result

    def _are_edges(self, tensor: Tensor) -> bool:
        """Whether a tensor holds node ids of edges, or is a sparse matrix of edges."""
        ids = not tensor.is_floating_point() and tensor.dim() > 0
        sparse = tensor.layout != torch.strided
        return (ids or sparse) and _Edges in self._provenance.of(tensor)

    def _is_product_or_scatter(self, name: str, tensors: list[Tensor]) -> bool:
        return name in _SCATTERS or any(tensor.layout != torch.strided for tensor in tensors)

    # Marks #######################################################################

    def _unreliable(self, *values: Any) -> set[Source]:
        """The sources that ``values`` depend on and that no boundary has replaced."""
        marks = {mark for mark in self._provenance.of(*values) if isinstance(mark, Source)}
        return {mark for mark in marks if not self._is_replaced(mark)}

    def _is_replaced(self, source: Source) -> bool:
        if source in self._chosen:
            return True
        return bool(source.joins) and all(self._is_replaced(part) for part in source.joins)

    def _new_source(
        self, value: Tensor, site: Site, leaf: int, dim: int, joins: frozenset[Source]
    ) -> None:
        self._sources += 1
        source = Source(self._sources, self._boundary(value, site, leaf, dim), site, joins)
        self._provenance.set(value, {source})
        self._made.append(source)

    def _boundary(self, value: Tensor, site: Site, leaf: int, dim: int) -> Boundary | None:
        if dim < 0 and value.dim() < -dim:
            dim = 0
        if value.dim() == 0 or value.size(dim) not in self._type_of:
            return None
        tail = list(value.shape)
        node_type = self._type_of[tail.pop(dim)]
        return Boundary(site, leaf, dim, tuple(tail), node_type)

    def _join(self, out: Tensor, site: Site) -> None:
        """Note a value that joins several operators' in fewer channels."""
        if site.name in _IN_PLACE or site.name.endswith('_'):
            return
        marks = self._unreliable(out)
        operators = frozenset().union(*(mark.operators() for mark in marks))
        if len(operators) < 2 or out.dim() == 0 or out.size(0) not in self._type_of:
            return
        if len(marks) == 1 and prod(out.shape[1:]) >= self._width(marks):
            return
        self._new_source(out, site, 0, 0, operators)

    def _width(self, sources: Iterable[Source]) -> int:
        return sum(s.boundary.width if s.boundary is not None else 0 for s in sources)

    # Reads #######################################################################

    def _read(self, who: str, values: Any) -> None:
        """Choose boundaries that make right what ``who`` reads."""
        for source in sorted(self._unreliable(values), key=lambda source: source.serial):
            if self._is_replaced(source):
                continue
            parts = [part for part in source.joins if not self._is_replaced(part)]
            if parts and (source.boundary is None or source.boundary.width >= self._width(parts)):
                for part in parts:
                    self._choose(part, who)
            else:
                self._choose(source, who)

    def _choose(self, source: Source, who: str) -> None:
        if source.boundary is None:
            raise ValueError(
                explain(who, 'what is propagated must be rows of nodes, or computed from such rows',
                        f'what {source.site} gives, which has no row per node',
                        'Keep one row per node between layers.')
            )  # fmt: skip
        self._chosen[source] = None
