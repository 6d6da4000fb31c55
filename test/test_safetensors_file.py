"""Tensors of a safetensors file are mapped; a damaged file is told."""

import json
import struct

import pytest
import torch

from torch_geometric_autoscale.mapped import mapped_file
from torch_geometric_autoscale.safetensors_file import map_safetensors

X = torch.arange(6, dtype=torch.float32).view(3, 2)
Y = torch.tensor([1, 0, 2])
HALF = torch.tensor([0.5, -2.0]).to(torch.bfloat16)


def write(path, header, content=b''):
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    path.write_bytes(struct.pack('<Q', len(text)) + text + content)
    return path


@pytest.fixture
def file(tmp_path):
    """Features, labels, a tensor in bfloat16 and an empty one."""
    header = {
        '__metadata__': {'by': 'hand'},
        'y': {'dtype': 'I64', 'shape': [3], 'data_offsets': [0, 24]},
        'x': {'dtype': 'F32', 'shape': [3, 2], 'data_offsets': [24, 48]},
        'half': {'dtype': 'BF16', 'shape': [2], 'data_offsets': [48, 52]},
        'none': {'dtype': 'F16', 'shape': [0, 4], 'data_offsets': [52, 52]},
    }
    plain = Y.numpy().tobytes() + X.numpy().tobytes() + HALF.view(torch.int16).numpy().tobytes()
    return write(tmp_path / 'some.safetensors', header, plain)


def test_tensors_are_those_of_the_file_and_stay_there(file):
    tensors = map_safetensors(file)
    assert list(tensors) == ['y', 'x', 'half', 'none']
    assert torch.equal(tensors['x'], X)
    assert torch.equal(tensors['y'], Y)
    assert torch.equal(tensors['half'], HALF)
    assert tensors['none'].shape == (0, 4)
    assert mapped_file(tensors['x']) == file
    assert mapped_file(tensors['half']) == file


def test_the_package_itself_reads_the_same(file):
    safetensors = pytest.importorskip('safetensors.torch')
    theirs = safetensors.load_file(file)
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in map_safetensors(file).items())


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="map_safetensors: 'path' must name a file"):
        map_safetensors(tmp_path / 'none')


def entry(**changes):
    return {'x': {'dtype': 'F32', 'shape': [1], 'data_offsets': [0, 4], **changes}}


@pytest.mark.parametrize(
    ('header', 'message'),
    [
        (entry(data_offsets=[0, 8], shape=[2]), r"'x' up to byte 8 of 4: cut short"),
        (entry(shape=[3]), r"'x' of shape \(3,\) in 4 bytes"),
        (entry(data_offsets=[4, 0]), "a damaged entry 'x'"),
        (entry(data_offsets=[0]), "a damaged entry 'x'"),
        (entry(shape=[-1]), "a damaged entry 'x'"),
        ({'x': 3}, "a damaged entry 'x'"),
        ([], 'no header of that format'),
        (entry(dtype='F8_E4M3'), r"types must be of BOOL, .* \(got 'x' of F8_E4M3\)"),
    ],
)
def test_a_header_that_cannot_be_true_is_told(tmp_path, header, message):
    with pytest.raises(ValueError, match=message):
        map_safetensors(write(tmp_path / 'x', header, bytes(4)))


@pytest.mark.parametrize('content', [b'', b'\x08\0\0\0\0\0\0\0{"x"', b'\xff' * 8, b'PK\3\4' * 9])
def test_other_files_are_told(tmp_path, content):
    (tmp_path / 'x').write_bytes(content)
    with pytest.raises(ValueError, match='must be a whole safetensors file'):
        map_safetensors(tmp_path / 'x')


def test_numbers_at_an_odd_place_are_told(tmp_path):
    header = {'x': {'dtype': 'F32', 'shape': [1], 'data_offsets': [1, 5]}}
    with pytest.raises(ValueError, match='must begin at a multiple of 4 bytes'):
        map_safetensors(write(tmp_path / 'x', header, bytes(5)))
