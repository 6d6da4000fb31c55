"""Edges sorted by target in bounded memory: the plain definition, whatever the chunks."""

import numpy as np
import pytest
import torch
from torch_geometric.utils import to_undirected

from torch_geometric_autoscale.graph_folder import merging
from torch_geometric_autoscale.graph_folder import spool as spool_module
from torch_geometric_autoscale.graph_folder.edge_chunks import BothDirections, EdgeChunk
from torch_geometric_autoscale.graph_folder.merging import merge_equal_edges
from torch_geometric_autoscale.graph_folder.placing import count_by_target, place_edges, windows
from torch_geometric_autoscale.graph_folder.spool import EdgeSpool


class Edges:
    """Edges in memory, handed out ``size`` at a time."""

    def __init__(self, source, target, size=3, **values):
        self.source, self.target, self.size = np.array(source), np.array(target), size
        self.extra = {name: np.array(rows) for name, rows in values.items()}
        self.num_edges = len(self.source)
        self.values = {name: (rows.dtype, rows.shape[1:]) for name, rows in self.extra.items()}

    def chunks(self):
        for start in range(0, self.num_edges, self.size):
            part = slice(start, start + self.size)
            values = {name: rows[part] for name, rows in self.extra.items()}
            yield EdgeChunk(self.source[part], self.target[part], values)


def sort_edges(edges, num_nodes, window_bytes=None):
    rowptr = bounds_of(edges, num_nodes)
    arrays = {'col': np.empty(rowptr[-1], np.int32)}
    for name, (dtype, shape) in edges.values.items():
        arrays[name] = np.empty((rowptr[-1], *shape), dtype)
    steps = list(place_edges(edges, rowptr, arrays, 'convert', window_bytes))
    passes = max((filled for filled, _ in steps), default=0)
    assert sum(count for _, count in steps) == passes * rowptr[-1]
    return rowptr, arrays, passes


def bounds_of(edges, num_nodes):
    degree = np.zeros(num_nodes, np.int64)
    assert sum(count_by_target(edges, degree, 'convert')) == degree.sum() <= edges.num_edges
    return np.append(0, np.cumsum(degree))


def random_edges(seed, num_nodes=20, num_edges=200, size=7):
    rng = np.random.default_rng(seed)
    # Few targets have many edges, most have none.
    target = (num_nodes * rng.random(num_edges) ** 4).astype(np.int32)
    source = rng.integers(0, num_nodes, num_edges).astype(np.int32)
    return Edges(source, target, size, weight=rng.random(num_edges), attr=rng.random((200, 2)))


def test_edges_of_one_target_keep_their_order():
    edges = Edges([4, 3, 2, 1, 0], [1, 0, 1, 0, 1], size=2, weight=[5, 6, 7, 8, 9])
    rowptr, arrays, _ = sort_edges(edges, 6)
    assert rowptr.tolist() == [0, 2, 5, 5, 5, 5, 5]
    assert arrays['col'].tolist() == [3, 1, 4, 2, 0]
    assert arrays['weight'].tolist() == [6, 8, 5, 7, 9]


@pytest.mark.parametrize('window_bytes', [1, 100, 1000, None])
@pytest.mark.parametrize('size', [1, 7, 1000])
def test_chunks_and_windows_leave_no_trace(size, window_bytes):
    edges = random_edges(0, size=size)
    rowptr, arrays, passes = sort_edges(edges, 20, window_bytes)
    order = np.argsort(edges.target, kind='stable')
    assert rowptr.tolist() == [0, *np.cumsum(np.bincount(edges.target, minlength=20))]
    assert np.array_equal(arrays['col'], edges.source[order])
    assert np.array_equal(arrays['weight'], edges.extra['weight'][order])
    assert np.array_equal(arrays['attr'], edges.extra['attr'][order])
    assert (passes == 1) == (window_bytes is None)


def test_windows_hold_what_they_may_or_one_node():
    rowptr = np.array([0, 2, 4, 4, 13, 14])
    assert windows(rowptr, row_bytes=4, window_bytes=16) == [0, 3, 4, 5]
    assert windows(rowptr, row_bytes=4, window_bytes=1) == [0, 1, 2, 3, 4, 5]
    assert windows(np.array([0]), 4) == [0]
    assert windows(np.array([0, 0, 0]), 4) == [0, 2]


def test_placing_goes_on_behind_the_windows_that_are_filled():
    edges = random_edges(1)
    rowptr, whole, passes = sort_edges(edges, 20, 500)
    arrays = {name: np.zeros_like(rows) for name, rows in whole.items()}
    for filled, _ in place_edges(edges, rowptr, arrays, 'convert', 500):
        if filled == 1:
            break
    rest = list(place_edges(edges, rowptr, arrays, 'convert', 500, start=1))
    assert (rest[0][0], rest[-1][0]) == (1, passes)
    for name in whole:
        assert np.array_equal(arrays[name], whole[name])


@pytest.mark.parametrize('ids', [[0, 1, 3], [0, -1, 2]])
def test_ends_that_are_no_nodes_are_refused(ids):
    for edges in (Edges(ids, [0, 1, 2]), Edges([0, 1, 2], ids)):
        with pytest.raises(ValueError, match=r'node ids must lie in \[0, 3\) \(got .* at edge'):
            bounds_of(edges, 3)


@pytest.mark.parametrize('target', [[0, 1, 1], [0, 2, 2], [0, 1]])
def test_edges_that_change_between_passes_are_noticed(target):
    edges = Edges([0, 1, 2], [0, 1, 2], size=10)
    rowptr = bounds_of(edges, 3)
    edges = Edges([0, 1, 2][: len(target)], target, size=10)
    with pytest.raises(ValueError, match='must be the same whenever they are read'):
        list(place_edges(edges, rowptr, {'col': np.empty(3, np.int32)}, 'convert'))


# Both directions #####################################################################


def test_reverse_edges_follow_their_edges_and_loops_stay_one():
    edges = BothDirections(Edges([0, 1, 2], [1, 1, 0], size=2, weight=[5, 6, 7]))
    chunks = list(edges.chunks())
    assert np.concatenate([chunk.source for chunk in chunks]).tolist() == [0, 1, 1, 2, 0]
    assert np.concatenate([chunk.target for chunk in chunks]).tolist() == [1, 0, 1, 0, 2]
    values = np.concatenate([chunk.values['weight'] for chunk in chunks])
    assert values.tolist() == [5, 5, 6, 7, 7]


def merge(edges, num_nodes, monkeypatch, block=2**20):
    monkeypatch.setattr(merging, 'BLOCK', block)
    rowptr, arrays, _ = sort_edges(edges, num_nodes)
    merged = {name: np.zeros_like(rows) for name, rows in arrays.items()}
    merged_rowptr = np.full(num_nodes + 1, -1)
    assert sum(merge_equal_edges(rowptr, arrays, merged_rowptr, merged)) == rowptr[-1]
    return merged_rowptr, {name: rows[: merged_rowptr[-1]] for name, rows in merged.items()}


def test_equal_edges_become_one(monkeypatch):
    edges = Edges([3, 0, 3, 0, 3], [1, 1, 1, 2, 1], weight=[1.0, 2, 4, 8, 16], kind=[9, 8, 7, 6, 5])
    rowptr, merged = merge(edges, 4, monkeypatch)
    assert rowptr.tolist() == [0, 0, 2, 3, 3]
    assert merged['col'].tolist() == [0, 3, 0]
    assert merged['weight'].tolist() == [2, 21, 8]  # they add up
    assert merged['kind'].tolist() == [8, 9, 6]  # the first stays


@pytest.mark.parametrize('block', [1, 13, 10000])
def test_an_undirected_graph_is_that_of_pyg(monkeypatch, block):
    edges = random_edges(2)
    off_diagonal = edges.source != edges.target  # PyG counts a self-loop twice
    edge_index = torch.from_numpy(np.stack([edges.source, edges.target])[:, off_diagonal]).long()
    weight = torch.from_numpy(edges.extra['weight'][off_diagonal])
    expected, weights = to_undirected(edge_index, weight, 20)
    expected, weights = expected.numpy(), weights.numpy()
    rowptr, merged = merge(BothDirections(edges), 20, monkeypatch, block)
    target = np.repeat(np.arange(20), np.diff(rowptr))
    plain = merged['col'] != target
    found = merged['col'][plain] * 20 + target[plain]
    wanted = expected[0] * 20 + expected[1]
    assert sorted(found) == sorted(wanted)
    assert np.allclose(merged['weight'][plain][np.argsort(found)], weights[np.argsort(wanted)])
    # Each edge and its reverse have equal weights, to the bit.
    by_pair = {
        (s, t): w for s, t, w in zip(merged['col'], target, merged['weight'], strict=True)
    }  # fmt: skip
    assert all(by_pair[t, s] == w for (s, t), w in by_pair.items())


def test_a_graph_without_edges_merges_to_itself(monkeypatch):
    rowptr, merged = merge(Edges(np.empty(0, int), np.empty(0, int), weight=[]), 3, monkeypatch, 1)
    assert rowptr.tolist() == [0, 0, 0, 0]
    assert len(merged['col']) == 0


# Spool ###############################################################################


def test_a_spool_gives_back_what_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(spool_module, 'CHUNK', 11)
    edges = random_edges(3)
    with EdgeSpool(tmp_path / 'spool', np.dtype(np.int32), edges.values) as kept:
        for chunk in edges.chunks():
            kept.append(chunk)
    assert kept.num_edges == 200
    for _ in range(2):
        chunks = list(kept.chunks())
        assert [len(chunk.source) for chunk in chunks] == [11] * 18 + [2]
        assert np.array_equal(np.concatenate([chunk.target for chunk in chunks]), edges.target)
        assert np.array_equal(
            np.concatenate([chunk.values['attr'] for chunk in chunks]), edges.extra['attr']
        )


def test_a_spool_goes_on_behind_the_edges_that_are_known_to_be_whole(tmp_path):
    def open_spool(num_edges=0):
        return EdgeSpool(tmp_path / 'spool', np.dtype(np.int32), {}, num_edges)

    with open_spool() as spool:
        spool.append(EdgeChunk(np.array([1, 2, 3]), np.array([0, 0, 0]), {}))
    with (tmp_path / 'spool' / 'source.bin').open('ab') as file:
        file.write(b'half')  # of a chunk, when the process was killed
    with open_spool(2) as spool:
        spool.append(EdgeChunk(np.array([7]), np.array([0]), {}))
        assert [chunk.source.tolist() for chunk in spool.chunks()] == [[1, 2, 7]]
    with pytest.raises(FileNotFoundError, match='fewer than 4 edges'):
        open_spool(4)
    with open_spool() as spool:
        assert list(spool.chunks()) == []
