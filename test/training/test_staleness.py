"""What a training tells of its histories: ages, errors, in epochs, states, bars and pictures."""

import json
import math

import pytest
import torch
from torch_geometric.nn import GraphSAGE

from torch_geometric_autoscale.conversion.as_model import ConvertedGNN
from torch_geometric_autoscale.error_meter import HistoryError
from torch_geometric_autoscale.history_errors import history_error
from torch_geometric_autoscale.staleness import Ages
from torch_geometric_autoscale.training import Epoch, Run, TrainSettings, train
from torch_geometric_autoscale.training import loop as loop_module
from torch_geometric_autoscale.training.plots import plot_staleness

from .killed import without_clock
from .test_resume import interrupted_before
from .tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings


def trained(model=None, **changes):
    """A run over the six parts of the rings, two to a batch, so of three steps an epoch."""
    model = tiny_model(num_layers=3) if model is None else model
    return train(model, tiny_data(), tiny_ptr(), tiny_settings(**changes), log=False)


def test_an_epoch_tells_the_ages_of_the_rows_its_batches_have_pulled():
    run = trained()
    for epoch in run.epochs:
        (ages,) = epoch.ages  # one for both histories
        assert ages.never == 0.0
        assert 0 <= ages.mean <= ages.max <= 2  # every epoch begins with exact histories
        assert epoch.ages_of(0) == epoch.ages_of(1) == ages
    pulled = sum(epoch.ages[0].pulled for epoch in run.epochs)
    assert pulled == round(run.halo_per_batch_node * 3 * 24)


def test_ages_grow_where_histories_are_not_refreshed():
    fresh, stale = trained(epochs=6), trained(epochs=6, eval_every=6)
    oldest = [max(epoch.ages[0].max for epoch in run.epochs) for run in (fresh, stale)]
    assert oldest[0] <= 2 < oldest[1] <= 4  # a row is written in every epoch of three steps


def test_rows_that_nobody_has_written_are_counted():
    run = trained(refresh='never')
    assert 0 < run.epochs[0].ages[0].never < 1
    assert [epoch.ages[0].never for epoch in run.epochs[1:]] == [0.0, 0.0]


def test_parts_that_are_left_out_grow_old():
    run = trained(refresh='never', drop_unlabelled=True, batch_size=1, epochs=4)
    assert all(epoch.ages[0].never > 0 for epoch in run.epochs)


def test_a_batch_without_a_step_makes_no_row_older():
    data = tiny_data(train=(0, 1))  # one of six parts
    model, settings = tiny_model(), tiny_settings(batch_size=1, eval_every=3)
    run = train(model, data, tiny_ptr(), settings, log=False)
    assert [epoch.steps for epoch in run.epochs] == [1, 1, 1]
    assert [epoch.ages[0].max <= epoch.epoch for epoch in run.epochs] == [True] * 3


def test_full_batch_and_a_single_layer_have_no_ages():
    assert [epoch.ages for epoch in trained(mode='full').epochs] == [None] * 3
    run = trained(tiny_model(num_layers=1))
    assert [(epoch.ages, epoch.errors) for epoch in run.epochs] == [(None, None)] * 3


def test_a_converted_module_has_ages_too():
    torch.manual_seed(0)
    model = ConvertedGNN(GraphSAGE(5, 8, 3, 3), tiny_data(), tiny_ptr())
    run = trained(model, measure_error=True)
    assert all(epoch.ages[0].max in (1, 2) for epoch in run.epochs)
    assert [len(epoch.errors) for epoch in run.epochs] == [2, 2, 2]


def test_following_ages_does_not_disturb_the_run(monkeypatch):
    expected = trained()

    class Nothing:
        def __init__(self, model):
            pass

        def ages(self):
            return []

        step = begin = lambda self: None

    monkeypatch.setattr(loop_module, 'Staleness', Nothing)
    run = trained()
    for epoch in expected.epochs:
        epoch.ages = None
    assert without_clock(run.to_dict()) == without_clock(expected.to_dict())


# Errors ##############################################################################


@pytest.mark.parametrize('refresh', ['evaluation', 'never', 2])
def test_measuring_errors_does_not_disturb_the_run(refresh):
    model, other = tiny_model(num_layers=3), tiny_model(num_layers=3)
    expected = trained(other, refresh=refresh, epochs=4)
    run = trained(model, refresh=refresh, epochs=4, measure_error=True)
    assert all(len(epoch.errors) == 2 for epoch in run.epochs)
    for epoch in run.epochs:
        epoch.errors = None
    assert without_clock(run.to_dict()) == without_clock(expected.to_dict())
    for one, two in zip(model.histories, other.histories, strict=True):
        assert one.emb.equal(two.emb)


def test_errors_are_those_before_the_refresh(monkeypatch):
    measured = []
    original = loop_module._Trainer._evaluate

    def measure_before(self, epoch):
        measured.append(history_error(self.model, self.loader))
        original(self, epoch)
        measured[-1] = (measured[-1], epoch.errors)

    monkeypatch.setattr(loop_module._Trainer, '_evaluate', measure_before)
    trained(measure_error=True)
    for expected, errors in measured:
        assert errors == expected
        assert errors[1].relative > 1e-3


def test_a_refresh_without_an_evaluation_is_measured():
    run = trained(refresh=1, eval_every=3, measure_error=True)
    assert [epoch.val is not None for epoch in run.epochs] == [False, False, True]
    assert [len(epoch.errors) for epoch in run.epochs] == [2, 2, 2]


# State and record ####################################################################


@pytest.mark.parametrize('step', [2, 5, 7])
def test_a_resumed_run_tells_the_same_ages_and_errors(tmp_path, monkeypatch, step):
    settings = {'eval_every': 2, 'refresh': 'never', 'checkpoint_every': '1batch',
                'measure_error': True}  # fmt: skip
    expected = trained(**settings)

    def again():
        return train(
            tiny_model(num_layers=3), tiny_data(), tiny_ptr(), tiny_settings(**settings),
            checkpoints=tmp_path, resume=True, log=False,
        )  # fmt: skip

    interrupted_before(monkeypatch, step, again)
    run = again()
    assert [epoch.ages for epoch in run.epochs] == [epoch.ages for epoch in expected.epochs]
    assert [epoch.errors for epoch in run.epochs] == [epoch.errors for epoch in expected.epochs]
    assert run.epochs[-1].errors is not None


def test_a_state_of_an_earlier_version_begins_anew(tmp_path, monkeypatch):
    settings = tiny_settings(checkpoint_every='1batch', eval_every=3)

    def again():
        return train(
            tiny_model(), tiny_data(), tiny_ptr(), settings, checkpoints=tmp_path, resume=True,
            log=False,
        )  # fmt: skip

    state = loop_module.Training.state

    def without_ages(self):
        found = state(self)
        del found['staleness']
        for epoch in (*found['epochs'], found['position']['epoch']):
            del epoch['ages'], epoch['errors']
        return found

    with monkeypatch.context() as patch:
        patch.setattr(loop_module.Training, 'state', without_ages)
        interrupted_before(patch, 5, again)
    run = again()
    assert [epoch.ages is None for epoch in run.epochs] == [True, False, False]
    assert [epoch.ages[0].never for epoch in run.epochs[1:]] == [0.0, 0.0]


def test_the_record_keeps_one_entry_for_all_histories():
    record = trained(measure_error=True).to_dict()
    epoch = json.loads(json.dumps(record))['epochs'][0]
    assert [set(ages) for ages in epoch['ages']] == [{'pulled', 'never', 'mean', 'median', 'max'}]
    assert [set(error) for error in epoch['errors']] == [{'relative', 'mean_row', 'max_row'}] * 2


def test_an_epoch_goes_through_json():
    epoch = Epoch(
        2, ages=[Ages(5, 0.2, 1.5, 1, 3), Ages(5, 1.0)],
        errors=[HistoryError(0.5, 0.25, 2.0), HistoryError(math.nan, math.inf, 0.0)],
    )  # fmt: skip
    values = json.loads(json.dumps(epoch.to_dict(), allow_nan=False))
    assert values['errors'][1] == {'relative': None, 'mean_row': None, 'max_row': 0.0}
    found = Epoch.from_dict(values)
    assert (found.ages, found.errors[0]) == (epoch.ages, epoch.errors[0])
    assert math.isnan(found.errors[1].relative)
    assert found.ages_of(1) == Ages(5, 1.0)


# Pictures ############################################################################


def run_of(*epochs):
    return Run('gas', 0, TrainSettings(), epochs=list(epochs))


def panels_of(monkeypatch, tmp_path, run):
    """Labels of the axes that are drawn, and of their lines."""
    from matplotlib.figure import Figure

    figures = []
    original = Figure.__init__

    def kept(self, *args, **kwargs):
        original(self, *args, **kwargs)
        figures.append(self)

    with monkeypatch.context() as patch:
        patch.setattr(Figure, '__init__', kept)
        drawn = plot_staleness(tmp_path / 'staleness.png', run, 'title')
    assert drawn is (tmp_path / 'staleness.png').is_file()
    if not drawn:
        return {}
    assert (tmp_path / 'staleness.png').read_bytes().startswith(b'\x89PNG')
    axes = figures[0].axes
    return {axis.get_ylabel(): axis.get_legend_handles_labels()[1] for axis in axes}


AGE, NEVER = 'age of pulled rows (steps)', 'pulled rows never written (%)'
ERROR = 'relative error of histories, before refresh'


def test_the_picture_shows_what_there_is(monkeypatch, tmp_path):
    aged = Epoch(1, ages=[Ages(5, 0.0, 1.5, 1, 3)])
    unwritten = Epoch(1, ages=[Ages(5, 0.2, 1.5, 1, 3), Ages(5, 1.0)])
    off = Epoch(2, ages=aged.ages, errors=[HistoryError(0.5, 0.1, 1)] * 2)
    both = ['history 1', 'history 2']
    ages = ['mean', 'median', 'max']
    assert panels_of(monkeypatch, tmp_path, run_of(aged)) == {AGE: ages}
    assert panels_of(monkeypatch, tmp_path, run_of(aged, off)) == {AGE: ages, ERROR: both}
    assert panels_of(monkeypatch, tmp_path, run_of(unwritten)) == {
        AGE: [f'{name}, {what}' for name in both for what in ages], NEVER: both,
    }  # fmt: skip


def test_of_many_histories_the_legend_names_three(monkeypatch, tmp_path):
    off = Epoch(2, errors=[HistoryError(0.5, 0.1, 1)] * 63)
    found = panels_of(monkeypatch, tmp_path, run_of(off))
    assert found == {ERROR: ['history 1', 'history 32', 'history 63']}


def test_without_histories_there_is_no_picture(monkeypatch, tmp_path):
    assert panels_of(monkeypatch, tmp_path, run_of(Epoch(1), Epoch(2, ages=[Ages(0)]))) == {}
