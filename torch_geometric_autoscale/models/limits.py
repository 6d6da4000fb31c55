"""What numbers a ready model can be made of."""

import math
import operator
from typing import Any

from ..errors import explain


def check_whole(who: str, least: int, **values: Any) -> None:
    """Raise unless each is a whole number from ``least`` on, of Python, NumPy or PyTorch.

    Raises:
        ValueError: Naming the first that is not.
    """
    for name, value in values.items():
        if _whole(value) < least:
            raise ValueError(
                explain(who, f"'{name}' must be a whole number from {least} on", repr(value),
                        'Pass such a number.')
            )  # fmt: skip


def check_share(who: str, remedy: str, **values: Any) -> None:
    """Raise unless each is a number in [0, 1]."""
    for name, value in values.items():
        if not 0 <= _number(value) <= 1:
            raise ValueError(explain(who, f"'{name}' must lie in [0, 1]", value, remedy))


def check_not_negative(who: str, **values: Any) -> None:
    """Raise unless each is a finite number from 0 on."""
    for name, value in values.items():
        if not 0 <= _number(value) < math.inf:
            raise ValueError(
                explain(who, f"'{name}' must not be negative", value, 'Pass 0 or more.')
            )  # fmt: skip


def _whole(value: Any) -> float:
    """The number; less than any where it is not whole."""
    try:
        return -math.inf if isinstance(value, bool) else operator.index(value)
    except TypeError:
        return -math.inf


def _number(value: Any) -> float:
    """The number, or ``nan``, which no comparison holds for."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        return math.nan
