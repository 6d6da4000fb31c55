"""The shape of a graph that is not at hand, and what a plan can tell of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from ..errors import explain
from ..graph_input import to_edges
from ..partition import available_methods
from .facts import GraphFacts
from .fit import Counts
from .halos import BatchSizes
from .pieces import Piece, cut_pieces
from .terms import WHO

# Share of edges that leave their part, where only the shape of a graph is known. METIS cuts 15% of
# WordNet's into 64 parts, and 23% of those of linux_calls.
SHARE_OF_CUT_EDGES = 0.15


@dataclass(frozen=True)
class GraphShape:
    """The shape of a graph that is not at hand.

    Attributes:
        num_nodes, num_edges: Its counts; directed edges, each direction counts.
        num_features: Columns of ``x``.
        num_classes: Classes.
        halo: Halo rows per batch node with one part per batch, as :func:`partition_quality` gives
            it. ``None``: as if 15% of the edges left their part, each to a node of its own.
        mapped: Whether it lies in a graph folder, not in memory.
    """

    num_nodes: int
    num_edges: int
    num_features: int
    num_classes: int = 2
    halo: float | None = None
    mapped: bool = False

    def __post_init__(self) -> None:
        for name in ('num_nodes', 'num_edges', 'num_features', 'num_classes'):
            value, least = getattr(self, name), 0 if name == 'num_edges' else 1
            if type(value) is not int or value < least:
                raise ValueError(
                    explain('GraphShape', f"'{name}' must be a whole number from {least} on",
                            repr(value), 'Pass the size of the graph.')
                )  # fmt: skip
        halo = self.halo
        number = isinstance(halo, (int, float)) and not isinstance(halo, bool)
        if halo is not None and not (number and 0 <= halo < float('inf')):
            raise ValueError(
                explain('GraphShape', "'halo' must be a number of halo rows per batch node",
                        repr(halo), 'Leave it out to assume one.')
            )  # fmt: skip
        if not isinstance(self.mapped, bool):
            raise ValueError(
                explain('GraphShape', "'mapped' must be True or False", repr(self.mapped),
                        'Pass True for a graph folder.')
            )  # fmt: skip


class ShapeGraph:
    """Only the shape of a graph: every part is alike, and pieces are drawn by chance."""

    is_estimate = True

    def __init__(self, shape: GraphShape) -> None:
        self.shape = shape
        nodes, edges = shape.num_nodes, shape.num_edges
        # As 'pygas train' has it: ids of 8 bytes and weights, labels and three masks.
        features = nodes * (4 * shape.num_features + 8 + 3)
        self.facts = GraphFacts(nodes, edges, 20 * edges, features)
        if shape.mapped:  # ids of 4 bytes there, and no weights
            size = features + 4 * nodes + 4 * edges
            self.facts = GraphFacts(nodes, edges, 0, 0, size, is_mapped=True, shares_columns=True)
        self.num_parts = 1
        self.given_num_parts: int | None = None
        self.perm: Tensor | None = None
        self.ptr: Tensor | None = None

    @property
    def degree(self) -> float:
        return self.shape.num_edges / self.shape.num_nodes

    @property
    def best_method(self) -> str:
        return 'ldg' if self.shape.mapped else available_methods()[0]

    def cut(self, num_parts: int) -> None:
        self.num_parts = num_parts

    def _halo_per_node(self) -> float:
        size = self.shape.num_nodes / self.num_parts
        halo = SHARE_OF_CUT_EDGES * self.degree if self.shape.halo is None else self.shape.halo
        return min(halo, (self.shape.num_nodes - size) / size)

    def epoch(self, batch_size: int) -> BatchSizes:
        share = min(batch_size / self.num_parts, 1.0)
        of_batch, all_nodes = self.shape.num_nodes * share, self.shape.num_nodes
        # Of the nodes outside a part, the batch has as many inside as its share of the graph.
        outside = min(of_batch * self._halo_per_node() * (1 - share), all_nodes - of_batch)
        counts = Counts(of_batch, outside, self.shape.num_edges * share)
        rows, halo, edges = (np.array([value]) for value in counts)
        return BatchSizes(rows, halo, edges, 1 / share, counts)

    @property
    def num_halo_rows(self) -> int:
        return round(self.shape.num_nodes * self._halo_per_node())

    def pieces(self, sizes: Sequence[tuple[int, bool]], num_chunks: int) -> Iterator[Piece]:
        generator = torch.Generator().manual_seed(0)
        for size, is_cluster in sizes:
            yield self._draw(size, 0.5 if is_cluster else 3.0, num_chunks, generator)

    def _draw(
        self, rows: int, halo_per_row: float, num_chunks: int, generator: torch.Generator
    ) -> Piece:
        """A piece with edges of the right number and about the wanted halo."""
        shape = self.shape
        rows = min(rows, shape.num_nodes)
        num_edges = max(round(rows * self.degree), 1)
        halo = max(min(round(rows * halo_per_row), num_edges), 1)
        target = torch.randint(rows, (num_edges,), generator=generator)
        source = torch.randint(rows, (num_edges,), generator=generator)
        source[:halo] = rows + torch.arange(halo)
        total = rows + halo
        data = Data(
            x=torch.randn(total, shape.num_features, generator=generator),
            edge_index=torch.stack([source, target]),
            edge_weight=torch.rand(num_edges, generator=generator),
            y=torch.randint(shape.num_classes, (total,), generator=generator),
            train_mask=torch.rand(total, generator=generator) < 0.5,
            num_nodes=total,
        )
        edges = to_edges(data, who=WHO)
        return next(cut_pieces(data, edges, [torch.arange(rows)], num_chunks))
