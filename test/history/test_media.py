"""What is particular about each medium: where rows lie, and what can go wrong there."""

import copy
import errno
import itertools
import os

import pytest
import torch

from torch_geometric_autoscale import History
from torch_geometric_autoscale.history import move_histories

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


@pytest.mark.parametrize(
    ('kwargs', 'text'),
    [
        ({}, 'dtype=torch.float32, device=cpu'),
        ({'tier': 'disk'}, 'dtype=torch.float32, tier=disk'),
        ({'tier': 'pinned', 'dtype': 'int8'}, 'dtype=torch.int8, tier=pinned'),
        ({'tier': 'device'}, 'dtype=torch.float32, tier=device, device=cpu'),
        (
            {'tier': 'disk', 'cache_size_in_bytes': '1kB'},
            'dtype=torch.float32, tier=disk, cache_size_in_bytes=1000',
        ),
    ],
)
def test_a_history_tells_how_it_is_kept(kwargs, text):
    assert repr(History(4, 2, **kwargs)) == f'History(4, 2, {text})'


def test_int8_takes_room_for_its_scales(tmp_path, monkeypatch):
    taken = []
    monkeypatch.setattr(os, 'posix_fallocate', lambda fd, start, size: taken.append(size))
    monkeypatch.setattr('mmap.mmap', lambda fd, size: bytearray(size))
    History(100, 16, dtype='int8', tier='disk', folder=tmp_path)
    assert taken == [100 * 16, 100 * 4]


def test_main_memory_is_taken_when_rows_come(tmp_path):
    history = History(2**40, 2**10)  # no machine has that
    history.reset()
    assert history.num_bytes == 2**52
    assert copy.deepcopy(history).num_bytes == 2**52
    small = History(4, 2)
    assert small.store.is_untouched
    assert small.move_to('disk', tmp_path).move_to('ram').tier == 'ram'
    assert not small.pull().any()
    assert not small.store.is_untouched


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


def test_a_folder_that_is_none_is_told(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(NotADirectoryError, match=r"must take 32 bytes \(got '.*file': Not a direc"):
        History(4, 2, tier='disk', folder=tmp_path / 'file')


def test_a_folder_that_may_not_be_written_to_is_told(tmp_path, monkeypatch):
    def refused(**kwargs):
        raise PermissionError(errno.EACCES, 'Permission denied')

    monkeypatch.setattr('tempfile.TemporaryFile', refused)
    with pytest.raises(PermissionError, match=r'must take 32 bytes \(got .*: Permission denied\)'):
        History(4, 2, tier='disk', folder=tmp_path)


def test_unknown_media_and_devices_are_refused():
    names = 'ram, pinned, device, disk'
    with pytest.raises(ValueError, match=rf"History: 'tier' must be one of {names} \(got 'tape'\)"):
        History(4, 2, tier='tape')
    for tier in ('ram', 'pinned', 'disk'):
        rule = rf"History: a table on '{tier}' is read through main memory \(got device 'meta'\)"
        with pytest.raises(ValueError, match=rule):
            History(4, 2, device='meta', tier=tier)


# Memory of devices ###############################################################


def test_a_device_means_its_memory():
    assert History(4, 2, device='meta').tier == 'device'
    assert History(4, 2, device='cpu').tier == 'ram'
    assert History(4, 2, device='meta').device == torch.device('meta')


def test_without_a_device_the_models_is_main_memory():
    model = torch.nn.ModuleList([History(4, 2), torch.nn.Linear(2, 2)])
    move_histories(model, 'device')
    assert (model[0].tier, model[0].device) == ('device', torch.device('cpu'))


def test_histories_on_the_device_are_where_the_model_is():
    model = torch.nn.ModuleList([History(4, 2), torch.nn.Linear(2, 2, device='meta')])
    move_histories(model, 'device')
    assert model[0].device == torch.device('meta')


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a device to pin memory for')
def test_pinned_memory_needs_a_device(monkeypatch):
    def no_device(*args, pin_memory=False, **kwargs):
        raise RuntimeError('pin_memory=True requires a CUDA or other accelerator backend')

    monkeypatch.setattr(torch, 'empty', no_device)
    message = r"memory is 'pinned' for an accelerator \(got a machine without one\). .* in 'ram'\."
    with pytest.raises(ValueError, match=f'History: {message}'):
        History(4, 2, tier='pinned')
    model = torch.nn.ModuleList([History(4, 2)])
    with pytest.raises(ValueError, match=message):
        move_histories(model, 'pinned')
    assert model[0].tier == 'ram'


def test_pinned_tables_and_what_is_gathered_from_them_are_pinned(monkeypatch):
    pinned = []
    for name in ('empty', 'zeros'):
        make = getattr(torch, name)

        def noting(*args, make=make, **kwargs):
            pinned.append(kwargs.get('pin_memory', False))
            return make(*args, **kwargs)

        monkeypatch.setattr(torch, name, noting)
    history = History(4, 2, tier='pinned')
    pinned.clear()
    history.pull(torch.tensor([1, 3]))
    assert pinned == [True]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device')
@pytest.mark.parametrize('tier', ['ram', 'pinned', 'device', 'disk'])
def test_rows_go_to_a_cuda_device_and_back(tier):
    for dtype, cache in itertools.product(['auto', 'bfloat16', 'int8'], [None, '1kB']):
        check_on_cuda(tier, dtype, cache)


def check_on_cuda(tier, dtype, cache):
    device = torch.device('cuda') if tier == 'device' or cache else None
    history = History(50, 4, device, dtype, tier, cache_size_in_bytes=cache)
    plain = History(50, 4, dtype=dtype)
    rows = torch.randn(50, 4)
    for each, x in ((history, rows.cuda()), (plain, rows)):
        each.push(x)
        each.push(2 * x[:9], torch.arange(9, device=x.device) * 5)
        each.push(3 * x[:6], offset=torch.tensor([40, 10]), count=torch.tensor([4, 2]))
    for _ in range(5):
        ids = torch.randint(50, (30,))
        found = history.pull(ids.cuda())
        assert found.is_cuda
        assert torch.equal(found.cpu(), plain.pull(ids))
        out = torch.empty(30, 4, device='cuda')
        assert torch.equal(history.pull(ids.cuda(), out=out).cpu(), plain.pull(ids))


@pytest.mark.parametrize('sizes', [(0, 2), (3, 0)])
def test_a_table_without_entries_needs_no_file(tmp_path, sizes):
    history = copy.deepcopy(History(*sizes, tier='disk', folder=tmp_path))
    assert history.pull().shape == sizes
