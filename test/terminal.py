"""A terminal for tests: a pseudo-terminal, and what a person in front of it has seen."""

import os
import struct
import threading
from contextlib import contextmanager

import pytest

pty, fcntl, termios = map(pytest.importorskip, ('pty', 'fcntl', 'termios'))


class Terminal:
    """Reads what is written to a pseudo-terminal.

    Attributes:
        stream: The side that a program writes to, a text file that is a terminal.

    Args:
        columns: Its width; 0 for a terminal that tells none.
    """

    def __init__(self, columns=100):
        self._ours, theirs = pty.openpty()
        if columns:
            size = struct.pack('HHHH', 30, columns, 0, 0)
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
        self.stream = os.fdopen(theirs, 'w', buffering=1)
        self._content = bytearray()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        while True:
            try:
                piece = os.read(self._ours, 65536)
            except OSError:  # the other side is closed
                return
            if not piece:
                return
            self._content += piece

    def close(self):
        self.stream.close()
        self._reader.join()
        os.close(self._ours)

    def count(self, text):
        """How often a text was written so far."""
        return self._content.decode(errors='ignore').count(text)

    def screens(self):
        """Everything that has stood on the screen, as text, one entry for each change."""
        return screens_of(self._content.decode())

    @property
    def screen(self):
        """What stands on the screen at the end, without empty lines at its foot."""
        return self.screens()[-1].rstrip('\n') if self._content else ''


def screens_of(text):
    """What a terminal shows, after each move of its cursor to another line or to the left."""
    lines, row, column, screens, position = [[]], 0, 0, [], 0
    while position < len(text):
        if text.startswith('\x1b[A', position):
            row, position = row - 1, position + 3
            continue
        sign, position = text[position], position + 1
        if sign in '\r\n':
            row, column = row + (sign == '\n'), 0 if sign == '\r' else column
            screen = '\n'.join(''.join(line).rstrip() for line in lines)
            if not screens or screens[-1] != screen:
                screens.append(screen)
        else:
            lines[row] += ' ' * (column - len(lines[row]))
            lines[row][column : column + 1] = [sign]
            column += 1
        while len(lines) <= row:
            lines.append([])
    screens.append('\n'.join(''.join(line).rstrip() for line in lines))
    return screens


@contextmanager
def terminal(monkeypatch, columns=100):
    """Let standard output and standard error be a terminal within a block."""
    terminal = Terminal(columns)
    try:
        with monkeypatch.context() as patch:
            patch.setattr('sys.stdout', terminal.stream)
            patch.setattr('sys.stderr', terminal.stream)
            yield terminal
            terminal.stream.flush()
    finally:
        terminal.close()
