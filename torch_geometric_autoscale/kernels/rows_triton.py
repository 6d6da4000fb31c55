"""Triton's side of :mod:`.rows`: imported when the first kernel is launched.

Numbers in ``bfloat16`` come and go as their bits in ``int16``: Triton's interpreter would cut them
off instead of rounding. Each sum and product is rounded by itself (``enable_fp_fusion=False``), so
that codes are the same to the bit as those of the history's encodings.
"""

import triton
import triton.language as tl

# Adding and subtracting it rounds a number below half of it to the nearest whole one, ties to even.
ROUND_32 = tl.constexpr(1.5 * 2**23)
ROUND_64 = tl.constexpr(1.5 * 2**52)


@triton.jit
def from_bits(bits):
    """Numbers in ``float32`` from the bits of those in ``bfloat16``."""
    return (bits.to(tl.int32) << 16).to(tl.float32, bitcast=True)


@triton.jit
def to_bits(value):
    """The bits of numbers rounded to ``bfloat16``, ties to even."""
    value = value.to(tl.float32)
    bits = value.to(tl.int32, bitcast=True)
    high = (bits >> 16) & 0xFFFF
    rounded = ((bits & 0x7FFFFFFF) + 0x7FFF + (high & 1)) >> 16  # without the sign: no overflow
    rounded = rounded | (high & 0x8000)
    return tl.where(value == value, rounded, 0x7FC0).to(tl.int16)


@triton.jit(do_not_specialize=['num_rows'])
def gather(
    table, scale, index, out, num_rows, width, table_stride, scale_stride, out_row, out_column,
    FROM_BITS: tl.constexpr, TO_BITS: tl.constexpr, CODES: tl.constexpr, WIDE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    is_row = row < num_rows
    mask = is_row[:, None] & (column < width)[None, :]
    source = tl.load(index + row, mask=is_row, other=0).to(tl.int64)
    value = tl.load(table + source[:, None] * table_stride + column[None, :], mask=mask, other=0)
    if FROM_BITS:
        value = from_bits(value)
    if CODES:
        largest = tl.load(scale + source * scale_stride, mask=is_row, other=0)
        value = tl.div_rn(value.to(tl.float32), 127.0) * largest[:, None]
    if not WIDE:
        value = value.to(tl.float32)
    if TO_BITS:
        value = to_bits(value)
    target = out + row.to(tl.int64)[:, None] * out_row + column[None, :] * out_column
    tl.store(target, value.to(out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=['num_rows'])
def scatter(
    rows, table, scale, index, num_rows, width, rows_row, rows_column, table_stride, scale_stride,
    FROM_BITS: tl.constexpr, TO_BITS: tl.constexpr, CODES: tl.constexpr, WIDE: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    is_row = row < num_rows
    target = tl.load(index + row, mask=is_row, other=0).to(tl.int64)
    source = rows + row.to(tl.int64)[:, None] * rows_row
    first = tl.arange(0, COLUMNS)
    if CODES:
        largest = tl.zeros((ROWS,), tl.float64 if WIDE else tl.float32)
        has_nan = tl.zeros((ROWS,), tl.int32)
        for start in range(0, width, COLUMNS):
            column = start + first
            mask = is_row[:, None] & (column < width)[None, :]
            value = tl.load(source + column[None, :] * rows_column, mask=mask, other=0)
            if FROM_BITS:
                value = from_bits(value)
            value = value.to(tl.float64 if WIDE else tl.float32)
            is_number = value == value
            has_nan = tl.maximum(has_nan, tl.max((~is_number).to(tl.int32), axis=1))
            value = tl.where(is_number, value, 0)
            largest = tl.maximum(largest, tl.max(tl.abs(value), axis=1))
        # A row of zeros has codes of zero, and so has one whose scale says that it is not finite.
        is_plain = (largest > 0) & (largest < float('inf')) & (has_nan == 0)
        divisor = tl.where(is_plain, largest, 1)
        kept = tl.where(has_nan == 0, largest, float('nan')).to(tl.float32)
        tl.store(scale + target * scale_stride, kept, mask=is_row)
    for start in range(0, width, COLUMNS):
        column = start + first
        mask = is_row[:, None] & (column < width)[None, :]
        value = tl.load(source + column[None, :] * rows_column, mask=mask, other=0)
        if FROM_BITS:
            value = from_bits(value)
        if CODES:
            value = tl.where(is_plain[:, None], value.to(tl.float64 if WIDE else tl.float32), 0)
            if WIDE:
                value = (value / divisor[:, None] * 127.0 + ROUND_64) - ROUND_64
            else:
                value = (tl.div_rn(value, divisor[:, None]) * 127.0 + ROUND_32) - ROUND_32
        elif not WIDE:
            value = value.to(tl.float32)
        if TO_BITS:
            value = to_bits(value)
        place = table + target[:, None] * table_stride + column[None, :]
        tl.store(place, value.to(table.dtype.element_ty), mask=mask)
