"""Scalars for TensorBoard: those of the record, each step once."""

import sys
import types

import pytest

from torch_geometric_autoscale.error_meter import HistoryError
from torch_geometric_autoscale.staleness import Ages
from torch_geometric_autoscale.training import Epoch, train
from torch_geometric_autoscale.training.tensorboard import Scalars, scalars_of

from .test_resume import interrupted_before
from .tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings


def trained(folder, **options):
    settings = tiny_settings(eval_every=2, measure_error=True, checkpoint_every='1batch')
    return train(tiny_model(num_layers=3), tiny_data(), tiny_ptr(), settings, log=False,
                 tensorboard=folder, **options)  # fmt: skip


def read(folder):
    """What TensorBoard shows: steps and values of each scalar."""
    events = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    found = events.EventAccumulator(str(folder))
    found.Reload()
    return {
        name: {event.step: event.value for event in found.Scalars(name)}
        for name in found.Tags()['scalars']
    }, {name: len(found.Scalars(name)) for name in found.Tags()['scalars']}  # fmt: skip


def check_same(folder, run):
    values, counts = read(folder)
    assert values['loss/train'] == pytest.approx({e.epoch: e.loss for e in run.epochs})
    assert values['score/val'] == pytest.approx({2: run.epochs[1].val, 3: run.epochs[2].val})
    ages = {epoch.epoch: epoch.ages[0].mean for epoch in run.epochs}
    assert values['staleness/age_mean'] == pytest.approx(ages)
    errors = {epoch.epoch: epoch.errors[1].relative for epoch in run.epochs if epoch.errors}
    assert values['staleness/error/history_2'] == pytest.approx(errors)
    assert list(values['seconds/epoch']) == [1, 2, 3]
    assert counts == {name: len(steps) for name, steps in values.items()}  # no step twice


def test_scalars_are_those_of_the_run(tmp_path):
    check_same(tmp_path, trained(tmp_path))


def test_a_resumed_run_has_every_step_once(tmp_path, monkeypatch):
    options = {'checkpoints': tmp_path / 'states', 'resume': True}
    interrupted_before(monkeypatch, 5, lambda: trained(tmp_path / 'events', **options))
    check_same(tmp_path / 'events', trained(tmp_path / 'events', **options))


def test_epochs_beyond_the_last_state_are_replaced(tmp_path, monkeypatch):
    """Two epochs are written, but in the newest state the second is not over."""
    options = {'checkpoints': tmp_path / 'states', 'resume': True}
    interrupted_before(monkeypatch, 6, lambda: trained(tmp_path / 'events', **options))
    assert list(read(tmp_path / 'events')[0]['loss/train']) == [1, 2]
    newest = max(path.name for path in (tmp_path / 'states').glob('state-*'))
    assert newest == 'state-000006.pygas'  # after the third batch of the second epoch
    check_same(tmp_path / 'events', trained(tmp_path / 'events', **options))


def test_names_tell_histories_apart_where_they_differ():
    one, other = Ages(4, 0.0, 1.5, 1, 3), Ages(4, 0.5, 2.5, 2, 4)
    alike = scalars_of(Epoch(1, ages=[one]))
    assert alike['staleness/age_median'] == 1
    apart = scalars_of(Epoch(1, ages=[one, other], errors=[HistoryError(0.5, 0.1, 2.0)]))
    assert apart['staleness/age_max/history_2'] == 4
    assert apart['staleness/never_written/history_2'] == 0.5
    assert apart['staleness/error/history_1'] == 0.5
    assert None not in apart.values()


def test_without_the_package_the_extra_is_named_before_anything_is_made(tmp_path, monkeypatch):
    nothing = types.ModuleType('torch.utils.tensorboard')
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', nothing)
    message = r"the package 'tensorboard' is needed .*\[tensorboard\]"
    with pytest.raises(ImportError, match=message):
        trained(tmp_path / 'events', checkpoints=tmp_path / 'states')
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_made(tmp_path):
    pytest.importorskip('tensorboard')
    (tmp_path / 'events').write_text('')
    message = r"train: the folder for TensorBoard must be writable \(got '"
    with pytest.raises(OSError, match=message):
        trained(tmp_path / 'events', checkpoints=tmp_path / 'states')
    assert [path.name for path in tmp_path.iterdir()] == ['events']


def test_a_full_disk_ends_the_scalars_and_nothing_else(tmp_path, monkeypatch):
    pytest.importorskip('tensorboard')
    epochs = []
    original = Scalars.begin

    class Full:
        def add_scalar(self, *_):
            epochs.append(1)
            raise OSError(28, 'No space left on device')

    def begin(self, next_epoch):
        original(self, next_epoch)
        self._writer.close()
        self._writer = Full()

    monkeypatch.setattr(Scalars, 'begin', begin)
    with pytest.warns(RuntimeWarning, match='No space left on device.; TensorBoard gets no more'):
        run = trained(tmp_path)
    assert len(run.epochs) == 3
    assert len(epochs) == 1
