"""For tests of the transfer engine on a simulated device."""

from collections.abc import Callable, Iterator

import pytest

from torch_geometric_autoscale.transfer import AsyncIOPool, buffers, ways
from torch_geometric_autoscale.transfer.simulated import SimulatedRuntime

from ..history.conftest import _pinned_memory_everywhere  # noqa: F401

MakePool = Callable[..., AsyncIOPool]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch) -> None:
    """Pieces of a few rows, so that hand-sized batches take several."""
    monkeypatch.setattr(buffers, 'PIECE_IN_BYTES', 256)
    monkeypatch.setattr(ways, 'AT_MOST', 2)
    monkeypatch.setattr(buffers, 'AT_MOST', 2)


@pytest.fixture
def pool_of() -> Iterator[MakePool]:
    """Makes pools on a simulated device, and closes them at the end."""
    made: list[AsyncIOPool] = []

    def make(way: str = 'host', seed: int = 0, longest_pause: float = 2e-4) -> AsyncIOPool:
        pool = AsyncIOPool(way=way, runtime=SimulatedRuntime(seed, longest_pause))
        made.append(pool)
        return pool

    yield make
    for pool in made:
        pool.close()
