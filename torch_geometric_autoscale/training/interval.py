"""How often to take a checkpoint: a time budget, or a number of batches."""

import math
import re
import time
from dataclasses import dataclass
from typing import Any

from ..errors import explain

_SECONDS = {
    's': 1, 'sec': 1, 'second': 1, 'seconds': 1, 'm': 60, 'min': 60, 'minute': 60, 'minutes': 60,
    'h': 3600, 'hour': 3600, 'hours': 3600,
}  # fmt: skip
_BATCHES = ('batch', 'batches')


@dataclass(frozen=True)
class Interval:
    """Seconds or batches between two checkpoints; neither: none in between.

    Attributes:
        seconds: Seconds, or ``None``.
        batches: Batches, or ``None``.
    """

    seconds: float | None = None
    batches: int | None = None


def parse_interval(value: Any) -> Interval:
    """An interval from ``'30s'``, ``'5min'``, ``'1.5h'``, ``'100batches'``, seconds or ``None``.

    Raises:
        ValueError: For anything else.
    """
    if value is None:
        return Interval()
    text = value if isinstance(value, str) else f'{value}s'
    found = re.fullmatch(r'\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*', text.lower())
    if found and not isinstance(value, bool):
        number, unit = float(found[1]), found[2] or 's'
        if unit in _SECONDS and 0 < number < math.inf:
            return Interval(seconds=number * _SECONDS[unit])
        if unit in _BATCHES and number >= 1 and number.is_integer():
            return Interval(batches=int(number))
    raise ValueError(
        explain('TrainSettings', "'checkpoint_every' must be a positive time or number of batches",
                repr(value), "Pass '30s', '5min', '1h', '100batches', or none.")
    )  # fmt: skip


class Timer:
    """Tells when the next checkpoint is due.

    Args:
        interval: The budget.
    """

    def __init__(self, interval: Interval) -> None:
        self.interval = interval
        self.restart()

    def restart(self) -> None:
        """Begin anew: a checkpoint has been taken."""
        self.began, self.batches = time.perf_counter(), 0

    def batch_is_done(self) -> bool:
        """Count a batch; whether a checkpoint is due after it."""
        self.batches += 1
        if self.interval.batches is not None:
            return self.batches >= self.interval.batches
        seconds = self.interval.seconds
        return seconds is not None and time.perf_counter() - self.began >= seconds
