"""Progress bars: on a terminal, for what takes longer than two seconds."""

import sys
from typing import Any

from tqdm import tqdm


def progress(description: str, total: int, unit: str = 'batch', **kwargs: Any) -> tqdm:
    """A progress bar that appears after two seconds, and only on a terminal."""
    return tqdm(
        total=total, desc=description, unit=unit, leave=False, delay=2,
        disable=not sys.stderr.isatty(), **kwargs,
    )  # fmt: skip
