"""Progress of a training: a bar on a terminal, elsewhere a line every tenth of the way."""

import sys
from typing import Any

from ..progress import progress
from .results import Epoch
from .settings import TrainSettings

TITLES = {'gas': 'Histories', 'full': 'Full batch'}


class Reporter:
    """Told of every epoch, shows what a person wants to see.

    Args:
        settings: Of the run.
        log: Whether to show anything.
    """

    def __init__(self, settings: TrainSettings, log: bool) -> None:
        self.settings = settings
        self.title = TITLES[settings.mode]
        self.log = log
        self.tenth = 0
        self.best = 0.0
        self.bar: Any = None

    def __enter__(self) -> 'Reporter':
        if self.log and sys.stderr.isatty():
            total = self.settings.epochs or int(self.settings.max_seconds or 0)
            unit = 'epoch' if self.settings.epochs else 's'
            self.bar = progress(self.title, total, unit)
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def epoch(self, epoch: Epoch) -> None:
        """Take note of a finished epoch."""
        if epoch.val is not None:
            self.best = max(self.best, epoch.val)
        if self.bar is not None:
            self._advance_bar(epoch)
        elif self.log:
            self._print_line(epoch)

    def _advance_bar(self, epoch: Epoch) -> None:
        done = epoch.epoch if self.settings.epochs else min(int(epoch.elapsed), self.bar.total)
        loss = 'none' if epoch.loss is None else f'{epoch.loss:.3f}'
        self.bar.set_postfix_str(f'loss {loss}, best val {self.best:.2f}%', refresh=False)
        self.bar.update(done - self.bar.n)

    def _print_line(self, epoch: Epoch) -> None:
        share = max(
            epoch.epoch / self.settings.epochs if self.settings.epochs else 0.0,
            epoch.elapsed / self.settings.max_seconds if self.settings.max_seconds else 0.0,
        )
        if int(10 * share + 1e-9) <= self.tenth:
            return
        self.tenth = int(10 * share + 1e-9)
        loss = 'none' if epoch.loss is None else f'{epoch.loss:.4f}'
        val = '' if epoch.val is None else f', val {epoch.val:.2f}%'
        print(
            f'{self.title}: epoch {epoch.epoch}, {epoch.elapsed:.1f} s, loss {loss}{val}, '
            f'best val {self.best:.2f}%',
            flush=True,
        )
