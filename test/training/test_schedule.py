"""The learning rate over a training."""

import pytest

from torch_geometric_autoscale.training.schedule import learning_rate_factor


def test_constant_stays():
    assert [learning_rate_factor('constant', p) for p in (0, 0.5, 1)] == [1, 1, 1]


def test_onecycle_rises_to_one_at_30_percent_and_falls_to_almost_nothing():
    values = [learning_rate_factor('onecycle', p) for p in (0, 0.15, 0.3, 0.65, 1)]
    assert values == pytest.approx([0.04, 0.52, 1, 0.50002, 0.00004])


def test_progress_beyond_the_end_keeps_the_last_rate():
    assert learning_rate_factor('onecycle', 1.5) == learning_rate_factor('onecycle', 1)
