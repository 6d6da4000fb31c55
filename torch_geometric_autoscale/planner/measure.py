"""What a piece of work allocates, and how long it takes."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile

from ..training.step_memory import memory_changes


class Allocated(NamedTuple):
    """Bytes of tensors.

    Attributes:
        peak: Most that was there at once.
        left: What is still there afterwards.
    """

    peak: int
    left: int


def allocated_by(work: Callable[[], object], device: torch.device) -> Allocated:
    """The bytes that ``work`` allocates beyond those that are there before."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        peak, after = torch.cuda.max_memory_allocated(device), torch.cuda.memory_allocated(device)
        return Allocated(peak - before, after - before)
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')  # it would report its own start and stop
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        work()
    current = peak = 0
    for change in memory_changes(profiler):
        current += change
        peak = max(peak, current)
    return Allocated(peak, current)


@contextmanager
def quick_collections() -> Iterator[None]:
    """Within it, ``gc.collect`` looks only at objects that came since: it is called often."""
    gc.collect()
    mine = gc.get_freeze_count() == 0  # else someone else has objects set aside
    if mine:
        gc.freeze()
    try:
        yield
    finally:
        if mine:
            gc.unfreeze()


def seconds_of(work: Callable[[], object], device: torch.device, times: int = 3) -> float:
    """The quickest of some runs: whatever else the machine does can only slow them down."""
    found = []
    for _ in range(times):
        _wait_for(device)
        begun = time.perf_counter()
        work()
        _wait_for(device)
        found.append(time.perf_counter() - begun)
    return min(found)


def _wait_for(device: Any) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
