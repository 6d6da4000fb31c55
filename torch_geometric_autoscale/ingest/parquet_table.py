"""A table in a Parquet file, by pyarrow, in chunks of rows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import explain
from .table import Places, Position, TableChunk, import_pyarrow

ROWS = 2**20  # rows that are read at once
_RULES = {
    'integer': 'whole numbers', 'number': 'numbers', 'flag': 'true and false', 'text': 'texts',
}  # fmt: skip


class ParquetTable:
    """The table in a Parquet file; see :class:`Table`.

    Raises:
        ImportError: pyarrow is not installed.
        FileNotFoundError: There is no such file.
        ValueError: It is cut short, or no Parquet file.
    """

    unit = 'row'
    has_names = True

    def __init__(self, path: Path, who: str) -> None:
        self._arrow = import_pyarrow(who)
        import pyarrow.parquet as parquet

        self.name, self._who, self._path = path.name, who, path
        if not path.is_file():
            raise FileNotFoundError(
                explain(who, 'the file must exist', f"'{path}'", 'Check the spelling.')
            )
        try:
            with parquet.ParquetFile(path) as file:
                self.size: int = file.metadata.num_rows
                self._schema = file.schema_arrow
        except (self._arrow.ArrowInvalid, OSError) as error:
            raise self._damaged(error) from error
        self.columns: list[str] = list(self._schema.names)

    def _damaged(self, error: Exception) -> ValueError:
        return ValueError(
            explain(self._who, f"'{self.name}' must be a whole Parquet file",
                    f'{error}'.split('\n')[0].rstrip('.'),
                    'The file is cut short or damaged: fetch it again.')
        )  # fmt: skip

    def guess(self, column: str) -> str:
        """The kind of a column's type."""
        kind = self._schema.field(column).type
        types = self._arrow.types
        if types.is_dictionary(kind):
            kind = kind.value_type
        if types.is_integer(kind):
            return 'integer'
        if types.is_boolean(kind):
            return 'flag'
        return 'number' if types.is_floating(kind) or types.is_decimal(kind) else 'text'

    def _check_kinds(self, kinds: Mapping[str, str]) -> None:
        fits = {
            'integer': ('integer',), 'number': ('integer', 'number'),
            'flag': ('flag', 'integer'), 'text': ('text', 'integer'),
        }  # fmt: skip
        for name, kind in kinds.items():
            if self.guess(name) not in fits[kind]:
                raise ValueError(
                    explain(self._who, f"column '{name}' of '{self.name}' must hold {_RULES[kind]}",
                            self._schema.field(name).type,
                            'Pass ids=any if these are names of nodes, or choose another column.'
                            if kind == 'integer' else 'Choose another column.')
                )  # fmt: skip

    def read(self, kinds: Mapping[str, str], position: Position = None) -> Iterator[TableChunk]:
        """Columns of given kinds; a position is a row group, the rows of it, and of all, so far.

        Raises:
            ValueError: A column is of another kind, or the file is damaged.
        """
        import pyarrow.parquet as parquet

        self._check_kinds(kinds)
        group, done, row = position or (0, 0, 0)
        names = list(kinds) or self.columns[:1]
        try:
            with parquet.ParquetFile(self._path, pre_buffer=False) as file:
                for current in range(group, file.num_row_groups):
                    skip, done = (done, 0) if current == group else (0, 0)
                    for batch in file.iter_batches(ROWS, [current], names):
                        taken = min(skip, batch.num_rows)
                        skip -= taken
                        batch = batch.slice(taken)
                        done += taken + batch.num_rows
                        if batch.num_rows == 0:
                            continue
                        columns = {
                            name: self._convert(batch.column(name), kind)
                            for name, kind in kinds.items()
                        }
                        places = RowPlaces(self.name, row)
                        row += batch.num_rows
                        yield TableChunk(columns, places, [current, done, row], batch.num_rows)
        except (self._arrow.ArrowInvalid, OSError) as error:
            raise self._damaged(error) from error

    def _convert(self, column: Any, kind: str) -> Any:
        arrow = self._arrow
        if arrow.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        wanted = {
            'integer': arrow.int64(), 'number': arrow.float32(), 'flag': arrow.bool_(),
            'text': arrow.binary(),
        }[kind]  # fmt: skip
        if kind == 'text' and arrow.types.is_integer(column.type):
            column = column.cast(arrow.string())
        if arrow.types.is_uint64(column.type) and kind == 'integer':
            return column.cast(wanted)  # raises beyond int64
        return column.cast(wanted, safe=kind != 'number')


class RowPlaces(Places):
    """Where the rows of a chunk stand: their numbers, counted from 0."""

    def __init__(self, name: str, first: int) -> None:
        self._name, self._first = name, first

    def of(self, row: int) -> str:
        return f"row {self._first + row} (from 0) of '{self._name}'"
