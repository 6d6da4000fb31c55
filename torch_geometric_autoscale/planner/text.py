"""Sizes and tables as text."""

from collections.abc import Sequence


def size_text(size: float) -> str:
    """Bytes in the unit that fits: ``size_text(2_500_000) -> '2.5 MB'``."""
    for unit, name in ((10**12, 'TB'), (10**9, 'GB'), (10**6, 'MB'), (10**3, 'kB')):
        if abs(size) >= unit:
            digits = 2 if size < 9.995 * unit else 1 if size < 99.95 * unit else 0
            return f'{size / unit:,.{digits}f} {name}'
    return f'{size:,.0f} B'


def two_columns(rows: Sequence[tuple[str, str]], indent: str = '') -> list[str]:
    """Names and values, a line each."""
    return [f'{indent}{name:<{30 - len(indent)}} {value}' for name, value in rows]
