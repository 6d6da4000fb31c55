"""Graphs that fit a hand, and every partitioner."""

import pytest
import torch
from torch import Tensor

from torch_geometric_autoscale.partition import available_methods

METHODS = ['metis', 'kaminpar', 'lp', 'ldg', 'random']


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    """Name of a partitioner; skipped where its wheel is absent."""
    if request.param not in available_methods():
        pytest.skip(f'{request.param} is not installed')
    return request.param


@pytest.fixture
def two_triangles() -> Tensor:
    """Triangles 0-2-4 and 1-3-5, joined by 0-1; both directions, 14 edges."""
    one_way = torch.tensor([[0, 2, 4, 1, 3, 5, 0], [2, 4, 0, 3, 5, 1, 1]])
    return torch.cat([one_way, one_way.flip(0)], dim=1)
