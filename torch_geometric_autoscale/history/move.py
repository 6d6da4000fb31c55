"""Moving all histories of a model at once."""

from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import explain
from ..sizes import parse_size
from .cache import smallest_cache
from .encoding import encoding_of, parse_dtype
from .history import History


def histories_of(model: torch.nn.Module) -> list[History]:
    """The histories of a model, in its order; those of a converted module are no submodules."""
    found: dict[History, None] = {}
    for module in model.modules():
        for each in (module, *(vars(module).get('histories') or ())):
            if isinstance(each, History):
                found[each] = None
    return list(found)


def move_histories(
    model: torch.nn.Module,
    tier: str | None = None,
    folder: str | Path | None = None,
    *,
    dtype: torch.dtype | str | None = None,
    cache: int | str | None = None,
) -> None:
    """Bring every history of a model to another medium or type, one after the other.

    Args:
        model: Any module that has histories.
        tier, folder: As in :class:`History`; ``None``: where they are. ``'device'`` is the device
            of the model's parameters.
        dtype: As in :class:`History`; ``None`` or ``'auto'``: the type that they have.
        cache: Bytes, or text such as ``'256MB'``, of all their caches together, which lie on the
            device of the model's parameters; ``None``: no cache.

    Raises:
        ValueError, OSError: As in :class:`History`. Those that were not reached stay.
    """
    parameter = next(model.parameters(), None)
    device = None if parameter is None else parameter.device
    histories = histories_of(model)
    sizes: Sequence[int | None] = (
        [None] * len(histories) if cache is None else _shares(histories, cache, dtype)
    )
    for history, size in zip(histories, sizes, strict=True):
        history.move_to(tier, folder, dtype=dtype, device=device, cache_size_in_bytes=size)


def _shares(
    histories: Sequence[History], cache: int | str, dtype: torch.dtype | str | None
) -> list[int]:
    """Each table's part of the cache: what it needs, and of the rest as much as its size says."""
    size, chosen = parse_size('move_histories', 'cache', cache), parse_dtype('History', dtype)
    least, tables = [], []
    for history in histories:
        rows, width = history.num_embeddings, history.embedding_dim
        index, row = smallest_cache(rows, width, encoding_of(chosen or history.dtype))
        least.append(index + row)
        tables.append(rows * row)
    if size < sum(least):
        raise ValueError(
            explain('move_histories', f"'cache' must be {sum(least):,} bytes at least for "
                    f'{len(histories)} histories of this size', f'{size:,}',
                    'Give it more, or leave it out.')
        )  # fmt: skip
    rest = size - sum(least)
    return [a + rest * b // max(1, sum(tables)) for a, b in zip(least, tables, strict=True)]
