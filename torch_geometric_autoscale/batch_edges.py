"""The edges of one batch, in every variant of the graph that operators ask for."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .batching import BatchBuilder, BatchNodes, EdgeSlice
from .graph import Graph, VariantKey


class Features(NamedTuple):
    """The features of a batch, to be recognised as long as nobody has touched them.

    Attributes:
        rows: ``(n, F)``, the very tensor that the batch holds.
        version: Its version; each write in place raises it.
        whole: ``(N, F)``, the features of all nodes.
    """

    rows: Tensor
    version: int
    whole: Tensor


class BatchEdges:
    """The edges of one batch in every variant asked for, each cut when first needed."""

    def __init__(
        self,
        builder: BatchBuilder,
        parts: Sequence[int],
        nodes: BatchNodes,
        slices: dict[VariantKey | None, EdgeSlice] | None = None,
    ) -> None:
        self.builder = builder
        self.parts = list(parts)
        self.nodes = nodes
        self.slices = dict(slices or {})
        self.features: Features | None = None

    @property
    def graph(self) -> Graph:
        return self.builder.graph

    def slice(self, key: VariantKey | None) -> EdgeSlice:
        if key not in self.slices:
            self.slices[key] = self.builder.edges(self.parts, self.nodes, key)
        return self.slices[key]

    def positions(self) -> Tensor:
        """Where each edge of the plain variant stands in the graph's edge order, ``(E_b,)``."""
        with torch._C.DisableTorchFunction():
            return self.builder.edge_positions(self.parts, self.nodes)
