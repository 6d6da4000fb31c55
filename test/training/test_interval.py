import pytest

from torch_geometric_autoscale.training import interval as interval_module
from torch_geometric_autoscale.training.interval import Interval, Timer, parse_interval


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [
        ('30s', 30), ('5min', 300), ('5 min', 300), ('1h', 3600), ('1.5h', 5400), ('.5s', 0.5),
        ('2 Hours', 7200), ('1m', 60), ('90', 90), (90, 90), (0.5, 0.5),
    ],
)  # fmt: skip
def test_times_are_written_as_people_write_them(text, seconds):
    assert parse_interval(text) == Interval(seconds=seconds)


@pytest.mark.parametrize(('text', 'batches'), [('100batches', 100), ('1 batch', 1)])
def test_batches_are_counted(text, batches):
    assert parse_interval(text) == Interval(batches=batches)


def test_none_is_no_interval():
    assert parse_interval(None) == Interval()


@pytest.mark.parametrize(
    'value',
    ['', 'often', '5 parsecs', '-1s', '0s', '0batches', '1.5batches', 'min', True, float('nan'),
     float('inf'), [], '9' * 400 + 's'],
)  # fmt: skip
def test_what_is_no_interval_is_told(value):
    with pytest.raises(ValueError, match=r"'checkpoint_every' must be a positive time or number"):
        parse_interval(value)


def test_a_timer_counts_seconds_since_the_last_checkpoint(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(interval_module.time, 'perf_counter', lambda: now[0])
    timer = Timer(Interval(seconds=10))
    for moment, due in [(9.9, False), (10.0, True), (30.0, True)]:
        now[0] = moment
        assert timer.batch_is_done() is due
    timer.restart()
    now[0] = 39.0
    assert not timer.batch_is_done()


def test_a_timer_counts_batches_since_the_last_checkpoint():
    timer = Timer(Interval(batches=2))
    assert [timer.batch_is_done() for _ in range(3)] == [False, True, True]
    timer.restart()
    assert not timer.batch_is_done()
    assert not any(Timer(Interval()).batch_is_done() for _ in range(5))
