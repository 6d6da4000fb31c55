"""What a piece of work allocates."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile


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
    return allocated_in(profiler)


def allocated_in(profiler: profile) -> Allocated:
    """From the running sum of a profile's allocations (positive) and releases on the CPU."""
    result: Any = profiler.profiler.kineto_results  # type: ignore[union-attr]
    changes = [
        (event.start_ns(), event.nbytes())
        for event in result.events()
        if event.name() == '[memory]' and event.device_type() == torch.autograd.DeviceType.CPU
    ]
    peak = current = 0
    for _, change in sorted(changes, key=lambda entry: entry[0]):
        current += change
        peak = max(peak, current)
    return Allocated(peak, current)
