"""Progress of a training: a bar on a terminal, elsewhere a line every tenth of the way."""

import sys
from typing import Any

from ..progress import progress
from .results import Epoch, Position, Run
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

    def resumed(self, run: Run, position: Position, name: str) -> None:
        """Take note of what an earlier process has done."""
        self.best = max((epoch.val or 0.0 for epoch in run.epochs), default=0.0)
        if run.epochs:
            self.tenth = self._tenths(run.epochs[-1])
            if self.bar is not None:
                self._advance_bar(run.epochs[-1])
        if self.log:
            at = f'epoch {position.epoch.epoch}, {position.batches} of its batches done'
            text = f'{self.title}: resumed from {name}, at {at}'
            print(text, file=sys.stderr if self.bar is not None else sys.stdout, flush=True)

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
        tenth = self._tenths(epoch)
        if tenth <= self.tenth:
            return
        self.tenth = tenth
        loss = 'none' if epoch.loss is None else f'{epoch.loss:.4f}'
        val = '' if epoch.val is None else f', val {epoch.val:.2f}%'
        print(
            f'{self.title}: epoch {epoch.epoch}, {epoch.elapsed:.1f} s, loss {loss}{val}, '
            f'best val {self.best:.2f}%',
            flush=True,
        )

    def _tenths(self, epoch: Epoch) -> int:
        """How many tenths of the way are over."""
        settings = self.settings
        share = max(
            epoch.epoch / settings.epochs if settings.epochs else 0.0,
            epoch.elapsed / settings.max_seconds if settings.max_seconds else 0.0,
        )
        return int(10 * share + 1e-9)
