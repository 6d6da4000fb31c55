"""How the learning rate changes over a training."""

import math

WARM_UP = 0.3
FIRST, LAST = 1 / 25, 1 / 25_000


def learning_rate_factor(schedule: str, progress: float) -> float:
    """The share of the learning rate at a moment of the training.

    Args:
        schedule: ``'constant'``, or ``'onecycle'`` (Smith & Topin 2018): from 1/25 up to 1 in the
            first 30% of the training, then down to 1/25,000, both along a cosine. Unlike there,
            the momentum stays as it is.
        progress: Share of the training that is over, in [0, 1].
    """
    if schedule == 'constant':
        return 1.0
    progress = min(max(progress, 0.0), 1.0)
    if progress < WARM_UP:
        return _between(FIRST, 1.0, progress / WARM_UP)
    return _between(1.0, LAST, (progress - WARM_UP) / (1 - WARM_UP))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
