"""Triton's side of :mod:`.spmm`: imported when the first kernel is launched."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=['num_rows'])
def multiply(
    crow, col, values, x, out, num_rows, width, x_stride, out_stride,
    HAS_VALUES: tl.constexpr, MEAN: tl.constexpr, WIDE: tl.constexpr,
    EDGES: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """One row of the product, ``EDGES`` of its edges at a time."""
    row = tl.program_id(0)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_column = column < width
    first = tl.load(crow + row)
    last = tl.load(crow + row + 1)
    total = tl.zeros((COLUMNS,), tl.float64 if WIDE else tl.float32)
    for start in range(first, last, EDGES):
        edge = start + tl.arange(0, EDGES)
        is_edge = edge < last
        source = tl.load(col + edge, mask=is_edge, other=0).to(tl.int64)
        mask = is_edge[:, None] & is_column[None, :]
        rows = tl.load(x + source[:, None] * x_stride + column[None, :], mask=mask, other=0)
        rows = rows.to(tl.float64 if WIDE else tl.float32)
        if HAS_VALUES:
            weight = tl.load(values + edge, mask=is_edge, other=0)
            rows = rows * weight.to(tl.float64 if WIDE else tl.float32)[:, None]
        total += tl.sum(rows, axis=0)
    if MEAN:
        total = total / tl.maximum(last - first, 1).to(tl.float32)
    place = out + row.to(tl.int64) * out_stride + column
    tl.store(place, total.to(out.dtype.element_ty), mask=is_column)
