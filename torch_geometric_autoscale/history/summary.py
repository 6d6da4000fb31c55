"""How the histories of a model are kept, for a record."""

from typing import Any

import torch

from .cache import CachedStore
from .move import histories_of


def summarize(model: torch.nn.Module) -> dict[str, Any]:
    """What a record tells of a model's histories.

    Returns:
        ``tables``: their number; ``tiers`` and ``dtypes`` that occur; ``bytes`` of all tables;
        ``cache_bytes``, and ``cache_hit_rate``: the share of rows read by id that caches had,
        ``None`` without any.
    """
    histories = histories_of(model)
    caches = [h.store for h in histories if isinstance(h.store, CachedStore)]
    num_reads = sum(cache.num_reads for cache in caches)
    return {
        'tables': len(histories),
        'tiers': sorted({history.tier for history in histories}),
        'dtypes': sorted({str(history.dtype).removeprefix('torch.') for history in histories}),
        'bytes': sum(history.num_bytes for history in histories),
        'cache_bytes': sum(cache.size_in_bytes for cache in caches),
        'cache_hit_rate': sum(cache.num_hits for cache in caches) / num_reads
        if num_reads else None,
    }  # fmt: skip
