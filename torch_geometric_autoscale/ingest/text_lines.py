"""A text file in blocks of whole lines, from any place on."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import explain

BLOCK = 2**24  # bytes
LONGEST = 2**26  # a line with more bytes than this is none


class Block(NamedTuple):
    """Some whole lines.

    Attributes:
        text: The lines; the last one may lack its end.
        line: Number of the first line, counted from 1.
        start, end: Where it stands in the (unpacked) file, in bytes.
    """

    text: bytes
    line: int
    start: int
    end: int


class TextLines:
    """The lines of a file, plain or packed by gzip (``.gz``).

    Args:
        path: The file.
        who: The public call on whose behalf errors speak.

    Raises:
        FileNotFoundError: There is no such file.
    """

    def __init__(self, path: Path, who: str) -> None:
        self.path, self._who = path, who
        if not path.is_file():
            raise FileNotFoundError(
                explain(who, 'the file must exist', f"'{path}'", 'Check the spelling.')
            )
        self.is_packed = path.suffix.lower() == '.gz'

    def _open(self) -> BinaryIO:
        return gzip.open(self.path, 'rb') if self.is_packed else self.path.open('rb')  # type: ignore[return-value]

    def head(self, size: int = 2**16) -> bytes:
        """The first bytes."""
        with self._open() as file:
            return self._read(file, size)

    def blocks(self, start: int = 0, line: int = 1) -> Iterator[Block]:
        """The file from a place on, at the start of the line of this number.

        Raises:
            ValueError: It ends before its end, or has lines as no text has them.
        """
        with self._open() as file:
            file.seek(start)
            rest = b''
            while True:
                size = max(BLOCK - len(rest), BLOCK // 2, 1)
                more = self._read(file, size)
                text, rest = rest + more, b''
                if more:
                    cut = text.rfind(b'\n') + 1
                    text, rest = text[:cut], text[cut:]
                    if len(rest) > LONGEST:
                        raise ValueError(
                            explain(self._who, f"lines of '{self.path.name}' must be shorter than "
                                    f'{LONGEST:,} bytes', f'a longer one, line {line}',
                                    'Is it a text file?')
                        )  # fmt: skip
                if text:
                    yield Block(text, line, start, start + len(text))
                    line += text.count(b'\n')
                    start += len(text)
                if not more:
                    return

    def _read(self, file: BinaryIO, size: int) -> bytes:
        try:
            return file.read(size)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                explain(self._who, f"'{self.path.name}' must be a whole file packed by gzip", error,
                        'The file is cut short or damaged: fetch it again.')
            ) from error  # fmt: skip
