"""Models whose features are kept sparse compute what they compute on dense ones."""

import copy

import pytest
import torch
from torch_geometric import nn as pyg
from torch_geometric.data import Data

from test.oracle import (
    NODES,
    PTR,
    TOLERANCE,
    assert_close,
    check_forward,
    check_gradients,
    check_inference,
    check_one_batch_is_full_batch,
    error,
    nasty_graph,
    sweep_loader,
)
from test.training.tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings
from torch_geometric_autoscale import (
    ScalableGNN,
    SparseRows,
    SubgraphLoader,
    autoscale,
    models,
    permute,
)
from torch_geometric_autoscale.provenance import Provenance
from torch_geometric_autoscale.training import train


def thinned(data: Data) -> Data:
    """A copy most of whose features are zero; node 5 and column 2 have nothing else."""
    data = copy.copy(data)
    rng = torch.Generator().manual_seed(3)
    data.x = data.x * (torch.rand(data.x.shape, generator=rng) < 0.4)
    data.x[5], data.x[:, 2] = 0, 0
    return data


def sparse(data: Data) -> Data:
    data = copy.copy(data)
    data.x = SparseRows.from_dense(data.x)
    return data


DENSE = thinned(nasty_graph())
SPARSE = sparse(DENSE)


@pytest.fixture
def no_dense_copy(monkeypatch):
    def refuse(self):
        raise AssertionError('a dense copy was made')

    monkeypatch.setattr(SparseRows, 'dense', refuse)


# Batches #########################################################################


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('batch_size', [1, 2])
def test_batches_hold_sparse_rows_of_their_nodes(batch_size, num_workers):
    loader = SubgraphLoader(SPARSE, PTR, batch_size, log=False, num_workers=num_workers)
    for batch in loader:
        assert isinstance(batch.x, SparseRows)
        assert torch.equal(batch.x, DENSE.x[batch.n_id])
        assert isinstance(batch.to('cpu').x, SparseRows)


def test_a_csr_matrix_is_taken_as_features():
    data = copy.copy(DENSE)
    data.x = DENSE.x.to_sparse_csr()
    for batch in sweep_loader(data):
        assert isinstance(batch.x, SparseRows)
        assert torch.equal(batch.x, DENSE.x[batch.n_id])


def test_what_is_wrong_with_features_is_told_of_sparse_ones_too():
    data = copy.copy(SPARSE)
    data.x = SparseRows.from_dense(torch.tensor([[0, float('nan')]] * NODES))
    with pytest.raises(ValueError, match=rf"'data.x' must not hold NaN \(got {NODES} NaN values\)"):
        sweep_loader(data)
    data.x = SPARSE.x[1:]
    with pytest.raises(ValueError, match=r"'data.x' must have one row per node \(20\) \(got 19"):
        sweep_loader(data)


def test_permute_keeps_them_sparse(no_dense_copy):
    perm = torch.randperm(NODES, generator=torch.Generator().manual_seed(0))
    permuted = permute(SPARSE, perm, log=False)
    assert isinstance(permuted.x, SparseRows)
    expected = SparseRows.from_dense(DENSE.x[perm])
    assert permuted.x.stored.tolist() == expected.stored.tolist()
    assert permuted.x.pattern.col.tolist() == expected.pattern.col.tolist()


def test_subgraphs_keep_them_sparse(no_dense_copy):
    for nodes in (torch.tensor([3, 4, 9]), torch.arange(NODES) > 11):
        assert isinstance(SPARSE.subgraph(nodes).x, SparseRows)


# Models ##########################################################################

MODELS = {
    'gcn': lambda: models.GCN(NODES, 4, 6, 3, 3),
    'gcn-wide': lambda: models.GCN(NODES, 4, 3, 3, 2, drop_input=False),
    'gcn-linear': lambda: models.GCN(NODES, 4, 6, 3, 3, linear=True),
    'gat': lambda: models.GAT(NODES, 4, 2, 3, 2, hidden_heads=3),
    'appnp': lambda: models.APPNP(NODES, 4, 6, 3, 3),
    'gcn2': lambda: models.GCN2(NODES, 4, 6, 3, 4),
    'sage': lambda: models.SAGE(NODES, 4, 6, 3, 2),
    'gin': lambda: models.GIN(NODES, 4, 6, 3, 3, batch_norm=False),
}


def make(name: str) -> ScalableGNN:
    torch.manual_seed(8)
    return MODELS[name]().double()


@pytest.mark.parametrize('bipartite', [True, False])
@pytest.mark.parametrize('name', MODELS)
def test_models_pass_the_oracle_of_the_dense_features(name, bipartite):
    model, loader = make(name), sweep_loader(SPARSE, bipartite=bipartite)
    check_forward(model, DENSE, loader)
    check_gradients(model, DENSE, loader)
    whole = sweep_loader(SPARSE, torch.tensor([0, NODES]), bipartite=bipartite)
    check_one_batch_is_full_batch(model, DENSE, whole)
    check_inference(model, DENSE, loader)


@pytest.mark.parametrize('name', MODELS)
def test_a_model_on_a_whole_graph_takes_them(name):
    model = make(name).eval()
    adj = torch.eye(NODES, dtype=torch.float64).to_sparse_csr()
    assert_close(model(SPARSE.x, adj), model(DENSE.x, adj))
    assert_close(model(SPARSE.x, DENSE.edge_index), model(DENSE.x, DENSE.edge_index))


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('bipartite', [True, False])
def test_no_dense_copy_is_made_in_training_and_inference(name, bipartite, no_dense_copy):
    model = make(name)
    model.dropout = 0.5
    loader = SubgraphLoader(SPARSE, PTR, log=False, bipartite=bipartite)
    for _ in range(2):
        for batch in loader:
            model(batch).sum().backward()
    model.refresh(loader)
    model(loader=sweep_loader(SPARSE, torch.tensor([0, NODES])))


def test_a_propagation_of_the_features_themselves_is_right():
    class Twice(ScalableGNN):
        def __init__(self):
            super().__init__(NODES, 4, 2)
            self.conv = pyg.GINConv(torch.nn.Identity())
            self.last = pyg.GCNConv(4, 3, normalize=False)

        def forward(self, x, adj_t, batch_size=None, n_id=None):
            x = self.push_and_pull(self.histories[0], self.conv(x, adj_t), batch_size, n_id)
            return self.last(x, adj_t)

    model = Twice().double()
    check_forward(model, DENSE, sweep_loader(SPARSE))
    check_inference(model, DENSE, sweep_loader(SPARSE))


def test_the_guard_sees_through_them():
    class NoBoundary(ScalableGNN):
        def __init__(self):
            super().__init__(NODES, 4, 2)
            self.convs = torch.nn.ModuleList([pyg.GCNConv(4, 4), pyg.GCNConv(4, 3)])

        def forward(self, x, adj_t, batch_size=None, n_id=None):
            x = self.convs[0](x.index_select(0, torch.arange(x.size(0))), adj_t.square())
            return self.convs[1](x, adj_t.square())

    batch = next(iter(SubgraphLoader(SPARSE, PTR, log=False)))
    with pytest.raises(ValueError, match='what it propagates must have passed a layer boundary'):
        NoBoundary().double()(batch)


def test_rows_selected_by_what_was_computed_depend_on_it():
    with Provenance() as provenance:
        order = provenance.mark(torch.tensor([3, 1]), {'computed'})
        assert provenance.of(SPARSE.x[order]) == {'computed'}
        assert provenance.of(SPARSE.x[order] @ torch.ones(4, 2).double()) == {'computed'}
        assert provenance.of(SPARSE.x[order] + 1) == {'computed'}
        assert provenance.of(SPARSE.x[torch.tensor([3, 1])]) == frozenset()


# Conversions and training ########################################################

UNMODIFIED = {
    'gcn': lambda: pyg.GCN(4, 8, 2, 3),
    'gat': lambda: pyg.GAT(4, 8, 2, 3),
    'sage': lambda: pyg.GraphSAGE(4, 8, 2, 3),
}


@pytest.mark.parametrize('layout', ['rows', 'csr'])
@pytest.mark.parametrize('name', UNMODIFIED)
def test_converted_modules_take_them(name, layout):
    torch.manual_seed(0)
    module = UNMODIFIED[name]().double().eval()
    data = copy.copy(SPARSE)
    data.x = SPARSE.x if layout == 'rows' else DENSE.x.to_sparse_csr()
    gas = autoscale(module, data, partition=(torch.arange(NODES), PTR))
    with torch.no_grad():
        expected = module(DENSE.x, DENSE.edge_index)
        assert error(gas.inference(), expected) < TOLERANCE[torch.float64]
        gas.refresh()
        for batch in gas.loader():
            assert isinstance(batch.x, SparseRows)
            rows = gas(batch)
            assert error(rows, expected[batch.n_id[: rows.size(0)]]) < TOLERANCE[torch.float64]


@pytest.mark.parametrize('mode', ['gas', 'full'])
def test_a_training_with_them_is_that_with_dense_features(mode):
    runs = {}
    for name, data in (('dense', thinned(tiny_data())), ('sparse', sparse(thinned(tiny_data())))):
        model = tiny_model(dropout=0.0)
        settings = tiny_settings(mode=mode, measure_memory=True)
        runs[name] = train(model, data, tiny_ptr(), settings, log=False)
        assert isinstance(data.x, SparseRows) == (name == 'sparse')
    for there, here in zip(runs['dense'].epochs, runs['sparse'].epochs, strict=True):
        assert here.loss == pytest.approx(there.loss, rel=1e-4)
    assert runs['sparse'].step_peak_bytes > 0


def test_a_state_is_not_resumed_with_features_of_the_other_kind(tmp_path):
    dense = thinned(tiny_data())
    train(tiny_model(), dense, tiny_ptr(), tiny_settings(), checkpoints=tmp_path, log=False)
    with pytest.raises(ValueError, match='data'):
        train(
            tiny_model(), sparse(dense), tiny_ptr(), tiny_settings(), checkpoints=tmp_path,
            resume=True, log=False,
        )  # fmt: skip
