"""A job that ends before its end goes on with ``pygas train resume=RUN``."""

import errno
import importlib
import multiprocessing
import os
import random
import shutil
import signal

import pytest
import torch

from torch_geometric_autoscale.cli import main
from torch_geometric_autoscale.cli.options import compose
from torch_geometric_autoscale.cli.run_folder import is_finished
from torch_geometric_autoscale.training import CheckpointFolder, load_checkpoint
from torch_geometric_autoscale.training import loop as loop_module
from torch_geometric_autoscale.training.interval import parse_interval
from torch_geometric_autoscale.training.run_lock import RunLock

from ..training.killed import kill_amid, saved, server, start_server
from ..training.test_resume import interrupted_before
from ..training.tiny import tiny_data
from .conftest import printed_in, save_npz, without_epochs
from .test_train import record_of, without_clock

QUICK = ['measure_memory=false', 'checkpoint.every=1batch', 'full.epochs=3']


def touch(path, *_):
    path.touch()


@pytest.fixture(autouse=True)
def no_picture(monkeypatch):
    """Drawing takes longer than these trainings."""
    module = importlib.import_module('torch_geometric_autoscale.cli.train')
    monkeypatch.setattr(module, 'plot_accuracy', touch)


def run_main(arguments: list[str]) -> None:
    """The command in a process of its own, quietly."""
    multiprocessing.set_start_method('fork', force=True)
    torch.set_num_threads(1)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    raise SystemExit(main(arguments))


def end_of(folder) -> tuple:
    """What a job leaves, seconds aside; its own folder does not count."""
    checkpoint = load_checkpoint(folder / 'checkpoint.pt')
    tables = {
        k: (v['emb'].tolist(), v['graph'])
        for k, v in checkpoint.model.items()
        if not isinstance(v, torch.Tensor)
    }
    assert len(tables) == checkpoint.settings['model']['num_layers'] - 1
    weights = {k: v.tolist() for k, v in checkpoint.model.items() if isinstance(v, torch.Tensor)}
    names = sorted(path.name for path in folder.iterdir())
    return without_clock(record_of(folder)), weights, tables, checkpoint.scores, names


def finish(arguments: list[str]) -> None:
    process = server.Process(target=run_main, args=(arguments,))
    process.start()
    process.join()
    assert process.exitcode == 0


def ends_as_if_nothing_had_been(options, folder, kills) -> bool:
    """Kill a job amid its states, resuming it each time, until its end is reached."""
    start_server()
    begin = ['train', *options, 'checkpoint.every=1batch', 'full.epochs=3', 'model.num_layers=3']
    go_on, run = ['train', f'resume={folder / "run"}'], folder / 'run'
    finish(begin)
    run.rename(folder / 'expected')
    expected = end_of(folder / 'expected')
    moments = random.Random(os.urandom(8))
    after: list[int] = []
    while len(after) < kills:
        process = server.Process(target=run_main, args=(go_on if run.exists() else begin,))
        process.start()
        if kill_amid(process, run, moments) and not is_finished(run):
            after.append(saved(run))
        elif is_finished(run):  # too early: begin another
            finish(go_on)  # which one that was killed in the midst of its end needs
            assert end_of(run) == expected
            shutil.rmtree(run)
    print(f'killed after states {after}')
    assert min(after) > 0
    finish(go_on if run.exists() else begin)
    return end_of(run) == expected


def test_a_job_killed_amid_its_states_ends_as_if_nothing_had_been(options, tmp_path):
    more = ['history.tier=disk', 'num_workers=2']
    assert ends_as_if_nothing_had_been([*options, *more], tmp_path, 3)


@pytest.mark.slow
@pytest.mark.parametrize('tier', ['ram', 'disk'])
@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_job_killed_twenty_times_ends_as_if_nothing_had_been(
    options, tmp_path, tier, num_workers
):
    more = [f'history.tier={tier}', f'num_workers={num_workers}', 'epochs=20']
    assert ends_as_if_nothing_had_been([*options, *more], tmp_path, 20)


@pytest.fixture
def interrupted(options, tmp_path, monkeypatch, capsys):
    """A job that has ended without notice in its seventh batch."""
    arguments = ['train', *options, *QUICK]
    interrupted_before(monkeypatch, 7, lambda: main(arguments))
    capsys.readouterr()
    return tmp_path / 'run'


def test_a_job_that_ended_without_notice_goes_on(interrupted, options, tmp_path, capsys):
    assert main(['train', f'resume={interrupted}']) == 0
    assert 'Histories: resumed from state-0000' in capsys.readouterr().out
    again = ['train', *options, *QUICK]
    assert main([*again, f'out={tmp_path / "again"}']) == 0
    assert end_of(interrupted) == end_of(tmp_path / 'again')
    assert not (interrupted / 'checkpoints').exists()


def test_the_comparison_goes_on_too(options, tmp_path, monkeypatch, capsys):
    arguments = ['train', *options, *QUICK]
    assert main([*arguments, f'out={tmp_path / "expected"}']) == 0
    interrupted_before(monkeypatch, 6 * 2 + 2, lambda: main(arguments))
    capsys.readouterr()
    assert main(['train', f'resume={tmp_path / "run"}']) == 0
    assert 'Full batch: resumed from' in capsys.readouterr().out
    assert end_of(tmp_path / 'run') == end_of(tmp_path / 'expected')


def test_the_comparison_goes_on_after_the_other_run_has_lost_its_last_state(
    options, tmp_path, monkeypatch, capsys
):
    options = [*options, *QUICK, 'full.max_seconds=same']
    interrupted_before(monkeypatch, 6 * 2 + 2, lambda: main(['train', *options]))
    newest = max((tmp_path / 'run' / 'checkpoints' / 'gas').glob('state-*'))
    newest.write_bytes(newest.read_bytes()[:-70])
    capsys.readouterr()
    assert main(['train', f'resume={tmp_path / "run"}']) == 0
    assert 'Full batch: resumed from' in capsys.readouterr().out
    gas, full = record_of(tmp_path / 'run')['runs']
    assert full['settings']['max_seconds'] == gas['seconds']


def test_ctrl_c_says_how_to_go_on(options, tmp_path, monkeypatch, capsys):
    original = loop_module._Trainer._forward_backward

    def press(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module._Trainer, '_forward_backward', press)
        assert main(['train', *options, 'measure_memory=false']) == 130
    out = capsys.readouterr().out
    assert f'Go on with:\n  pygas train resume={tmp_path / "run"}\n' in out
    assert main(['evaluate', str(tmp_path / 'run')]) == 0
    assert main(['train', f'resume={tmp_path / "run"}']) == 0
    assert record_of(tmp_path / 'run')['status'] == 'finished'


def test_a_second_ctrl_c_says_how_to_go_on(options, tmp_path, monkeypatch, capsys):
    original, steps = loop_module._Trainer._forward_backward, []

    def press(self, *args, **kwargs):
        steps.append(1)
        if len(steps) == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args, **kwargs)

    arguments = ['train', *options, *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(loop_module._Trainer, '_forward_backward', press)
        assert main(arguments) == 130
    captured = capsys.readouterr()
    assert captured.out.endswith(
        f'Go on from the last checkpoint with: pygas train resume={tmp_path / "run"}\n'
    )
    assert captured.err.endswith('pygas: interrupted.\n')
    assert main(['train', f'resume={tmp_path / "run"}']) == 0


def test_what_changes_no_number_may_be_said_anew(interrupted, tmp_path):
    (tmp_path / 'rings.npz').rename(tmp_path / 'moved.npz')
    anew = [f'dataset={tmp_path / "moved.npz"}', 'history.tier=disk', 'checkpoint.every=1h']
    assert main(['train', f'resume={interrupted}', *anew, 'num_workers=1', 'device=cpu']) == 0
    settings = record_of(interrupted)['settings']
    assert settings['dataset']['name'] == 'moved.npz'
    assert (settings['history']['tier'], settings['num_workers']) == ('disk', 1)
    assert settings['epochs'] == 6


# What is refused #################################################################


def told(capsys, arguments) -> str:
    assert main(['train', *arguments]) == 2
    return capsys.readouterr().err


def test_what_would_change_the_run_is_refused(interrupted, capsys):
    err = told(capsys, [f'resume={interrupted}', 'lr=0.5'])
    assert err.startswith("pygas train: with 'resume' go only root, cache, dataset")
    assert "(got 'lr')" in err


def test_a_finished_job_has_nothing_to_resume(options, tmp_path, capsys):
    assert main(['train', *options, 'full=false']) == 0
    capsys.readouterr()
    assert main(['train', f'resume={tmp_path / "run"}']) == 0
    assert (
        capsys.readouterr().out
        == f"'{tmp_path / 'run'}' is finished: there is nothing to resume.\n"
    )


def test_a_folder_without_a_job_is_told(tmp_path, capsys):
    err = told(capsys, [f'resume={tmp_path / "none"}'])
    assert "'resume' must name the folder of an interrupted job" in err
    assert not (tmp_path / 'none').exists()


def test_a_new_job_in_its_folder_is_refused_with_a_hint(interrupted, options, capsys):
    assert f"go on with 'pygas train resume={interrupted}'" in told(capsys, options)


def test_another_graph_is_refused_and_the_job_can_still_go_on(interrupted, tmp_path, capsys):
    data = tiny_data()
    data.edge_index = data.edge_index[:, 1:]
    save_npz(tmp_path / 'other.npz', data)
    err = told(capsys, [f'resume={interrupted}', f'dataset={tmp_path / "other.npz"}'])
    assert 'must be a checkpoint of the same graph' in err
    assert main(['train', f'resume={interrupted}']) == 0


@pytest.mark.parametrize('name', ['job.pygas', 'gas/state-*'])
def test_damaged_files_are_told(interrupted, capsys, name):
    for path in (interrupted / 'checkpoints').glob(name):
        path.write_bytes(path.read_bytes()[:-70])
    err = told(capsys, [f'resume={interrupted}'])
    assert 'must be a whole' in err
    assert '(got a file cut short' in err


def test_the_checkpoint_before_a_damaged_one_is_used(interrupted, capsys):
    newest = max((interrupted / 'checkpoints' / 'gas').glob('state-*'))
    newest.write_bytes(newest.read_bytes()[:-70])
    assert main(['train', f'resume={interrupted}']) == 0
    out = capsys.readouterr().out
    assert f"pygas: load_checkpoint: '{newest.name}' must be a whole state" in out
    assert 'Going on from the checkpoint before' in out


def test_a_folder_that_cannot_be_written_to_is_told(interrupted, capsys, monkeypatch):
    def refuse(*args):
        raise PermissionError(errno.EROFS, 'Read-only file system')

    with monkeypatch.context() as patch:
        patch.setattr(RunLock, '__init__', refuse)
        err = told(capsys, [f'resume={interrupted}'])
    assert err.startswith('pygas: train: the folder of the checkpoints must be one to write to')
    assert main(['train', f'resume={interrupted}']) == 0


def test_a_full_disk_is_printed_and_logged(options, tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(CheckpointFolder, 'save', full)
    assert main(['train', *options, 'full=false', 'checkpoint.every=1batch']) == 0
    out = capsys.readouterr().out
    assert 'pygas: train: a checkpoint could not be written' in out
    assert printed_in(tmp_path / 'run' / 'log.txt') == without_epochs(out)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('checkpoint.every=often', "'checkpoint_every' must be a positive time or number"),
        ('checkpoint.every=0', "'checkpoint_every' must be a positive time or number"),
        ('history.tier=tape', "'history_tier' must be one of ram, pinned, device, disk"),
    ],
)
def test_wrong_values_are_told_before_anything_is_loaded(
    options, tmp_path, capsys, option, message
):
    assert message in told(capsys, [*options, option])
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('every', ['null', '90', '1h', '5 min', '2batches'])
def test_intervals_are_written_as_people_write_them(every):
    parse_interval(compose([f'checkpoint.every={every}'])['checkpoint']['every'])


def test_tables_on_disk_leave_nothing_behind_and_are_evaluated(options, tmp_path, capsys):
    assert main(['train', *options, 'full=false', 'history.tier=disk']) == 0
    assert main(['train', *options, 'full=false', f'out={tmp_path / "ram"}']) == 0
    names = {path.name for path in (tmp_path / 'run').iterdir()}
    assert names == {
        'settings.yaml', 'checkpoint.pt', 'record.json', 'accuracy.png', 'staleness.png', 'log.txt',
    }  # fmt: skip
    for run in ('run', 'ram'):
        assert main(['predict', str(tmp_path / run), '--what', 'embeddings']) == 0
    embeddings = [(tmp_path / run / 'embeddings.npy').read_bytes() for run in ('run', 'ram')]
    assert embeddings[0] == embeddings[1]
