"""Rows of a table in pinned host memory or on the device, moved by the device itself.

A kernel on the device reads and writes pinned host memory over the bus, at the addresses that the
host uses (unified virtual addressing). No host thread touches the rows, and they are decoded and
encoded on the way, so that only encoded bytes cross the bus.
"""

from typing import Any

import torch
from torch import Tensor

from ..errors import explain
from .support import available, on, why_not

__all__ = ['available', 'gather_rows', 'scatter_rows', 'why_not']

TABLE_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int8)
ROW_TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)

TILE = 2048  # numbers that one program moves at a time
WIDEST = 1024  # columns of a tile


def gather_rows(table: Tensor, index: Tensor, out: Tensor, scale: Tensor | None = None) -> Tensor:
    """Fill ``out`` with decoded rows of a table, on the current stream of its device.

    Args:
        table: ``(N, F)`` of ``float64``, ``float32``, ``bfloat16``, ``float16`` or ``int8``, on
            the device or in pinned memory; each row without gaps.
        index: ``(n,)`` int32 or int64 row ids; may repeat. Trusted to lie in the table.
        out: ``(n, F)`` of a floating-point type on the device; may be a strided view.
        scale: ``(N, 1)`` or ``(N,)`` float32, beside a table of ``int8``: a row is its codes
            divided by 127, times its scale.

    Returns:
        ``out``.

    Raises:
        ValueError: Shapes, types or places do not fit. Nothing was written.
    """
    index = _checked('gather_rows', table, index, out, scale)
    count, width = out.shape
    if count == 0 or width == 0:
        return out
    from . import rows_triton

    rows, columns = _tile(width)
    with on(out.device):
        rows_triton.gather[(-(-count // rows), -(-width // columns))](
            _bits(table), table if scale is None else scale, index, _bits(out), count, width,
            table.stride(0), 0 if scale is None else scale.stride(0), out.stride(0), out.stride(1),
            **_options(table, out, rows, columns),
        )  # fmt: skip
    return out


def scatter_rows(rows: Tensor, table: Tensor, index: Tensor, scale: Tensor | None = None) -> None:
    """Encode rows and write them to a table, on the current stream of their device.

    The bytes are those of the history's encodings. Whether numbers fit the type is not checked.

    Args:
        rows: ``(n, F)`` of a floating-point type on the device; may be a strided view.
        table: As in :func:`gather_rows`.
        index: ``(n,)`` int32 or int64 row ids, each at most once. Trusted.
        scale: As in :func:`gather_rows`; filled for the rows that are written.

    Raises:
        ValueError: Shapes, types or places do not fit. Nothing was written.
    """
    index = _checked('scatter_rows', table, index, rows, scale)
    count, width = rows.shape
    if count == 0:
        return
    if width == 0:
        if scale is not None:
            scale[index.to(scale.device, torch.int64)] = 0
        return
    from . import rows_triton

    tall, columns = _tile(width)
    with on(rows.device):
        rows_triton.scatter[(-(-count // tall),)](
            _bits(rows), _bits(table), table if scale is None else scale, index, count, width,
            rows.stride(0), rows.stride(1), table.stride(0),
            0 if scale is None else scale.stride(0),
            **_options(rows, table, tall, columns),
        )  # fmt: skip


def _checked(who: str, table: Tensor, index: Tensor, rows: Tensor, scale: Tensor | None) -> Tensor:
    """The index on the rows' device, after everything has been looked at."""
    if table.dim() != 2 or rows.dim() != 2 or index.dim() != 1:
        raise ValueError(
            explain(who, 'tables and rows have two dimensions and ids one',
                    f'{tuple(table.shape)}, {tuple(rows.shape)} and {tuple(index.shape)}',
                    'Reshape them.')
        )  # fmt: skip
    wanted = (index.numel(), table.size(1))
    if tuple(rows.shape) != wanted:
        raise ValueError(
            explain(who, f'rows must have shape {wanted}, one full row per id', tuple(rows.shape),
                    'Pass as many rows as ids.')
        )  # fmt: skip
    if table.dtype not in TABLE_TYPES or rows.dtype not in ROW_TYPES:
        raise ValueError(
            explain(who, f'tables are of {_names(TABLE_TYPES)}, rows of {_names(ROW_TYPES)}',
                    f'{table.dtype} and {rows.dtype}', 'Convert them.')
        )  # fmt: skip
    if index.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            explain(who, 'row ids are int32 or int64', index.dtype, 'Convert them.')
        )  # fmt: skip
    if (table.dtype == torch.int8) != (scale is not None):
        raise ValueError(
            explain(who, "'scale' goes with a table of int8, and with no other",
                    f'{table.dtype} and {"no scale" if scale is None else "a scale"}',
                    'Pass what the history keeps beside the codes.')
        )  # fmt: skip
    if scale is not None and (scale.dtype != torch.float32 or scale.numel() != table.size(0)):
        raise ValueError(
            explain(who, f"'scale' holds {table.size(0)} numbers of float32, one per row",
                    f'{scale.numel()} of {scale.dtype}', 'Pass what the history keeps.')
        )  # fmt: skip
    if table.size(1) > 1 and table.stride(1) != 1:
        raise ValueError(
            explain(who, 'the rows of a table have no gaps',
                    f'a column stride of {table.stride(1)}', 'Make it contiguous.')
        )  # fmt: skip
    tables = [table] if scale is None else [table, scale]
    reason = why_not(rows.device, *tables)
    if reason is not None:
        raise ValueError(
            explain(who, 'the kernel must be able to run', reason, 'Use index_select.')
        )
    return index.to(rows.device, non_blocking=True).contiguous()


def _tile(width: int) -> tuple[int, int]:
    """Rows and columns, powers of two, of what one program moves."""
    columns = min(WIDEST, 1 << max(width - 1, 0).bit_length())
    return max(1, TILE // columns), columns


def _options(source: Tensor, target: Tensor, rows: int, columns: int) -> dict[str, Any]:
    codes = torch.int8 in (source.dtype, target.dtype)
    wide = source.dtype == torch.float64 and target.dtype in (torch.float64, torch.int8)
    return {
        'FROM_BITS': source.dtype == torch.bfloat16,
        'TO_BITS': target.dtype == torch.bfloat16,
        'CODES': codes,
        'WIDE': wide,
        'ROWS': rows,
        'COLUMNS': columns,
        'enable_fp_fusion': False,
    }


def _bits(values: Tensor) -> Tensor:
    return values.view(torch.int16) if values.dtype == torch.bfloat16 else values


def _names(dtypes: tuple[torch.dtype, ...]) -> str:
    return ', '.join(str(dtype).removeprefix('torch.') for dtype in dtypes)
