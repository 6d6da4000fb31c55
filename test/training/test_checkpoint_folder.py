"""Of the states in a folder the newest whole one counts."""

import contextlib
import errno
import os
from pathlib import Path

import pytest
import torch

from torch_geometric_autoscale import files
from torch_geometric_autoscale.training import CheckpointFolder, CheckpointWarning, container
from torch_geometric_autoscale.training import checkpoint_folder as folder_module
from torch_geometric_autoscale.training.container import DamagedFile, LaterVersion

from .killed import server


@pytest.fixture
def folder(tmp_path):
    with contextlib.closing(CheckpointFolder(tmp_path / 'states')) as folder:
        yield folder


def state(number: int) -> dict:
    return {'number': number, 'weights': torch.full((100,), float(number))}


def names(folder: CheckpointFolder) -> list[str]:
    return [path.name for path in folder.checkpoints()]


def damage(path: Path, place: int = -50) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_the_last_two_are_kept(folder):
    assert folder.load() is None
    for number in range(1, 4):
        folder.save(state(number))
    assert names(folder) == ['state-000002.pygas', 'state-000003.pygas']
    found, path = folder.load()
    assert (found['number'], path.name) == (3, 'state-000003.pygas')
    assert {path.name for path in folder.path.iterdir()} == {*names(folder), 'lock'}


@pytest.mark.parametrize('place', [3, 20, 100, -50])
def test_a_damaged_one_is_passed_over_and_told(folder, place):
    for number in range(1, 3):
        folder.save(state(number))
    damage(folder.checkpoints()[-1], place)
    told = r"'state-000002.pygas' must be .* Going on from the checkpoint before, 'state-000001"
    with pytest.warns(CheckpointWarning, match=told):
        found, _ = folder.load()
    assert found['number'] == 1
    folder.save(state(2))
    assert names(folder) == ['state-000001.pygas', 'state-000003.pygas']
    assert folder.load()[0]['number'] == 2


def unreadable(path: Path, monkeypatch) -> None:
    original = folder_module.read_container

    def read(found, *args, **kwargs):
        if found == path:
            raise OSError(errno.EIO, 'Input/output error')
        return original(found, *args, **kwargs)

    monkeypatch.setattr(folder_module, 'read_container', read)


def replaced_by_a_folder(path: Path, monkeypatch) -> None:
    path.unlink()
    path.mkdir()
    (path / 'mine').touch()


@pytest.mark.parametrize(
    ('harm', 'came'), [(unreadable, 'Input/output error'), (replaced_by_a_folder, 'a folder')]
)
def test_one_that_cannot_be_read_is_passed_over_and_told(folder, monkeypatch, harm, came):
    folder.save(state(1))
    harm(folder.save(state(2)), monkeypatch)
    told = f"'state-000002.pygas' must be .*got {came}.* Going on from the .*'state-000001"
    with pytest.warns(CheckpointWarning, match=told):
        assert folder.load()[0]['number'] == 1
    for number in (2, 3, 4):
        folder.save(state(number))
    assert folder.load()[0]['number'] == 4
    assert {'state-000004.pygas', 'state-000005.pygas'} <= set(names(folder))
    assert 'state-000003.pygas' not in names(folder)


def test_new_folders_are_synced_to_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(files, 'sync_folder', synced.append)
    CheckpointFolder(tmp_path / 'run' / 'states').close()
    assert synced == [tmp_path, tmp_path / 'run']
    CheckpointFolder(tmp_path / 'run' / 'states').close()
    assert len(synced) == 2


@pytest.mark.parametrize(
    ('number', 'remedy'),
    [(errno.ENOSPC, 'Make room'), (errno.EROFS, 'Make it writable'), (errno.EACCES, 'Make it wr')],
)
def test_a_file_that_cannot_be_written_is_explained(folder, monkeypatch, number, remedy):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr('tempfile.mkstemp', fail)
    told = (
        rf"the folder must take 'state-000001.pygas' .*states': {os.strerror(number)}\). {remedy}"
    )
    with pytest.raises(OSError, match=told) as raised:
        folder.save(state(1))
    assert raised.value.errno == number


def test_if_all_are_damaged_none_is_taken(folder):
    for number in range(1, 3):
        folder.checkpoints()
        damage(folder.save(state(number)))
    with pytest.raises(DamagedFile, match=r"'state-000001.*No checkpoint before it is whole"):
        folder.load()


def test_one_of_a_later_version_is_not_passed_over(folder, monkeypatch):
    folder.save(state(1))
    with monkeypatch.context() as patch:
        patch.setattr(container, 'FORMAT_VERSION', 2)
        folder.save(state(2))
    told = r"'state-000002.*version 1 at most \(got version 2.*go on from .*'state-000001.pygas'"
    with pytest.raises(LaterVersion, match=told):
        folder.load()
    folder.checkpoints()[-1].unlink()
    assert folder.load()[0]['number'] == 1


@pytest.mark.parametrize('call', ['fsync', 'replace', 'open', 'mkstemp'])
def test_a_save_that_fails_harms_none(folder, monkeypatch, call):
    for number in range(1, 3):
        folder.save(state(number))
    before = {path: path.read_bytes() for path in folder.checkpoints()}

    def fail(*args, **kwargs):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patch:
        patch.setattr('tempfile.mkstemp' if call == 'mkstemp' else f'os.{call}', fail)
        with pytest.raises(OSError, match='No space left'):
            folder.save(state(3))
    kept = {path: path.read_bytes() for path in folder.checkpoints()}
    # Only after the new one is in place can anything fail that leaves it there: its folder's sync.
    assert before.items() <= kept.items()
    assert folder.load()[0]['number'] in (2, 3)
    assert not list(folder.path.glob('.*'))


def test_the_system_call_at_which_a_save_ends_does_not_matter(folder, monkeypatch):
    """As if the process were ended at each call that changes anything on the disk."""
    folder.save(state(1))
    calls = ['fsync', 'chmod', 'replace', 'unlink']
    ended = 0
    for last in range(12):

        class Ended(BaseException):
            pass

        left = [last]

        def until(original, left=left, Ended=Ended):
            def call(*args, **kwargs):
                left[0] -= 1
                if left[0] < 0:
                    raise Ended
                return original(*args, **kwargs)

            return call

        with monkeypatch.context() as patch:
            for name in calls:
                patch.setattr(os, name, until(getattr(os, name)))
            try:
                folder.save(state(2 + last))
            except Ended:
                ended += 1
        assert folder.load()[0]['number'] >= 1
        assert 1 <= len(names(folder)) <= 3
    assert ended > 3
    folder.save(state(99))
    assert folder.load()[0]['number'] == 99


def test_what_killed_writers_left_is_removed(folder):
    folder.save(state(1))
    (folder.path / '.state-000002.pygas.abc.part').write_bytes(b'half')
    (folder.path / '.mine.part').write_bytes(b'of another program')
    folder.close()
    with contextlib.closing(CheckpointFolder(folder.path)) as again:
        left = {path.name for path in again.path.iterdir()}
    assert left == {'state-000001.pygas', 'lock', '.mine.part'}


def open_and_close(path: Path) -> None:
    try:
        CheckpointFolder(path).close()
    except BlockingIOError as error:
        raise SystemExit(7 if 'one process at a time trains' in str(error) else 1) from None


def test_one_process_at_a_time_works_in_a_folder(folder):
    for expected in (7, 0):
        process = server.Process(target=open_and_close, args=(folder.path,))
        process.start()
        process.join()
        assert process.exitcode == expected
        folder.close()


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(OSError, match=r'the folder of the checkpoints must be one to write to'):
        CheckpointFolder(tmp_path / 'file')

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EROFS, 'Read-only file system')

    monkeypatch.setattr(folder_module.Path, 'open', refuse)
    with pytest.raises(OSError, match=r"must be one to write to .*states': Read-only file system"):
        CheckpointFolder(tmp_path / 'states')
