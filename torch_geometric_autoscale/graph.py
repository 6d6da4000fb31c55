"""The whole graph: structure by target, normalised variants, constant products, fingerprint."""

import hashlib
from collections.abc import Callable, Hashable
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.conv import gcn_conv

from .edges import CHUNK, Edges, expand, spans
from .errors import explain
from .grouped import Grouped, mean_weights, symmetric_weights, with_self_loops
from .mapped import folder_beside

original_gcn_norm = gcn_conv.gcn_norm

VariantKey = Hashable

_WHO = 'Graph'


class Graph:
    """A directed graph with its edges grouped by target, in their given order.

    Edges may lie in a mapped file. They stay there, and what is derived from them goes to files
    without names beside it, written piece by piece: memory holds a few numbers per node.

    Args:
        edge_index: Sources and targets, ``(2, E)``.
        num_nodes: Number of nodes ``N``.
        weight: Optional edge weights, ``(E,)``.

    Attributes:
        rowptr: ``(N + 1,)`` int64; the edges into node ``i`` are ``rowptr[i]:rowptr[i + 1]``.
        col: ``(E,)`` int32 sources (int64 from 2^31 nodes or edges on, or where a file has them).
        weight: ``(E,)`` weights in the same order, or ``None``.
        edge_id: ``(E,)`` position of each edge in ``edge_index``, or ``None`` if unchanged.
        folder: Where files for what is derived go; ``None``: it is kept in memory.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int, weight: Tensor | None = None) -> None:
        source, target = edge_index[0].cpu(), edge_index[1].cpu()
        rowptr = torch.zeros(num_nodes + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(target, minlength=num_nodes), 0, out=rowptr[1:])
        edge_id = None
        if _falls(target):
            index_dtype = _index_dtype(num_nodes, source.numel())
            edge_id = torch.argsort(target.to(index_dtype), stable=True)
            source = source[edge_id]
            weight = None if weight is None else weight.cpu()[edge_id]
        self._set(num_nodes, rowptr, source, weight, edge_id)

    @classmethod
    def of(cls, edges: Edges, weight: Tensor | None = None) -> 'Graph':
        """The graph of ``edges``, with weights ``(E,)`` in their order."""
        if edges.pairs is not None:
            return cls(edges.pairs, edges.num_nodes, weight)
        assert edges.rowptr is not None
        assert edges.col is not None
        return cls._grouped(edges.num_nodes, edges.rowptr.cpu().long(), edges.col.cpu(), weight)

    @classmethod
    def _grouped(
        cls, num_nodes: int, rowptr: Tensor, col: Tensor, weight: Tensor | None
    ) -> 'Graph':
        graph = cls.__new__(cls)
        graph._set(num_nodes, rowptr, col, weight)
        return graph

    def _set(
        self,
        num_nodes: int,
        rowptr: Tensor,
        col: Tensor,
        weight: Tensor | None,
        edge_id: Tensor | None = None,
    ) -> None:
        self.num_nodes, self.rowptr, self.edge_id = num_nodes, rowptr, edge_id
        self.folder: Path | None = folder_beside(col)
        self.col = col if self.folder else col.to(_index_dtype(num_nodes, col.numel()))
        self.weight = weight if weight is None else weight.detach().cpu()
        self._variants: dict[VariantKey, Graph] = {}
        self._product: tuple[Tensor, int, Tensor] | None = None
        self._fingerprint: str | None = None
        self._max_degree: int | None = None

    @property
    def num_edges(self) -> int:
        return self.col.numel()

    @property
    def grouped(self) -> Grouped:
        """Its three arrays."""
        return Grouped(self.rowptr, self.col, self.weight)

    @property
    def fingerprint(self) -> str:
        """A hash of the structure: equal graphs in equal node order share it.

        The order of the edges into one node does not count: it depends on the format.
        """
        if self._fingerprint is None:
            sources = torch.empty(self.num_nodes, dtype=torch.int64)
            for a, b, edges in self.grouped.blocks():
                total = torch.zeros(edges.stop - edges.start + 1, dtype=torch.int64)
                torch.cumsum(scramble(self.col[edges].long()), 0, out=total[1:])
                bounds = total[self.rowptr[a : b + 1] - edges.start]
                torch.sub(bounds[1:], bounds[:-1], out=sources[a:b])
            digest = hashlib.blake2b(digest_size=16)
            for part in (self.rowptr, sources):
                digest.update(part.numpy().data)
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    @property
    def max_degree(self) -> int:
        """The largest number of edges into one node."""
        if self._max_degree is None:
            degree = self.rowptr[1:] - self.rowptr[:-1]
            self._max_degree = int(degree.max()) if degree.numel() else 0
        return self._max_degree

    def target(self) -> Tensor:
        """The target of every edge, ``(E,)`` int64."""
        return expand(self.rowptr)

    def edge_index(self) -> Tensor:
        """Sources and targets in this graph's edge order, ``(2, E)`` int64."""
        return torch.stack([self.col.long(), self.target()])

    def values(self, dtype: torch.dtype) -> Tensor:
        """Edge weights in ``dtype``; ones where the graph has none. ``(E,)``."""
        if self.weight is None:
            return torch.ones(self.num_edges, dtype=dtype)
        return self.weight.to(dtype)

    # Variants ####################################################################

    def variant(self, key: VariantKey | None) -> 'Graph':
        """The variant computed under ``key`` (``None``: this graph itself)."""
        return self if key is None else self._variants[key]

    @property
    def variant_keys(self) -> tuple[VariantKey, ...]:
        """Keys of the variants that operators have asked for so far."""
        return tuple(self._variants)

    def derive(self, key: VariantKey, compute: Callable[[], 'Graph']) -> None:
        """Keep what ``compute`` gives as a variant, unless there is one under ``key``."""
        if key not in self._variants:
            self._variants[key] = compute()

    def unweighted(self) -> VariantKey:
        """The key of this graph without its edge weights."""
        if 'unweighted' not in self._variants:
            plain = copy(self)
            plain.weight = None
            plain._product = None
            self._variants['unweighted'] = plain
        return 'unweighted'

    def mean(self, key: VariantKey | None, dtype: torch.dtype) -> VariantKey:
        """The key of a variant whose weights are divided by each target's number of edges."""
        name = ('mean', key, str(dtype))
        if name not in self._variants:
            graph = self.variant(key)
            divided = copy(graph)
            divided.weight = mean_weights(_WHO, graph.grouped, dtype, self.folder)
            divided._product = None
            self._variants[name] = divided
        return name

    def gcn_norm(
        self, improved: bool, add_self_loops: bool, dtype: torch.dtype, weighted: bool = True
    ) -> VariantKey:
        """Compute the symmetric normalisation of the whole graph once and return its key.

        The weights are those PyG's :func:`gcn_norm` gives on the full ``edge_index`` (Kipf &
        Welling 2017, eq. 2; an edge ``j -> i`` gets ``w / sqrt(d_j d_i)``).
        """
        weighted = weighted and self.weight is not None
        key = ('gcn_norm', improved, add_self_loops, str(dtype), weighted)
        if key not in self._variants:
            plain = self.grouped if weighted else self.grouped._replace(weight=None)
            if add_self_loops:
                fill = 2.0 if improved else 1.0
                plain = with_self_loops(_WHO, plain, fill, self.folder)
            weight = symmetric_weights(_WHO, plain, dtype, self.folder)
            self._variants[key] = self._grouped(self.num_nodes, plain.rowptr, plain.col, weight)
        return key

    # Constant products ###########################################################

    def product(self, x: Tensor) -> Tensor:
        """``A @ x`` for all nodes, computed once for each ``x`` and kept. ``(N, F)``.

        Meant for input features, which are the same in every epoch.
        """
        known = self._product
        if known is None or known[0] is not x or known[1] != x._version:
            known = self._product = (x, x._version, self._multiply(x))
        return known[2]

    @torch.no_grad()
    def _multiply(self, x: Tensor) -> Tensor:
        out = x.new_empty(self.num_nodes, x.size(1))
        if x.dtype in (torch.bfloat16, torch.float16):  # summed in full, as on a batch
            x = x.float()
        num_rows = max(CHUNK // max(x.size(1), 1), 1)  # a product is there twice at times
        for first, last, _ in self.grouped.blocks():
            for start, stop in spans(last - first, num_rows):
                self._multiply_rows(x, first + start, first + stop, out)
        return out

    def _multiply_rows(self, x: Tensor, a: int, b: int, out: Tensor) -> None:
        edges = slice(int(self.rowptr[a]), int(self.rowptr[b]))
        rowptr = self.rowptr[a : b + 1] - edges.start
        col = self.col[edges]
        values = self.weight[edges].to(x.dtype) if self.weight is not None else None
        matrix = torch.sparse_csr_tensor(
            rowptr.to(col.dtype), col, x.new_ones(col.numel()) if values is None else values,
            (b - a, self.num_nodes), check_invariants=False,
        )  # fmt: skip
        out[a:b] = multiply(matrix, x)

    def __getstate__(self) -> dict[str, Any]:
        # A product is as large as the features, and worker processes do not need it.
        return {**self.__dict__, '_product': None}

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num_nodes={self.num_nodes}, num_edges={self.num_edges})'


def scramble(ids: Tensor) -> Tensor:
    """Random-looking 64-bit numbers for ids (the mixing steps of splitmix64)."""
    ids = ids * -7046029254386353131
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        ids = (ids ^ (ids >> shift)) * factor
    return ids ^ (ids >> 31)


def multiply(matrix: Tensor, x: Tensor) -> Tensor:
    """``matrix @ x`` in the types they have: CSR products know no half precision."""
    with torch.autocast(x.device.type, enabled=False):
        return torch.sparse.mm(matrix, x)


def check_same_graph(who: str, expected: str | None, fingerprint: str | None) -> None:
    """Raise if a batch of one graph meets histories that were filled from another."""
    if expected is not None and fingerprint is not None and expected != fingerprint:
        raise ValueError(
            explain(
                who,
                'the batch must come from the graph (and node order) that the histories were '
                'filled from',
                f'graph {fingerprint[:8]}, histories of graph {expected[:8]}',
                'Use a loader over the same permuted data, call reset() on the histories to start '
                'over, or run another graph as a whole: model(x, adj_t).',
            )
        )


def _index_dtype(num_nodes: int, num_edges: int) -> torch.dtype:
    return torch.int32 if max(num_nodes, num_edges) < 2**31 else torch.int64


def _falls(values: Tensor) -> bool:
    """Whether there is an entry below the one before it."""
    return any(
        bool((values[max(start, 1) : stop] < values[max(start, 1) - 1 : stop - 1]).any())
        for start, stop in spans(values.numel())
    )
