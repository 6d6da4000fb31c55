"""Which of the two ways of moving rows is faster here."""

import time
import warnings
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from ..errors import explain
from ..history import History
from .runtime import Runtime

NUM_ROWS, WIDTH, NUM_PULLED = 2**17, 128, 2**15  # 64 MiB of rows, of which 16 MiB are pulled
TIMES = 5

_chosen: dict[torch.device, str] = {}


def faster_way(runtime: Runtime, make_pool: Callable[..., Any]) -> str:
    """``'host'`` or ``'kernel'``, by a measurement that is taken once for each device."""
    found = _chosen.get(runtime.device)
    if found is None:
        seconds = measure_ways(runtime, make_pool)
        found = min(seconds, key=lambda way: seconds[way])
        if runtime.device.type != 'cpu':  # else it is simulated: nothing to remember
            _chosen[runtime.device] = found
    return found


@torch.inference_mode(False)
@torch.no_grad()
def measure_ways(
    runtime: Runtime, make_pool: Callable[..., Any], num_rows: int = NUM_ROWS, width: int = WIDTH,
    pulled: int = NUM_PULLED,
) -> dict[str, float]:  # fmt: skip
    """Median seconds of a pull of random rows of a pinned history, for each way.

    Args:
        runtime: The device.
        make_pool: :class:`AsyncIOPool`.
        num_rows, width: Shape of the table.
        pulled: How many rows are pulled.
    """
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(num_rows, (pulled,), generator=generator)
    seconds: dict[str, float] = {}
    for way in ('host', 'kernel'):
        try:
            seconds[way] = _seconds(way, runtime, make_pool, num_rows, width, ids)
        except Exception as error:
            if way == 'host':
                raise
            warnings.warn(
                explain('AsyncIOPool', "'kernel' could not be timed, 'host' is taken",
                        f'{type(error).__name__}: {error}', "Say way='host' if that is fine."),
                stacklevel=2,
            )  # fmt: skip
    return seconds


def _seconds(
    way: str, runtime: Runtime, make_pool: Callable[..., Any], num_rows: int, width: int,
    ids: Tensor,
) -> float:  # fmt: skip
    history = History(num_rows, width, dtype='float32', tier='pinned')
    pool, taken = make_pool(way=way, runtime=runtime), []
    try:
        for _ in range(TIMES + 1):
            begun = time.perf_counter()
            pull = pool.pull_async(history, ids)
            pull.wait()
            pull.arrived.block()
            taken.append(time.perf_counter() - begun)
    finally:
        pool.close()
    return median(taken[1:])  # the first makes buffers and compiles the kernel
