"""Progress of a training: a bar on a terminal, elsewhere a line every tenth of the way."""

import sys
from contextlib import nullcontext
from typing import Any

from ..progress import progress, say, shows_bars
from .log_file import LogFile
from .results import Epoch, Position, Run
from .settings import TrainSettings
from .tensorboard import Scalars

TITLES = {'gas': 'Histories', 'full': 'Full batch'}
FORMATS = {
    'epoch': '{l_bar}{bar}| {n:.1f}/{total:.0f} [{elapsed}<{remaining}, {rate_fmt}{postfix}]',
    'step': '{l_bar}{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}, {rate_fmt}{postfix}]',
    's': '{l_bar}{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}{postfix}]',
}


class Reporter:
    """Told of every epoch, shows what a person wants to see.

    Args:
        settings: Of the run.
        log: Whether to show anything.
        log_file: Takes a line for every epoch, with the time of day.
        scalars: For TensorBoard.
    """

    def __init__(
        self,
        settings: TrainSettings,
        log: bool,
        log_file: LogFile | None = None,
        scalars: Scalars | None = None,
    ) -> None:
        self.settings = settings
        self.title = TITLES[settings.mode]
        self.log, self.log_file, self.scalars = log, log_file, scalars
        self.tenth = 0
        self.best: float | None = None
        self.error: float | None = None
        self.bar: Any = None

    def __enter__(self) -> 'Reporter':
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()
        if self.scalars is not None:
            self.scalars.close()

    # What happens ################################################################

    def resumed(self, run: Run, position: Position, name: str) -> None:
        """Take note of what an earlier process has done."""
        for epoch in run.epochs:
            self._remember(epoch)
        if run.epochs:
            self.tenth = self._tenths(run.epochs[-1])
        at = f'epoch {position.epoch.epoch}, {position.batches} of its batches done'
        self._tell(f'{self.title}: resumed from {name}, at {at}')

    def begins(self, run: Run) -> None:
        """From here on epochs are trained."""
        if self.log and shows_bars():
            unit = 'epoch' if self.settings.epochs else 's'
            total = self.settings.epochs or self.settings.max_seconds or 0
            done = (len(run.epochs) if unit == 'epoch' else run.seconds) if run.epochs else 0
            form = FORMATS[unit if self.settings.mode == 'gas' or unit == 's' else 'step']
            self.bar = progress(self.title, total, unit, initial=min(done, total), bar_format=form)
        if self.scalars is not None:
            self.scalars.begin(len(run.epochs) + 1)

    def batch(self, epoch: Epoch, share: float, elapsed: float) -> None:
        """Take note of a finished batch, after which a share of the epoch's are done."""
        if self.bar is not None:
            self._advance_bar(epoch.epoch - 1 + min(share, 1.0), elapsed)

    def epoch(self, epoch: Epoch) -> None:
        """Take note of a finished epoch."""
        self._remember(epoch)
        text = self._line(epoch)
        if self.log_file is not None:
            self.log_file.line(text)
        if self.bar is not None:
            self.bar.set_postfix_str(self._in_short(epoch), refresh=False)
            self._advance_bar(epoch.epoch, epoch.elapsed)
        elif self.log and self._tenths(epoch) > self.tenth:
            self.tenth = self._tenths(epoch)
            self._print(text)
        if self.scalars is not None:
            self.scalars.epoch(epoch)

    # What is told ################################################################

    def _tell(self, text: str) -> None:
        """Print, and log whether or not what is printed is logged."""
        if self.log_file is not None:
            self.log_file.line(text)
        if self.log:
            self._print(text)

    def _print(self, text: str) -> None:
        with nullcontext() if self.log_file is None else self.log_file.paused():
            say(text, sys.stderr if shows_bars() else sys.stdout)

    def _remember(self, epoch: Epoch) -> None:
        if epoch.val is not None:
            self.best = max(self.best or 0.0, epoch.val)
        if epoch.errors:
            self.error = max(error.relative for error in epoch.errors)

    def _advance_bar(self, epochs: float, elapsed: float) -> None:
        done = epochs if self.settings.epochs else min(elapsed, self.bar.total)
        self.bar.update(done - self.bar.n)

    def _line(self, epoch: Epoch) -> str:
        loss = 'none' if epoch.loss is None else f'{epoch.loss:.4f}'
        val = '' if epoch.val is None else f', val {epoch.val:.2f}%'
        return (
            f'{self.title}: epoch {epoch.epoch}, {epoch.elapsed:.1f} s, loss {loss}{val}'
            f'{self._about_best()}{self._about_histories(epoch)}'
        )

    def _in_short(self, epoch: Epoch) -> str:
        loss = 'none' if epoch.loss is None else f'{epoch.loss:.2f}'
        best = '' if self.best is None else f', best val {self.best:.1f}%'
        return f'loss {loss}{best}{self._about_histories(epoch, in_short=True)}'

    def _about_best(self) -> str:
        return '' if self.best is None else f', best val {self.best:.2f}%'

    def _about_histories(self, epoch: Epoch, in_short: bool = False) -> str:
        """The oldest layer's rows, and the error of the layer that is furthest off."""
        known = [ages for ages in epoch.ages or () if ages.mean is not None]
        text = ''
        if known:
            oldest = max(known, key=lambda ages: ages.mean or 0.0)
            text = f', age {oldest.mean:.1f}' + ('' if in_short else f' (max {oldest.max})')
        never = max((ages.never for ages in epoch.ages or ()), default=0.0)
        text += f', {never:.0%} never written' if never else ''
        return text + ('' if self.error is None else f', error {self.error:.0%}')

    def _tenths(self, epoch: Epoch) -> int:
        """How many tenths of the way are over."""
        settings = self.settings
        share = max(
            epoch.epoch / settings.epochs if settings.epochs else 0.0,
            epoch.elapsed / settings.max_seconds if settings.max_seconds else 0.0,
        )
        return int(10 * share + 1e-9)
