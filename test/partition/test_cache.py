"""Partitions on disk: found by what they were made from, rebuilt when damaged."""

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from torch_geometric_autoscale.partition import cache, dispatch, partition

RING = torch.stack([torch.arange(12), (torch.arange(12) + 1) % 12])


@pytest.fixture
def calls(monkeypatch):
    """How often a partitioner really ran."""
    seen = []
    compute = dispatch._compute
    monkeypatch.setattr(dispatch, '_compute', lambda *args: seen.append(1) or compute(*args))
    return seen


def ring_parts(folder, **options):
    arguments = {'num_parts': 3, 'method': 'lp', 'num_nodes': 12, 'cache_dir': folder, **options}
    return partition(RING, **arguments)


def test_a_second_call_reads_the_file(tmp_path, calls, capsys):
    first = ring_parts(tmp_path / 'new')
    second = ring_parts(tmp_path / 'new')
    assert len(calls) == 1
    assert all(a.equal(b) for a, b in zip(first, second, strict=True))
    assert '(from cache)' in capsys.readouterr().out
    assert [path.suffix for path in (tmp_path / 'new').iterdir()] == ['.npz']


@pytest.mark.parametrize(
    'change', [{'num_parts': 4}, {'seed': 1}, {'method': 'random'}, {'num_nodes': 13}]
)
def test_other_settings_have_another_file(tmp_path, calls, change):
    ring_parts(tmp_path)
    ring_parts(tmp_path, **change)
    assert len(calls) == 2


def test_another_graph_has_another_file(tmp_path, calls):
    ring_parts(tmp_path)
    partition(RING.flip(0)[:, :11], 3, 'lp', num_nodes=12, cache_dir=tmp_path, log=False)
    assert len(calls) == 2


def test_metis_options_and_versions_have_their_own_files(tmp_path, calls, monkeypatch):
    ring_parts(tmp_path)
    changed = dispatch._BACKENDS['lp']._replace(version=lambda who: 'later')
    monkeypatch.setitem(dispatch._BACKENDS, 'lp', changed)
    ring_parts(tmp_path)
    assert len(calls) == 2


def truncate(path):
    path.write_bytes(path.read_bytes()[:200])


def empty(path):
    path.write_bytes(b'')


def flip_one_bit_of_perm(path):
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(bytes(content))


def swap_two_nodes(path):
    with np.load(path) as arrays:
        kept = dict(arrays)
    kept['perm'][[0, -1]] = kept['perm'][[-1, 0]]
    np.savez(path, **kept)


def drop_the_bounds(path):
    with np.load(path) as arrays:
        kept = {name: arrays[name] for name in ('perm', 'checksum')}
    np.savez(path, **kept)


def pickle_objects(path):
    np.savez(path, perm=np.array([{}], dtype=object), ptr=np.arange(2), checksum=np.arange(2))


def store_text(path):
    np.savez(path, perm=np.array(['a', 'b']), ptr=np.arange(2), checksum=np.arange(2))


@pytest.mark.parametrize(
    'damage',
    [
        truncate,
        empty,
        flip_one_bit_of_perm,
        swap_two_nodes,
        drop_the_bounds,
        pickle_objects,
        store_text,
    ],
)
def test_a_damaged_file_is_noticed_and_rebuilt(tmp_path, calls, capsys, damage):
    first = ring_parts(tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    again = ring_parts(tmp_path)
    assert len(calls) == 2
    assert all(a.equal(b) for a, b in zip(first, again, strict=True))
    line = capsys.readouterr().out.splitlines()[-1]
    assert f'(rebuilt: cache file {path} was damaged)' in line
    ring_parts(tmp_path, log=False)
    assert len(calls) == 2
    assert capsys.readouterr().out == ''


def test_the_key_tells_graphs_apart_by_their_edges():
    edges = dispatch.to_edges(RING, 12)
    other = replace(edges, pairs=RING.flip(1))
    key = cache.cache_key(edges, {'seed': 0})
    assert key == cache.cache_key(replace(edges, pairs=RING.clone()), {'seed': 0})
    assert key != cache.cache_key(other, {'seed': 0})


def test_a_file_that_cannot_be_written_costs_no_partition(tmp_path, monkeypatch, capsys):
    def full(*args):
        raise OSError('disk full')

    monkeypatch.setattr(os, 'replace', full)
    perm, _ = ring_parts(tmp_path)
    assert perm.numel() == 12
    assert '(not cached: disk full)' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_the_cache_must_be_a_directory(tmp_path):
    file = tmp_path / 'file'
    file.touch()
    with pytest.raises(ValueError, match="'cache_dir' must be a directory"):
        ring_parts(file)
