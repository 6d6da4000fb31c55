"""``permute`` into a folder gives what it gives in memory, and all of it or nothing."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from torch_geometric_autoscale import GraphFolder
from torch_geometric_autoscale import edges as edges_module
from torch_geometric_autoscale.graph import Graph
from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.mapped import mapped_file
from torch_geometric_autoscale.partition import permute, rewrite

from ..on_disk import in_memory, on_disk, some_graph

PERM = torch.randperm(40, generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=[5, 2**20])
def pieces(request, monkeypatch):
    """Blocks of a row or of a few edges, or one block."""
    monkeypatch.setattr(edges_module, 'CHUNK', request.param)
    monkeypatch.setattr(rewrite, 'CHUNK', request.param)


def attributes(data: Data) -> dict[str, torch.Tensor]:
    out = {name: value for name, value in data.to_dict().items() if name != 'num_nodes'}
    adj_t = out.pop('adj_t')
    return {**out, 'rowptr': adj_t.crow_indices(), 'col': adj_t.col_indices(),
            'values': adj_t.values()}  # fmt: skip


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('form', [in_memory, on_disk])
def test_a_matrix_becomes_that_of_memory(tmp_path, pieces, weighted, form):
    data = some_graph(weighted=weighted)
    data.edge_attr = torch.randn(200, 2)
    data.counts = torch.arange(40 * 4).view(40, 2, 2)
    expected = attributes(permute(in_memory(data), PERM, log=False))
    data = form(data) if form is in_memory else form(data, tmp_path / 'source')
    out = permute(data, PERM, log=False, out=tmp_path / 'graph')
    found = attributes(out)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
        assert found[name].dtype == value.dtype
    assert mapped_file(out.x) == tmp_path / 'graph' / 'x.npy'
    assert GraphFolder(tmp_path / 'graph')['perm'].tolist() == PERM.tolist()


def test_a_list_of_edges_keeps_the_order_into_each_node(tmp_path, pieces):
    data = some_graph(weighted=True)
    data.edge_attr = torch.arange(200)
    expected = permute(data, PERM, log=False)
    out = permute(data, PERM, log=False, out=tmp_path / 'graph')
    edges = to_edges(out)
    assert edges.edge_index.tolist() == expected.edge_index.tolist()
    assert edges.weight.tolist() == expected.edge_weight.tolist()
    assert out.edge_attr.tolist() == expected.edge_attr.tolist()


@settings(deadline=None, max_examples=15)
@given(st.data())
def test_any_graph_comes_back_under_the_inverse(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp('graphs')
    n = data.draw(st.integers(1, 9))
    ids = st.integers(0, n - 1)
    pairs = data.draw(st.lists(st.tuples(ids, ids), max_size=20))
    perm = torch.tensor(data.draw(st.permutations(range(n))))
    edge_index = torch.tensor(pairs, dtype=torch.long).view(-1, 2).t()
    graph = Data(edge_index=edge_index, x=torch.arange(n).view(-1, 1), num_nodes=n)
    there = permute(graph, perm, log=False, out=folder / 'there')
    assert there.x.view(-1).tolist() == perm.tolist()
    back = permute(there, perm.argsort(), log=False, out=folder / 'back')
    assert back.x.view(-1).tolist() == list(range(n))
    expected = Graph(edge_index, n)
    assert Graph.of(to_edges(back)).fingerprint == expected.fingerprint
    listed = [sorted(map(tuple, to_edges(g).edge_index.t().tolist())) for g in (graph, back)]
    assert listed[0] == listed[1]


def test_one_line_says_how_long_it_took(tmp_path, capsys):
    permute(some_graph(), PERM, out=tmp_path / 'graph')
    assert capsys.readouterr().out.startswith('Permuting 40 nodes and 200 edges... ')


def test_a_folder_that_exists_is_replaced_only_if_asked(tmp_path):
    permute(some_graph(), PERM, log=False, out=tmp_path / 'graph')
    with pytest.raises(FileExistsError, match='permute: the target must be a new folder'):
        permute(some_graph(), PERM, log=False, out=tmp_path / 'graph')
    other = permute(some_graph(), PERM.flip(0), log=False, out=tmp_path / 'graph', overwrite=True)
    assert torch.equal(other.x, some_graph().x[PERM.flip(0)])


def with_ids():
    data = some_graph()
    data.neighbour_index = torch.arange(40)
    return data


def with_two():
    data = some_graph()
    data.adj_t = in_memory(data).adj_t
    return data


def with_sparse():
    data = some_graph()
    data.x = data.x.to_sparse_csr()
    return data


def with_list():
    data = some_graph()
    data.names = ['a'] * 40
    return data


def with_half():
    data = some_graph()
    data.x = data.x.bfloat16()
    return data


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (with_ids, r'no attributes that hold node ids \(got neighbour_index\)'),
        (with_two, r'must have one adjacency, .* \(got adj_t, edge_index\)'),
        (with_sparse, r"must be 'data.x' \(got torch.float32 torch.sparse_csr\)"),
        (with_list, r"must be 'data.names' \(got list\)"),
        (with_half, r"must be 'data.x' \(got torch.bfloat16 torch.strided\)"),
    ],
)
def test_what_a_folder_cannot_hold_is_told_before_anything_is_written(tmp_path, make, message):
    with pytest.raises(TypeError, match=message):
        permute(make(), PERM, log=False, out=tmp_path / 'graph')
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_permutation_is_refused(tmp_path):
    with pytest.raises(ValueError, match="permute: 'perm' must hold every node once"):
        permute(some_graph(), torch.zeros(40).long(), log=False, out=tmp_path / 'graph')
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(small_disk):
    data = some_graph()
    data.x = torch.zeros(40, 10_000)
    with pytest.raises(OSError, match=r'permute: the disk must have .* bytes free'):
        permute(data, PERM, log=False, out=small_disk / 'graph')
    assert list(small_disk.iterdir()) == []


def test_an_array_of_numpy_is_written_too(tmp_path):
    data = copy.copy(some_graph())
    data.z = np.arange(40.0)
    out = permute(data, PERM, log=False, out=tmp_path / 'graph')
    assert out.z.tolist() == PERM.tolist()
