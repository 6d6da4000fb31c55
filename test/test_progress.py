"""Bars appear on a terminal, late, nested in order, and leave nothing behind."""

import sys
import time

import pytest

from torch_geometric_autoscale import progress as module
from torch_geometric_autoscale.progress import phase, progress, quiet, say

from .terminal import terminal


@pytest.fixture
def at_once(monkeypatch):
    """No waiting for bars."""
    monkeypatch.setattr(module, 'DELAY', 0.0)


def test_a_bar_shows_rate_and_time_left_and_is_gone_afterwards(monkeypatch, at_once):
    with terminal(monkeypatch) as screen, progress('Sweep', 3, mininterval=0) as bar:
        for _ in range(3):
            bar.update()
    seen = [text for text in screen.screens() if '2/3' in text]
    assert seen
    assert 'Sweep:  67%|' in seen[0]
    assert 'batch/s' in seen[0]
    assert '00:00<00:00' in seen[0]
    assert screen.screen == ''


def test_a_terminal_that_tells_no_size_gets_bars_too(monkeypatch, at_once):
    with terminal(monkeypatch, columns=0) as screen, progress('Sweep', 3, mininterval=0) as bar:
        bar.update()
    assert any('1/3' in text for text in screen.screens())


def test_what_is_over_within_two_seconds_is_not_shown(monkeypatch):
    with terminal(monkeypatch) as screen, progress('Sweep', 3, mininterval=0) as bar:
        bar.update()
        bar.refresh()
        say('a line')
    assert {text.strip() for text in screen.screens()} <= {'', 'a line'}
    assert screen.screen == 'a line'


def test_without_a_terminal_nothing_is_shown(capsys, at_once):
    with progress('Sweep', 3) as bar, phase('Reading'):
        bar.update(3)
    assert capsys.readouterr() == ('', '')


def test_nothing_is_shown_where_it_is_quiet(monkeypatch, at_once):
    with terminal(monkeypatch) as screen, quiet(), progress('Sweep', 3) as bar, phase('Reading'):
        bar.update(3)
    assert screen.screens() == ['']


def test_an_inner_bar_stands_below_the_outer_one_and_lines_above_both(monkeypatch, at_once):
    with terminal(monkeypatch) as screen, progress('Outer', 2, mininterval=0) as outer:
        for i in range(2):
            with progress('Inner', 2, mininterval=0) as inner:
                inner.update()
                say(f'line {i}')
                inner.update()
            outer.update()
        before = screen.screens
    texts = [text.split('\n') for text in before() if 'Inner' in text and 'line 1' in text]
    assert texts
    for lines in texts:
        assert [line.split(':')[0] for line in lines if line] == [
            'line 0', 'line 1', 'Outer', 'Inner',
        ]  # fmt: skip
    assert screen.screen == 'line 0\nline 1'


def test_an_outer_bar_that_waits_is_shown_with_the_inner_one(monkeypatch):
    with terminal(monkeypatch) as screen, progress('Outer', 2, delay=60):
        with progress('Inner', 2, delay=0, mininterval=0) as inner:
            inner.update()
        assert sys.stderr.isatty()
    shown = [text for text in screen.screens() if 'Inner' in text]
    assert shown
    assert all(text.index('Outer') < text.index('Inner') for text in shown)
    assert screen.screen == ''


def test_a_phase_counts_seconds_and_is_gone_afterwards(monkeypatch, at_once):
    monkeypatch.setattr(module, 'TICK', 0.01)
    with terminal(monkeypatch) as screen:
        with phase('Reading a graph'):
            while screen.count('Reading a graph... 00:00') < 3:
                time.sleep(0.01)
        say('done')
    assert screen.screen == 'done'
