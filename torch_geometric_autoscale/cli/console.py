"""What the commands print, and where else it goes."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TextIO


class _Tee(io.TextIOBase):
    def __init__(self, *streams: TextIO) -> None:
        self.streams = streams

    def write(self, text: str) -> int:
        for stream in self.streams:
            stream.write(text)
        return len(text)

    def flush(self) -> None:
        for stream in self.streams:
            stream.flush()

    def isatty(self) -> bool:
        return self.streams[0].isatty()


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Write a copy of everything printed to a file."""
    with path.open('a', encoding='utf-8', buffering=1) as file:
        tee: TextIO = _Tee(sys.stdout, file)  # type: ignore[assignment]
        with redirect_stdout(tee):
            yield


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out a table: the first column to the left, all others to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]

    def row(cells: Sequence[str]) -> str:
        rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return '  '.join([cells[0].ljust(widths[0]), *rest]).rstrip()

    return '\n'.join([row(header), '  '.join('-' * width for width in widths), *map(row, rows)])


def memory(size: int | None) -> str:
    """Bytes as text."""
    if size is None:
        return '-'
    if size < 2**20:
        return f'{size / 2**10:,.1f} KiB'
    return f'{size / 2**20:,.1f} MiB'


def number(value: float | None, form: str, unit: str = '') -> str:
    """A number as text, a dash where there is none."""
    return '-' if value is None else f'{value:{form}}{unit}'
