"""What becomes of numbers that a type rounds, cannot hold, or that are none."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_autoscale import History
from torch_geometric_autoscale.history import DTYPES

from .kinds import ROUNDING

INF, NAN = math.inf, math.nan
SMALLEST = {'bfloat16': 2.0**-134, 'float16': 2.0**-25, 'int8': 2.0**-149, 'float32': 2.0**-150}


def kept(rows: torch.Tensor, dtype: str) -> torch.Tensor:
    """What comes back of rows, in double precision."""
    history = History(*rows.shape, dtype=dtype)
    history.push(rows)
    return history.pull(out=torch.empty(rows.shape, dtype=torch.float64))


def bound(rows: torch.Tensor, dtype: str) -> torch.Tensor:
    """The largest error of each entry that a type may make, and that of float32 arithmetic."""
    rows = rows.double()
    of = rows.abs().amax(dim=1, keepdim=True).expand_as(rows) if dtype == 'int8' else rows.abs()
    arithmetic = 2.0**-22 * of if dtype == 'int8' else 0.0
    return ROUNDING[dtype] * of + arithmetic + SMALLEST.get(dtype, 0.0)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('size', [1.0, 1e-3, 3e4])
def test_rows_come_back_within_the_bound_of_their_type(dtype, size):
    rows = size * torch.rand(200, 16, generator=torch.Generator().manual_seed(0)).mul(2).sub(1)
    error = (kept(rows, dtype) - rows.double()).abs()
    assert bool((error <= bound(rows, dtype)).all())
    if ROUNDING[dtype] > 2.0**-24:  # and the bound is nearly met
        assert float((error / bound(rows, dtype)).max()) > 0.9


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3,
                      max_size=3), min_size=1, max_size=4),
    st.sampled_from(['float32', 'int8']),
)  # fmt: skip
def test_the_bound_holds_for_tiny_and_huge_rows(rows, dtype):
    rows = torch.tensor(rows)
    assert bool(((kept(rows, dtype) - rows.double()).abs() <= bound(rows, dtype)).all())


def test_int8_keeps_multiples_of_the_127th_of_the_largest():
    rows = torch.tensor([[127.0, -64, 1, 0], [-12.7, 6.4, 0.14, 0.16], [0, 0, 0, 0]])
    history = History(3, 4, dtype='int8')
    history.push(rows)
    state = history.get_extra_state()
    assert state['emb'].tolist() == [[127, -64, 1, 0], [-127, 64, 1, 2], [0, 0, 0, 0]]
    assert state['scale'].tolist() == [[127], [pytest.approx(12.7)], [0]]
    assert history.pull()[0].tolist() == [127, -64, 1, 0]
    assert history.emb.tolist() == history.pull().tolist()


@pytest.mark.parametrize('size', [1e-45, 1e-40, 1e-30, 1.0, 1e30, 3.4e38])
def test_int8_neither_loses_tiny_rows_nor_overflows_with_huge_ones(size):
    rows = torch.tensor([[size, -size, 0.0]])
    history = History(1, 3, dtype='int8')
    history.push(rows)
    assert torch.equal(history.pull(), rows)


@pytest.mark.parametrize('dtype', DTYPES)
def test_rows_that_were_pulled_are_pushed_without_a_further_change(dtype):
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    history = History(50, 8, dtype=dtype)
    history.push(rows)
    once = history.pull()
    history.push(once)
    assert torch.equal(history.pull(), once)
    history.push(once.double())
    assert torch.equal(history.pull().double(), once.double())


def test_a_bfloat16_model_writes_and_reads_int8():
    rows = torch.tensor([[1.0, -0.5], [3, 1]]).bfloat16()
    history = History(2, 2, dtype='int8')
    history.push(rows)
    out = torch.empty(2, 2, dtype=torch.bfloat16)
    error = (history.pull(out=out).double() - rows.double()).abs()
    assert bool((error <= bound(rows, 'int8') + bound(rows, 'bfloat16')).all())


# Not finite ######################################################################


@pytest.mark.parametrize('dtype', [d for d in DTYPES if d != 'int8'])
def test_what_is_not_finite_comes_back_as_it_is(dtype):
    rows = torch.tensor([[1.0, INF], [-INF, 2], [NAN, 3]])
    torch.testing.assert_close(kept(rows, dtype), rows.double(), equal_nan=True, rtol=0, atol=0)


@pytest.mark.parametrize('entry', [INF, -INF, NAN])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_a_row_of_int8_with_an_entry_that_is_not_finite_comes_back_as_nan(entry, dtype):
    rows = torch.tensor([[1.0, entry], [1, 2], [entry, 0]], dtype=dtype)
    found = kept(rows, 'int8')
    assert found.isnan().tolist() == [[True, True], [False, False], [True, True]]


# Too large #######################################################################

TOO_LARGE = [
    ('float16', 1e6, torch.float32, r'float16: at most 65504 \(got 1e\+06\).* dtype=.bfloat16.'),
    ('float16', -70000.0, torch.bfloat16, r'float16: at most 65504 \(got -70144\)'),
    ('bfloat16', 3.4e38, torch.float32, r'bfloat16: at most 3.38953e\+38 .* dtype=.float64.'),
    ('float32', 1e39, torch.float64, r'float32: at most 3.40282e\+38 \(got 1e\+39\).*float64.'),
    ('int8', 1e39, torch.float64, r'int8: at most 3.40282e\+38 \(got 1e\+39\).* dtype=.float64.'),
]


@pytest.mark.parametrize(('dtype', 'entry', 'type_of_rows', 'message'), TOO_LARGE)
@pytest.mark.parametrize('cache', [None, '1KB'])
def test_a_number_that_does_not_fit_is_refused_and_nothing_is_written(
    dtype, entry, type_of_rows, message, cache
):
    history = History(3, 2, dtype=dtype, cache_size_in_bytes=cache)
    history.push(torch.ones(3, 2))
    rows = torch.tensor([[2.0, 2], [NAN, 0], [entry, 0]], dtype=type_of_rows)
    for where in (
        {},
        {'n_id': torch.tensor([2, 0, 1])},
        {'offset': torch.tensor([0]), 'count': torch.tensor([3])},
    ):
        with pytest.raises(ValueError, match=f'History.push: numbers must fit .*{message}'):
            history.push(rows, **where)
        assert history.pull(torch.arange(3)).tolist() == [[1, 1]] * 3


def test_a_number_that_is_rounded_into_the_range_fits():
    assert kept(torch.tensor([[65510.0, -65510.0]]), 'float16').tolist() == [[65504, -65504]]


def test_a_type_that_nobody_chose_widens_instead():
    history = History(1, 1)
    history.push(torch.tensor([[1e39]], dtype=torch.float64))
    assert history.pull().tolist() == [[1e39]]


# Sizes ###########################################################################


@pytest.mark.parametrize(
    ('dtype', 'size'),
    [('float64', 800), ('float32', 400), ('bfloat16', 200), ('float16', 200), ('int8', 140)],
)
def test_a_table_tells_its_size(dtype, size):
    history = History(10, 10, dtype=dtype)
    assert history.num_bytes == size
    state = history.get_extra_state()
    tensors = [value for value in state.values() if isinstance(value, torch.Tensor)]
    assert sum(t.numel() * t.element_size() for t in tensors) == size


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('shape', [(0, 2), (3, 0), (0, 0)])
def test_tables_without_entries_work(dtype, shape):
    history = History(*shape, dtype=dtype)
    history.push(torch.empty(shape))
    assert history.pull().shape == shape
    ids = torch.arange(shape[0])
    history.push(torch.empty(shape), ids)
    assert history.pull(ids).shape == shape
