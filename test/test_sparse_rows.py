"""Rows that are kept sparse answer like the dense matrix they stand for."""

import copy
import pickle
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch_geometric.nn import Linear
from torch_geometric.utils import select

from torch_geometric_autoscale import SparseRows, fast_dropout
from torch_geometric_autoscale.row_pattern import RowPattern

DENSE = torch.tensor(
    [[0.0, 1, 0, -2], [0, 0, 0, 0], [3, 0, 0, 4], [0, 0, 5, 0], [6, 7, 0, 8]], dtype=torch.float64
)
WEIGHT = torch.tensor([[1.0, -2], [0.5, 3], [-1, 4], [2, 0.25]], dtype=torch.float64)


@pytest.fixture
def rows() -> SparseRows:
    return SparseRows.from_dense(DENSE)


@pytest.fixture
def no_dense_copy(monkeypatch):
    def refuse(self):
        raise AssertionError('a dense copy was made')

    monkeypatch.setattr(SparseRows, 'dense', refuse)


def test_zeros_are_left_out(rows):
    assert rows.stored.tolist() == [1, -2, 3, 4, 5, 6, 7, 8]
    assert rows.pattern.crow.tolist() == [0, 2, 2, 4, 5, 8]
    assert rows.pattern.col.tolist() == [1, 3, 0, 3, 2, 0, 1, 3]
    assert rows.pattern.crow.dtype == rows.pattern.col.dtype == torch.int32
    assert repr(rows) == 'SparseRows(size=(5, 4), stored=8, dtype=torch.float64, device=cpu)'


def test_it_is_a_dense_matrix_to_whoever_asks(rows):
    assert isinstance(rows, torch.Tensor)
    assert rows.layout == torch.strided
    assert not rows.is_sparse
    assert rows.shape == rows.size() == (5, 4)
    assert (rows.size(0), rows.size(-1), rows.dim(), rows.numel(), len(rows)) == (5, 4, 2, 20, 5)
    assert (rows.dtype, rows.device) == (torch.float64, torch.device('cpu'))
    assert not rows.requires_grad
    assert rows.is_floating_point()
    assert rows.is_contiguous()


@pytest.mark.parametrize('layout', [torch.sparse_csr, torch.sparse_csc, torch.sparse_coo])
def test_every_sparse_layout_is_taken(layout, rows):
    found = SparseRows.from_sparse(DENSE.to_sparse(layout=layout))
    assert found.stored.tolist() == rows.stored.tolist()
    assert found.pattern.col.tolist() == rows.pattern.col.tolist()


def test_entries_given_twice_are_added():
    twice = torch.tensor([[0, 0, 1], [2, 2, 0]])
    matrix = torch.sparse_coo_tensor(twice, torch.ones(3), (2, 3), check_invariants=True)
    assert SparseRows.from_sparse(matrix).stored.tolist() == [2, 1]


NO_MATRIX = [
    (SparseRows.from_dense, torch.ones(3), r"'x' must be a dense matrix \(n, F\) \(got \(3,\)\)"),
    (SparseRows.from_dense, [[1.0]], r"'x' must be a dense matrix \(n, F\) \(got list\)"),
    (SparseRows.from_dense, DENSE.to_sparse(), r"'x' must be a dense matrix"),
    (SparseRows.from_dense, DENSE.long(), r'a floating-point type \(got torch.int64\)'),
    (SparseRows.from_dense, DENSE.clone().requires_grad_(), r'got features that require a grad'),
    (SparseRows.from_sparse, DENSE, r"'matrix' must be a torch.sparse matrix \(n, F\) \(got tor"),
    (SparseRows.from_sparse, torch.ones(2, 2, 2).to_sparse(), r'must be a torch.sparse matrix'),
]


@pytest.mark.parametrize(('make', 'value', 'message'), NO_MATRIX)
def test_what_is_no_matrix_of_constants_is_refused(make, value, message):
    with pytest.raises(ValueError, match=message):
        make(value)


# Products ########################################################################

PRODUCTS = {
    'linear': lambda x, w: F.linear(x, w.t()),
    'linear with bias': lambda x, w: F.linear(x, w.t(), w[0]),
    'matmul operator': lambda x, w: x @ w,
    'matmul': torch.matmul,
    'Tensor.matmul': lambda x, w: x.matmul(w),
    'mm': torch.mm,
    'Tensor.mm': lambda x, w: x.mm(w),
    'of selected rows': lambda x, w: x[torch.tensor([4, 0, 4, 1])] @ w,
    'of a slice': lambda x, w: x[1:4] @ w,
    'of no rows': lambda x, w: x[2:2] @ w,
}


@pytest.mark.parametrize('product', PRODUCTS.values(), ids=PRODUCTS)
def test_products_run_over_stored_entries_in_both_directions(product, rows, no_dense_copy):
    dense, sparse = (WEIGHT.clone().requires_grad_() for _ in range(2))
    expected, out = product(DENSE, dense), product(rows, sparse)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-12)
    grad = torch.linspace(-1, 2, out.numel(), dtype=out.dtype).view(out.shape)
    expected.backward(grad)
    out.backward(grad)
    torch.testing.assert_close(sparse.grad, dense.grad, rtol=0, atol=1e-12)
    out = product(rows.float(), WEIGHT.float())
    torch.testing.assert_close(out.double(), expected.detach(), rtol=0, atol=1e-5)


@pytest.mark.parametrize('layer', [torch.nn.Linear(4, 3), Linear(4, 3), Linear(-1, 3)])
def test_layers_run_over_stored_entries(layer, rows, no_dense_copy):
    layer = copy.deepcopy(layer).double()
    out = layer(rows)
    out.square().sum().backward()
    found = layer.weight.grad.clone()
    layer.zero_grad()
    expected = layer(DENSE)
    expected.square().sum().backward()
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(found, layer.weight.grad)


def test_a_product_has_second_derivatives(rows):
    assert torch.autograd.gradgradcheck(
        lambda w: rows @ w.square(), (WEIGHT.clone().requires_grad_(),)
    )


def test_columns_are_sorted_once_for_all_rows_in_the_same_places(rows):
    assert rows.pattern.by_column() is F.dropout(rows, 0.5).pattern.by_column()
    bounds, row, order = rows.pattern.by_column()
    assert bounds.tolist() == [0, 2, 4, 5, 8]
    assert row.tolist() == [2, 4, 0, 4, 3, 0, 2, 4]
    assert rows.stored[order].tolist() == [3, 6, 1, 7, 5, -2, 4, 8]


@pytest.mark.parametrize('index', [torch.int32, torch.int64])
@pytest.mark.parametrize('num_columns', [2**16, 2**16 + 1])
def test_the_order_of_columns_does_not_depend_on_how_wide_they_are(num_columns, index):
    torch.manual_seed(0)
    col = torch.randint(num_columns, (500,)).to(index)
    col[:2] = num_columns - 1
    pattern = RowPattern(torch.tensor([0, 200, 500]).to(index), col, num_columns)
    order = pattern.by_column().order
    assert order.dtype == index
    assert order.tolist() == torch.argsort(col, stable=True).tolist()


# Everything else #################################################################

READS = {
    'to_dense': lambda x: x.to_dense(),
    'sum': lambda x: x.sum(),
    'sum of rows': lambda x: x.sum(1, keepdim=True),
    'plus': lambda x: x + 1,
    'divided by': lambda x: x / x.sum(dim=1, keepdim=True).clamp(min=1),
    'relu': torch.relu,
    'cat': lambda x: torch.cat([x, x], dim=1),
    'stack': lambda x: torch.stack([x, x]),
    'transposed': lambda x: x.t(),
    'T': lambda x: x.T,
    'one row': lambda x: x[2],
    'one column': lambda x: x[:, 3],
    'one entry': lambda x: x[4, 1],
    'rows and columns': lambda x: x[torch.tensor([0, 2]), torch.tensor([1, 3])],
    'a list of rows': lambda x: x[[0, 4]],
    'every other row': lambda x: x[::2],
    'new axis': lambda x: x[None],
    'columns selected': lambda x: x.index_select(1, torch.tensor([3, 3])),
    'left factor': lambda x: torch.ones(2, 5, dtype=x.dtype) @ x,
    'times a vector': lambda x: x @ WEIGHT[:, 0],
    'times a stack': lambda x: x @ WEIGHT.expand(3, 4, 2),
    'times itself': lambda x: x @ x.t(),
    'addmm': lambda x: torch.addmm(WEIGHT[:1], x, WEIGHT),
    'einsum': lambda x: torch.einsum('nf,fc->nc', x, WEIGHT),
    'mm by keywords': lambda x: torch.mm(input=x, mat2=WEIGHT),
    'half precision': lambda x: F.linear(x.bfloat16(), WEIGHT.t().bfloat16()),
    'layer norm': lambda x: F.layer_norm(x, (4,)),
    'zeros_like': torch.zeros_like,
    'new_zeros': lambda x: x.new_zeros(2, 3),
    'new_tensor': lambda x: x.new_tensor([1, 2]),
    'isnan': torch.isnan,
    'copied into': lambda x: torch.zeros(5, 4, dtype=x.dtype).copy_(x),
    'added in place': lambda x: torch.ones(5, 4, dtype=x.dtype).add_(x),
    'assigned': lambda x: _assigned(x),
    'unbound': lambda x: torch.stack(list(x)),
    'as integers': lambda x: x.long(),
}  # fmt: skip


def _assigned(x):
    out = torch.zeros(7, 4, dtype=x.dtype)
    out[1:6] = x
    return out


@pytest.mark.parametrize('read', READS.values(), ids=READS)
def test_whatever_else_reads_them_sees_the_dense_matrix(read, rows):
    expected, out = read(DENSE), read(rows)
    assert type(out) is torch.Tensor
    assert out.dtype == expected.dtype
    assert out.tolist() == expected.tolist()


def test_values_that_leave_pytorch_are_those_of_the_dense_matrix(rows):
    assert rows.tolist() == DENSE.tolist()
    assert (rows.numpy() == DENSE.numpy()).all()
    assert SparseRows.from_dense(DENSE[:1, 1:2]).item() == 1
    assert torch.equal(rows, DENSE)
    assert torch.equal(DENSE, rows)


def test_gradients_of_what_they_are_combined_with_are_right(rows):
    scale = torch.ones(4, dtype=torch.float64, requires_grad=True)
    (rows * scale).square().sum().backward()
    assert scale.grad.tolist() == (2 * DENSE.square().sum(0)).tolist()


KEEP = {
    'rows by id': lambda x: x.index_select(0, torch.tensor([4, 1, 4])),
    'rows by id, from behind': lambda x: torch.index_select(x, -2, torch.tensor([0, 3]).int()),
    'indexed': lambda x: x[torch.tensor([-1, 0, 2])],
    'no rows': lambda x: x[torch.tensor([], dtype=torch.long)],
    'masked': lambda x: x[torch.tensor([True, False, False, True, True])],
    'selected by PyG': lambda x: select(x, torch.tensor([True, False, False, True, True]), 0),
    'sliced': lambda x: x[1:-1],
    'sliced the wrong way': lambda x: x[3:1],
    'narrowed': lambda x: x.narrow(0, 1, 3),
    'narrowed from behind': lambda x: torch.narrow(x, -2, 2, 2),
    'float': lambda x: x.float(),
    'to a type': lambda x: x.to(torch.float16),
    'to a device': lambda x: x.to('cpu', non_blocking=True),
    'to like another': lambda x: x.to(torch.ones(1)),
    'type': lambda x: x.type(torch.float32),
    'cloned': lambda x: x.clone(),
    'detached': lambda x: x.detach(),
    'data': lambda x: x.data,
    'contiguous': lambda x: x.contiguous(),
    'without gradient': lambda x: x.requires_grad_(False),
    'copied': copy.copy,
    'deep-copied': copy.deepcopy,
    'pickled': lambda x: pickle.loads(pickle.dumps(x)),
    'shared': lambda x: x.share_memory_(),
    'dropout in evaluation': lambda x: F.dropout(x, 0.5, training=False),
    'dropout of nothing': lambda x: F.dropout(x, 0.0),
    'dropout of everything': lambda x: F.dropout(x, 1.0)[:0],
}  # fmt: skip


@pytest.mark.parametrize('change', KEEP.values(), ids=KEEP)
def test_rows_stay_sparse(change, rows, no_dense_copy):
    expected, out = change(DENSE.clone()), change(rows)
    assert isinstance(out, SparseRows)
    assert (out.shape, out.dtype) == (expected.shape, expected.dtype)
    again = expected.to_sparse_csr()
    assert out.stored.tolist() == again.values().tolist()
    assert out.pattern.crow.tolist() == again.crow_indices().tolist()
    assert out.pattern.col.tolist() == again.col_indices().tolist()


def test_a_saved_state_holds_them(rows, tmp_path):
    torch.save({'x': rows}, tmp_path / 'x.pt')
    loaded = torch.load(tmp_path / 'x.pt', weights_only=False)['x']
    assert isinstance(loaded, SparseRows)
    assert torch.equal(loaded, DENSE)


def test_a_deep_copy_has_entries_of_its_own(rows):
    twin = copy.deepcopy(rows)
    twin.stored.zero_()
    assert torch.equal(rows, DENSE)


@pytest.mark.parametrize(
    'write',
    [
        lambda x: x.mul_(2),
        lambda x: x.add_(torch.ones(5, 4)),
        lambda x: F.relu(x, inplace=True),
        lambda x: F.dropout(x, 0.5, inplace=True),
        lambda x: torch.add(DENSE, DENSE, out=x),
        lambda x: x.copy_(DENSE),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.__setitem__((slice(None), 1), 1.0),
        lambda x: x.t_(),
        lambda x: x.resize_(1, 1),
        lambda x: x.requires_grad_(),
        lambda x: setattr(x, 'requires_grad', True),
        lambda x: setattr(x, 'data', DENSE),
    ],
)
def test_writes_are_refused(write, rows):
    message = r'SparseRows: rows that are kept sparse cannot be written to.*Take x.to_dense\(\) fi'
    with pytest.raises(ValueError, match=message):
        write(rows)
    assert torch.equal(rows, DENSE)


@pytest.mark.parametrize(
    'read',
    [
        lambda x: x[torch.tensor([5])],
        lambda x: x[torch.tensor([-6])],
        lambda x: x[torch.ones(4).bool()],
        lambda x: x.index_select(0, torch.tensor([5])),
        lambda x: x.index_select(0, torch.tensor([-1])),
        lambda x: x.narrow(0, 3, 3),
        lambda x: x[7],
        lambda x: x @ torch.ones(3, 2, dtype=x.dtype),
        lambda x: F.linear(x, torch.ones(2, 4)),
    ],
)
def test_what_a_dense_matrix_refuses_is_refused(read, rows):
    for x in (DENSE, rows):
        with pytest.raises((IndexError, RuntimeError)):
            read(x)


# Dropout #########################################################################

DROPOUTS = {
    'functional': F.dropout,
    'module': lambda x, p: torch.nn.Dropout(p)(x),
    'torch.dropout': lambda x, p: torch.dropout(x, p, True),
    'fast_dropout': fast_dropout,
}


@pytest.mark.parametrize('p', [0.25, 0.6])
@pytest.mark.parametrize('drop', DROPOUTS.values(), ids=DROPOUTS)
def test_dropout_of_stored_entries_is_distributed_as_that_of_dense_rows(drop, p, no_dense_copy):
    torch.manual_seed(0)
    dense = torch.ones(200, 300).tril(99)  # 60% are not zero
    out = drop(SparseRows.from_dense(dense), p)
    count = int((dense != 0).sum())
    assert isinstance(out, SparseRows)
    assert out.pattern.size == (200, 300)
    kept = [out.stored != 0, drop(dense, p)[dense != 0] != 0]
    for each in kept:
        # Five standard deviations of the share that is kept.
        assert abs(float(each.double().mean()) - (1 - p)) < 5 * (p * (1 - p) / count) ** 0.5
    scale = drop(torch.ones(1000), p).max()
    assert out.stored.unique().tolist() == [0, scale]
    assert float(scale) == pytest.approx(1 / (1 - p), rel=1e-4)


def test_dropout_lets_gradients_pass_where_it_lets_entries_pass(rows):
    torch.manual_seed(1)
    dropped = F.dropout(rows, 0.5)
    dense = dropped.to_dense()
    assert 0 < int((dense != 0).sum()) < 8
    found, expected = (WEIGHT.clone().requires_grad_() for _ in range(2))
    (dropped @ found).square().sum().backward()
    (dense @ expected).square().sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, rtol=0, atol=1e-12)


def test_dropout_of_everything_leaves_zeros(rows):
    for drop in DROPOUTS.values():
        assert drop(rows, 1.0).to_dense().tolist() == torch.zeros(5, 4).tolist()


def test_each_call_drops_other_entries(rows):
    torch.manual_seed(0)
    calls = {tuple(partial(F.dropout, rows, 0.5)().stored.tolist()) for _ in range(5)}
    assert len(calls) > 1
