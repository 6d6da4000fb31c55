"""From what a file calls its nodes to numbers from 0 to N - 1."""

from typing import Protocol

import numpy as np

from ..errors import explain
from .columns import integers, texts
from .table import TableChunk

MODES = ('dense', 'any', 'integer', 'text')
TOO_LARGE = 2**31
MERGE = 2**20  # names that are gathered before they are merged, at least


class NodeIds(Protocol):
    """A numbering.

    Attributes:
        kind: The kind of column it reads.
        num_nodes: ``None`` where the edges will tell.
    """

    kind: str
    num_nodes: int | None

    def of(self, chunk: TableChunk, column: str) -> np.ndarray:
        """Numbers of the nodes in a column, ``(n,)`` int64."""
        ...


class DenseIds:
    """Nodes that are numbered from 0 on already.

    Args:
        num_nodes: Number of nodes, if it is known.
        who: The public call on whose behalf errors speak.
    """

    kind = 'integer'

    def __init__(self, num_nodes: int | None, who: str) -> None:
        self.num_nodes, self._who = num_nodes, who

    def of(self, chunk: TableChunk, column: str) -> np.ndarray:
        """The column as it is.

        Raises:
            ValueError: An id is negative, too large, or missing.
        """
        ids = integers(chunk, column, self._who)
        limit = TOO_LARGE if self.num_nodes is None else self.num_nodes
        wrong = np.flatnonzero((ids < 0) | (ids >= limit))
        if wrong.size:
            id_ = int(ids[wrong[0]])
            place = chunk.places.of(int(wrong[0]))
            if id_ < 0:
                rule, remedy = 'must not be negative', 'Number the nodes from 0.'
            elif self.num_nodes is None:
                rule = 'must be below 2^31, unless num_nodes says otherwise'
                remedy = 'Pass ids=any if nodes are not numbered from 0 on.'
            else:
                rule = f'must be below the number of nodes, {self.num_nodes:,}'
                remedy = "Correct it, or 'num_nodes'."
            raise ValueError(
                explain(self._who, f"node ids in column '{column}' {rule}", f'{id_:,} in {place}',
                        remedy)
            )  # fmt: skip
        return ids


class TableIds:
    """Nodes with ids of any kind: node ``i`` is the one called ``names[i]``.

    Args:
        names: ``(N,)`` integers or texts, all different.
        who: The public call on whose behalf errors speak.
    """

    def __init__(self, names: np.ndarray, who: str) -> None:
        self.names, self._who = names, who
        self.kind = 'text' if names.dtype.kind == 'S' else 'integer'
        self.num_nodes: int | None = len(names)
        self._order = np.argsort(names, kind='stable')
        self._sorted = names[self._order]

    def of(self, chunk: TableChunk, column: str) -> np.ndarray:
        """Positions of the names in a column.

        Raises:
            ValueError: There is no node of that name.
        """
        if self.kind == 'text':
            different, codes = texts(chunk, column, self._who)
        else:
            different, codes = integers(chunk, column, self._who), None
        place = np.searchsorted(self._sorted, different)
        place[place == len(self._sorted)] = 0
        unknown = self._sorted[place] != different if len(self._sorted) else different == different
        if unknown.any():
            first = int(np.flatnonzero(unknown if codes is None else unknown[codes])[0])
            name = different[first if codes is None else codes[first]]
            raise ValueError(
                explain(self._who, f"node ids in column '{column}' must be those of the nodes",
                        f'{readable(name)} in {chunk.places.of(first)}',
                        'Add the node to the table of nodes.')
            )  # fmt: skip
        nodes = self._order[place]
        return nodes if codes is None else nodes[codes]


class NameCollector:
    """Gathers the different names in columns, in memory of the order of their number."""

    def __init__(self, kind: str, who: str) -> None:
        self.kind, self._who = kind, who
        self._names = np.empty(0, 'S1' if kind == 'text' else np.int64)
        self._fresh: list[np.ndarray] = []
        self._num_fresh = 0

    def add(self, chunk: TableChunk, column: str) -> None:
        """Take in the names of a column."""
        if self.kind == 'text':
            fresh = texts(chunk, column, self._who)[0]
        else:
            fresh = _unique(integers(chunk, column, self._who))
        self._fresh.append(fresh)
        self._num_fresh += len(fresh)
        if self._num_fresh > max(len(self._names), MERGE):
            self._merge()

    def _merge(self) -> None:
        self._names = _unique(np.concatenate([self._names, *self._fresh]))
        self._fresh, self._num_fresh = [], 0

    def names(self) -> np.ndarray:
        """All names, sorted."""
        self._merge()
        return self._names


def _unique(names: np.ndarray) -> np.ndarray:
    """The different names, sorted; NumPy's own function is slow at many integers."""
    names = np.sort(names)
    change = np.ones(len(names), dtype=bool)
    np.not_equal(names[1:], names[:-1], out=change[1:])
    return names[change]


def check_different(names: np.ndarray, what: str, who: str) -> None:
    """Raise unless no name occurs twice."""
    order = np.argsort(names, kind='stable')
    twice = np.flatnonzero(names[order][1:] == names[order][:-1])
    if twice.size:
        first, second = int(order[twice[0]]), int(order[twice[0] + 1])
        raise ValueError(
            explain(who, f'{what} must name every node once',
                    f'{readable(names[first])} in rows {first} and {second} (from 0)',
                    'Leave out one of them.')
        )  # fmt: skip


def readable(name: np.generic) -> str:
    """A name as messages show it."""
    return repr(name.decode('utf-8', 'replace')) if isinstance(name, bytes) else f'{int(name)}'
