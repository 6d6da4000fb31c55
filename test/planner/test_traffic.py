import pytest

from torch_geometric_autoscale.planner import traffic
from torch_geometric_autoscale.planner.fit import Counts
from torch_geometric_autoscale.planner.traffic import Traffic

from .made import CPU

COUNTS = Counts(rows=1000, halo=100, edges=5000)


@pytest.fixture
def known(tmp_path, monkeypatch):
    """Tables whose speed is known: seconds to pull and to push a row of one history."""
    speeds = {('ram', 'float32'): (1.0, 2.0), ('disk', 'int8'): (3.0, 2.5), ('ram', 'int8'): (0, 0)}
    monkeypatch.setattr(Traffic, '_try', lambda self, tier, dtype, width: speeds[tier, dtype])
    return Traffic((8, 4), 'float32', tmp_path, CPU)


def test_usual_histories_take_no_extra_seconds(known):
    assert known.extra_seconds(COUNTS, 'ram', 'float32') == 0


def test_slower_ones_take_longer_for_halo_rows_pulled_and_batch_rows_pushed(known):
    # Two histories: 2 x 2 seconds more for each of 100 rows, 2 x 0.5 for each of 1000.
    assert known.extra_seconds(COUNTS, 'disk', 'int8') == 2 * 2 * 100 + 2 * 0.5 * 1000


def test_nothing_is_quicker_than_the_usual_ones_which_the_steps_had(known):
    assert known.extra_seconds(COUNTS, 'ram', 'int8') == 0


def test_a_table_that_fits_the_page_cache_is_not_read_from_the_disk(known, monkeypatch):
    monkeypatch.setattr(traffic, '_seconds_per_cold_page', lambda folder: 1 / 0)
    assert known.seconds_of_misses(COUNTS, 10, 'float32', room=48 * 10) == 0


def test_of_a_larger_one_the_share_beyond_it_is_read(known, monkeypatch):
    monkeypatch.setattr(traffic, '_seconds_per_cold_page', lambda folder: 0.5)
    # Half of the table: 50 of 100 halo rows of two histories.
    assert known.seconds_of_misses(COUNTS, 10, 'float32', room=48 * 5) == 50 * 2 * 0.5


@pytest.mark.parametrize(('tier', 'dtype'), [('ram', 'float32'), ('ram', 'int8'), ('disk', 'int8')])
def test_the_speed_of_real_tables_is_measured(tmp_path, tier, dtype):
    found = Traffic((8, 4), 'float32', tmp_path, CPU)
    assert found.extra_seconds(COUNTS, tier, dtype) >= 0
    assert list(tmp_path.iterdir()) == []


def test_a_page_of_a_disk_takes_its_time(tmp_path):
    assert traffic._seconds_per_cold_page(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_histories_has_no_traffic(tmp_path):
    assert Traffic((), 'float32', tmp_path, CPU).extra_seconds(COUNTS, 'disk', 'int8') == 0
