"""Sizes in bytes, as people write them."""

import math
import re
from typing import Any

from .errors import explain

_UNITS = {
    '': 1, 'b': 1,
    'kb': 10**3, 'mb': 10**6, 'gb': 10**9, 'tb': 10**12,
    'kib': 2**10, 'mib': 2**20, 'gib': 2**30, 'tib': 2**40,
}  # fmt: skip


def parse_size(who: str, name: str, value: Any) -> int:
    """Bytes from ``'256MB'`` (10^6 bytes each), ``'1.5GiB'`` (2^30), or a number of bytes.

    Args:
        who: The public call on whose behalf errors speak.
        name: How ``value`` is called there.

    Raises:
        ValueError: For anything else, and for less than a byte.
    """
    text = value if isinstance(value, str) else f'{value:.0f}' if _is_whole(value) else ''
    found = re.fullmatch(r'\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*', text.lower())
    if found and found[2] in _UNITS:
        size = float(found[1]) * _UNITS[found[2]]
        if 1 <= size < math.inf:
            return int(size)
    raise ValueError(
        explain(who, f"'{name}' must be a number of bytes from 1 on", repr(value),
                "Pass e.g. '256MB', '1.5GiB' or 1000000.")
    )  # fmt: skip


def _is_whole(value: Any) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and math.isfinite(value) and value == int(value)
