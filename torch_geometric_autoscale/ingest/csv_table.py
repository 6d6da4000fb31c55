"""A table in a text file: CSV and the like, by pyarrow, in blocks of lines."""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import explain
from .table import Places, Position, TableChunk, import_pyarrow
from .text_lines import Block, TextLines

DELIMITERS = (',', '\t', ';', ' ')
COMMENTS = (b'#', b'%')  # begin lines that are passed over at the top of the file
_INTEGER = re.compile(r'\s*-?\d+\s*')
_CANONICAL = re.compile(r'-?(0|[1-9]\d{0,17})')  # what differs as a number differs as a text
_NUMBER = re.compile(r'\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*')
_FLAG = re.compile('true|false|0|1', re.IGNORECASE)
_RULES = {
    'integer': 'whole numbers below 2^63',
    'number': 'numbers',
    'flag': 'true and false, or 1 and 0',
}


class CsvTable:
    """The table in a text file; see :class:`Table`.

    Lines that begin with ``#`` or ``%`` are passed over at the top of the file, empty lines
    everywhere. Values may stand in double quotes, but hold no line breaks.

    Args:
        path: The file; ``.gz`` is unpacked as it is read.
        header: Whether its first line names the columns.
        delimiter: Between columns; ``None``: a comma, tab, semicolon or space, whichever the
            first line has.
        who: The public call on whose behalf errors speak.

    Raises:
        ImportError: pyarrow is not installed.
        FileNotFoundError: There is no such file.
        ValueError: It is empty or packed otherwise, or names two columns alike.
    """

    unit = 'B'

    def __init__(self, path: Path, header: bool, delimiter: str | None, who: str) -> None:
        self._arrow = import_pyarrow(who)
        self._lines = TextLines(path, who)
        self._who = who
        self.name = path.name
        self.size = 0 if self._lines.is_packed else path.stat().st_size
        self.has_names = header
        first, self._start, self._line = self._first_line()
        self.delimiter = _check_delimiter(delimiter, who) or _guess_delimiter(first)
        cells = self._split(first)
        if header:
            self._start += len(first)
            self._line += 1
            cells = [cell.strip() for cell in cells]
        self.columns = cells if header else [str(i) for i in range(len(cells))]
        if len(set(self.columns)) < len(self.columns):
            raise ValueError(
                explain(who, f"the columns of '{self.name}' must have different names",
                        ', '.join(self.columns), 'Rename one.')
            )  # fmt: skip

    def _first_line(self) -> tuple[bytes, int, int]:
        """The first line that is no comment, where it starts, and its number."""
        start, number = 0, 1
        for block in self._lines.blocks():
            for line in block.text.splitlines(keepends=True):
                plain = line.removeprefix(b'\xef\xbb\xbf') if start == 0 else line
                if plain.strip() and not plain.startswith(COMMENTS):
                    skipped = len(line) - len(plain)
                    return plain, start + skipped, number
                start, number = start + len(line), number + 1
        raise ValueError(
            explain(self._who, f"'{self.name}' must have a line", 'an empty file',
                    'Is it the right file, and whole?')
        )  # fmt: skip

    def _split(self, line: bytes) -> list[str]:
        text = line.decode('utf-8', 'replace').rstrip('\r\n')
        return next(csv.reader([text], delimiter=self.delimiter), [])

    def guess(self, column: str) -> str:
        """The kind that the first block of lines has in a column."""
        position = self.columns.index(column)
        patterns = {
            'integer': _CANONICAL, 'digits': _INTEGER, 'number': _NUMBER, 'flag': _FLAG,
        }  # fmt: skip
        for block in self._lines.blocks(self._start, self._line):
            rows = [self._split(line) for line in block.text.splitlines()[:1000] if line.strip()]
            cells = [row[position] for row in rows if position < len(row)]
            for kind, pattern in patterns.items():
                if all(pattern.fullmatch(cell) for cell in cells):
                    return kind
            break
        return 'text'

    def read(self, kinds: Mapping[str, str], position: Position = None) -> Iterator[TableChunk]:
        """Columns of given kinds; a position is a byte and the number of the line there.

        Raises:
            ValueError: A line has another number of columns, or a value is of another kind.
        """
        start, line = position or (self._start, self._line)
        for block in self._lines.blocks(start, line):
            end = [block.end, block.line + block.text.count(b'\n')]
            advance = len(block.text) if not self._lines.is_packed else 0
            if not block.text.strip():
                continue
            table = self._parse(block, kinds)
            columns = {name: table[name].combine_chunks() for name in kinds}
            yield TableChunk(columns, LinePlaces(self.name, block, table.num_rows), end, advance)

    def _parse(self, block: Block, kinds: Mapping[str, str]) -> Any:
        import pyarrow.csv as arrow_csv

        arrow = self._arrow
        types = {
            'integer': arrow.int64(), 'number': arrow.float32(), 'flag': arrow.bool_(),
            'text': arrow.binary(),
        }  # fmt: skip
        try:
            return arrow_csv.read_csv(
                arrow.BufferReader(block.text),
                arrow_csv.ReadOptions(column_names=self.columns, block_size=2 * len(block.text)),
                arrow_csv.ParseOptions(delimiter=self.delimiter),
                arrow_csv.ConvertOptions(
                    column_types={name: types[kind] for name, kind in kinds.items()},
                    include_columns=list(kinds) or self.columns[:1],
                    strings_can_be_null=False,
                ),
            )
        except arrow.ArrowInvalid as error:
            self._find_fault(block, kinds)
            raise ValueError(
                explain(self._who, f"'{self.name}' must be a table with '{self.delimiter}' between "
                        'columns', f'{error}, within the lines from {block.line} on',
                        'Correct the file.')
            ) from error  # fmt: skip

    def _find_fault(self, block: Block, kinds: Mapping[str, str]) -> None:
        """Raise for the first line that cannot be read."""
        lines = block.text.splitlines()
        for i, line in enumerate(lines):
            if not line.strip():
                continue
            row = self._split(line)
            place = f"line {block.line + i} of '{self.name}'"
            if len(row) != len(self.columns):
                last = i == len(lines) - 1 and not block.text.endswith(b'\n')
                raise ValueError(
                    explain(self._who, f'every line must have {len(self.columns)} columns, with '
                            f'{self.delimiter!r} between them', f'{len(row)} in {place}',
                            'The file is cut short: fetch it again.' if last and
                            len(row) < len(self.columns) else
                            "Correct the line, or pass another 'delimiter'.")
                )  # fmt: skip
            for name, kind in kinds.items():
                cell = row[self.columns.index(name)]
                if not _fits(kind, cell):
                    raise ValueError(self._wrong_value(name, kind, cell, place, line))

    def _wrong_value(self, name: str, kind: str, cell: str, place: str, line: bytes) -> ValueError:
        column = f"column '{name}'" if self.has_names else f'column {name}'
        at_top = place.startswith(f'line {self._line} ') and not self.has_names
        return ValueError(
            explain(self._who, f'{column} must hold {_RULES[kind]}', f'{cell!r} in {place}',
                    'Pass header=true if this line names the columns.' if at_top else
                    'Correct the line, or pass ids=any if these are names of nodes.'
                    if kind == 'integer' else 'Correct the line.')
        )  # fmt: skip


def _fits(kind: str, cell: str) -> bool:
    """Whether a value can be read as one of a kind; an empty one is seen to later."""
    if kind == 'text' or not cell:
        return True
    if kind == 'integer':
        return _INTEGER.fullmatch(cell) is not None and -(2**63) <= int(cell) < 2**63
    return (_NUMBER if kind == 'number' else _FLAG).fullmatch(cell) is not None


class LinePlaces(Places):
    """Where the rows of a block stand: their line numbers."""

    def __init__(self, name: str, block: Block, num_rows: int) -> None:
        self._name, self._block, self._num_rows = name, block, num_rows

    def of(self, row: int) -> str:
        lines = self._block.text.splitlines()
        filled = [i for i, line in enumerate(lines) if line.strip()]
        number = self._block.line + (filled[row] if len(filled) == self._num_rows else row)
        about = '' if len(filled) == self._num_rows else 'about '
        return f"{about}line {number} of '{self._name}'"


def _check_delimiter(delimiter: str | None, who: str) -> str | None:
    named = {'tab': '\t', '\\t': '\t', 'space': ' ', 'comma': ',', 'semicolon': ';'}
    delimiter = named.get(delimiter or '', delimiter)
    if delimiter is not None and len(delimiter.encode()) != 1:
        raise ValueError(
            explain(who, "'delimiter' must be one character, or tab, space, comma, semicolon",
                    repr(delimiter), 'Pass one of them.')
        )  # fmt: skip
    return delimiter


def _guess_delimiter(line: bytes) -> str:
    text = line.decode('utf-8', 'replace').strip()
    return next((mark for mark in DELIMITERS if mark in text), ',')
