"""A graph that is a ``Data`` already, in memory or mapped."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from ..edges import Edges
from ..errors import explain
from ..graph_folder.edge_chunks import EdgeChunk, ValueType
from ..graph_input import to_edges
from .rows import Rows

EDGES = 2**20  # edges that are copied at once


class MemoryGraph:
    """What a ``Data`` holds, by level.

    Args:
        data: The graph. ``adj_t`` wins over ``edge_index``.
        who: The public call on whose behalf errors speak.

    Attributes:
        num_nodes: Number of nodes.
        edges: The edges, a stream.
        rows: Node-level tensors.
        others: Other tensors.
        texts: Strings and numbers.

    Raises:
        TypeError: ``data`` is no homogeneous ``Data``, or an attribute is of a kind that cannot
            be kept.
        ValueError: Attributes do not fit the graph.
    """

    def __init__(self, data: Any, who: str) -> None:
        if isinstance(data, HeteroData) or not isinstance(data, Data):
            raise TypeError(
                explain(who, "'source' must be a Data, a path, or the name of a data set",
                        type(data).__name__, "Pass one, e.g. 'data.to_homogeneous()'.")
            )  # fmt: skip
        self._who = who
        graph = to_edges(data, who=who)
        self.num_nodes, num_edges = graph.num_nodes, graph.num_edges
        weight = _weights(graph.weight)
        edge: dict[str, Tensor] = {} if weight is None else {'edge_weight': weight}
        self.rows: dict[str, Rows] = {}
        self.others: dict[str, Tensor] = {}
        self.texts: dict[str, str] = {}
        two_orders = data.get('adj_t') is not None and data.get('edge_index') is not None
        for name, value in data.to_dict().items():
            if value is None or name in ('edge_index', 'adj_t', 'num_nodes', 'edge_weight'):
                continue
            if isinstance(value, (str, int, float)):
                self.texts[name] = str(value)
                continue
            if two_orders and name in ('edge_attr', 'edge_type'):
                raise ValueError(
                    explain(who, "'data.adj_t' wins over 'data.edge_index', whose order edge "
                            'attributes follow', f"both, and '{name}'", 'Remove one of them.')
                )  # fmt: skip
            level = self._level(data, name, value, num_edges)
            if level == 'node':
                self.rows[name] = Rows(value, name, who)
            else:
                (edge if level == 'edge' else self.others)[name] = value
        self.edges = MemoryEdges(graph, edge)

    def _level(self, data: Data, name: str, value: Any, num_edges: int) -> str:
        if not isinstance(value, Tensor) or value.layout != torch.strided:
            kind = value.layout if isinstance(value, Tensor) else type(value).__name__
            raise TypeError(
                explain(self._who, f"'data.{name}' must be a dense tensor, a number or a string",
                        kind, f'Convert or remove it: del data.{name}.')
            )  # fmt: skip
        if value.dim() == 0 or (value.dim() > 1 and data.__cat_dim__(name, value) != 0):
            return 'graph'
        level = 'graph'
        if name in ('x', 'y', 'pos') or (name.endswith('_mask') and 'edge' not in name):
            level = 'node'
        elif name in ('edge_attr', 'edge_type') or (
            len(value) == num_edges and ('edge' in name or num_edges != self.num_nodes)
        ):
            level = 'edge'
        elif len(value) == self.num_nodes:
            level = 'node'
        wanted = {'node': self.num_nodes, 'edge': num_edges}.get(level, len(value))
        if len(value) != wanted:
            raise ValueError(
                explain(self._who, f"'data.{name}' must have one row per {level} ({wanted:,})",
                        f'{len(value):,} rows', 'Every attribute must describe the same graph.')
            )  # fmt: skip
        return level


def _weights(values: Tensor | None) -> Tensor | None:
    """Edge weights; ``None`` where one 1 stands for all of them, as in a graph folder."""
    if values is None or values.numel() == 0 or any(values.stride()):
        return values
    return None if values.dim() == 1 and values[0] == 1 else values


class MemoryEdges:
    """Edges with what belongs to them; see :class:`EdgeStream`."""

    def __init__(self, edges: Edges, values: dict[str, Tensor]) -> None:
        self._edges, self._values = edges, values
        self.num_edges = edges.num_edges
        self.values = _types(values)

    def chunks(self) -> Iterator[EdgeChunk]:
        start = 0
        for source, target in self._edges.pieces(EDGES):
            part = slice(start, start + source.numel())
            yield EdgeChunk(_numpy(source), _numpy(target), _rows(self._values, part))
            start = part.stop


def _types(values: dict[str, Tensor]) -> dict[str, ValueType]:
    return {name: (_numpy(rows[:0]).dtype, tuple(rows.shape[1:])) for name, rows in values.items()}


def _rows(values: dict[str, Tensor], part: slice) -> dict[str, np.ndarray]:
    return {name: _numpy(rows[part]) for name, rows in values.items()}


def _numpy(values: Tensor) -> np.ndarray:
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()
