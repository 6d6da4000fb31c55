"""What is asked of a plan, and the settings that come into question for it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from .choice import Choice

DTYPES = ('bfloat16', 'int8')  # besides the exact one, in order of preference
_CPU_TIERS: tuple[str, ...] = ('ram', 'disk')
_DEVICE_TIERS: tuple[str, ...] = ('device', 'pinned', 'ram', 'disk')


@dataclass(frozen=True)
class Wishes:
    """What was asked for; ``None`` leaves a setting to the plan.

    Attributes:
        usual_num_parts, usual_batch_size: Where to start from.
        others: As in :class:`Choice`.
    """

    num_parts: int | None = None
    batch_size: int | None = None
    usual_num_parts: int | None = None
    usual_batch_size: int | None = None
    history_tier: str | None = None
    history_dtype: str | None = None
    history_cache: int = 0
    keep_first_propagation: bool | None = None
    measure_memory: bool | None = False
    full_batch: bool | None = False


def batch_sizes(wishes: Wishes, num_parts: int) -> Iterator[int]:
    """Parts per batch, the usual number first: an eighth of them."""
    if wishes.batch_size is not None:
        yield min(wishes.batch_size, num_parts)
        return
    usual = max(1, num_parts // 8)
    if wishes.usual_batch_size is not None and wishes.usual_num_parts is not None:
        usual = max(1, round(wishes.usual_batch_size * num_parts / wishes.usual_num_parts))
    size = float(min(usual, num_parts))
    while size >= 1:
        yield int(size)
        size = min(size - 1, size / 1.25)


def storages(wishes: Wishes, exact: str, on_device: bool) -> list[tuple[str, str]]:
    """Tiers and types of histories; those that keep rows as they are first."""
    tiers = _DEVICE_TIERS if on_device else _CPU_TIERS
    if wishes.history_tier is not None:
        tiers = (wishes.history_tier,)
    dtypes = (exact, *DTYPES) if wishes.history_dtype is None else (wishes.history_dtype,)
    return [(tier, dtype) for dtype in dtypes for tier in tiers]


def degrees_of_comfort(
    wishes: Wishes, num_parts: int, batch_size: int, tier: str, dtype: str
) -> Iterator[Choice]:
    """One choice with everything that is nice to have, then ever less of it."""
    keep, measure, full = (
        wish is not False
        for wish in (wishes.keep_first_propagation, wishes.measure_memory, wishes.full_batch)
    )
    levels = [(keep, measure, full)]
    if wishes.full_batch is None:
        levels.append((keep, measure, False))
    if wishes.measure_memory is None:
        levels.append((keep, False, levels[-1][2]))
    if wishes.keep_first_propagation is None:
        levels.append((False, *levels[-1][1:]))
    for on in levels:
        yield Choice(num_parts, batch_size, tier, dtype, wishes.history_cache, *on)


def without_one(wishes: Wishes) -> Iterator[tuple[str, Any, Wishes]]:
    """The wishes without one of them that memory may be lacking for: its name, its value."""
    storage: dict[str, Any] = dict.fromkeys(('history_tier', 'history_dtype', 'batch_size'))
    comfort = ('full_batch', 'measure_memory', 'keep_first_propagation')
    instead = {**storage, 'history_cache': 0, **dict.fromkeys(comfort, False)}
    for name, value in instead.items():
        wish = getattr(wishes, name)
        if wish:
            yield name, wish, replace(wishes, **{name: value})
