"""What the commands print, and where else it goes."""

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

from ..progress import above_bars, are_bars_shown, quiet
from ..training.log_file import LogFile


@contextmanager
def _room_or_not() -> Iterator[None]:
    """The console may be a file on a full disk, which ends no job; one that is gone does."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError:
        return


class _Console(io.TextIOBase):
    """Stands before a stream that people read.

    Args:
        stream: What is read in the end.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def flush(self) -> None:
        with _room_or_not():
            self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()


class _Tee(_Console):
    """The console, and a log file for as long as that takes what is written."""

    def __init__(self, stream: TextIO, log: LogFile) -> None:
        super().__init__(stream)
        self.log = log
        self._begun = ''  # a line that bars would be in the way of

    def write(self, text: str) -> int:
        self.log.write(text)
        self._begun += text
        if self._begun.endswith('\n') or not are_bars_shown():
            self.show()
        return len(text)

    def show(self) -> None:
        """Show what has been written so far."""
        text, self._begun = self._begun, ''
        if text.endswith('\n') and (notice := self.log.take_notice()):
            text += f'{notice}\n'
        if text:
            with above_bars(), _room_or_not():
                self.stream.write(text)


class _QuietConsole(_Console):
    """Lets nothing through but results."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.last_line, self._text = '', ''
        self.has_result = False

    def write(self, text: str) -> int:
        if _is_result.get():
            self.has_result = True
            with _room_or_not():
                self.stream.write(text)
        else:
            *lines, self._text = (self._text + text).split('\n')
            self.last_line = next((line for line in reversed(lines) if line), self.last_line)
        return len(text)


_is_result: ContextVar[bool] = ContextVar('is_result', default=False)
_is_quiet: ContextVar[bool] = ContextVar('is_quiet', default=False)


@contextmanager
def quietly() -> Iterator[None]:
    """Print nothing but the result of a command: what it gives as such, or else its last line."""
    console = _QuietConsole(sys.stdout)
    token = _is_quiet.set(True)
    try:
        with quiet(), redirect_stdout(console):
            yield
            if not console.has_result and console.last_line:
                _print_result(console.last_line)
    finally:
        _is_quiet.reset(token)


def result(text: str) -> None:
    """Print a line that says it all, where nothing else is printed."""
    if _is_quiet.get():
        _print_result(text)


def _print_result(text: str) -> None:
    token = _is_result.set(True)
    try:
        print(text, flush=True)
    finally:
        _is_result.reset(token)


@contextmanager
def logged_to(path: Path) -> Iterator[LogFile]:
    """Write a copy of everything printed to a file, which is there for other lines too.

    A file that takes no more, on a disk that is full or gone, ends nothing but the copy: that is
    printed, once.

    Raises:
        OSError: The file cannot be made or opened.
    """
    log = LogFile(path)
    tee = _Tee(sys.stdout, log)
    try:
        with redirect_stdout(tee):
            yield log
        tee.show()
    finally:
        log.close()


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
