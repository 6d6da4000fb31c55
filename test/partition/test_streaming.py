"""The streaming partitioner: contraction, clustering, placing, all in blocks, in memory or not."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_autoscale.edges import Edges
from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.partition import (
    available_methods,
    best_method,
    ldg,
    partition,
    partition_quality,
    simple_graph,
    streamed_level,
)
from torch_geometric_autoscale.partition.ldg_backend import ldg_parts
from torch_geometric_autoscale.partition.level import contract as contract_in_memory
from torch_geometric_autoscale.partition.level import finest_level, sum_by_key
from torch_geometric_autoscale.partition.simple_graph import simplify
from torch_geometric_autoscale.partition.streamed_level import StreamedLevel, contract, finest
from torch_geometric_autoscale.partition.streaming import assign, fill, improve

from ..on_disk import in_memory, on_disk, some_graph


def communities(mixed: float = 0.05) -> torch.Tensor:
    """20 communities of 50 nodes, each a ring with chords, ids shuffled."""
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(1000), 8)
    target = source // 50 * 50 + (source % 50 + rng.integers(1, 25, source.size)) % 50
    astray = rng.random(source.size) < mixed
    target[astray] = rng.integers(1000, size=int(astray.sum()))
    names = rng.permutation(1000)
    return torch.from_numpy(np.stack([names[source], names[target]]))


# Levels ##############################################################################


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize('entries', [1, 2**20])
def test_contraction_adds_up_what_runs_between_clusters(monkeypatch, entries, tmp_path):
    monkeypatch.setattr(streamed_level, '_MOST_ENTRIES', entries)
    graph = simplify(to_edges(some_graph()))
    cluster = np.arange(40) % 7
    expected = contract_in_memory(finest_level(graph), cluster, 7)
    for folder in (None, tmp_path):
        level = contract(finest(graph), cluster, 7, folder)
        assert np.repeat(np.arange(7), np.diff(level.indptr)).tolist() == expected.source.tolist()
        assert level.target.tolist() == expected.target.tolist()
        assert level.weight.tolist() == expected.weight.tolist()
        assert level.node_weight.tolist() == expected.node_weight.tolist()
        again = contract(level, np.arange(7) // 2, 4, folder)
        twice = contract_in_memory(expected, np.arange(7) // 2, 4)
        assert again.weight.tolist() == twice.weight.tolist()
        assert again.target.tolist() == twice.target.tolist()


def test_edges_heavier_than_one_pair_can_say_keep_their_weight():
    weight = np.array([10_000, 4095, 10_000, 4095])
    level = StreamedLevel(np.array([0, 2, 3, 4]), np.array([1, 2, 0, 0]), weight, np.ones(3, int))
    found = contract(level, np.arange(3), 3, None)
    assert found.weight.tolist() == weight.tolist()


def test_the_cut_of_a_level_by_hand():
    level = StreamedLevel(np.array([0, 1, 3, 4]), np.array([1, 0, 2, 1]), None, np.ones(3, int))
    assert level.cut(np.array([0, 0, 1])) == 2
    assert level._replace(weight=np.array([5, 5, 7, 7])).cut(np.array([0, 1, 1])) == 10


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 2**40)), min_size=1), st.booleans())
def test_weights_are_added_up_by_key_whether_they_fit_one_number_or_not(entries, wide):
    shift = 40 if wide else 0
    key = np.array([k << shift for k, _ in entries])
    weight = np.array([w for _, w in entries])
    found, total = sum_by_key(key, weight)
    expected = {k: int(weight[key == k].sum()) for k in sorted(set(key.tolist()))}
    assert dict(zip(found.tolist(), total.tolist(), strict=True)) == expected


# Rules ###############################################################################


def triangles() -> StreamedLevel:
    """Triangles 0-1-2 and 3-4-5, joined by 2-3."""
    pairs = torch.tensor([[0, 1, 0, 3, 4, 3, 2], [1, 2, 2, 4, 5, 5, 3]])
    return finest(simplify(to_edges(pairs, 6)))


def test_a_node_goes_over_to_the_part_of_its_neighbours():
    label = np.array([0, 0, 1, 1, 1, 1])
    improve(triangles(), label, 2, 4, 8, rng())
    assert label.tolist() == [0, 0, 0, 1, 1, 1]


def test_nobody_goes_where_there_is_no_room():
    label = np.array([0, 0, 1, 1, 1, 1])
    improve(triangles(), label, 2, 2, 8, rng())
    assert label.tolist() == [0, 0, 1, 1, 1, 1]


def test_placing_begins_with_nothing_and_keeps_to_the_capacity():
    part = np.full(6, -1)
    assign(triangles(), part, 2, 3, 3, 1, rng())
    assert sorted(np.bincount(part).tolist()) == [3, 3]
    assert len(set(part[:3].tolist())) == 1


def test_placing_empties_a_part_that_is_too_large():
    part = np.zeros(6, dtype=np.int64)
    assign(triangles(), part, 2, 3, 1, 2, rng())
    assert np.bincount(part, minlength=2).tolist() == [3, 3]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=8), st.integers(0, 60))
def test_the_lightest_are_filled_first(load, total):
    share = fill(np.array(load), total)
    after = np.array(load) + share
    assert share.sum() == total
    assert (share >= 0).all()
    assert after[share > 0].max(initial=0) <= after.min() + 1


# The partitioner #####################################################################


def test_communities_are_found():
    edge_index = communities()
    cut = {}
    for clusters in (True, False):
        perm, ptr = ldg(edge_index, 20, log=False, num_nodes=1000, clusters=clusters)
        quality = partition_quality(edge_index, perm, ptr, 1000)
        assert quality.balance <= 1.06
        cut[clusters] = quality.edge_cut
    assert cut[True] < 0.1
    assert cut[False] < 0.5


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_parts_stay_within_five_percent(data):
    num_nodes = data.draw(st.integers(1, 200))
    num_parts = data.draw(st.integers(1, num_nodes))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    # Degrees differ widely: squared uniform ids.
    edge_index = torch.from_numpy((rng.random((2, 4 * num_nodes)) ** 2 * num_nodes).astype(int))
    part = ldg_parts(simplify(to_edges(edge_index, num_nodes)), num_parts, 0)
    most = max(int(1.05 * num_nodes / num_parts), -(-num_nodes // num_parts))
    assert np.bincount(part, minlength=num_parts).max() <= most
    assert part.min() >= 0


def test_another_seed_may_give_another_partition():
    parts = [ldg_parts(simplify(to_edges(communities(0.5), 1000)), 8, seed) for seed in (0, 0, 1)]
    assert parts[0].tolist() == parts[1].tolist()
    assert parts[0].tolist() != parts[2].tolist()


# Graphs in files #####################################################################


@pytest.mark.parametrize('method', available_methods())
def test_a_mapped_graph_is_cut_like_the_same_in_memory(tmp_path, method, monkeypatch):
    monkeypatch.setattr('torch_geometric_autoscale.edges.CHUNK', 32)
    data = some_graph(120, 900)
    disk = on_disk(data, tmp_path / 'graph')
    before = sorted((tmp_path / 'graph').iterdir())
    expected = partition(in_memory(data), 6, method, log=False)
    found = partition(disk, 6, method, log=False)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])
    assert partition_quality(disk, *found) == partition_quality(data, *expected)
    assert sorted((tmp_path / 'graph').iterdir()) == before


def test_auto_streams_a_mapped_graph(tmp_path, capsys):
    data = some_graph()
    disk = on_disk(data, tmp_path / 'graph')
    assert best_method(disk) == best_method(disk.adj_t) == 'ldg'
    assert best_method(data) == best_method(in_memory(data)) == available_methods()[0]
    partition(disk, 4)
    assert 'with streamed LDG...' in capsys.readouterr().out


def test_a_partition_of_the_same_edges_is_found_in_the_cache(tmp_path, capsys):
    data = some_graph()
    memory, disk = in_memory(data), on_disk(data, tmp_path / 'graph')
    partition(memory, 4, 'ldg', cache_dir=tmp_path / 'cache')
    partition(disk, 4, 'ldg', cache_dir=tmp_path / 'cache')
    assert '(from cache)' in capsys.readouterr().out.splitlines()[1]


def test_the_quality_is_that_of_the_definition():
    data = some_graph()
    perm, ptr = partition(data, 5, 'random', log=False)
    part = torch.empty(40, dtype=torch.long)
    part[perm] = torch.arange(5).repeat_interleave(ptr.diff())
    proper = [(s, t) for s, t in data.edge_index.t().tolist() if s != t]
    cut = [(s, int(part[t])) for s, t in proper if part[s] != part[t]]
    quality = partition_quality(data, perm, ptr)
    assert quality.edge_cut == pytest.approx(len(cut) / len(proper))
    assert quality.halo_per_batch_node == pytest.approx(len(set(cut)) / 40)


# The graph that partitioners see ######################################################


def two_directions() -> torch.Tensor:
    """A path of four nodes, both ways, by target: ``0 - 1 - 2 - 3``."""
    return torch.tensor([[1, 0, 2, 1, 3, 2], [0, 1, 1, 2, 2, 3]])


def grouped(edge_index: torch.Tensor, num_nodes: int, dtype: torch.dtype = torch.int32) -> Edges:
    count = torch.bincount(edge_index[1], minlength=num_nodes)
    rowptr = torch.cat([torch.zeros(1, dtype=torch.int64), count.cumsum(0)])
    return Edges(num_nodes, rowptr=rowptr.to(dtype), col=edge_index[0].to(dtype))


@pytest.mark.parametrize('dtype', [torch.int32, torch.int64])
def test_a_simple_graph_is_taken_as_it_is(dtype, monkeypatch):
    edges = grouped(two_directions(), 4, dtype)
    monkeypatch.setattr(simple_graph, 'BucketSort', None)  # nothing is sorted
    graph = simplify(edges)
    assert (graph.indptr.dtype, graph.indices.dtype) == (np.int64, np.int32)
    assert graph.indptr.tolist() == [0, 1, 3, 5, 6]
    assert graph.indices.tolist() == [1, 0, 2, 1, 3, 2]
    if dtype == torch.int32:
        assert graph.indices.ctypes.data == edges.col.data_ptr()  # no copy of the edges


@pytest.mark.parametrize(
    'edge_index',
    [
        [[1, 0, 2, 1, 3], [0, 1, 1, 2, 2]],  # 2 -> 3 is missing
        [[1, 0, 2, 1, 3, 0], [0, 1, 1, 2, 2, 3]],  # 0 -> 3 in its place
        [[1, 2, 0, 1, 3, 2], [0, 1, 1, 2, 2, 3]],  # a row that falls
        [[1, 1, 0, 0, 2, 1, 3, 2], [0, 0, 1, 1, 1, 2, 2, 3]],  # an edge twice
        [[1, 0, 2, 1, 2, 3, 2], [0, 1, 1, 2, 2, 2, 3]],  # a self-loop
    ],
)
def test_any_other_graph_is_made_simple(edge_index):
    edge_index = torch.tensor(edge_index)
    expected = simplify(to_edges(edge_index, 4))
    graph = simplify(grouped(edge_index, 4))
    assert graph.indptr.tolist() == expected.indptr.tolist()
    assert graph.indices.tolist() == expected.indices.tolist()
    assert not simple_graph._is_simple(grouped(edge_index, 4))


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_graphs_are_equally_simple_however_they_come(data):
    num_nodes = data.draw(st.integers(1, 6))
    node = st.integers(0, num_nodes - 1)
    pairs = data.draw(st.lists(st.tuples(node, node), max_size=12))
    edge_index = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).t()
    once = simplify(to_edges(edge_index, num_nodes))
    simple = torch.from_numpy(np.stack([once.indices, once.source]).astype(np.int64))
    graph = simplify(grouped(simple, num_nodes))
    assert simple_graph._is_simple(grouped(simple, num_nodes))
    assert graph.indptr.tolist() == once.indptr.tolist()
    assert graph.indices.tolist() == once.indices.tolist()
