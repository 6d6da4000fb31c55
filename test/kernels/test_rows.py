"""Rows moved by kernels: byte for byte what the history's encodings say."""

import pytest
import torch

from torch_geometric_autoscale.history.encoding import encoding_of
from torch_geometric_autoscale.kernels import available, gather_rows, scatter_rows, why_not

pytest.importorskip('triton', reason='the kernels are written in Triton')

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'  # there by Triton's interpreter
if not available(DEVICE):
    pytest.skip(why_not(DEVICE), allow_module_level=True)

FLOATS = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
TABLES = [*FLOATS, torch.int8]


def numbers(*shape, seed=0, dtype=torch.float32):
    rows = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return rows.to(dtype).to(DEVICE)


def table_of(dtype, num_rows=7, width=5):
    """A table with something in it, and the scales of its rows."""
    fields = encoding_of(dtype).encode(numbers(num_rows, width, seed=1))
    return fields['emb'].contiguous(), fields.get('scale')


def same(a, b):
    """Equal to the bit, NaN to NaN."""
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(), b.nan_to_num())


@pytest.mark.parametrize('index_dtype', [torch.int32, torch.int64])
@pytest.mark.parametrize('out_dtype', FLOATS)
@pytest.mark.parametrize('dtype', TABLES)
def test_gathered_rows_are_the_decoded_rows(dtype, out_dtype, index_dtype):
    table, scale = table_of(dtype)
    index = torch.tensor([6, 0, 0, 3], dtype=index_dtype, device=DEVICE)
    out = torch.full((4, 5), 9.0, dtype=out_dtype, device=DEVICE)
    fields = {'emb': table[index.long()]}
    if scale is not None:
        fields['scale'] = scale[index.long()]
    expected = encoding_of(dtype).decode({name: field.cpu() for name, field in fields.items()})
    assert gather_rows(table, index, out, scale) is out
    assert torch.equal(out.cpu(), expected.to(out_dtype))


@pytest.mark.parametrize('rows_dtype', FLOATS)
@pytest.mark.parametrize('dtype', TABLES)
def test_scattered_rows_are_the_encoded_rows_to_the_bit(dtype, rows_dtype):
    table, scale = table_of(dtype, num_rows=30, width=19)
    before = table.clone(), None if scale is None else scale.clone()
    rows = numbers(20, 19, seed=2, dtype=rows_dtype) * 3
    index = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:20].to(DEVICE)
    expected = encoding_of(dtype).encode(rows)
    scatter_rows(rows, table, index, scale)
    assert torch.equal(table[index], expected['emb'])
    if scale is not None:
        assert torch.equal(scale[index], expected['scale'])
    others = torch.tensor([i for i in range(30) if i not in index.tolist()], device=DEVICE)
    assert torch.equal(table[others], before[0][others])
    if scale is not None:
        assert torch.equal(scale[others], before[1][others])


@pytest.mark.parametrize('width', [1, 2, 31, 64, 1024, 1025, 2500])
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.int8])
def test_rows_of_any_width_come_back(dtype, width):
    rows = numbers(3, width)
    encoding = encoding_of(dtype)
    expected = encoding.encode(rows)
    table = torch.zeros(5, width, dtype=dtype, device=DEVICE)
    scale = torch.zeros(5, 1, device=DEVICE) if dtype == torch.int8 else None
    index = torch.tensor([4, 1, 2], device=DEVICE)
    scatter_rows(rows, table, index, scale)
    assert torch.equal(table[index], expected['emb'])
    out = torch.empty(3, width, device=DEVICE)
    gather_rows(table, index, out, scale)
    assert torch.equal(out.cpu(), encoding.decode({k: v.cpu() for k, v in expected.items()}))
    assert not table[[0, 3]].any()


def test_more_rows_than_one_program_moves():
    table = torch.arange(6000.0, device=DEVICE).view(3000, 2)
    index = torch.arange(2999, -1, -1, device=DEVICE)
    assert torch.equal(gather_rows(table, index, torch.empty_like(table)), table.flip(0))
    other = torch.zeros_like(table)
    scatter_rows(table, other, index)
    assert torch.equal(other, table.flip(0))


@pytest.mark.parametrize('width', [0, 3])
@pytest.mark.parametrize('count', [0, 2])
def test_nothing_to_move_moves_nothing(count, width):
    if count and width:
        return
    table = torch.zeros(4, width, dtype=torch.int8, device=DEVICE)
    scale = torch.ones(4, 1, device=DEVICE)
    index = torch.arange(count, device=DEVICE)
    rows = torch.zeros(count, width, device=DEVICE)
    assert gather_rows(table, index, rows, scale) is rows
    scatter_rows(rows, table, index, scale)
    expected = [0.0] * count + [1.0] * (4 - count)  # the scale of a row without numbers is zero
    assert scale.view(-1).tolist() == expected


@pytest.mark.parametrize('dtype', TABLES)
def test_strided_rows_are_read_and_written_in_place(dtype):
    table, scale = table_of(dtype)
    wide_table = torch.zeros(7, 9, dtype=dtype, device=DEVICE)
    wide_table[:, 2:7] = table
    index = torch.tensor([2, 5], device=DEVICE)
    plain = gather_rows(table, index, torch.empty(2, 5, device=DEVICE), scale)
    out = torch.zeros(5, 4, device=DEVICE)  # a column of which is a row
    gather_rows(wide_table[:, 2:7], index, out.t()[1:3], scale)
    assert torch.equal(out[:, 1:3].t(), plain)
    assert not out[:, [0, 3]].any()
    scatter_rows(out.t()[1:3], wide_table[:, 2:7], torch.tensor([0, 1], device=DEVICE), scale)
    assert torch.equal(wide_table[[0, 1], 2:7], table[index])
    assert not wide_table[:, [0, 1, 7, 8]].any()


SPECIAL = [
    [0.0, 0.0, 0.0],
    [1.0, float('nan'), 2.0],
    [float('inf'), 1.0, -1.0],
    [-float('inf'), float('inf'), 0.0],
    [1e-40, -1e-41, 0.0],  # below the smallest normal number
    [3e38, -3e38, 1.0],
    [-0.0, 1.0, -1.0],
]


@pytest.mark.filterwarnings('ignore:invalid value encountered:RuntimeWarning')  # NumPy on NaN
@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16, torch.int8])
def test_what_is_not_finite_or_tiny_is_kept_as_the_encodings_keep_it(dtype):
    rows = torch.tensor(SPECIAL, device=DEVICE)
    expected = encoding_of(dtype).encode(rows)
    table = torch.full((7, 3), 3, dtype=dtype, device=DEVICE)
    scale = torch.ones(7, 1, device=DEVICE) if dtype == torch.int8 else None
    index = torch.arange(7, device=DEVICE)
    scatter_rows(rows, table, index, scale)
    assert same(table.float(), expected['emb'].float())
    if scale is not None:
        assert same(scale, expected['scale'])
    decoded = encoding_of(dtype).decode({name: field.cpu() for name, field in expected.items()})
    assert same(gather_rows(table, index, torch.empty(7, 3, device=DEVICE), scale).cpu(), decoded)


def test_halves_between_codes_are_rounded_to_the_even_one():
    rows = torch.tensor([[127.0, 0.5, 1.5, -2.5, 63.5, -126.5]], device=DEVICE)
    table = torch.zeros(1, 6, dtype=torch.int8, device=DEVICE)
    scatter_rows(rows, table, torch.tensor([0], device=DEVICE), torch.zeros(1, device=DEVICE))
    expected = encoding_of(torch.int8).encode(rows)['emb']
    assert torch.equal(table, expected)


def test_every_number_of_bfloat16_and_every_tie_is_rounded_as_pytorch_does():
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32, device=DEVICE)
    kept = bits << 16
    values = torch.stack([kept, kept | 0x7FFF, kept | 0x8000, kept | 0x8001]).view(torch.float32)
    rows = values.reshape(256, -1)
    table = torch.zeros(256, rows.size(1), dtype=torch.bfloat16, device=DEVICE)
    scatter_rows(rows, table, torch.arange(256, device=DEVICE))
    assert same(table, rows.bfloat16())


def test_a_row_that_was_gathered_is_scattered_without_a_change():
    table, scale = table_of(torch.int8, num_rows=64, width=33)
    index = torch.arange(64, device=DEVICE)
    rows = gather_rows(table, index, torch.empty(64, 33, device=DEVICE), scale)
    again, scale_again = torch.zeros_like(table), torch.zeros_like(scale)
    scatter_rows(rows, again, index, scale_again)
    assert torch.equal(again, table)
    assert torch.equal(scale_again, scale)


def test_bad_arguments_are_refused_before_anything_is_written():
    table, scale = table_of(torch.int8)
    index, out = torch.tensor([1, 2], device=DEVICE), torch.zeros(2, 5, device=DEVICE)
    with pytest.raises(ValueError, match=r"gather_rows: 'scale' goes with a table of int8"):
        gather_rows(table, index, out)
    with pytest.raises(ValueError, match=r"scatter_rows: 'scale' goes with a table of int8"):
        scatter_rows(out, table.float(), index, scale)
    with pytest.raises(ValueError, match=r"'scale' holds 7 numbers of float32.*got 6 of"):
        gather_rows(table, index, out, scale[1:])
    with pytest.raises(ValueError, match=r'rows must have shape \(2, 5\).*got \(3, 5\)'):
        gather_rows(table, index, torch.zeros(3, 5, device=DEVICE), scale)
    with pytest.raises(ValueError, match=r'two dimensions and ids one'):
        gather_rows(table, index.view(2, 1), out, scale)
    with pytest.raises(ValueError, match=r'row ids are int32 or int64 \(got torch.float32\)'):
        gather_rows(table, index.float(), out, scale)
    with pytest.raises(ValueError, match=r'tables are of .*int8, rows of .*got torch.int8 and tor'):
        gather_rows(table, index, out.int(), scale)
    with pytest.raises(ValueError, match=r'the rows of a table have no gaps'):
        gather_rows(numbers(5, 7).t(), index, out)
    assert not out.any()


def test_a_table_that_the_device_cannot_reach_is_named():
    reason = why_not('cuda')
    if torch.cuda.is_available():
        assert reason is None
        assert why_not('cuda', torch.zeros(2, 2)) == (
            'a table on cpu that is not in pinned memory is out of its reach'
        )
    else:
        assert reason == 'PyTorch finds no CUDA device'
        assert not available('cuda')


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', TABLES)
def test_rows_of_pinned_memory_are_moved_in_place(dtype):
    rows = numbers(20, 33, seed=2)
    expected = {name: field.cpu() for name, field in encoding_of(dtype).encode(rows).items()}
    table = torch.zeros(30, 33, dtype=dtype, pin_memory=True)
    scale = torch.zeros(30, 1, pin_memory=True) if dtype == torch.int8 else None
    index = torch.randperm(30, generator=torch.Generator().manual_seed(0))[:20]
    assert why_not('cuda', table) is None
    scatter_rows(rows, table, index, scale)
    torch.cuda.synchronize()
    assert torch.equal(table[index], expected['emb'])
    if scale is not None:
        assert torch.equal(scale[index], expected['scale'])
    out = gather_rows(table, index, torch.empty(20, 33, device='cuda'), scale)
    assert torch.equal(out.cpu(), encoding_of(dtype).decode(expected).float())
