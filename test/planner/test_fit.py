import numpy as np
import pytest

from torch_geometric_autoscale.planner.fit import Counts, LinearCost, fit_cost

BATCHES = [
    Counts(10, 5, 40),
    Counts(20, 9, 85),
    Counts(40, 12, 150),
    Counts(8, 30, 35),
    Counts(30, 90, 120),
]


def test_a_linear_cost_is_found_again():
    true = LinearCost(fixed=100, per_row=7, per_halo=3, per_edge=2)
    found = fit_cost(BATCHES, [true(counts) for counts in BATCHES])
    wanted = (100, 7, 3, 2)
    assert (found.fixed, found.per_row, found.per_halo, found.per_edge) == pytest.approx(wanted)
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found(Counts(1000, 100, 4000)) == pytest.approx(100 + 7000 + 300 + 8000)


def test_coefficients_are_never_negative():
    values = [1000 - counts.halo for counts in BATCHES]
    found = fit_cost(BATCHES, values)
    assert min(found.fixed, found.per_row, found.per_halo, found.per_edge) >= 0
    assert 0 < found.error < 1


def test_the_best_fit_is_that_of_least_squares_where_nothing_is_negative():
    rng = np.random.default_rng(0)
    true = LinearCost(50, 5, 4, 3)
    values = [true(counts) * (1 + 0.01 * rng.standard_normal()) for counts in BATCHES]
    design = np.array([[1, *counts] for counts in BATCHES]) / np.array(values)[:, None]
    wanted = np.linalg.lstsq(design, np.ones(5), rcond=None)[0]
    assert (wanted > 0).all()  # with this seed
    found = fit_cost(BATCHES, values)
    assert (found.fixed, found.per_row, found.per_halo, found.per_edge) == pytest.approx(wanted)


def test_many_batches_cost_what_each_costs():
    cost = LinearCost(1, 2, 3, 4)
    rows, halo, edges = np.array([BATCHES[0], BATCHES[3]], dtype=float).T
    assert cost.of_all(rows, halo, edges).tolist() == [1 + 20 + 15 + 160, 1 + 16 + 90 + 140]


def test_counts_scale():
    assert Counts(2, 4, 6) * 1.5 == (3, 6, 9)
