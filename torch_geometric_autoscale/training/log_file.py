"""A log that grows line by line and is never behind."""

import io
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from ..files import explained, reason_of


class LogFile:
    """A text file that is appended to, without a buffer: what was written is there.

    If the file takes no more, on a disk that is full or gone, the log ends and says why in
    ``notice``; nobody else is disturbed.

    Args:
        path: Its name; what it holds already stays.

    Attributes:
        notice: Why the log has ended, to be told once by whoever prints; or empty.

    Raises:
        OSError: The file cannot be made or opened.
    """

    def __init__(self, path: str | Path) -> None:
        self.path, self.notice, self._is_paused = Path(path), '', False
        try:
            self._file: io.FileIO | None = io.FileIO(self.path, 'a')
        except OSError as error:
            raise explained(error, 'pygas', 'the log file must be writable', path) from error

    def write(self, text: str) -> None:
        """Append text as it is."""
        content = text.encode('utf-8', 'backslashreplace')
        try:
            while self._file is not None and content and not self._is_paused:
                content = content[self._file.write(content) or 0 :]
        except OSError as error:
            self.close()
            self.notice = (
                f"pygas: '{self.path}' could not be written ({reason_of(error)}); the log ends "
                'here, the job goes on.'
            )

    def line(self, text: str) -> None:
        """Append a line that tells its time."""
        self.write(f'{datetime.now():%Y-%m-%d %H:%M:%S}  {text}\n')

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave out what is written within a block: the log has it already."""
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    def take_notice(self) -> str:
        """Why the log has ended, the first time it is asked for."""
        notice, self.notice = self.notice, ''
        return notice

    def close(self) -> None:
        """End the log."""
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):
                file.close()
