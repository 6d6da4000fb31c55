"""On a graph in mapped files everything is as in memory, to the bit, and stays in files."""

import copy
import pickle

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, SAGEConv

from torch_geometric_autoscale import (
    EvalSubgraphLoader,
    SubgraphLoader,
    autoscale,
    gcn_normalize,
    models,
)
from torch_geometric_autoscale import edges as edges_module
from torch_geometric_autoscale.graph import Graph
from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.mapped import folder_beside, mapped_file
from torch_geometric_autoscale.normalize import add_self_loops
from torch_geometric_autoscale.training import TrainSettings, train

from .on_disk import in_memory, map_tensor, on_disk, some_graph

PTR = torch.tensor([0, 11, 20, 33, 40])


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Everything is done in pieces of a few edges."""
    monkeypatch.setattr(edges_module, 'CHUNK', 16)


@pytest.fixture(params=[False, True], ids=['plain', 'weighted'])
def both(request, tmp_path) -> tuple[Data, Data]:
    """A graph in memory and the same in files."""
    data = some_graph(weighted=request.param)
    data.edge_attr = torch.randn(200, 2)
    return in_memory(data), on_disk(data, tmp_path / 'graph')


# What is read ########################################################################


def test_the_edges_are_taken_as_they_are(both):
    memory, disk = both
    edges = to_edges(disk)
    assert edges.col.data_ptr() == disk.adj_t.col_indices().data_ptr()
    assert edges.col.dtype == torch.int32
    graph = Graph.of(edges, edges.weight)
    assert graph.col.data_ptr() == edges.col.data_ptr()
    assert graph.fingerprint == Graph.of(to_edges(memory)).fingerprint


def test_one_number_for_all_edges_is_no_weight(tmp_path):
    disk = on_disk(some_graph(), tmp_path / 'graph')
    assert disk.adj_t.values().stride() == (0,)
    assert to_edges(disk).weight is None
    twos = torch.sparse_csr_tensor(
        disk.adj_t.crow_indices(), disk.adj_t.col_indices(), torch.full((1,), 2.0).expand(200),
        (40, 40), check_invariants=False,
    )  # fmt: skip
    assert to_edges(twos).weight.tolist() == [2.0] * 200


def test_ids_out_of_range_and_bounds_that_fall_are_told():
    def matrix(rowptr, col):
        return torch.sparse_csr_tensor(
            torch.tensor(rowptr), torch.tensor(col), torch.ones(len(col)), (3, 3),
            check_invariants=False,
        )  # fmt: skip

    with pytest.raises(ValueError, match=r'who: node ids must lie in \[0, 3\) \(got 2 edges .*7'):
        to_edges(matrix([0, 1, 2, 3], [3, 7, 0]), who='who')
    with pytest.raises(ValueError, match=r'rise from 0 to its 3 entries \(got 0 to 3, falling'):
        to_edges(matrix([0, 2, 1, 3], [0, 1, 2]), who='who')
    with pytest.raises(ValueError, match=r'rise from 0 to its 3 entries \(got 1 to 3'):
        to_edges(matrix([1, 1, 1, 3], [0, 1, 2]), who='who')


@pytest.mark.parametrize('direction', ['in', 'both'])
def test_batches_are_the_same(both, direction):
    loaders = [
        SubgraphLoader(d, PTR, batch_size=2, log=False, bipartite=False, direction=direction)
        for d in both
    ]
    for ours, theirs in zip(*loaders, strict=True):
        for name in ('x', 'y', 'n_id', 'edge_index', 'edge_attr', 'train_mask'):
            assert torch.equal(ours[name], theirs[name])
        assert mapped_file(ours.x) is None


def test_features_with_nan_are_found_in_every_piece(both):
    _, disk = both
    disk.x = disk.x.clone()
    disk.x[39, 4] = float('nan')
    with pytest.raises(ValueError, match=r"'data.x' must not hold NaN \(got 1 NaN values"):
        SubgraphLoader(disk, PTR, log=False)


def test_the_first_propagation_of_mapped_features_is_not_kept(both):
    conv = GCNConv(5, 2)
    for data, is_kept in zip(both, (True, False), strict=True):
        loader = EvalSubgraphLoader(data, PTR, log=False)
        batch = next(iter(loader))
        conv(batch.x, batch.adj_t)
        assert (batch.adj_t.edges.features is not None) == is_kept
        variants = [loader.graph, *loader.graph._variants.values()]
        assert any(graph._product is not None for graph in variants) == is_kept


def test_features_may_be_mapped_alone(both, tmp_path):
    memory, _ = both
    expected = [batch.x for batch in EvalSubgraphLoader(memory, PTR, log=False)]
    memory.x = map_tensor(memory.x, tmp_path / 'x.npy')
    found = [batch.x for batch in EvalSubgraphLoader(memory, PTR, log=False)]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


def test_workers_read_the_same_files(both):
    batches = [
        [batch.x for batch in EvalSubgraphLoader(data, PTR, log=False, num_workers=workers)]
        for data, workers in zip(both, (0, 1), strict=True)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


# What is derived #####################################################################


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_normalised_graph_stays_in_files(both, dtype, tmp_path):
    memory, disk = both
    memory.x, disk.x = memory.x.to(dtype), disk.x.to(dtype)
    for loops in (True, False):
        expected, found = (gcn_normalize(data, add_self_loops=loops) for data in (memory, disk))
        assert 'edge_index' not in found
        assert 'edge_attr' not in found
        assert found.x is disk.x
        edges = to_edges(found)
        assert folder_beside(edges.weight) == tmp_path / 'graph'
        assert edges.weight.dtype == dtype
        assert edges.col.dtype == torch.int32
        whole = to_edges(expected)
        ours, theirs = Graph.of(edges, edges.weight), Graph.of(whole, whole.weight)
        assert torch.equal(ours.col, theirs.col)
        assert torch.equal(ours.weight, theirs.weight)


def test_self_loops_are_added_in_files(both, tmp_path):
    memory, disk = both
    expected, found = to_edges(add_self_loops(memory)), to_edges(add_self_loops(disk))
    ours, theirs = Graph.of(found, found.weight), Graph.of(expected, expected.weight)
    assert folder_beside(ours.col) == tmp_path / 'graph'
    assert torch.equal(ours.col, theirs.col)
    assert (ours.weight is None) == (theirs.weight is None)
    if ours.weight is not None:
        assert torch.equal(ours.weight, theirs.weight)


def test_a_product_is_the_same_piece_by_piece(both):
    x = torch.randn(40, 3)
    graphs = [Graph.of(edges, edges.weight) for edges in map(to_edges, both)]
    assert torch.equal(graphs[0].product(x), graphs[1].product(x))


def test_a_copy_in_another_process_has_the_same_edges(both):
    graph = Graph.of(to_edges(both[1]))
    for other in (copy.copy(graph), pickle.loads(pickle.dumps(graph))):
        assert torch.equal(other.col, graph.col)
        assert other.fingerprint == graph.fingerprint


# Training ############################################################################


@pytest.mark.parametrize('name', ['gcn', 'gat', 'sage', 'gin'])
def test_training_and_inference_are_the_same_to_the_bit(both, name, tmp_path):
    make = {'gcn': models.GCN, 'gat': models.GAT, 'sage': models.SAGE, 'gin': models.GIN}[name]
    found = []
    for data, tier in zip(both, ('ram', 'disk'), strict=True):
        del data.edge_attr
        data = gcn_normalize(data) if name == 'gcn' else data
        torch.manual_seed(0)
        model = make(40, 5, 8, 3, 2)
        settings = TrainSettings(
            epochs=2, batch_size=2, measure_memory=False, history_tier=tier, checkpoint_every=None
        )
        run = train(model, data, PTR, settings, checkpoints=tmp_path / tier, log=False)
        out = model(loader=EvalSubgraphLoader(data, PTR, log=False))
        found.append((out, model.histories[0].pull(), run.epochs[-1].loss))
    (ours, our_rows, our_loss), (theirs, their_rows, their_loss) = found
    if name == 'gcn':  # in memory it is normalised as a list of edges, whose first product is kept
        assert torch.allclose(ours, theirs, atol=1e-5)
        return
    assert torch.equal(our_rows, their_rows)
    assert torch.equal(ours, theirs)
    assert our_loss == their_loss


def test_a_mapped_list_of_edges_that_is_grouped_by_target_stays_where_it_is(tmp_path):
    data = some_graph()
    order = data.edge_index[1].argsort(stable=True)
    expected = Graph(data.edge_index, 40)
    edge_index = map_tensor(data.edge_index[:, order], tmp_path / 'edges.npy')
    graph = Graph.of(to_edges(Data(edge_index=edge_index, num_nodes=40)))
    assert graph.col.data_ptr() == edge_index.data_ptr()
    assert graph.folder == tmp_path
    assert graph.col.tolist() == expected.col.tolist()
    key = graph.gcn_norm(False, True, torch.float32)
    assert torch.equal(
        graph.variant(key).weight,
        expected.variant(expected.gcn_norm(False, True, torch.float32)).weight,
    )


def test_any_module_is_converted_for_a_mapped_graph(both):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = SAGEConv(5, 4), SAGEConv(4, 3)

        def forward(self, x, edge_index):
            return self.second(self.first(x, edge_index).relu(), edge_index)

    outs = []
    for data in both:
        torch.manual_seed(0)
        gas = autoscale(Net(), data, num_parts=4, partition='random')
        outs.append(gas.inference())
    assert torch.equal(*outs)
