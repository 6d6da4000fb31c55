"""A file is read as it was written, or refused."""

import errno
import hashlib
import json
import math
import os
import resource
import struct
import zlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_autoscale.training import container
from torch_geometric_autoscale.training.container import (
    DamagedFile,
    LaterVersion,
    read_container,
    write_container,
)

CONTENT = {
    'weights': torch.arange(6.0).view(2, 3),
    'position': {'epoch': 3, 'loss': 0.1, 'names': ['a', 'ä'], 'none': None},
    7: (True, -0.0, math.inf, 2**70),
}


@pytest.fixture(scope='module')
def whole(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp('whole') / 'a'
    write_container(path, 'test', CONTENT)
    return path.read_bytes()


def same(value, expected) -> bool:
    if isinstance(expected, torch.Tensor):
        return (
            value.dtype == expected.dtype
            and value.shape == expected.shape
            and container.raw_bytes(value) == container.raw_bytes(expected)
        )
    if type(value) is not type(expected):
        return False
    if isinstance(expected, dict):
        return list(value) == list(expected) and all(same(value[k], expected[k]) for k in expected)
    if isinstance(expected, (list, tuple)):
        return len(value) == len(expected) and all(map(same, value, expected))
    return repr(value) == repr(expected)


# What comes back #################################################################

leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text()
    | st.lists(st.floats(width=32), max_size=3).map(torch.tensor)
)  # fmt: skip
trees = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text() | st.integers() | st.booleans(), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=40)
@given(trees)
def test_plain_containers_come_back_to_the_bit(tmp_path_factory, tree):
    path = tmp_path_factory.getbasetemp() / 'tree'
    write_container(path, 'test', {'tree': tree})
    assert same(read_container(path, 'test'), {'tree': tree})


BASE = torch.tensor([[1.5, -2, float('nan')], [0, 1e-30, 3]], dtype=torch.float64)


@pytest.mark.parametrize(
    'tensor',
    [
        *(BASE.to(dtype) for dtype in (torch.float32, torch.float16, torch.bfloat16)), BASE,
        *(torch.tensor([0, 1, 100]).to(dtype) for dtype in (
            torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)),
        BASE.to(torch.complex64).conj(), BASE.t(), BASE[:, ::2], torch.tensor(5.0),
        torch.empty(0, 3), torch.empty(2, 0), torch.ones(2, requires_grad=True),
        torch.nn.Parameter(torch.ones(2)),
    ],
    ids=str,
)  # fmt: skip
def test_tensors_come_back_to_the_bit(tmp_path, tensor):
    write_container(tmp_path / 'a', 'test', {'t': tensor})
    assert same(read_container(tmp_path / 'a', 'test')['t'], tensor)


def test_large_tensors_can_stay_in_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(container, 'PIECE', 64)
    path, tensor = tmp_path / 'a', torch.arange(1000.0)
    write_container(path, 'test', {'small': tensor[:3], 'large': tensor})
    written = path.read_bytes()
    mapped = read_container(path, 'test', mapped=True)
    assert torch.equal(mapped['large'], tensor)
    mapped['large'].zero_()
    assert path.read_bytes() == written
    assert torch.equal(read_container(path, 'test')['large'], tensor)


@pytest.mark.parametrize(
    ('value', 'message'),
    [
        ({'a': [1, print]}, r"state\['a'\]\[1\] must be made of .* \(got builtin_function"),
        ({'a': torch.eye(2).to_sparse()}, r"state\['a'\] must be made of .* dense tensors"),
        ({'a': torch.tensor(0, dtype=torch.uint16)}, r'tensors must be of a common type'),
    ],
)
def test_code_and_the_like_is_not_written(tmp_path, value, message):
    with pytest.raises(TypeError, match=f'save_checkpoint: {message}'):
        write_container(tmp_path / 'a', 'test', value)
    assert list(tmp_path.iterdir()) == []


# Damage ##########################################################################


def refused(path, content: bytes, message: str = '') -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedFile, match=rf"'a' must be a whole test of this library.*{message}"):
        read_container(path, 'test', mapped=len(content) % 2 == 0)


def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path, whole):
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        refused(tmp_path / 'a', bytes(changed))


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_changed_bytes_are_noticed(tmp_path_factory, whole, data):
    start = data.draw(st.integers(0, len(whole) - 1))
    new = data.draw(st.binary(min_size=1, max_size=len(whole) - start))
    changed = whole[:start] + new + whole[start + len(new) :]
    if changed != whole:
        refused(tmp_path_factory.getbasetemp() / 'a', changed)


def test_a_file_cut_short_is_noticed_wherever_it_ends(tmp_path, whole):
    for length in range(len(whole)):
        refused(tmp_path / 'a', whole[:length], 'a file cut short')
    refused(tmp_path / 'a', whole + b'x', 'a file with something behind its end')


@pytest.mark.parametrize(
    ('place', 'message'),
    [
        (0, 'another kind of file, or one whose first bytes are damaged'),
        (10, 'a file whose first bytes are damaged'),
        (15, 'a file whose first bytes are damaged'),
        (24, 'a file whose first bytes are damaged'),
        (40, 'a file whose first bytes are damaged'),
        (62, 'a file whose first bytes are damaged'),
        (70, 'a file whose header is damaged'),
        (-3, 'a file whose tensor 0 of 1 is damaged'),
    ],
)
def test_the_place_of_the_damage_is_told(tmp_path, whole, place, message):
    changed = bytearray(whole)
    changed[place] ^= 4
    refused(tmp_path / 'a', bytes(changed), message)


def test_other_files_are_told(tmp_path):
    refused(tmp_path / 'a', b'PK\x03\x04' + bytes(100), 'another kind of file')
    write_container(tmp_path / 'b', 'other thing', CONTENT)
    refused(tmp_path / 'a', (tmp_path / 'b').read_bytes(), r'\(got a other thing\)')
    with pytest.raises(FileNotFoundError, match=r'load_checkpoint: the file must exist'):
        read_container(tmp_path / 'none', 'test')


# A header that its checksums agree with, but that we would not have written ######


def signed(header: object, body: bytes, version: int = 1) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    length = 64 + len(text) + len(body)
    digest = hashlib.sha256(text).digest()
    preamble = struct.pack('<8sIQQ32s', b'PYGASCKP', version, len(text), length, digest)
    return preamble + struct.pack('<I', zlib.crc32(preamble)) + text + body


def header_and_body(whole: bytes) -> tuple[dict, bytes]:
    length = struct.unpack_from('<Q', whole, 12)[0]
    return json.loads(whole[64 : 64 + length]), whole[64 + length :]


def test_a_file_of_a_later_version_is_told_apart_from_a_damaged_one(tmp_path, whole):
    (tmp_path / 'a').write_bytes(signed(*header_and_body(whole), version=2))
    message = r"the format of 'a' must be version 1 at most \(got version 2, of a later release\)"
    with pytest.raises(LaterVersion, match=message):
        read_container(tmp_path / 'a', 'test')


FIELDS = [
    ('kind',), ('byteorder',), ('content',), ('content', 'dict'), ('tensors',),
    *(('tensors', 0, name) for name in ('dtype', 'shape', 'offset', 'size', 'crc32')),
]  # fmt: skip


@pytest.mark.parametrize('field', FIELDS, ids=str)
@pytest.mark.parametrize('value', [None, -1, 'x', [], [1e9, 1e9], {'tensor': 5}, {'a': 1, 'b': 2}])
def test_a_header_that_makes_no_sense_is_refused(tmp_path, whole, field, value):
    header, body = header_and_body(whole)
    inner = header
    for name in field[:-1]:
        inner = inner[name]
    fits = [(('content', 'dict'), []), (('tensors', 0, 'shape'), [])]
    if (field, value) in fits:
        return
    inner[field[-1]] = value
    refused(tmp_path / 'a', signed(header, body))
    del inner[field[-1]]
    refused(tmp_path / 'a', signed(header, body))


def test_headers_nested_without_end_are_refused(tmp_path):
    refused(tmp_path / 'a', signed(b'[' * 100_000 + b']' * 100_000, b''))


# Writes that fail ################################################################


def test_a_file_is_replaced_only_by_a_whole_one(tmp_path, whole, monkeypatch):
    path = tmp_path / 'a'
    path.write_bytes(whole)
    for name in ('fsync', 'replace', 'chmod'):

        def fail(*args):
            raise OSError(errno.ENOSPC, 'No space left on device')

        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match='No space left'):
                write_container(path, 'test', {'new': 1})
        assert path.read_bytes() == whole
        assert list(tmp_path.iterdir()) == [path]


def test_a_write_beyond_a_limit_leaves_the_old_file(tmp_path, whole):
    path = tmp_path / 'a'
    path.write_bytes(whole)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match='File too large'):
            write_container(path, 'test', {'new': torch.zeros(200_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_the_old_file(small_disk, whole):
    path = small_disk / 'a'
    path.write_bytes(whole)
    with pytest.raises(OSError, match='No space left'):
        write_container(path, 'test', {'new': torch.zeros(2_000_000)})
    assert path.read_bytes() == whole
    assert list(small_disk.iterdir()) == [path]
