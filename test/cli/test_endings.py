"""What a job leaves when it ends before its end, and what may be done with that."""

import errno
import os
import shutil
import signal
import subprocess

import pytest

from torch_geometric_autoscale import files
from torch_geometric_autoscale.cli import main
from torch_geometric_autoscale.cli import run_folder as run_folder_module
from torch_geometric_autoscale.training import loop as loop_module

from ..training.test_resume import interrupted_before
from .test_resume import QUICK, end_of, no_picture, told  # noqa: F401
from .test_train import record_of

PARTS = ['full=false', 'measure_memory=false']


def full_for(monkeypatch, *names):
    """From now on there is no room for files of these names."""
    original = files._write_atomically

    def write(path, content):
        if path.name in names:
            raise OSError(errno.ENOSPC, 'No space left on device')
        original(path, content)

    monkeypatch.setattr(files, '_write_atomically', write)


@pytest.mark.parametrize('name', ['checkpoint.pt', 'record.json'])
def test_a_full_disk_at_the_end_is_explained_and_the_job_goes_on(
    options, tmp_path, monkeypatch, capsys, name
):
    assert main(['train', *options, *PARTS, f'out={tmp_path / "expected"}']) == 0
    capsys.readouterr()
    with monkeypatch.context() as patch:
        full_for(patch, name)
        assert main(['train', *options, *PARTS]) == 2
    captured = capsys.readouterr()
    folder = tmp_path / 'run'
    assert captured.err == (
        f"pygas: the folder must take '{name}' (got '{folder}': No space left on device). "
        'Make room on its disk.\n'
    )
    way = f'Go on from the last checkpoint with: pygas train resume={folder}\n'
    assert captured.out.endswith(way)
    assert main(['train', f'resume={folder}']) == 0
    assert end_of(folder) == end_of(tmp_path / 'expected')


def test_a_full_disk_throughout_leaves_the_job(options, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        full_for(patch, 'checkpoint.pt', *(f'state-{i:06d}.pygas' for i in range(1, 99)))
        assert main(['train', *options, *PARTS]) == 2
    way = f'Begin the training again with: pygas train resume={tmp_path / "run"}\n'
    assert capsys.readouterr().out.endswith(way)
    assert main(['train', f'resume={tmp_path / "run"}']) == 0


@pytest.mark.parametrize('name', ['settings.yaml', 'job.pygas'])
def test_a_full_disk_at_the_start_is_explained(options, tmp_path, monkeypatch, capsys, name):
    full_for(monkeypatch, name)
    assert f"pygas: the folder must take '{name}' (got" in told(capsys, options)
    assert not (tmp_path / 'run').exists()


def test_a_disk_of_a_megabyte_that_is_full_at_the_start(options, small_disk, capsys):
    (small_disk / 'other').write_bytes(bytes(2**20 - 2 * os.sysconf('SC_PAGESIZE')))
    err = told(capsys, [*options, f'out={small_disk / "run"}'])
    assert 'No space left on device' in err
    assert 'Make room' in err
    assert 'Errno' not in err


def test_a_read_only_file_system_is_explained(options, small_disk, capsys):
    mount = ['mount', '-o', 'remount,ro', str(small_disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip('remounting is not allowed here')
    assert told(capsys, [*options, f'out={small_disk / "run"}']) == (
        f"pygas train: 'out' must be a folder that can be made (got '{small_disk / 'run'}': "
        'Read-only file system). Make it writable, or name another folder.\n'
    )


# A job that has ended before its first checkpoint ################################


def test_two_ctrl_c_before_the_first_checkpoint_leave_the_partition(
    options, tmp_path, monkeypatch, capsys
):
    original = loop_module._Trainer._forward_backward

    def press(self, *args, **kwargs):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module._Trainer, '_forward_backward', press)
        assert main(['train', *options, *PARTS]) == 130
    captured = capsys.readouterr()
    way = f'No checkpoint yet. Begin the training again with: pygas train resume={tmp_path / "run"}'
    assert captured.out.endswith(f'{way}\n')
    assert 'finishing the batch; Ctrl-C again stops at once\n' in captured.err
    with monkeypatch.context() as patch:
        patch.setattr(run_folder_module, 'load_job', None)  # it is not partitioned again
        assert main(['train', f'resume={tmp_path / "run"}']) == 0


def test_a_failure_before_the_first_checkpoint_leaves_the_partition(
    options, tmp_path, monkeypatch, capsys
):
    interrupted_before(monkeypatch, 1, lambda: main(['train', *options, *PARTS]))
    assert 'Begin the training again with: pygas train resume=' in capsys.readouterr().out
    assert main(['train', f'resume={tmp_path / "run"}']) == 0


def remains(folder):
    (folder / 'checkpoints').mkdir(parents=True)
    (folder / 'checkpoints' / 'lock').touch()
    (folder / 'checkpoints' / '.job.pygas.abc.part').write_bytes(b'half')
    (folder / 'settings.yaml').write_text('lr: 1')
    (folder / '.settings.yaml.abc.part').write_text('l')
    return folder


def test_remains_of_a_killed_beginning_are_told_and_may_be_used_again(options, tmp_path, capsys):
    folder = remains(tmp_path / 'run')
    err = told(capsys, [f'resume={folder}'])
    assert 'in which nothing was trained yet' in err
    assert f'Start the job again with its options and out={folder}.' in err
    assert main(['train', *options, *PARTS, f'out={tmp_path / "expected"}']) == 0
    assert main(['train', *options, *PARTS]) == 0
    assert end_of(folder) == end_of(tmp_path / 'expected')


@pytest.mark.parametrize('name', ['notes.txt', 'checkpoints/mine', 'checkpoints/gas/mine'])
def test_remains_with_something_foreign_are_not_used_again(options, tmp_path, capsys, name):
    path = remains(tmp_path / 'run') / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('mine')
    assert "'out' must be a new or an empty folder" in told(capsys, options)
    assert path.read_text() == 'mine'


def test_settings_without_a_lock_are_someone_elses(options, tmp_path, capsys):
    (remains(tmp_path / 'run') / 'checkpoints' / 'lock').unlink()
    assert "'out' must be a new or an empty folder" in told(capsys, options)


# A job that is finished ##########################################################


@pytest.fixture
def finished(options, tmp_path, capsys):
    assert main(['train', *options, *PARTS]) == 0
    capsys.readouterr()
    return tmp_path / 'run'


def test_a_finished_job_keeps_what_is_not_its_own(finished):
    mine = ['notes', 'gas/state-mine.pygas', 'other/state-000001.pygas', '.mine.part']
    own = ['lock', 'gas/lock', 'gas/state-000001.pygas', 'full/state-000002.pygas',
           'full/.state-000003.pygas.abc.part']  # fmt: skip
    folder = finished / 'checkpoints'
    for name in (*mine, *own):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('')
    assert main(['train', f'resume={finished}']) == 0
    assert {str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file()} == {
        *mine
    }
    assert not (folder / 'full').exists()
    for name in mine:
        (folder / name).unlink()
    shutil.rmtree(folder / 'other')
    assert main(['train', f'resume={finished}']) == 0
    assert not folder.exists()


def test_a_finished_job_takes_no_options(finished, capsys):
    assert "with 'resume' go only root" in told(capsys, [f'resume={finished}', 'lr=3'])


@pytest.mark.parametrize('text', ['{"status": "fin', '[]', '\0'])
def test_a_damaged_record_is_told(finished, capsys, text):
    (finished / 'record.json').write_text(text)
    assert told(capsys, [f'resume={finished}']) == (
        f"pygas train: 'record.json' must be the record of a job (got '{finished / 'record.json'}'"
        ', which is damaged). Train again in another folder.\n'
    )


def test_a_job_goes_on_from_another_working_folder(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    anew = [*options, *QUICK, 'dataset=rings.npz', 'out=run']
    interrupted_before(monkeypatch, 3, lambda: main(['train', *anew]))
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert main(['train', 'resume=../run']) == 0
    assert record_of(tmp_path / 'run')['settings']['dataset']['name'] == 'rings.npz'
