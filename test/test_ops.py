"""Dropout: unbiased, the same mask forward and backward, the same bits for the same seed."""

import pytest
import torch
from torch_geometric.data import Data

from torch_geometric_autoscale import SubgraphLoader, dropout
from torch_geometric_autoscale.adjacency import Adjacency
from torch_geometric_autoscale.ops import fast_dropout
from torch_geometric_autoscale.tags import halo_is_constant, mark_halo_constant

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@pytest.mark.parametrize('p', [0.5, 0.25, 0.1, 0.3, 0.9])
def test_the_share_of_dropped_entries_is_p(p):
    torch.manual_seed(0)
    out = fast_dropout(torch.ones(1000, 200), p)
    sigma = (p * (1 - p) / out.numel()) ** 0.5
    assert abs(float((out == 0).double().mean()) - p) < 4 * sigma


@pytest.mark.parametrize('p', [0.5, 0.1])
def test_entries_are_dropped_independently(p):
    torch.manual_seed(1)
    kept = (fast_dropout(torch.ones(2000, 64), p) != 0).double() - (1 - p)
    variance = p * (1 - p)
    for lag in (1, 2, 4, 8):  # neighbours come from the same random word
        correlation = float((kept[:, lag:] * kept[:, :-lag]).mean()) / variance
        assert abs(correlation) < 4 / (2000 * (64 - lag)) ** 0.5
    assert float((kept.mean(0) ** 2).max()) < 25 * variance / 2000


@pytest.mark.parametrize('p', [0.5, 0.1, 1 / 3])
def test_what_is_kept_is_scaled_by_exactly_the_share_that_is_kept(p):
    torch.manual_seed(0)
    out = fast_dropout(torch.ones(999, dtype=torch.float64), p)
    steps = 256 if p == 0.5 else 65536
    scale = steps / (steps - round(p * steps))
    assert set(out.tolist()) == {0.0, scale}
    assert abs(scale - 1 / (1 - p)) < 1e-4


def test_the_mean_is_preserved():
    torch.manual_seed(0)
    x = torch.rand(1000, 100, dtype=torch.float64)
    assert float(fast_dropout(x, 0.3).mean()) == pytest.approx(float(x.mean()), rel=0.01)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('p', [0.5, 0.1])
def test_the_gradient_passes_where_the_value_passed(dtype, p):
    torch.manual_seed(0)
    x = torch.ones(37, 3, dtype=dtype, requires_grad=True)
    out = fast_dropout(x, p)
    out.sum().backward()
    assert out.dtype == x.grad.dtype == dtype
    assert torch.equal(x.grad, out.detach())
    assert 0 < int((out != 0).sum()) < out.numel()


def test_the_seed_decides_to_the_bit():
    outs = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        outs.append(fast_dropout(torch.ones(50, 7), 0.4))
    assert torch.equal(outs[0], outs[1])
    assert not torch.equal(outs[0], outs[2])


@pytest.mark.parametrize(('p', 'training'), [(0, True), (0.0, True), (0.5, False), (1, False)])
def test_nothing_is_dropped_without_need(p, training):
    x = torch.ones(3)
    state = torch.get_rng_state()
    assert fast_dropout(x, p, training) is x
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('p', [1, 1.0, 1 - 1e-7])
def test_everything_is_dropped_where_all_is_asked_for(p):
    x = torch.ones(40, requires_grad=True)
    out = fast_dropout(x, p)
    out.sum().backward()
    assert out.tolist() == x.grad.tolist() == [0] * 40


def test_a_probability_below_the_resolution_drops_nothing():
    assert fast_dropout(torch.ones(1000), 1e-9).tolist() == [1.0] * 1000


@pytest.mark.parametrize('shape', [(), (0,), (0, 3), (1,), (5, 2, 3)])
def test_any_shape_is_kept(shape):
    assert fast_dropout(torch.ones(shape), 0.5).shape == shape


def test_strided_input_is_masked_entry_by_entry():
    torch.manual_seed(0)
    base = torch.arange(1.0, 41).view(8, 5)
    out = fast_dropout(base.t(), 0.5)
    assert set((out / base.t()).reshape(-1).tolist()) == {0.0, 2.0}


def test_the_input_stays_as_it_is():
    x = torch.ones(20)
    fast_dropout(x, 0.5)
    assert x.tolist() == [1] * 20


def test_constant_halo_rows_stay_constant():
    assert halo_is_constant(fast_dropout(mark_halo_constant(torch.ones(4, 2)), 0.5))
    assert not halo_is_constant(fast_dropout(torch.ones(4, 2), 0.5))


@pytest.mark.parametrize('p', [-0.1, 1.1, float('nan')])
def test_no_probability_is_refused(p):
    with pytest.raises(ValueError, match=r"fast_dropout: 'p' must lie in \[0, 1\]"):
        fast_dropout(torch.ones(3), p)
    with pytest.raises(ValueError, match=r"dropout: 'p' must lie in \[0, 1\]"):
        dropout(torch.eye(3).to_sparse(), p)


# Edges ###########################################################################


class StubSparseTensor:
    """As much of torch-sparse's class as edge dropout uses."""

    class Storage:
        def __init__(self, value):
            self._value = value

        def value(self):
            return self._value

    def __init__(self, nnz: int, value=None) -> None:
        self._nnz, self.storage = nnz, self.Storage(value)

    def nnz(self):
        return self._nnz

    def device(self):
        return torch.device('cpu')

    def set_value(self, value, layout):
        assert layout == 'coo'
        return StubSparseTensor(self._nnz, value)

    def coo(self):
        raise NotImplementedError

    csr = sparse_sizes = coo


def ring(n: int = 400) -> torch.Tensor:
    nodes = torch.arange(n)
    return torch.sparse_coo_tensor(
        torch.stack([nodes, (nodes + 1) % n]), torch.full((n,), 3.0), (n, n), check_invariants=True
    )


@pytest.mark.parametrize('layout', [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_edges_of_every_layout_keep_their_place_with_the_value_zero(layout):
    torch.manual_seed(0)
    adj = ring() if layout == torch.sparse_coo else ring().coalesce().to_sparse(layout=layout)
    out = dropout(adj, 0.25)
    assert out.layout == layout
    assert out.shape == adj.shape
    assert out._nnz() == 400
    values = out._values() if layout == torch.sparse_coo else out.values()
    assert set(values.tolist()) == {0.0, 4.0}
    assert 50 < int((values == 0).sum()) < 150
    assert set(adj.to_dense().unique().tolist()) == {0.0, 3.0}


def test_duplicate_edges_are_dropped_one_by_one():
    torch.manual_seed(0)
    indices = torch.zeros(2, 200, dtype=torch.long)
    adj = torch.sparse_coo_tensor(indices, torch.ones(200), (1, 1), check_invariants=True)
    assert 0 < float(dropout(adj, 0.5).to_dense()) < 400
    assert not dropout(adj, 0.5).is_coalesced()


def test_an_edge_with_several_values_is_dropped_as_a_whole():
    torch.manual_seed(0)
    indices = torch.arange(100).expand(2, -1)
    adj = torch.sparse_coo_tensor(indices, torch.ones(100, 3), (100, 100, 3), check_invariants=True)
    values = dropout(adj, 0.5)._values()
    assert {tuple(row) for row in values.tolist()} == {(0.0,) * 3, (2.0,) * 3}


def test_whole_numbers_as_values_become_real_ones():
    adj = torch.eye(50).long().to_sparse()
    assert set(dropout(adj, 0.5).values().tolist()) == {0.0, 2.0}


def test_gradients_of_edge_values_pass_where_edges_passed():
    torch.manual_seed(0)
    value = torch.ones(100, requires_grad=True)
    out = dropout(StubSparseTensor(100, value), 0.5)
    out.storage.value().sum().backward()
    assert value.grad.tolist() == out.storage.value().tolist()


def test_a_sparse_tensor_without_values_gets_some():
    torch.manual_seed(0)
    out = dropout(StubSparseTensor(100), 0.5)
    assert set(out.storage.value().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize('bipartite', [False, True])
def test_edges_of_a_batch_are_dropped(bipartite):
    torch.manual_seed(0)
    data = Data(x=torch.eye(400), adj_t=ring())
    ptr = torch.tensor([0, 200, 400])
    batch = next(iter(SubgraphLoader(data, ptr, log=False, bipartite=bipartite)))
    out = dropout(batch.adj_t, 0.25)
    assert isinstance(out, Adjacency)
    assert out.shape == batch.adj_t.shape
    assert set(out.values().tolist()) == {0.0, 4.0}
    assert batch.adj_t.values().tolist() == [3.0] * 200
    assert ((out @ batch.x)[:200] == out.to_dense()[:200] @ batch.x).all()
    x = batch.x.clone().requires_grad_()
    (out @ x).sum().backward()
    assert torch.equal(x.grad, out.to_dense().sum(0).view(-1, 1).expand_as(x))


def test_edges_stay_in_evaluation():
    adj = ring()
    assert dropout(adj, 0.5, training=False) is adj
    assert dropout(adj, 0) is adj
    assert dropout(ring().coalesce(), 1.0).to_dense().abs().sum() == 0


@pytest.mark.parametrize('adj', [torch.eye(3), [[0], [1]], None])
def test_what_is_no_sparse_matrix_is_refused(adj):
    with pytest.raises(TypeError, match=r"dropout: 'adj' must be a sparse matrix \(got "):
        dropout(adj, 0.5)
