"""What a table in a file gives: its columns, in chunks of rows, from any place on."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

from ..errors import explain, missing_package

KINDS = ('integer', 'number', 'flag', 'text')
Position = Any  # what JSON can hold; None: the beginning


class TableChunk(NamedTuple):
    """Some consecutive rows.

    Attributes:
        columns: A ``pyarrow.Array`` by name, of the kind that was asked for.
        places: Says where a row stands, e.g. ``"line 7 of 'edges.csv'"``.
        next: Where the rows behind these begin.
        advance: How much of the file these were, in its unit.
    """

    columns: dict[str, Any]
    places: 'Places'
    next: Position
    advance: int

    @property
    def num_rows(self) -> int:
        return max((len(column) for column in self.columns.values()), default=0)


class Places(Protocol):
    """Where the rows of a chunk stand in their file."""

    def of(self, row: int) -> str: ...


class Table(Protocol):
    """A table in a file.

    Attributes:
        name: The file, as messages call it.
        columns: Names of the columns, in order.
        size: Of the file, in ``unit``.
        unit: What progress is counted in.
        has_names: Whether the columns have names of their own.
    """

    name: str
    columns: list[str]
    size: int
    unit: str
    has_names: bool

    def guess(self, column: str) -> str:
        """The kind that the first rows of a column have.

        One of ``KINDS``, or ``'digits'``: whole numbers that differ as texts where they are equal
        as numbers, as 7 and 07.
        """
        ...

    def read(self, kinds: Mapping[str, str], position: Position = None) -> Iterator[TableChunk]:
        """Columns of given kinds, from a position on."""
        ...


def find_column(table: Table, option: str, column: str | int, who: str) -> str:
    """The name of a column given by name or by position.

    Raises:
        ValueError: There is none.
    """
    if isinstance(column, str) and column.isdecimal() and column not in table.columns:
        column = int(column)
    if isinstance(column, int) and 0 <= column < len(table.columns):
        return table.columns[column]
    if column in table.columns and table.has_names:
        return str(column)
    names = ', '.join(table.columns) if table.has_names else f'0 to {len(table.columns) - 1}'
    remedy = 'Check the spelling.' if table.has_names else (
        "Pass its position, counted from 0, or header=true if the first line names the columns."
    )  # fmt: skip
    raise ValueError(
        explain(
            who, f"'{option}' must be a column of '{table.name}': {names}", repr(column), remedy
        )
    )


def import_pyarrow(who: str) -> Any:
    """The package ``pyarrow``.

    Raises:
        ImportError: It is not installed.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(missing_package(who, 'pyarrow', 'convert')) from error
    return pyarrow
