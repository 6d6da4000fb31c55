"""A table with a row per node: ids, features, labels and masks."""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from ..errors import explain
from ..graph_folder.arrays import release
from .columns import flags, integers, numbers, texts
from .node_ids import DenseIds, check_different
from .table import Position, Table, find_column

MASKS = ('train_mask', 'val_mask', 'test_mask')
LABEL = 'y'


class NodeTable:
    """What a table says of nodes.

    Args:
        table: The table.
        id_column: The column with ids of the nodes; ``None``: row ``i`` is node ``i``.
        features: Columns of ``x``, in order; ``None``: every column of numbers that is nothing
            else. None at all gives no ``x``.
        label_column: The column of class ids; ``None``: ``y``, if there is one.
        who: The public call on whose behalf errors speak.

    Columns called ``train_mask``, ``val_mask`` and ``test_mask`` are masks.

    Raises:
        ValueError: A column is not there.
    """

    def __init__(
        self,
        table: Table,
        id_column: str | int | None,
        features: Sequence[str | int] | None,
        label_column: str | int | None,
        who: str,
    ) -> None:
        self.table, self._who = table, who
        self.id_column = (
            None if id_column is None else find_column(table, 'node_column', id_column, who)
        )
        if label_column is None:
            self.label = LABEL if LABEL in table.columns else None
        else:
            self.label = find_column(table, 'label_column', label_column, who)
        self.masks = [name for name in MASKS if name in table.columns]
        taken = (self.id_column, self.label, *self.masks)
        if features is None:
            rest = [name for name in table.columns if name not in taken]
            numeric = ('integer', 'digits', 'number')
            self.features = [name for name in rest if table.guess(name) in numeric]
        else:
            self.features = [find_column(table, 'features', name, who) for name in features]

    def leave_out(self, names: Collection[str]) -> None:
        """Do without some of the arrays."""
        self.features = [] if 'x' in names else self.features
        self.label = None if 'y' in names else self.label
        self.masks = [name for name in self.masks if name not in names]

    def arrays(self) -> dict[str, tuple[tuple[int, ...], type]]:
        """Names of the node-level arrays, shapes of their rows, and types."""
        found: dict[str, tuple[tuple[int, ...], type]] = {}
        if self.features:
            found['x'] = ((len(self.features),), np.float32)
        if self.label is not None:
            found['y'] = ((), np.int64)
        return found | {name: ((), np.bool_) for name in self.masks}

    def read_ids(self, mode: str) -> Iterator[tuple[np.ndarray, int]]:
        """Ids of the nodes, as numbers or texts, piece by piece; and how much was read.

        Without a column of ids, their numbers.
        """
        kind = mode
        if self.id_column is not None and mode == 'any':
            kind = 'integer' if self.table.guess(self.id_column) == 'integer' else 'text'
        column = self.id_column
        probe = column or self.table.columns[0]
        start = 0
        kinds = {probe: 'text' if column is None else 'integer' if kind == 'dense' else kind}
        for chunk in self.table.read(kinds):
            if column is None:
                ids = np.arange(start, start + chunk.num_rows)
            elif kind == 'text':
                different, codes = texts(chunk, column, self._who)
                ids = different[codes]
            elif kind == 'dense':
                ids = DenseIds(None, self._who).of(chunk, column)
            else:
                ids = integers(chunk, column, self._who)
            start += len(ids)
            yield ids, chunk.advance

    def copy_to(
        self,
        arrays: dict[str, np.ndarray],
        nodes: np.ndarray | None,
        position: Position = None,
    ) -> Iterator[tuple[Position, int]]:
        """Fill arrays from a position on; yields the position reached, and how much it was.

        Args:
            arrays: What :meth:`arrays` names.
            nodes: ``(N,)`` the node of every row; ``None``: row ``i`` is node ``i``.
            position: Of the table, and the number of rows before.
        """
        kinds = {name: 'number' for name in self.features}
        if self.label is not None:
            kinds[self.label] = 'integer'
        kinds |= {name: 'flag' for name in self.masks}
        inner, start = position or (None, 0)
        for chunk in self.table.read(kinds, inner):
            stop = start + chunk.num_rows
            to = slice(start, stop) if nodes is None else nodes[start:stop]
            if self.features:
                columns = [numbers(chunk, name, self._who) for name in self.features]
                arrays['x'][to] = np.stack(columns, axis=1)
            if self.label is not None:
                labels = integers(chunk, self.label, self._who)
                self._check_labels(labels, chunk.places.of)
                arrays['y'][to] = labels
            for name in self.masks:
                arrays[name][to] = flags(chunk, name, self._who)
            for array in arrays.values():
                release(array)
            start = stop
            yield [chunk.next, start], chunk.advance

    def _check_labels(self, labels: np.ndarray, place_of) -> None:  # type: ignore[no-untyped-def]
        wrong = np.flatnonzero(labels < -1)
        if wrong.size:
            raise ValueError(
                explain(self._who, f"column '{self.label}' must hold class ids from 0 on, or -1 "
                        'for a node without one',
                        f'{labels[wrong[0]]} in {place_of(int(wrong[0]))}',
                        'Number the classes from 0.')
            )  # fmt: skip


def order_of(ids: np.ndarray, who: str) -> np.ndarray | None:
    """The node of every row of a table whose nodes are numbered; ``None``: row ``i`` is node ``i``.

    Raises:
        ValueError: The ids are not those from 0 to N - 1, each once.
    """
    check_different(ids, 'the table of nodes', who)
    if ids.size and int(ids.max()) != ids.size - 1:
        raise ValueError(
            explain(who, f'the {ids.size:,} ids in the table of nodes must be those from 0 to '
                    f'{ids.size - 1:,}', f'{int(ids.max()):,}',
                    'Add the nodes that are missing, or pass ids=any.')
        )  # fmt: skip
    return None if (ids == np.arange(ids.size)).all() else ids
