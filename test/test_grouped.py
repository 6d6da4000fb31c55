"""Self-loops and weights computed piece by piece are PyG's."""

from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.utils import add_remaining_self_loops

from torch_geometric_autoscale import edges as edges_module
from torch_geometric_autoscale.graph import Graph, original_gcn_norm
from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.grouped import mean_weights, symmetric_weights, with_self_loops
from torch_geometric_autoscale.mapped import folder_beside

from .on_disk import in_memory, on_disk, some_graph


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 8))
    ids = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(ids, ids), max_size=25))
    edge_index = torch.tensor(pairs, dtype=torch.long).view(-1, 2).t()
    weight = torch.tensor(draw(st.lists(st.floats(0.1, 4), min_size=25, max_size=25)))
    weighted = draw(st.booleans())
    return n, edge_index, weight[: len(pairs)].double() if weighted else None


@settings(deadline=None)
@given(graphs(), st.booleans(), st.integers(1, 30))
def test_self_loops_are_those_that_pyg_adds(case, improved, chunk):
    n, edge_index, weight = case
    fill = 2.0 if improved else 1.0
    graph = Graph(edge_index, n, weight)
    given_weight = graph.weight
    edges, expected = add_remaining_self_loops(graph.edge_index(), given_weight, fill, n)
    expected_graph = Graph(edges, n, expected)
    with mock.patch.object(edges_module, 'CHUNK', chunk):
        found = with_self_loops('who', graph.grouped, fill)
    assert found.rowptr.tolist() == expected_graph.rowptr.tolist()
    assert found.col.tolist() == expected_graph.col.tolist()
    assert (found.weight is None) == (weight is None)
    if found.weight is not None:
        assert found.weight.tolist() == expected_graph.weight.tolist()


@settings(deadline=None)
@given(graphs(), st.booleans(), st.booleans(), st.integers(1, 30))
def test_the_normalisation_is_that_of_pyg_to_the_bit(case, improved, loops, chunk):
    n, edge_index, weight = case
    graph = Graph(edge_index, n, weight)
    edges, values = original_gcn_norm(
        graph.edge_index(), graph.weight, n, improved, loops, dtype=torch.float64
    )
    expected = Graph(edges, n, values)
    with mock.patch.object(edges_module, 'CHUNK', chunk):
        found = graph.variant(graph.gcn_norm(improved, loops, torch.float64))
    assert found.rowptr.tolist() == expected.rowptr.tolist()
    assert found.col.tolist() == expected.col.tolist()
    assert found.weight.tolist() == pytest.approx(expected.weight.tolist(), rel=1e-15)


def test_means_by_hand():
    graph = Graph(torch.tensor([[0, 1, 1], [1, 1, 0]]), 3, torch.tensor([2.0, 4.0, 5.0]))
    assert mean_weights('who', graph.grouped, torch.float32).tolist() == [5, 1, 2]
    plain = graph.grouped._replace(weight=None)
    assert mean_weights('who', plain, torch.float64).tolist() == [1, 0.5, 0.5]


def test_a_node_without_edges_gets_no_infinite_weight():
    graph = Graph(torch.tensor([[2], [0]]), 3)
    assert symmetric_weights('who', graph.grouped, torch.float32).tolist() == [0]


@pytest.mark.parametrize('weighted', [False, True])
def test_what_is_derived_from_mapped_edges_lies_in_files_and_is_the_same(
    tmp_path, weighted, monkeypatch
):
    monkeypatch.setattr(edges_module, 'CHUNK', 7)
    data = some_graph(weighted=weighted)
    graphs = []
    for form in (in_memory(data), on_disk(data, tmp_path / 'graph')):
        edges = to_edges(form)
        graphs.append(Graph.of(edges, edges.weight))
        assert (edges.weight is None) == (not weighted)
    memory, disk = graphs
    assert memory.folder is None
    assert disk.folder == tmp_path / 'graph'
    assert disk.fingerprint == memory.fingerprint
    before = sorted((tmp_path / 'graph').iterdir())
    for make in (
        lambda g: g.gcn_norm(False, True, torch.float32),
        lambda g: g.gcn_norm(True, False, torch.float64, False),
        lambda g: g.mean(None, torch.float32),
        lambda g: g.mean(g.unweighted(), torch.float32),
        lambda g: g.mean(g.gcn_norm(False, True, torch.float32), torch.float32),
    ):
        ours, theirs = disk.variant(make(disk)), memory.variant(make(memory))
        assert torch.equal(ours.col, theirs.col)
        assert torch.equal(ours.rowptr, theirs.rowptr)
        assert torch.equal(ours.weight, theirs.weight)
        assert folder_beside(ours.col) == tmp_path / 'graph'
        assert folder_beside(ours.weight) == tmp_path / 'graph'
        assert folder_beside(theirs.weight) is None
    assert sorted((tmp_path / 'graph').iterdir()) == before
