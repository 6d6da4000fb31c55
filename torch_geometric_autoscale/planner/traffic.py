"""How long histories on some medium, in some type, take to read and to write."""

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from ..history import History
from .fit import Counts
from .needs import row_bytes

_ROWS, _BATCH = 2**12, 2**10
_FILE_BYTES, _PAGE, _READS = 2**23, 4096, 64
_BLOCK = 2**16


class Traffic:
    """Seconds beyond those of histories in main memory, in the type of the values.

    Args:
        widths: Channels of each history.
        exact_dtype: The type of the values.
        folder: Where tables on disk lie (default: the system's folder for temporary files).
        device: Where batches are.
    """

    def __init__(
        self,
        widths: Sequence[int],
        exact_dtype: str,
        folder: str | os.PathLike[str] | None,
        device: torch.device,
    ) -> None:
        self.widths, self.exact_dtype, self.device = tuple(widths), exact_dtype, device
        self.folder = Path(tempfile.gettempdir() if folder is None else folder)
        self._known: dict[tuple[str, str], tuple[float, float]] = {}
        self._seconds_per_page: float | None = None

    def extra_seconds(self, counts: Counts, tier: str, dtype: str) -> float:
        """For the batches of an epoch together, while tables fit the system's page cache."""
        usual_pull, usual_push = self._seconds('ram', self.exact_dtype)
        pull, push = self._seconds(tier, dtype)
        extra = counts.halo * (pull - usual_pull) + counts.rows * (push - usual_push)
        return max(extra, 0.0)

    def seconds_of_misses(self, counts: Counts, num_nodes: int, dtype: str, room: float) -> float:
        """To read from the disk what the page cache has no ``room`` for."""
        table = num_nodes * row_bytes(self.widths, dtype)
        missing = max(1 - room / max(table, 1), 0.0)
        if missing == 0.0:
            return 0.0
        if self._seconds_per_page is None:
            self._seconds_per_page = _seconds_per_cold_page(self.folder)
        return missing * counts.halo * len(self.widths) * self._seconds_per_page

    def _seconds(self, tier: str, dtype: str) -> tuple[float, float]:
        """Of pulling and of pushing one row of every history."""
        if (tier, dtype) not in self._known:
            each = [self._try(tier, dtype, width) for width in self.widths]
            pull, push = (sum(column) for column in zip(*each, strict=True)) if each else (0.0, 0.0)
            self._known[tier, dtype] = pull, push
        return self._known[tier, dtype]

    def _try(self, tier: str, dtype: str, width: int) -> tuple[float, float]:
        device = self.device if tier == 'device' else None
        folder = self.folder if tier == 'disk' else None
        history = History(_ROWS, width, device, dtype, tier, folder)
        generator = torch.Generator().manual_seed(0)
        rows = torch.randn(_BATCH, width, generator=generator)
        index = torch.randperm(_ROWS, generator=generator)[:_BATCH]
        out = torch.empty(_BATCH, width, device=self.device)
        first, count = torch.tensor([0]), torch.tensor([_BATCH])
        best = [float('inf'), float('inf')]
        for _ in range(4):
            begun = time.perf_counter()
            history.push(rows, None, first, count)
            between = time.perf_counter()
            history.pull(index, out=out)
            ended = time.perf_counter()
            best = [min(best[0], ended - between), min(best[1], between - begun)]
        return best[0] / _BATCH, best[1] / _BATCH


def _seconds_per_cold_page(folder: Path) -> float:
    """To read a page of a file that the system has not in memory."""
    with tempfile.TemporaryFile(dir=folder, prefix='plan-') as file:
        for _ in range(_FILE_BYTES // _BLOCK):
            file.write(os.urandom(_BLOCK))
        file.flush()
        os.fsync(file.fileno())
        if not hasattr(os, 'posix_fadvise'):
            return 1e-4
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        pages = torch.randperm(_FILE_BYTES // _PAGE, generator=torch.Generator().manual_seed(0))
        begun = time.perf_counter()
        for page in pages[:_READS].tolist():
            os.pread(file.fileno(), _PAGE, page * _PAGE)
        return (time.perf_counter() - begun) / _READS
