"""Edges in one or several tables, read from any place on."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import explain
from ..graph_folder.edge_chunks import EdgeChunk, ValueType
from .columns import numbers
from .node_ids import NameCollector, NodeIds
from .table import Position, Table, TableChunk, find_column


class EdgeColumns(NamedTuple):
    """Names of the columns with sources, targets and, where there are any, weights."""

    source: str
    target: str
    weight: str | None


class EdgeList:
    """The edges in tables of the same columns, one after the other.

    Args:
        tables: The tables.
        source, target, weight: Columns, by name or position; ``weight`` may be ``None``.
        who: The public call on whose behalf errors speak.

    Attributes:
        size: Of all tables, in ``unit``.
        unit: What progress is counted in.
        values: Names and types of what belongs to an edge.

    Raises:
        ValueError: A column is not there.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        source: str | int,
        target: str | int,
        weight: str | int | None,
        who: str,
    ) -> None:
        self._tables, self._who = tables, who
        self._columns = [
            EdgeColumns(
                find_column(table, 'source_column', source, who),
                find_column(table, 'target_column', target, who),
                None if weight is None else find_column(table, 'weight_column', weight, who),
            )
            for table in tables
        ]
        self.size = sum(table.size for table in tables)
        self.unit = tables[0].unit
        self.values: dict[str, ValueType] = {}
        if weight is not None:
            self.values['edge_weight'] = (np.dtype(np.float32), ())

    def guess(self) -> str:
        """The kind that the first rows of the id columns have, ``'integer'`` or ``'text'``."""
        columns = self._columns[0]
        kinds = {self._tables[0].guess(name) for name in (columns.source, columns.target)}
        if 'number' in kinds:
            raise ValueError(
                explain(self._who, 'ids of nodes must be whole numbers or texts',
                        f"other numbers in '{self._tables[0].name}'",
                        'Choose other columns, or pass ids=text.')
            )  # fmt: skip
        return 'integer' if kinds == {'integer'} else 'text'

    def _chunks(
        self, kind: str, position: Position, weighted: bool
    ) -> Iterator[tuple[TableChunk, EdgeColumns, Position]]:
        first, inner = position or (0, None)
        for i in range(first, len(self._tables)):
            columns = self._columns[i]
            kinds = {columns.source: kind, columns.target: kind}
            if columns.weight is not None and weighted:
                kinds[columns.weight] = 'number'
            for chunk in self._tables[i].read(kinds, inner if i == first else None):
                yield chunk, columns, [i, chunk.next]

    def collect(self, names: NameCollector) -> Iterator[tuple[Position, int]]:
        """Gather the names of all nodes; yields how much was read."""
        for chunk, columns, _ in self._chunks(names.kind, None, weighted=False):
            names.add(chunk, columns.source)
            names.add(chunk, columns.target)
            yield None, chunk.advance

    def read(
        self, ids: NodeIds, position: Position = None
    ) -> Iterator[tuple[EdgeChunk, Position, int]]:
        """Edges from a position on: a chunk, the position behind it, and how much it was."""
        for chunk, columns, after in self._chunks(ids.kind, position, weighted=True):
            values = {}
            if columns.weight is not None:
                values['edge_weight'] = numbers(chunk, columns.weight, self._who)
            edges = EdgeChunk(ids.of(chunk, columns.source), ids.of(chunk, columns.target), values)
            yield edges, after, chunk.advance
