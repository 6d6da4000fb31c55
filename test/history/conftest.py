"""For tests of histories."""

from collections.abc import Iterator

import pytest
import torch

from torch_geometric_autoscale import History

from .kinds import KINDS, Kind

FILLED = torch.tensor([[0.0, 0], [1, -1], [2, 0], [-3, 3]])  # every type keeps these as they are


@pytest.fixture(scope='module', autouse=True)
def _pinned_memory_everywhere() -> Iterator[None]:
    """Where no device reads pinned memory, plain memory stands in for it."""
    if torch.cuda.is_available():
        yield
        return

    def plain(make):
        return lambda *args, pin_memory=False, **kwargs: make(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, 'empty', plain(torch.empty))
        patch.setattr(torch, 'zeros', plain(torch.zeros))
        yield


@pytest.fixture(params=KINDS, ids=str)
def history(request, tmp_path) -> History:
    """``FILLED`` on every medium, in every type, with a cache and without."""
    return filled(request.param, tmp_path)


@pytest.fixture(params=[Kind(), Kind('disk', 'int8', True)], ids=str)
def any_history(request, tmp_path) -> History:
    """``FILLED``, for what does not depend on how rows are kept."""
    return filled(request.param, tmp_path)


def filled(kind: Kind, folder) -> History:
    history = kind.make(4, 2, folder)
    history.push(FILLED)
    history.pull(torch.tensor([3, 1]))  # now in the cache, if there is one
    return history
