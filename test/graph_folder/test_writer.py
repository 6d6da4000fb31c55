"""Writing a graph folder: whole under its name, or not there."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from torch_geometric_autoscale.graph_folder import GraphFolder, GraphWriter
from torch_geometric_autoscale.graph_folder import arrays as arrays_module
from torch_geometric_autoscale.graph_folder import writer as writer_module
from torch_geometric_autoscale.graph_folder.header import index_dtype

from .conftest import COL, ROWPTR


def fill(writer):
    rowptr, col = writer.add_structure()
    rowptr[:], col[:] = ROWPTR, COL


def test_nothing_has_the_final_name_before_the_end(tmp_path):
    with GraphWriter(tmp_path / 'graph', 3, 4) as writer:
        fill(writer)
        assert os.listdir(tmp_path) == ['graph.part']
    assert os.listdir(tmp_path) == ['graph']
    assert sorted(os.listdir(tmp_path / 'graph')) == ['col.npy', 'graph.json', 'rowptr.npy']


def test_other_files_of_the_part_folder_do_not_stay(tmp_path):
    with GraphWriter(tmp_path / 'graph', 3, 4) as writer:
        fill(writer)
        (writer.part / 'state.json').write_text('{}')
        (writer.part / 'spool').mkdir()
    assert sorted(os.listdir(tmp_path / 'graph')) == ['col.npy', 'graph.json', 'rowptr.npy']


def test_what_is_added_is_zero_and_what_is_written_is_copied(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, 'CHUNK', 8)  # one row at a time
    with GraphWriter(tmp_path / 'graph', 3, 4) as writer:
        fill(writer)
        writer.add('z', (3, 2), np.float16, 'node')
        writer.write('x', torch.arange(6.0, dtype=torch.float32).view(3, 2), 'node')
        writer.write('empty', np.empty((0, 3)), 'graph')
    graph = GraphFolder(tmp_path / 'graph')
    assert graph['z'].tolist() == [[0, 0]] * 3
    assert graph['x'].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert graph['empty'].shape == (0, 3)
    graph.validate()


@pytest.mark.parametrize(
    ('y', 'num_classes'),
    [
        ([0, 5, -1], 6),
        ([-1, -1, -1], 0),
        ([[0, 1], [1, 1], [0, 0]], 2),
        ([0.5, 1.5, 2.5], None),
    ],
)
def test_classes_are_counted(tmp_path, y, num_classes):
    with GraphWriter(tmp_path / 'graph', 3, 4) as writer:
        fill(writer)
        writer.write('y', np.array(y), 'node')
    assert GraphFolder(tmp_path / 'graph').num_classes == num_classes
    assert writer_module.count_classes(np.array(y), chunk=1) == num_classes


def test_a_graph_may_be_empty(tmp_path):
    with GraphWriter(tmp_path / 'graph', 0, 0) as writer:
        writer.add_structure()
    data = GraphFolder(tmp_path / 'graph').to_data()
    assert data.num_nodes == 0
    assert tuple(data.adj_t.shape) == (0, 0)


def test_ids_are_int32_below_two_to_the_31():
    assert index_dtype(2**31 - 1, 2**31 - 1) == np.int32
    assert index_dtype(2**31, 0) == np.int64
    assert index_dtype(0, 2**31) == np.int64


def test_the_number_of_nodes_and_edges_may_come_late_and_shrink(tmp_path):
    with GraphWriter(tmp_path / 'graph', None) as writer:
        with pytest.raises(ValueError, match="'num_nodes' must be known before an array is added"):
            writer.add('x', (3,), 'int8', 'node')
        writer.num_nodes = 3
        with pytest.raises(ValueError, match="'num_edges' must be known before edges are added"):
            writer.add_structure()
        writer.num_edges = 6
        rowptr, col = writer.add_structure()
        weight = writer.add('edge_weight', (6,), 'float32', 'edge')
        rowptr[:], col[:4], weight[:4] = ROWPTR, COL, [5, 6, 7, 8]
        del col, weight
        writer.shorten(4)
        assert writer['col'].tolist() == COL
    graph = GraphFolder(tmp_path / 'graph')
    assert graph['col'].tolist() == COL
    assert graph['edge_weight'].tolist() == [5, 6, 7, 8]
    assert np.load(tmp_path / 'graph' / 'col.npy').tolist() == COL


# Failures ############################################################################


def test_a_failure_leaves_nothing(tmp_path):
    def fail(writer):
        fill(writer)
        raise RuntimeError('mine')

    with pytest.raises(RuntimeError, match='mine'), GraphWriter(tmp_path / 'graph', 3, 4) as writer:
        fail(writer)
    assert os.listdir(tmp_path) == []


def test_a_part_folder_is_kept_where_asked_and_found_again(tmp_path):
    writer = GraphWriter(tmp_path / 'graph', 3, 4, keep_part=True)
    writer.add('x', (3, 1), 'int64', 'node')[0] = 7
    writer.add('z', (3, 1), 'int64', 'node')[0] = 7
    writer.abandon()
    with GraphWriter(tmp_path / 'graph', 3, 4, resume=True) as writer:
        fill(writer)
        assert writer.add('x', (3, 1), 'int64', 'node').tolist() == [[7], [0], [0]]
        assert writer.add('z', (3, 2), 'int64', 'node').tolist() == [[0, 0]] * 3  # another shape
    assert GraphFolder(tmp_path / 'graph')['x'].tolist() == [[7], [0], [0]]


def test_without_resume_a_part_folder_is_emptied(tmp_path):
    (tmp_path / 'graph.part').mkdir()
    (tmp_path / 'graph.part' / 'x.npy').write_bytes(b'old')
    with GraphWriter(tmp_path / 'graph', 3, 4) as writer:
        fill(writer)
        assert writer.add('x', (3,), 'int64', 'node').tolist() == [0, 0, 0]


def test_structure_that_was_never_filled_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match=r"'rowptr' must rise from 0 to 4 edges \(got 0 to 0\)"),
        GraphWriter(tmp_path / 'graph', 3, 4) as writer,
    ):
        writer.add_structure()
    assert os.listdir(tmp_path) == []


def test_structure_is_needed(tmp_path):
    with (
        pytest.raises(ValueError, match="none called 'rowptr'"),
        GraphWriter(tmp_path / 'graph', 3, 4),
    ):
        pass


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda w: w.add('x', (2, 1), 'float32', 'node'), r'one row per node \(3\)'),
        (lambda w: w.add('a', (3,), 'float32', 'edge'), r'one row per edge \(4\)'),
        (lambda w: w.add('edge_weight', (4, 2), 'float32', 'edge'), r'must have shape \(4,\)'),
        (lambda w: w.add('x', (3,), 'complex64', 'node'), 'must be one of bool, .*got complex64'),
        (lambda w: w.add('x', (3,), 'U3', 'node'), 'must be one of bool'),
        (lambda w: w.add('../x', (3,), 'float32', 'node'), 'must be a word of letters'),
        (lambda w: w.add('x', (3,), 'float32', 'structure'), "the level of 'x'"),
        (lambda w: w.add('col', (4,), 'int32', 'edge'), "must be 'structure'"),
        (lambda w: [w.add('a', (3,), 'int8', 'node') for _ in 'ab'], "'a' a second time"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(tmp_path, call, message):
    with (
        pytest.raises(ValueError, match=message),
        GraphWriter(tmp_path / 'graph', 3, 4) as writer,
    ):
        call(writer)


def test_an_existing_target_stays_as_it_is(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(FileExistsError, match='must be a new folder'):
        GraphWriter(folder, 3, 4)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_graph_folder_may_be_overwritten_and_nothing_else(folder, tmp_path):
    with GraphWriter(folder, 3, 4, overwrite=True) as writer:
        fill(writer)
        assert 'x' in GraphFolder(folder)  # the old one, until the end
    assert 'x' not in GraphFolder(folder)
    assert os.listdir(tmp_path) == ['graph']
    (tmp_path / 'file').write_text('mine')
    with pytest.raises(FileExistsError, match='only a graph folder may be overwritten'):
        GraphWriter(tmp_path / 'file', 3, 4, overwrite=True)


def test_a_target_made_meanwhile_is_not_overwritten(tmp_path):
    writer = GraphWriter(tmp_path / 'graph', 3, 4)
    fill(writer)
    (tmp_path / 'graph').mkdir()
    (tmp_path / 'graph' / 'mine').write_text('mine')
    with pytest.raises(OSError, match='must be a new folder'), writer:
        pass
    assert [path.name for path in tmp_path.rglob('*')] == ['graph', 'mine']


def test_the_folder_of_the_target_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match='the folder of the target must exist'):
        GraphWriter(tmp_path / 'no' / 'graph', 3, 4)


@pytest.mark.skipif(os.name != 'posix' or os.geteuid() == 0, reason='root may write anywhere')
def test_a_folder_that_may_not_be_written_to_is_named(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OSError, match=r'the target must be writable .*Make it writable'):
            GraphWriter(tmp_path / 'graph', 3, 4)
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    def full(descriptor, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(arrays_module, 'reserve_room', full)
    with (
        pytest.raises(OSError, match=r"must take 'rowptr\.npy' \(16 bytes\) .*Make room") as caught,
        GraphWriter(tmp_path / 'graph', 3, 4) as writer,
    ):
        writer.add_structure()
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == []


def test_room_can_be_asked_for_at_once(tmp_path):
    writer = GraphWriter(tmp_path / 'graph', 3, 4)
    writer.reserve(1)
    with (
        pytest.raises(OSError, match=r'must have 1,152,921,504,606,846,976 bytes free, and has'),
        writer,
    ):
        writer.reserve(2**60)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != 'posix', reason='locks of POSIX')
def test_two_processes_do_not_write_one_folder(tmp_path):
    part = tmp_path / 'graph.part'
    part.mkdir()
    (part / 'x.npy').write_bytes(b'of the other')
    code = (
        'import fcntl, sys\n'
        "file = open(sys.argv[1], 'ab')\n"
        'fcntl.lockf(file, fcntl.LOCK_EX)\n'
        'print(flush=True)\n'
        'sys.stdin.read()'
    )
    with subprocess.Popen(
        [sys.executable, '-S', '-c', code, part / 'lock'],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(BlockingIOError, match='one process at a time writes a folder'):
            GraphWriter(tmp_path / 'graph', 3, 4)
        other.stdin.close()
    assert (part / 'x.npy').read_bytes() == b'of the other'
    GraphWriter(tmp_path / 'graph', 3, 4).abandon()
    assert os.listdir(tmp_path) == []


def test_the_header_is_json_that_people_can_read(folder):
    header = json.loads((folder / 'graph.json').read_text())
    assert header['arrays']['x'] == {
        'file': 'x.npy', 'dtype': 'float32', 'shape': [3, 2], 'level': 'node',
    }  # fmt: skip
    assert header['version'] == 1
