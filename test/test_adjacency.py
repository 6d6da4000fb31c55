"""A batch's adjacency answers like the sparse matrix it stands for."""

import copy
import pickle

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.utils import is_torch_sparse_tensor, scatter, spmm, to_edge_index
from torch_geometric.utils.sparse import set_sparse_value

from torch_geometric_autoscale import SubgraphLoader
from torch_geometric_autoscale.adjacency import Adjacency
from torch_geometric_autoscale.tags import (
    adjacency_of,
    halo_is_constant,
    mark_halo_constant,
    tag_edge_index,
    weight_of,
)

# 1 -> 0 twice, 0 -> 1, 3 -> 0, 2 -> 2, 1 -> 3, 0 -> 2; partitions {0, 1} and {2, 3}; 0, 1 first.
EDGE_INDEX = torch.tensor([[1, 0, 3, 1, 2, 1, 0], [0, 1, 0, 0, 2, 3, 2]])
WEIGHT = torch.tensor([1.0, 2.0, -3.0, 4.0, 5.0, 6.0, 7.0], dtype=torch.float64)
PTR = torch.tensor([0, 2, 4])
DENSE = torch.tensor([[0.0, 5, -3], [2, 0, 0]], dtype=torch.float64)  # columns 0, 1, 3
X = torch.tensor([[1.0, -2], [3, 4], [-5, 6]], dtype=torch.float64)


def first_batch(weight=WEIGHT, dtype=torch.float64, **kwargs):
    data = Data(
        x=torch.arange(8, dtype=dtype).view(4, 2),
        edge_index=EDGE_INDEX,
        edge_weight=weight,
        num_nodes=4,
    )
    return next(iter(SubgraphLoader(data, PTR, log=False, **kwargs)))


@pytest.fixture
def adj() -> Adjacency:
    return first_batch().adj_t


def test_it_is_a_sparse_csr_tensor_to_whoever_asks(adj):
    assert isinstance(adj, torch.Tensor)
    assert is_torch_sparse_tensor(adj)
    assert adj.layout == torch.sparse_csr
    assert adj.is_sparse_csr
    assert not adj.is_sparse
    assert adj.shape == adj.size() == (2, 3)
    assert (adj.size(0), adj.size(-1), adj.dim(), adj.numel()) == (2, 3, 2, 6)
    assert (adj.dtype, adj.device) == (torch.float64, torch.device('cpu'))
    assert not adj.requires_grad
    assert adj._nnz() == 4


def test_its_arrays_are_those_of_a_csr_matrix(adj):
    assert adj.crow_indices().tolist() == [0, 3, 4]
    assert adj.col_indices().tolist() == [1, 2, 1, 0]
    assert adj.values().tolist() == [1, -3, 4, 2]
    assert adj.crow_indices().dtype == adj.col_indices().dtype == torch.int64
    assert adj.edge_index().tolist() == [[1, 2, 1, 0], [0, 0, 0, 1]]


def test_other_layouts_come_from_a_real_matrix(adj):
    assert adj.to_dense().tolist() == DENSE.tolist()
    assert adj.t().to_dense().tolist() == DENSE.t().tolist()
    assert adj.transpose(0, 1).to_dense().tolist() == DENSE.t().tolist()
    assert adj.to_sparse_coo().to_dense().tolist() == DENSE.tolist()
    assert adj.to_sparse_csc().to_dense().tolist() == DENSE.tolist()
    assert (adj * 2).to_dense().tolist() == (2 * DENSE).tolist()
    assert adj.sum(dim=1, keepdim=True).to_dense().tolist() == [[2], [2]]
    assert float(adj.sum()) == 4


def test_the_square_form_has_empty_rows_for_the_halo(adj):
    square = adj.square()
    assert square.shape == (3, 3)
    assert square.to_dense()[:2].tolist() == DENSE.tolist()
    assert square.crow_indices().tolist() == [0, 3, 4, 4]
    assert adj.square() is square
    assert square.square() is square
    assert first_batch(bipartite=False).adj_t.shape == (3, 3)


@pytest.mark.parametrize(
    'product',
    [
        lambda a, x: a @ x,
        lambda a, x: a.matmul(x),
        lambda a, x: a.mm(x),
        lambda a, x: torch.mm(a, x),
        lambda a, x: torch.spmm(a, x),
        lambda a, x: torch.matmul(a, x),
        lambda a, x: torch.sparse.mm(a, x),
        lambda a, x: torch.sparse.mm(a, x, 'sum'),
        lambda a, x: torch.mm(input=a, mat2=x),
        lambda a, x: torch.addmm(torch.zeros(a.size(0), 2, dtype=x.dtype), a, x),
        lambda a, x: torch.stack([a @ x[:, 0].contiguous(), torch.mv(a, x[:, 1].contiguous())], 1),
        lambda a, x: (x.t() @ a.t()).t(),
        lambda a, x: spmm(a, x),
    ],
)
@pytest.mark.parametrize('square', [False, True])
def test_every_spelling_of_the_product_agrees(adj, product, square):
    expected = DENSE @ X
    out = product(adj.square() if square else adj, X)
    assert out[:2].tolist() == expected.tolist()
    assert out[2:].tolist() == ([[0, 0]] if square else [])


@pytest.mark.parametrize('reduce', ['sum', 'mean', 'min', 'max'])
@pytest.mark.parametrize('square', [False, True])
def test_spmm_honours_every_reduction_like_a_scatter_over_edges(adj, reduce, square):
    adj = adj.square() if square else adj
    source, target = adj.edge_index()
    messages = X[source] * adj.values().view(-1, 1)
    expected = scatter(messages, target, 0, adj.size(0), reduce)
    # A mean divides the weights before it adds, a scatter adds before it divides.
    torch.testing.assert_close(spmm(adj, X, reduce), expected, rtol=1e-14, atol=1e-14)
    name = {'max': 'amax', 'min': 'amin'}.get(reduce, reduce)
    assert torch.sparse.mm(adj, X, reduce=name).tolist() == spmm(adj, X, reduce).tolist()


@pytest.mark.parametrize('reduce', ['sum', 'mean', 'min', 'max'])
@pytest.mark.parametrize('bipartite', [False, True])
@pytest.mark.parametrize('direction', ['in', 'both'])
def test_gradients_reach_batch_and_halo_rows(reduce, bipartite, direction):
    adj = first_batch(bipartite=bipartite, direction=direction).adj_t
    x = torch.randn(adj.size(1), 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: adj.propagate(x, reduce), (x,))
    if reduce in ('sum', 'mean'):
        (grad,) = torch.autograd.grad(adj.propagate(x, reduce).sum(), x)
        assert grad[2:].abs().sum() > 0


def test_gradients_of_vectors_are_those_of_the_dense_matrix(adj):
    v = torch.randn(3, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad((adj @ v).sum(), v)
    assert torch.allclose(grad, DENSE.sum(0))


def test_constant_halo_rows_are_owed_no_gradient(adj):
    x = X.clone().requires_grad_()
    full = torch.autograd.grad((adj @ x).sum(), x)[0]
    assert full.tolist() == [[2, 2], [5, 5], [-3, -3]]
    marked = mark_halo_constant(x * 1)
    dropped = torch.autograd.grad((adj @ marked).sum(), x)[0]
    assert dropped.tolist() == [[2, 2], [5, 5], [0, 0]]


def test_rows_written_to_after_the_mark_are_constant_no_more(adj):
    skip = torch.ones(2, dtype=torch.float64, requires_grad=True)
    h = mark_halo_constant(X.clone())
    assert halo_is_constant(h)
    h += skip
    assert not halo_is_constant(h)
    assert torch.autograd.grad((adj @ h).sum(), skip)[0].tolist() == [4, 4]


def test_the_mark_belongs_to_one_tensor():
    h = mark_halo_constant(X.clone())
    assert not halo_is_constant(h * 1)
    assert not halo_is_constant(X)
    with torch.inference_mode():
        assert halo_is_constant(mark_halo_constant(torch.ones(1)))


def test_a_gradient_may_be_expanded_or_strided(adj):
    x = X.clone().requires_grad_()
    out = adj @ x
    expected = torch.autograd.grad(out, x, torch.ones(2, 2, dtype=torch.float64).contiguous())[0]
    expanded = torch.ones((), dtype=torch.float64).expand(2, 2)
    assert torch.autograd.grad(adj @ x, x, expanded)[0].tolist() == expected.tolist()
    strided = (adj @ X.t().contiguous().t().requires_grad_()).tolist()
    assert strided == out.tolist()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_products_take_the_type_of_the_dense_matrix(adj, dtype):
    for reduce in ['sum', 'mean', 'max']:
        out = adj.propagate(X.to(dtype), reduce)
        assert out.dtype == dtype
        torch.testing.assert_close(out, adj.propagate(X, reduce).to(dtype))


def test_half_precision_has_gradients(adj):
    x = X.to(torch.bfloat16).requires_grad_()
    (adj @ x).sum().backward()
    assert x.grad.tolist() == [[2, 2], [5, 5], [-3, -3]]


def test_products_run_under_autocast(adj):
    adj = adj.float()
    x = X.float().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = adj @ x
    out.float().sum().backward()
    assert x.grad.tolist() == [[2, 2], [5, 5], [-3, -3]]
    assert out.tolist() == (DENSE @ X).tolist()


def test_integers_and_wrong_sizes_are_refused_in_words(adj):
    with pytest.raises(ValueError, match=r'adj_t: .* floating-point type \(got torch.int64\)'):
        adj @ X.long()
    with pytest.raises(ValueError, match=r'must have 3 rows, one per node .* \(got 2 rows\)'):
        adj @ X[:2]
    with pytest.raises(ValueError, match=r"'reduce' must be one of .* \(got 'prod'\)"):
        torch.sparse.mm(adj, X, 'prod')
    with pytest.raises(ValueError, match=r'edge weights must be constants'):
        adj.requires_grad_()


@pytest.mark.parametrize('bipartite', [False, True])
def test_a_batch_without_edges_gives_zeros(bipartite):
    data = Data(x=torch.ones(3, 2), edge_index=torch.empty(2, 0, dtype=torch.long))
    adj = next(iter(SubgraphLoader(data, [0, 3], log=False, bipartite=bipartite))).adj_t
    for reduce in ['sum', 'mean', 'min', 'max']:
        x = torch.ones(3, 2, requires_grad=True)
        out = spmm(adj, x, reduce)
        assert out.tolist() == [[0, 0]] * 3
        assert torch.autograd.grad(out.sum(), x)[0].tolist() == [[0, 0]] * 3
    assert adj.to_dense().tolist() == [[0, 0, 0]] * 3
    assert adj.edge_index().shape == (2, 0)


@pytest.mark.parametrize(
    'convert',
    [
        lambda a: a.float(),
        lambda a: a.to(torch.float32),
        lambda a: a.to('cpu', torch.float32),
        lambda a: a.to(dtype=torch.float32),
        lambda a: a.to(torch.ones(1)),
        lambda a: a.type(torch.float32),
    ],
)
def test_conversions_give_an_adjacency_of_another_type(adj, convert):
    other = convert(adj)
    assert isinstance(other, Adjacency)
    assert other.dtype == other.values().dtype == torch.float32
    assert adj.dtype == torch.float64
    assert other.double().to_dense().tolist() == DENSE.tolist()


@pytest.mark.parametrize(
    'same',
    [
        lambda a: a.to('cpu'), lambda a: a.cpu(), lambda a: a.clone(), lambda a: a.detach(),
        lambda a: a.contiguous(), lambda a: a.coalesce(), lambda a: a.to_sparse_csr(),
        lambda a: a.double(), copy.copy, copy.deepcopy,
    ],
)  # fmt: skip
def test_what_changes_nothing_gives_the_same_adjacency(adj, same):
    assert same(adj) is adj


def test_a_pickle_is_a_plain_matrix(adj):
    other = pickle.loads(pickle.dumps(adj))
    assert type(other) is torch.Tensor
    assert other.layout == torch.sparse_csr
    assert other.to_dense().tolist() == DENSE.tolist()


def test_printing_tells_sizes(adj):
    expected = 'Adjacency(size=(2, 3), nnz=4, batch_size=2, dtype=torch.float64, device=cpu)'
    assert repr(adj) == str(adj) == expected


def test_pygs_helpers_read_it(adj):
    index, value = to_edge_index(adj)
    assert index.tolist() == [[0, 0, 0, 1], [1, 2, 1, 0]]
    assert value.tolist() == [1, -3, 4, 2]
    with torch.sparse.check_sparse_tensor_invariants(False):  # says so for PyG's call
        doubled = set_sparse_value(adj, 2 * adj.values())
    assert doubled.to_dense().tolist() == (2 * DENSE).tolist()


def test_edges_without_weights_have_ones():
    adj = first_batch(weight=None).adj_t
    assert adj.weight is None
    assert adj.values().tolist() == [1, 1, 1, 1]


def test_values_of_its_own_keep_the_edges(adj):
    other = adj.with_values(torch.tensor([1.0, 0, 0, 1], dtype=torch.float64))
    assert other.to_dense().tolist() == [[0, 1, 0], [1, 0, 0]]
    assert other.square().to_dense().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert other.float().values().tolist() == [1, 0, 0, 1]
    assert adj.to_dense().tolist() == DENSE.tolist()
    with pytest.raises(ValueError, match=r"'values' must have shape \(4,\), one per edge"):
        adj.with_values(torch.ones(3))
    with pytest.raises(ValueError, match='only the adjacency that the loader gave can be norm'):
        other.gcn_norm(False, True, torch.float64)


def test_values_that_leave_out_edges_into_the_halo_have_no_square_form():
    adj = first_batch(direction='both').adj_t
    other = adj.with_values(torch.ones(4))
    assert other.to_dense().shape == (2, 4)
    with pytest.raises(ValueError, match=r'cover the edges into halo nodes too \(got 4 values for'):
        other.square().to_dense()


def test_the_normalised_variant_holds_rows_of_the_whole_graph(adj):
    normalised = adj.gcn_norm(False, True, torch.float64)
    loaders = SubgraphLoader(
        Data(x=torch.ones(4, 1).double(), edge_index=EDGE_INDEX, edge_weight=WEIGHT.abs()),
        PTR, log=False, batch_size=2,
    )  # fmt: skip
    positive = first_batch(weight=WEIGHT.abs()).adj_t.gcn_norm(False, True, torch.float64)
    whole = next(iter(loaders)).adj_t.gcn_norm(False, True, torch.float64)
    assert positive.to_dense().tolist() == whole.to_dense()[:2, [0, 1, 3]].tolist()
    with pytest.raises(ValueError, match='only the adjacency that the loader gave can be norm'):
        normalised.gcn_norm(False, True, torch.float64)
    unweighted = adj.without_weight()
    assert unweighted.weight is None
    assert unweighted.values().tolist() == [1, 1, 1, 1]


# Constant features ###############################################################


def count_products(batch, monkeypatch) -> list:
    calls = []
    original = Adjacency.known_product

    def counted(self):
        calls.append(self)
        return original(self)

    monkeypatch.setattr(Adjacency, 'known_product', counted)
    return calls


@pytest.mark.parametrize('normalised', [False, True])
@pytest.mark.parametrize('reduce', ['sum', 'mean'])
def test_the_product_of_constant_features_is_the_same(monkeypatch, normalised, reduce):
    for batch_size in (1, 2):
        batch = first_batch(weight=WEIGHT.abs(), batch_size=batch_size)
        calls = count_products(batch, monkeypatch)
        adj = batch.adj_t.gcn_norm(False, True, torch.float64) if normalised else batch.adj_t
        fast = adj.propagate(batch.x, reduce)
        assert len(calls) == 1
        slow = adj.propagate(batch.x.clone(), reduce)
        assert len(calls) == 1
        assert torch.allclose(fast, slow, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    'change',
    [
        lambda x: x.mul_(2),
        lambda x: x * 2,
        lambda x: x.clone().requires_grad_(),
        lambda x: x.requires_grad_(),
        lambda x: x[:],
    ],
)
def test_features_that_were_touched_are_multiplied_again(monkeypatch, change):
    batch = first_batch()
    x = change(batch.x)
    calls = count_products(batch, monkeypatch)
    assert (batch.adj_t @ x).tolist() == (batch.adj_t.to_dense() @ x).tolist()
    assert calls == []


def test_a_result_may_be_written_to_without_changing_the_next(monkeypatch):
    batch = first_batch()
    first = batch.adj_t @ batch.x
    expected = first.tolist()
    first.zero_()
    assert (batch.adj_t @ batch.x).tolist() == expected


def test_what_was_cut_while_inferring_serves_training():
    batch = first_batch()
    with torch.inference_mode():
        batch.adj_t.propagate(X, 'max')
        batch.adj_t.propagate(X)
        edge_weight = batch.adj_t.values()
    x = X.clone().requires_grad_()
    (batch.adj_t.propagate(x, 'max') + batch.adj_t.propagate(x, 'mean')).sum().backward()
    (x[:1] * edge_weight.view(-1, 1)).sum().backward()
    assert x.grad.abs().sum() > 0


# edge_index that remembers #######################################################


def test_an_edge_index_remembers_until_it_is_written_to(adj):
    weight = adj.values().clone()
    edge_index = tag_edge_index(adj.edge_index(), adj, weight)
    assert adjacency_of(edge_index) is adj
    assert weight_of(edge_index) is weight
    assert adjacency_of(edge_index.clone()) is None
    weight.mul_(2)
    assert weight_of(edge_index) is None
    edge_index[0] = 0
    assert adjacency_of(edge_index) is None
    assert adjacency_of(None) is None
