"""Every way in which a history can be kept."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch

from torch_geometric_autoscale import History
from torch_geometric_autoscale.history import DTYPES, TIERS
from torch_geometric_autoscale.history.cache import smallest_cache
from torch_geometric_autoscale.history.encoding import encoding_of

# Largest rounding error of an entry, relative to it; for int8 relative to the row's largest.
ROUNDING = {
    'float64': 2.0**-53, 'float32': 2.0**-24, 'bfloat16': 2.0**-8, 'float16': 2.0**-11,
    'int8': 1 / 254,
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A medium, a type, and whether there is a cache, of half of the rows."""

    tier: str = 'ram'
    dtype: str = 'auto'
    cached: bool = False

    def __str__(self) -> str:
        return f'{self.tier}-{self.dtype}{"-cached" if self.cached else ""}'

    def make(self, num_rows: int, width: int, folder: Path | None = None) -> History:
        encoding = encoding_of(DTYPES.get(self.dtype, torch.get_default_dtype()))
        index, row = smallest_cache(num_rows, width, encoding)
        return History(
            num_rows, width, dtype=self.dtype, tier=self.tier, folder=folder,
            cache_size_in_bytes=index + row * max(1, num_rows // 2) + row // 2 if self.cached
            else None,
        )  # fmt: skip


KINDS = [Kind(*each) for each in itertools.product(TIERS, ('auto', *DTYPES))]
KINDS += [Kind(*each, True) for each in itertools.product(TIERS, ('auto', 'int8'))]
