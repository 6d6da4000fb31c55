"""A history on disk is a history; what is particular about it is where its rows lie."""

import copy
import errno
import os
import pickle

import pytest
import torch

from torch_geometric_autoscale import EvalSubgraphLoader, History
from torch_geometric_autoscale.history import move_histories

from .training.tiny import N, tiny_data, tiny_model, tiny_ptr

ROWS = torch.arange(8.0).view(4, 2)


@pytest.fixture
def history(tmp_path) -> History:
    history = History(4, 2, tier='disk', folder=tmp_path)
    history.push(ROWS)
    return history


def test_rows_lie_in_a_mapped_file(tmp_path):
    with open('/proc/self/maps') as maps:
        before = maps.read().count(str(tmp_path))
    history = History(4, 2, tier='disk', folder=tmp_path)
    with open('/proc/self/maps') as maps:
        assert maps.read().count(str(tmp_path)) == before + 1
    assert history.tier == 'disk'
    assert repr(history) == 'History(4, 2, dtype=torch.float32, tier=disk)'


def test_the_file_has_no_name_that_could_be_left_behind(history, tmp_path):
    assert list(tmp_path.iterdir()) == []


def test_room_is_taken_when_the_table_is_made(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(os, 'posix_fallocate', lambda fd, start, size: taken.append(size))
    monkeypatch.setattr('mmap.mmap', lambda fd, size: bytearray(size))
    History(100, 16, tier='disk', folder=tmp_path)
    assert taken == [100 * 16 * 4]


def test_without_fallocate_the_file_is_written_out(tmp_path, monkeypatch):
    monkeypatch.delattr(os, 'posix_fallocate')
    history = History(300_000, 1, tier='disk', folder=tmp_path)
    assert not history.pull().any()


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    message = r"History: the folder of tables on disk must take 32 bytes \(got '.*': No space left"
    with pytest.raises(OSError, match=message) as raised:
        History(4, 2, tier='disk', folder=tmp_path)
    assert raised.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_room_is_told(small_disk):
    with pytest.raises(OSError, match='No space left on device'):
        History(100_000, 16, tier='disk', folder=small_disk)
    History(1000, 16, tier='disk', folder=small_disk).push(torch.ones(1000, 16))


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must take 32 bytes \(got '.*none': No such file"):
        History(4, 2, tier='disk', folder=tmp_path / 'none')


def test_a_move_that_fails_leaves_the_table_where_it_is(tmp_path):
    history = History(4, 2)
    history.push(ROWS)
    with pytest.raises(FileNotFoundError):
        history.move_to('disk', tmp_path / 'none')
    assert history.tier == 'ram'
    assert torch.equal(history.pull(), ROWS)


def test_unknown_media_and_devices_are_refused():
    with pytest.raises(
        ValueError, match=r"History: 'tier' must be one of ram, disk \(got 'tape'\)"
    ):
        History(4, 2, tier='tape')
    with pytest.raises(
        ValueError, match=r"a table on 'disk' is read through main memory \(got dev"
    ):
        History(4, 2, device='cuda', tier='disk')


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.float64])
def test_a_table_moves_between_media_with_rows_type_and_origin(tmp_path, dtype):
    history = History(4, 2, dtype=dtype)
    history.push(ROWS)
    history.belong_to('a')
    for tier in ('disk', 'disk', 'ram', 'ram'):
        assert history.move_to(tier, tmp_path) is history
        assert (history.tier, history.dtype, history.graph) == (tier, dtype, 'a')
        assert torch.equal(history.pull(), ROWS.to(dtype))


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_a_copy_is_a_file_of_its_own(history, copied):
    other = copied(history)
    other.reset()
    assert other.tier == 'disk'
    assert torch.equal(history.pull(), ROWS)


@pytest.mark.parametrize('sizes', [(0, 2), (3, 0)])
def test_a_table_without_entries_needs_no_file(tmp_path, sizes):
    history = copy.deepcopy(History(*sizes, tier='disk', folder=tmp_path))
    assert history.pull().shape == sizes


def test_a_models_histories_move_together_and_serve_as_before(tmp_path):
    data = tiny_data()
    loader = EvalSubgraphLoader(data, tiny_ptr(), log=False)
    model = tiny_model().eval()
    expected = model.refresh(loader)
    kept = [history.pull() for history in model.histories]
    move_histories(model, 'disk', tmp_path)
    assert [history.tier for history in model.histories] == ['disk']
    out = torch.zeros(N, 3)
    for batch in loader:
        out[batch.n_id[: batch.batch_size]] = model(batch).detach()
    torch.testing.assert_close(out, expected)
    model.reset_parameters()
    model.load_state_dict(tiny_model().state_dict())
    torch.testing.assert_close(model.refresh(loader), expected)
    assert all(map(torch.equal, kept, [history.pull() for history in model.histories]))
