"""Batches hold their nodes, exactly the halo, and every edge into a batch node."""

import copy
import io
import pickle
from multiprocessing.reduction import ForkingPickler

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_autoscale.batching import BatchBuilder
from torch_geometric_autoscale.graph import Graph

# 0 -> 1, 1 -> 0 twice, 3 -> 0, 2 -> 3, 3 -> 3, 5 -> 2, 0 -> 4; partitions {0, 1}, {2, 3}, {4, 5}.
EDGE_INDEX = torch.tensor([[0, 1, 3, 1, 2, 3, 5, 0], [1, 0, 0, 0, 3, 3, 2, 4]])
PTR = torch.tensor([0, 2, 4, 6])


def builder(both: bool = False, weight: torch.Tensor | None = None) -> BatchBuilder:
    return BatchBuilder(Graph(EDGE_INDEX, 6, weight), PTR, both)


def test_batch_nodes_come_first_in_the_order_of_the_parts_then_the_sorted_halo():
    nodes = builder().nodes([2, 0])
    assert nodes.n_id.tolist() == [4, 5, 0, 1, 3]
    assert nodes.batch_size == 4
    assert nodes.offset.tolist() == [4, 0]
    assert nodes.count.tolist() == [2, 2]


def test_one_partition_has_the_halo_of_its_sources():
    b = builder()
    assert [b.nodes([part]).n_id.tolist() for part in range(3)] == [[0, 1, 3], [2, 3, 5], [4, 5, 0]]


def test_joined_partitions_are_no_halo_of_each_other():
    assert builder().nodes([0, 1, 2]).n_id.tolist() == [0, 1, 2, 3, 4, 5]


def test_edges_are_those_into_batch_nodes_with_local_ids():
    b = builder(weight=torch.arange(8.0))
    nodes = b.nodes([2, 0])
    edges = b.edges([2, 0], nodes, None)
    assert edges.crow.tolist() == [0, 1, 1, 4, 5]
    assert nodes.n_id[edges.col.long()].tolist() == [0, 1, 3, 1, 0]
    assert edges.weight.tolist() == [7, 1, 2, 3, 0]
    assert edges.crow.dtype == edges.col.dtype == torch.int32


def test_positions_lead_back_to_the_edges_of_the_graph():
    b = builder(both=True)
    nodes = b.nodes([2, 0])
    position = b.edge_positions([2, 0], nodes)
    edges = b.edges([2, 0], nodes, None)
    assert b.graph.col[position].tolist() == nodes.n_id[edges.col.long()].tolist()


def test_both_directions_add_out_neighbours_and_the_edges_into_them():
    b = builder(both=True)
    nodes = b.nodes([0])
    assert nodes.n_id.tolist() == [0, 1, 3, 4]  # 4 is reached from 0
    edges = b.edges([0], nodes, None)
    assert edges.crow.tolist() == [0, 3, 4, 4, 5]
    assert edges.col.tolist() == [1, 2, 1, 0, 0]


def test_an_empty_partition_has_no_nodes():
    b = BatchBuilder(Graph(EDGE_INDEX, 6), torch.tensor([0, 2, 2, 6]))
    nodes = b.nodes([1])
    assert (nodes.n_id.tolist(), nodes.batch_size) == ([], 0)
    assert b.edges([1], nodes, None).crow.tolist() == [0]
    assert b.nodes([1, 0]).n_id.tolist() == [0, 1, 3]


@pytest.mark.parametrize('send', [copy.copy, lambda b: pickle.loads(pickle.dumps(b))])
def test_a_builder_elsewhere_has_scratch_space_of_its_own(send):
    b = builder()
    other = send(b)
    assert other._local_id.data_ptr() != b._local_id.data_ptr()
    assert other._inside.data_ptr() != b._inside.data_ptr()
    assert other.nodes([2, 0]).n_id.tolist() == b.nodes([2, 0]).n_id.tolist()


def test_spawned_workers_do_not_share_scratch_space():
    # Tensors that PyTorch's pickler sends are moved to shared memory, for sender and receivers.
    b = builder()
    ForkingPickler(io.BytesIO(), 4).dump(b)
    assert b.graph.col.is_shared()
    assert not b._local_id.is_shared()
    assert not b._inside.is_shared()


@st.composite
def cases(draw):
    n = draw(st.integers(1, 12))
    ids = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(ids, ids), max_size=40))
    edge_index = torch.tensor(pairs, dtype=torch.long).view(-1, 2).t()
    inner = draw(st.lists(st.integers(0, n), max_size=6))
    ptr = torch.tensor([0, *sorted(inner), n])
    parts = draw(st.permutations(range(ptr.numel() - 1)))
    return n, edge_index, ptr, parts, draw(st.integers(1, len(parts)))


@settings(deadline=None, max_examples=150)
@given(cases())
def test_batches_of_any_graph_hold_exactly_what_they_must(case):
    n, edge_index, ptr, parts, size = case
    b = BatchBuilder(Graph(edge_index, n), ptr)
    seen_nodes: list[int] = []
    seen_edges: list[tuple[int, int]] = []
    for start in range(0, len(parts), size):
        chunk = parts[start : start + size]
        nodes = b.nodes(chunk)
        batch = [v for part in chunk for v in range(ptr[part], ptr[part + 1])]
        inside = set(batch)
        halo = sorted({s for s, t in edge_index.t().tolist() if t in inside} - inside)
        assert nodes.n_id.tolist() == batch + halo
        edges = b.edges(chunk, nodes, None)
        degree = (edges.crow[1:] - edges.crow[:-1]).long()
        target = torch.repeat_interleave(nodes.n_id[: nodes.batch_size], degree)
        source = nodes.n_id[edges.col.long()]
        seen_nodes += batch
        seen_edges += zip(source.tolist(), target.tolist(), strict=True)
    assert sorted(seen_nodes) == list(range(n))
    assert sorted(seen_edges) == sorted(map(tuple, edge_index.t().tolist()))


@settings(deadline=None, max_examples=100)
@given(cases())
def test_both_directions_hold_every_edge_that_touches_the_batch(case):
    n, edge_index, ptr, parts, size = case
    b = BatchBuilder(Graph(edge_index, n), ptr, both_directions=True)
    for start in range(0, len(parts), size):
        chunk = parts[start : start + size]
        nodes = b.nodes(chunk)
        inside = {v for part in chunk for v in range(ptr[part], ptr[part + 1])}
        touching = [(s, t) for s, t in edge_index.t().tolist() if s in inside or t in inside]
        assert set(nodes.n_id.tolist()) == inside | {v for edge in touching for v in edge}
        edges = b.edges(chunk, nodes, None)
        target = torch.repeat_interleave(nodes.n_id, (edges.crow[1:] - edges.crow[:-1]).long())
        source = nodes.n_id[edges.col.long()]
        assert sorted(zip(source.tolist(), target.tolist(), strict=True)) == sorted(touching)
        position = b.edge_positions(chunk, nodes)
        assert b.graph.col[position].tolist() == source.tolist()
        assert b.graph.target()[position].tolist() == target.tolist()
