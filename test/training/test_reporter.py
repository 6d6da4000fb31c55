"""What a person sees of a training on a terminal."""

import re

import pytest

from torch_geometric_autoscale import progress as progress_module
from torch_geometric_autoscale.training import Epoch, TrainSettings, train
from torch_geometric_autoscale.training.reporter import Reporter
from torch_geometric_autoscale.training.results import Run

from ..terminal import terminal
from .test_resume import interrupted_before
from .tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(progress_module, 'DELAY', 0.0)
    original = progress_module.ProgressBar.__init__

    def often(self, *args, **kwargs):
        original(self, *args, **{**kwargs, 'mininterval': 0})

    monkeypatch.setattr(progress_module.ProgressBar, '__init__', often)


def trained(**changes):
    return train(tiny_model(num_layers=3), tiny_data(), tiny_ptr(), tiny_settings(**changes))


def test_a_bar_counts_epochs_batch_by_batch_and_tells_what_it_has_found(monkeypatch, at_once):
    with terminal(monkeypatch, columns=120) as screen:
        trained(measure_error=True)
    seen = '\n'.join(screen.screens())
    assert re.search(
        r'Histories:  67%\|.*\| 2\.0/3 \[00:0\d<00:0\d, .*epoch.*, loss \d\.\d\d, '
        r'best val \d+\.\d%, age \d\.\d, error \d+%\]', seen,
    )  # fmt: skip
    assert re.search(r'Histories:  11%\|.*\| 0\.3/3', seen)  # after the first of three batches
    assert screen.screen == ''


def test_evaluations_have_a_bar_below_that_names_the_layer(monkeypatch, at_once):
    with terminal(monkeypatch) as screen:
        trained()
    below = [text.split('\n') for text in screen.screens() if 'layer 2/3' in text]
    assert any(
        len(lines) == 2 and lines[0].startswith('Histories: ') and 'Refresh, layer 2/3' in lines[1]
        for lines in below
    )


def test_checkpoints_have_a_bar_that_counts_bytes(monkeypatch, at_once, tmp_path):
    with terminal(monkeypatch) as screen:
        train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), checkpoints=tmp_path)
    seen = '\n'.join(screen.screens())
    assert re.search(r'Saving a state of a training:.*\d+\.\d*k/\d+\.\d*k \[.*B/s\]', seen)


def test_phases_that_cannot_be_counted_are_announced(monkeypatch):
    announced = []
    original = progress_module.phase

    def noted(description):
        announced.append(description)
        return original(description)

    monkeypatch.setattr('torch_geometric_autoscale.training.loop.phase', noted)
    trained(measure_memory=True)
    assert announced == ['Preparing the graph', 'Measuring the memory of a step']


def test_a_full_batch_run_counts_steps(monkeypatch, at_once):
    with terminal(monkeypatch) as screen:
        trained(mode='full')
    assert re.search(r'Full batch:  67%\|.*\| 2/3 \[', '\n'.join(screen.screens()))


def test_a_run_of_some_seconds_counts_those(monkeypatch, at_once):
    clock = iter(range(0, 10000))
    monkeypatch.setattr('time.perf_counter', lambda: next(clock) / 4)
    with terminal(monkeypatch) as screen:
        trained(epochs=None, max_seconds=20.0)
    assert re.search(r'Histories:.*\| \d+/20 s \[', '\n'.join(screen.screens()))


def test_a_resumed_bar_begins_where_the_run_stands(monkeypatch, at_once, tmp_path):
    def again():
        settings = tiny_settings(checkpoint_every='1batch')
        return train(tiny_model(num_layers=3), tiny_data(), tiny_ptr(), settings,
                     checkpoints=tmp_path, resume=True)  # fmt: skip

    interrupted_before(monkeypatch, 6, again)
    with terminal(monkeypatch) as screen:
        again()
    texts = [text for text in screen.screens() if 'Histories:  ' in text]
    resumed = 'Histories: resumed from state-000006.pygas, at epoch 2, 3 of its batches done'
    assert texts[0].startswith(resumed)
    assert not any('0.3/3' in text for text in texts)
    assert screen.screen.count('\n') == 0  # the line about it stays


@pytest.mark.parametrize('log', [True, False])
def test_without_log_nothing_is_shown(monkeypatch, at_once, log, tmp_path):
    with terminal(monkeypatch) as screen:
        train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(measure_memory=True), log=log,
              checkpoints=tmp_path)  # fmt: skip
    text = ''.join(screen.screens())
    assert bool(text) is log


def test_no_score_is_shown_before_there_is_one(capsys):
    reporter = Reporter(TrainSettings(epochs=10), log=True)
    reporter.begins(Run('gas', 0, reporter.settings))
    reporter.epoch(Epoch(1, loss=0.5, elapsed=1.0))
    reporter.epoch(Epoch(2, loss=None, elapsed=2.0, val=50.0))
    assert capsys.readouterr().out.splitlines() == [
        'Histories: epoch 1, 1.0 s, loss 0.5000',
        'Histories: epoch 2, 2.0 s, loss none, val 50.00%, best val 50.00%',
    ]
