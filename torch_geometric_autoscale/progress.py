"""Progress bars: on a terminal, for what takes longer than two seconds.

Bars may be nested: the outer ones stand above, and whatever is printed meanwhile above them all.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from tqdm import tqdm

DELAY = 2.0  # seconds
TICK = 1.0  # seconds between two looks at the clock, where nothing can be counted

_is_quiet: ContextVar[bool] = ContextVar('is_quiet', default=False)


@contextmanager
def quiet() -> Iterator[None]:
    """Show no progress bar of this library within a block, whatever is called there."""
    token = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(token)


def shows_bars() -> bool:
    """Whether bars are shown: the standard error is a terminal, and nobody wants it quiet."""
    return not _is_quiet.get() and sys.stderr.isatty()


class ProgressBar(tqdm):
    """A bar that does not show itself, in whatever way, before its delay is over."""

    is_shown = False

    def update(self, n: float | None = 1) -> bool | None:
        """Count on; the bars around this one keep their time meanwhile."""
        is_displayed = super().update(n)
        if is_displayed:
            for bar in self._around():
                bar.refresh()
        return is_displayed

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Show the bar as it is, below those around it."""
        if not self.is_shown:
            if self.delay > 0 and self._time() < self.start_t + self.delay:
                return None
            self.is_shown = True
            for bar in self._around():
                bar.delay = 0.0  # shown from now on, or there would be a gap above this one
                bar.display()
        return super().display(msg, pos)

    def clear(self, nolock: bool = False) -> None:
        """Take the bar off the screen for a moment."""
        if self.is_shown:
            super().clear(nolock)

    def close(self) -> None:
        """Take the bar off the screen for good."""
        if self.is_shown and not self.disable:
            self.last_print_t = self._time()  # or it would not be known to have been shown
        super().close()

    def _around(self) -> list['ProgressBar']:
        bars = [bar for bar in list(self._instances) if isinstance(bar, ProgressBar)]
        bars = [bar for bar in bars if abs(getattr(bar, 'pos', 0)) < abs(self.pos)]
        return sorted(bars, key=lambda bar: abs(bar.pos))


def progress(description: str, total: float, unit: str = 'batch', **kwargs: Any) -> ProgressBar:
    """A progress bar that appears after two seconds, and only on a terminal."""
    kwargs = {'leave': False, 'delay': DELAY, **kwargs}
    is_shown = shows_bars()
    if is_shown:
        kwargs = {**_screen(), **kwargs}
    return ProgressBar(
        total=total, desc=description, unit=unit, disable=not is_shown, file=sys.stderr, **kwargs
    )


def _screen() -> dict[str, Any]:
    """What a bar must know of the terminal: some tell no size, and would get no bar."""
    try:
        tells = os.get_terminal_size(sys.stderr.fileno()).columns > 0
    except (OSError, ValueError):  # a stream that only looks like a terminal
        tells = False
    return {'dynamic_ncols': True} if tells else {'ncols': 80, 'nrows': 24}


@contextmanager
def phase(description: str) -> Iterator[None]:
    """Announce work of which nobody can say how far it is: what it is, and the seconds so far.

    Appears after two seconds, and only on a terminal. Code that holds Python's lock throughout
    (METIS does) cannot be watched so: it must be announced by a line of its own.
    """
    if not shows_bars():
        yield
        return
    bar = progress(description, total=0, bar_format='{desc}... {elapsed}')
    is_over = threading.Event()

    def tick() -> None:
        wait = DELAY
        while not is_over.wait(wait):
            bar.refresh()
            wait = TICK

    clock = threading.Thread(target=tick, name='pygas-progress', daemon=True)
    clock.start()
    try:
        yield
    finally:
        is_over.set()
        clock.join()
        bar.close()


def say(text: str, file: TextIO | None = None) -> None:
    """Print a line above the bars.

    Args:
        text: The line.
        file: Where to (default: the standard output).
    """
    with above_bars():
        print(text, file=file, flush=True)


@contextmanager
def above_bars() -> Iterator[None]:
    """Take the bars off the screen for a block that prints, and put them back below."""
    if not are_bars_shown():
        yield
        return
    with ProgressBar.external_write_mode(file=sys.stderr):
        yield


def are_bars_shown() -> bool:
    """Whether there is a bar on the screen now."""
    bars = list(getattr(tqdm, '_instances', ()))
    return any(isinstance(bar, ProgressBar) and bar.is_shown for bar in bars)
