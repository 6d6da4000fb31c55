"""Arrays in files are told from those in memory, and new ones leave no file behind."""

import mmap

import numpy as np
import pytest
import torch

from torch_geometric_autoscale import mapped
from torch_geometric_autoscale.lazy import LazyRows
from torch_geometric_autoscale.mapped import folder_beside, mapped_file, new_tensor

from .on_disk import map_tensor


def test_a_mapped_array_names_its_file(tmp_path):
    tensor = map_tensor(torch.arange(5), tmp_path / 'a.npy')
    assert mapped_file(tensor) == tmp_path / 'a.npy'
    assert mapped_file(tensor[2:]) == tmp_path / 'a.npy'
    assert folder_beside(tensor) == tmp_path


def test_a_file_name_with_a_space_is_read_whole(tmp_path):
    tensor = map_tensor(torch.arange(5), tmp_path / 'a b.npy')
    assert mapped_file(tensor) == tmp_path / 'a b.npy'


@pytest.mark.parametrize(
    'tensor',
    [
        torch.arange(5),
        torch.zeros(10_000_000),
        torch.empty(0),
        torch.zeros(3).share_memory_(),
        LazyRows(lambda: torch.ones(2, 3), (2, 3), torch.float32, torch.device('cpu')),
        torch.frombuffer(mmap.mmap(-1, 40), dtype=torch.int64),
    ],
)
def test_what_is_in_memory_has_no_file(tensor):
    assert mapped_file(tensor) is None
    assert folder_beside(tensor) is None


def test_systems_that_do_not_tell_have_everything_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, '_MAPS', tmp_path / 'none')
    assert mapped_file(map_tensor(torch.arange(5), tmp_path / 'a.npy')) is None


def test_a_folder_that_must_not_be_written_to_gives_way_to_that_for_temporary_files(
    tmp_path, monkeypatch
):
    tensor = map_tensor(torch.arange(5), tmp_path / 'a.npy')
    monkeypatch.setattr('os.access', lambda path, mode: False)
    monkeypatch.setattr('tempfile.gettempdir', lambda: '/elsewhere')
    assert str(folder_beside(tensor)) == '/elsewhere'


def test_a_new_array_lies_in_a_file_without_a_name(tmp_path):
    tensor = new_tensor('who', (3, 2), torch.float64, tmp_path)
    assert (tensor.shape, tensor.dtype) == ((3, 2), torch.float64)
    assert folder_beside(tensor) == tmp_path
    assert list(tmp_path.iterdir()) == []
    tensor[1] = 7
    assert tensor.tolist() == [[0, 0], [7, 7], [0, 0]]


@pytest.mark.parametrize('shape', [(3, 2), (0, 2)])
def test_without_a_folder_or_entries_it_is_in_memory(tmp_path, shape):
    tensor = new_tensor('who', shape, torch.int32, tmp_path if 0 in shape else None)
    assert tensor.shape == shape
    assert mapped_file(tensor) is None


def test_an_array_made_in_an_evaluation_can_be_written_to_in_training(tmp_path):
    with torch.inference_mode():
        tensor = new_tensor('who', (3,), torch.float32, tmp_path)
    assert not tensor.is_inference()


def test_a_disk_without_room_is_told(small_disk):
    message = r"who: the folder of the graph must take 8,000,000 more bytes \(got '.*': No space"
    with pytest.raises(OSError, match=message):
        new_tensor('who', (1_000_000,), torch.int64, small_disk)


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"must take 12 more bytes \(got '.*none': No such"):
        new_tensor('who', (3,), torch.int32, tmp_path / 'none')


def test_without_reservation_the_file_has_its_length(tmp_path, monkeypatch):
    monkeypatch.delattr('os.posix_fallocate')
    assert np.array_equal(new_tensor('who', (4,), torch.int32, tmp_path), np.zeros(4))
