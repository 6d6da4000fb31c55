"""How long a piece of work takes, and collections of garbage that do not slow trials down."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch


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
