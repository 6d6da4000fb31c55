"""Peak memory of one training step."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from ..history.move import histories_of
from .allocated import allocated_by


def step_peak_bytes(
    model: torch.nn.Module,
    build_optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer],
    forward_backward: Callable[[torch.nn.Module], object],
    device: torch.device,
) -> int:
    """Peak of the bytes allocated between ``zero_grad`` and ``step``, in bytes.

    On the CPU it is the largest running sum of the allocations and releases that PyTorch's
    profiler sees; on a CUDA device the rise of ``max_memory_allocated``. Model, histories, graph
    and features are there before and do not count. Two steps are taken first: what is
    computed once and kept does not count either.

    Works on a copy of the model, with empty histories, and leaves the random state as it was, so
    that a run is the same to the bit with and without it.
    """
    devices = [device] if device.type == 'cuda' else []
    with torch.random.fork_rng(devices=devices):
        model = _with_empty_histories(model)
        model.train()
        optimizer = build_optimizer(model)
        for _ in range(3):  # the first call is checked, the second fills what is kept
            optimizer.zero_grad()
            peak = allocated_by(lambda: forward_backward(model), device).peak
            optimizer.step()
    return peak


def _with_empty_histories(model: torch.nn.Module) -> torch.nn.Module:
    """A copy of a model with tables of zeros: on a disk they need no time to be copied."""
    stores = [history.store for history in histories_of(model)]
    memo: dict[int, Any] = {
        id(store): store.empty(store.encoding, store.medium) for store in stores
    }
    return copy.deepcopy(model, memo)
