"""What the commands print, and where else it goes."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from ..training.files import reason_of


@contextmanager
def _room_or_not() -> Iterator[None]:
    """The console may be a file on a full disk, which ends no job; one that is gone does."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        return


class _Tee(io.TextIOBase):
    """The console, and a log file for as long as that takes what is written."""

    def __init__(self, console: TextIO, path: Path) -> None:
        self.console, self.path = console, path
        self._file: io.FileIO | None = None
        self._notice = ''
        try:
            self._file = io.FileIO(path, 'a')  # without a buffer: nothing is left to fail later
        except OSError as error:
            self._give_up(error)

    def write(self, text: str) -> int:
        with _room_or_not():
            self.console.write(text)
        self._log(text.encode('utf-8', 'backslashreplace'))
        if self._notice and text.endswith('\n'):
            notice, self._notice = self._notice, ''
            with _room_or_not():
                self.console.write(notice)
        return len(text)

    def flush(self) -> None:
        with _room_or_not():
            self.console.flush()

    def isatty(self) -> bool:
        return self.console.isatty()

    def close(self) -> None:
        """End the log; the console stays open."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()

    def _log(self, content: bytes) -> None:
        try:
            while self._file is not None and content:
                content = content[self._file.write(content) or 0 :]
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self.close()
        self._notice = (
            f"pygas: '{self.path}' could not be written ({reason_of(error)}); the log ends here, "
            'the job goes on.\n'
        )


@contextmanager
def logged_to(path: Path) -> Iterator[None]:
    """Write a copy of everything printed to a file.

    A file that takes no more, on a disk that is full or gone, ends nothing but the copy: that is
    printed, once.
    """
    tee = _Tee(sys.stdout, path)
    try:
        with redirect_stdout(tee):
            yield
    finally:
        tee.close()


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
