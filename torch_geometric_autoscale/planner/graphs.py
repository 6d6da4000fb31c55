"""The graph of a plan, and one that is at hand."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Protocol

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..errors import explain
from ..graph_folder import GraphFolder, is_graph_folder
from ..graph_input import to_edges
from ..loader_input import check_ptr
from ..partition import available_methods, best_method, partition
from .facts import GraphFacts, facts_of
from .halos import BatchSizes, Halos
from .pieces import Piece, cut_pieces
from .shape import GraphShape
from .terms import WHO

NODES_PER_PART = 2000


class PlannedGraph(Protocol):
    """What a plan asks of a graph."""

    is_estimate: bool
    given_num_parts: int | None
    perm: Tensor | None
    ptr: Tensor | None

    @property
    def facts(self) -> GraphFacts:
        """Its counts and sizes."""

    @property
    def best_method(self) -> str:
        """What the method 'auto' of a partitioner means for it."""

    def cut(self, num_parts: int) -> None:
        """Partition it."""

    def epoch(self, batch_size: int) -> BatchSizes:
        """The batches of an epoch."""

    @property
    def num_halo_rows(self) -> int:
        """Halo nodes of all parts together."""

    def pieces(self, sizes: Sequence[tuple[int, bool]], num_chunks: int) -> Iterator[Piece]:
        """Pieces of some numbers of batch nodes, each of one cluster or scattered."""


def method_of(graph: PlannedGraph, name: str, who: str = WHO) -> str:
    """The partitioner that a name means for a graph.

    Raises:
        ValueError: There is none of that name, or it is not installed.
    """
    known = available_methods()
    if name not in ('auto', *known):
        raise ValueError(
            explain(who, f"'partition' must be auto or one installed: {', '.join(known)}",
                    repr(name), 'Leave it out to take the best one.')
        )  # fmt: skip
    return graph.best_method if name == 'auto' else name


def read_graph(data_or_shape: Any, ptr: Tensor | None = None) -> tuple[Any, Tensor | None]:
    """A ``Data`` or a :class:`GraphShape`, and bounds of partitions if it is cut already.

    Raises:
        TypeError: It is neither a graph, a folder, nor a shape.
        ValueError: A dictionary does not describe a shape.
        FileNotFoundError: There is no such folder.
    """
    graph = data_or_shape
    if isinstance(graph, dict):
        known = [field.name for field in fields(GraphShape)]
        missing = [name for name in known[:3] if name not in graph]
        unknown = [str(name) for name in graph if name not in known]
        if missing or unknown:
            raise ValueError(
                explain(WHO, f'a shape has {", ".join(known[:3])} and may have '
                        f'{", ".join(known[3:])}', ', '.join(map(str, graph)) or 'nothing',
                        'Pass these.')
            )  # fmt: skip
        return GraphShape(**graph), None
    if isinstance(graph, GraphShape):
        return graph, None
    if isinstance(graph, (str, os.PathLike)):
        if not is_graph_folder(graph) and not os.path.isdir(graph):
            raise FileNotFoundError(
                explain(WHO, "a graph's folder must exist", f"'{os.fspath(graph)}'",
                        'Pass a Data, a graph folder or a GraphShape.')
            )  # fmt: skip
        graph = GraphFolder(graph)
    if isinstance(graph, GraphFolder):
        if ptr is None and 'ptr' in graph:
            ptr = graph.tensor('ptr').long()
        return graph.to_data(), ptr
    if not isinstance(graph, Data):
        raise TypeError(
            explain(WHO, "'data_or_shape' must be a Data, the path of a graph folder, a dictionary "
                    'or a GraphShape', type(graph).__name__, 'Pass one of them.')
        )  # fmt: skip
    return graph, ptr


class RealGraph:
    """A graph that is at hand.

    Args:
        data: The graph.
        ptr: Bounds of its partitions, if its nodes are in their order already.
        method, seed, cache_dir, log: Of the partitioner.
        both_directions: Whether batches hold the edges out of their nodes, too.
    """

    is_estimate = False

    def __init__(
        self,
        data: Data,
        ptr: Tensor | None,
        method: str = 'auto',
        seed: int = 0,
        cache_dir: str | os.PathLike[str] | None = None,
        log: bool = True,
        both_directions: bool = False,
    ) -> None:
        self.data, self.method, self.seed, self.cache_dir = data, method, seed, cache_dir
        self.edges = to_edges(data, who=WHO)
        self.facts = facts_of(data, self.edges.num_nodes, self.edges.num_edges)
        self.log = log
        self.both_directions = both_directions
        self.perm: Tensor | None = None
        self.ptr = None if ptr is None else check_ptr(WHO, ptr, self.edges.num_nodes)
        self.given_num_parts = None if self.ptr is None else self.ptr.numel() - 1
        self._halos: Halos | None = None

    @property
    def best_method(self) -> str:
        return best_method(self.data)

    def cut(self, num_parts: int) -> None:
        if self.given_num_parts is not None:
            return
        self.perm, self.ptr = partition(
            self.data, num_parts, self.method, seed=self.seed, cache_dir=self.cache_dir,
            log=self.log,
        )  # fmt: skip
        self._halos = None

    @property
    def halos(self) -> Halos:
        """Of the parts that it was cut into."""
        if self._halos is None:
            assert self.ptr is not None
            size = self.ptr.diff()
            ids = torch.arange(size.numel()).repeat_interleave(size)
            part = ids
            if self.perm is not None:
                part = torch.empty_like(ids)
                part[self.perm] = ids
            self._halos = Halos(self.edges, part, size.numel(), self.both_directions)
        return self._halos

    def epoch(self, batch_size: int) -> BatchSizes:
        return self.halos.epoch(batch_size)

    @property
    def num_halo_rows(self) -> int:
        return self.halos.num_halo_rows

    def pieces(self, sizes: Sequence[tuple[int, bool]], num_chunks: int) -> Iterator[Piece]:
        generator = torch.Generator().manual_seed(0)
        halos = self.halos
        order = torch.randperm(halos.num_parts, generator=generator)
        chosen, first = [], 0
        for size, is_cluster in sizes:
            if not is_cluster:
                chosen.append(torch.randperm(self.facts.num_nodes, generator=generator)[:size])
                continue
            rows, stop = 0, first
            while stop < order.numel() and rows < size:
                rows += int(halos.rows[int(order[stop])])
                stop += 1
            nodes = torch.isin(halos.part, order[first:stop]).nonzero().view(-1)
            chosen.append(nodes[:size])
            first = 0 if stop == order.numel() else stop
        whole = [i for i, nodes in enumerate(chosen) if nodes.numel() == self.facts.num_nodes]
        chosen = chosen[: whole[0] + 1] if whole else chosen  # more would only repeat it
        return cut_pieces(self.data, self.edges, chosen, num_chunks, self.both_directions)
