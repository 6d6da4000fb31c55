"""Sparse products by a kernel equal dense products."""

import pytest
import torch

from torch_geometric_autoscale import SubgraphLoader, sparse_product
from torch_geometric_autoscale.kernels import available, why_not
from torch_geometric_autoscale.kernels.spmm import spmm
from torch_geometric_autoscale.models import GCN
from torch_geometric_autoscale.sparse_product import choose_product, product

from ..oracle import PTR, check_oracle, nasty_graph, sweep_loader, with_edges

pytest.importorskip('triton', reason='the kernels are written in Triton')

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'  # there by Triton's interpreter
if not available(DEVICE):
    pytest.skip(why_not(DEVICE), allow_module_level=True)

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.float16: 2e-3}


def matrix(rows=6, columns=9, dtype=torch.float32, index=torch.int32):
    """Row 2 is empty, row 4 long, and one edge is there twice."""
    rng = torch.Generator().manual_seed(0)
    count = torch.tensor([1, 3, 0, 2, 40, 5])[:rows]
    crow = torch.cat([torch.zeros(1, dtype=torch.int64), count.cumsum(0)]).to(index)
    col = torch.randint(columns, (int(count.sum()),), generator=rng).to(index)
    col[2:3] = col[1:2]
    values = torch.randn(col.numel(), generator=rng, dtype=torch.float64).to(dtype)
    return crow.to(DEVICE), col.to(DEVICE), values.to(DEVICE)


def dense(crow, col, values, columns=9):
    rows = crow.numel() - 1
    target = torch.repeat_interleave(torch.arange(rows, device=DEVICE), crow.diff().long())
    out = torch.zeros(rows, columns, dtype=torch.float64, device=DEVICE)
    return out.index_put_((target, col.long()), values.double(), accumulate=True)


def rows_of(width, dtype=torch.float32):
    rng = torch.Generator().manual_seed(1)
    return torch.randn(9, width, generator=rng, dtype=torch.float64).to(dtype).to(DEVICE)


@pytest.fixture
def by_kernel(monkeypatch):
    """Products of adjacencies by the kernel, also on the CPU."""
    monkeypatch.setattr(sparse_product, '_by_torch', sparse_product._by_kernel)


@pytest.mark.parametrize('index', [torch.int32, torch.int64])
@pytest.mark.parametrize('dtype', list(TOLERANCE))
@pytest.mark.parametrize('width', [1, 5, 64, 300])
def test_sums_are_the_dense_product(width, dtype, index):
    parts, x = matrix(dtype=dtype, index=index), rows_of(width, dtype)
    expected = dense(*parts) @ x.double()
    out = spmm(*parts, x)
    assert out.dtype == dtype
    assert float((out - expected).abs().max()) < TOLERANCE[dtype] * float(expected.abs().max())
    assert not out[2].any()


def test_without_values_every_edge_counts_one():
    crow, col, values = matrix()
    x = rows_of(4)
    assert torch.allclose(spmm(crow, col, None, x), spmm(crow, col, torch.ones_like(values), x))


def test_means_are_over_the_edges_of_a_row_and_zero_without():
    crow, col, values = matrix()
    x = rows_of(4)
    count = crow.diff().clamp(min=1).view(-1, 1)
    assert torch.allclose(spmm(crow, col, values, x, 'mean'), spmm(crow, col, values, x) / count)


def test_results_go_where_they_shall():
    parts, x = matrix(), rows_of(4)
    out = torch.full((8, 6), 7.0, device=DEVICE)
    assert spmm(*parts, x, out=out[1:7, 1:5]).data_ptr() == out[1:7, 1:5].data_ptr()
    assert torch.equal(out[1:7, 1:5], spmm(*parts, x))
    assert bool((out[[0, 7]] == 7).all() & (out[:, [0, 5]] == 7).all())
    assert torch.equal(spmm(*parts, x.t().contiguous().t()), spmm(*parts, x))


@pytest.mark.parametrize(('rows', 'width'), [(0, 4), (3, 0)])
def test_nothing_is_multiplied_to_nothing(rows, width):
    parts = matrix(rows=rows)
    assert spmm(*parts, rows_of(width)).shape == (rows, width)


def test_bad_arguments_are_refused():
    (crow, col, values), x = matrix(), rows_of(4)
    with pytest.raises(
        ValueError, match=r"spmm: 'x' is a matrix of .*got shape \(9, 4\) of torch.b"
    ):
        spmm(crow, col, values, x.bfloat16())
    with pytest.raises(ValueError, match=r"'reduce' sum or mean.*'max'"):
        spmm(crow, col, values, x, 'max')
    with pytest.raises(ValueError, match=r"'values' holds one number for each of the 51 edges"):
        spmm(crow, col, values[1:], x)
    with pytest.raises(ValueError, match=r"'out' must have shape \(6, 4\)"):
        spmm(crow, col, values, x, out=x)
    with pytest.raises(ValueError, match=r"'way' must be one of auto, torch, kernel \(got 'best'"):
        choose_product('best')


def test_models_whose_products_are_the_kernels_pass_the_oracle(by_kernel):
    data = with_edges(nasty_graph(torch.float64), weight=True)
    model = GCN(20, 4, 6, 3, 3).double()
    check_oracle(model, data, sweep_loader(data))


def test_gradients_of_batches_are_the_same_by_either(monkeypatch):
    def gradients():
        torch.manual_seed(0)
        model = GCN(20, 4, 6, 3, 3).double()
        for batch in SubgraphLoader(nasty_graph(), PTR, log=False, keep_first_propagation=False):
            model(batch).square().sum().backward()
        return [parameter.grad for parameter in model.parameters()]

    plain = gradients()
    calls = []

    def counted(*args):
        calls.append(args)
        return sparse_product._by_kernel(*args)

    monkeypatch.setattr(sparse_product, '_by_torch', counted)
    for a, b in zip(gradients(), plain, strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    assert len(calls) >= 4 * 3


def test_the_faster_way_is_measured_once_for_each_width(monkeypatch):
    timed = []
    seconds = {'torch': 2.0, 'kernel': 1.0}

    def measured(work):
        timed.append(work)
        return seconds['torch' if len(timed) % 2 else 'kernel']

    monkeypatch.setattr(sparse_product, '_seconds', measured)
    monkeypatch.setattr(sparse_product, '_chosen', {})
    csr = torch.sparse_csr_tensor(*matrix(), (6, 9))
    ways = [sparse_product._faster(csr, rows_of(width)) for width in (4, 4, 8, 4)]
    assert ways == ['kernel'] * 4
    assert len(timed) == 4
    seconds['kernel'] = 3.0
    assert sparse_product._faster(csr, rows_of(16)) == 'torch'


def test_the_measurement_runs_both(monkeypatch):
    monkeypatch.setattr(sparse_product, '_chosen', {})
    csr = torch.sparse_csr_tensor(*matrix(), (6, 9))
    assert sparse_product._faster(csr, rows_of(4)) in ('torch', 'kernel')


def test_on_the_cpu_products_are_pytorchs(monkeypatch):
    monkeypatch.setattr(sparse_product, '_by_kernel', None)
    (crow, col, values), x = (part.cpu() for part in matrix()), rows_of(4).cpu()
    csr = torch.sparse_csr_tensor(crow, col, values, (6, 9))
    choose_product('kernel')
    try:
        assert torch.equal(product(csr, x), torch.sparse.mm(csr, x))
    finally:
        choose_product('auto')
