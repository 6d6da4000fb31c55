"""Operators' caches of whole-graph quantities: set aside while a module runs on something else."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch_geometric.nn import MessagePassing


@contextmanager
def without_caches(module: torch.nn.Module) -> Iterator[None]:
    """Let no operator read or keep what ``cached=True`` stores; what is stored now stays."""
    kept: list[tuple[MessagePassing, dict[str, Any]]] = []
    for m in module.modules():
        if isinstance(m, MessagePassing) and getattr(m, 'cached', False):
            kept.append((m, {k: v for k, v in vars(m).items() if k.startswith('_cached_')}))
    for m, stored in kept:
        m.cached = False
        vars(m).update(dict.fromkeys(stored))
    try:
        yield
    finally:
        for m, stored in kept:
            m.cached = True
            vars(m).update(stored)
