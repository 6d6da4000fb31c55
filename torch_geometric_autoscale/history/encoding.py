"""How rows are turned into tensors that a medium keeps, and back.

What is not finite stays visible, and what is finite never becomes infinite: a narrow type refuses
numbers beyond its largest.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from ..errors import explain

# Encoded rows: one tensor per field, ``(n, width of the field)``.
Fields = dict[str, Tensor]

DTYPES: dict[str, torch.dtype] = {
    str(dtype).removeprefix('torch.'): dtype
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int8)
}
LEVELS = 127  # of int8, on either side of zero


class Encoding(ABC):
    """Turns rows into fields of fixed width, and back. Zeros are encoded as zeros.

    Attributes:
        dtype: Type in which numbers are kept.
    """

    dtype: torch.dtype

    @property
    def row_dtype(self) -> torch.dtype:
        """Type of decoded rows."""
        return torch.promote_types(self.dtype, torch.float32)

    @abstractmethod
    def fields(self, width: int) -> dict[str, tuple[int, torch.dtype]]:
        """Width and type of each field, for rows of ``width`` numbers."""

    @abstractmethod
    def check(self, rows: Tensor) -> None:
        """Raise unless every finite number stays finite.

        Raises:
            ValueError: Naming a type that can hold the rows.
        """

    @abstractmethod
    def lost(self, rows: Tensor) -> Tensor | None:
        """As :meth:`check`, but without waiting for the device of ``rows``.

        Returns:
            ``(1, 1)`` float64: the largest finite number that would become infinite, or zero;
            ``None`` if their type leaves no doubt.
        """

    @abstractmethod
    def encode(self, rows: Tensor) -> Fields:
        """Fields of rows ``(n, width)``, on their device."""

    @abstractmethod
    def decode(self, fields: Fields, out: Tensor | None = None) -> Tensor:
        """Rows ``(n, width)`` of ``row_dtype``, or ``out`` filled with them, in any type."""

    def row_bytes(self, width: int) -> int:
        """Bytes of an encoded row."""
        return sum(size * dtype.itemsize for size, dtype in self.fields(width).values())


class FloatEncoding(Encoding):
    """Numbers as they are, or rounded to a narrower type.

    Rounding changes an entry by at most ``torch.finfo(dtype).eps / 2`` of itself: 2^-8 in
    ``bfloat16``, 2^-11 in ``float16``, whose numbers below 2^-14 are off by up to 2^-25.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def fields(self, width: int) -> dict[str, tuple[int, torch.dtype]]:
        return {'emb': (width, self.dtype)}

    def check(self, rows: Tensor) -> None:
        _check_range(rows, self.dtype, self.dtype)

    def lost(self, rows: Tensor) -> Tensor | None:
        return _lost(rows, self.dtype)

    def encode(self, rows: Tensor) -> Fields:
        return {'emb': rows.to(self.dtype)}

    def decode(self, fields: Fields, out: Tensor | None = None) -> Tensor:
        rows = fields['emb']
        return rows.to(self.row_dtype) if out is None else out.copy_(rows)


class Int8Encoding(Encoding):
    """Whole multiples of 1/127 of a row's largest magnitude, which is kept beside them.

    An entry changes by at most 1/254 of that magnitude. A row that was decoded is encoded as it was
    before. A row with an entry that is not finite comes back as NaN altogether.
    """

    dtype = torch.int8

    def fields(self, width: int) -> dict[str, tuple[int, torch.dtype]]:
        return {'emb': (width, torch.int8), 'scale': (1, torch.float32)}

    def check(self, rows: Tensor) -> None:
        _check_range(rows, self.dtype, torch.float32)

    def lost(self, rows: Tensor) -> Tensor | None:
        return _lost(rows, torch.float32)

    def encode(self, rows: Tensor) -> Fields:
        if rows.dtype != torch.float64:
            rows = rows.float()
        if rows.size(1) == 0:
            return {'emb': rows.to(torch.int8), 'scale': rows.new_zeros(rows.size(0), 1).float()}
        largest = rows.abs().amax(dim=1, keepdim=True)
        # Divided before it is multiplied: neither tiny nor huge rows leave the range of the type.
        codes = (rows / largest).mul_(LEVELS).nan_to_num_(0.0).round_()
        return {'emb': codes.to(torch.int8), 'scale': largest.float()}

    def decode(self, fields: Fields, out: Tensor | None = None) -> Tensor:
        codes, scale = fields['emb'], fields['scale']
        if out is None:
            out = torch.empty(codes.shape, dtype=self.row_dtype, device=codes.device)
        if out.dtype == self.row_dtype and out.device == codes.device:
            return out.copy_(codes).div_(LEVELS).mul_(scale)
        return out.copy_(self.decode(fields))


def _check_range(rows: Tensor, dtype: torch.dtype, holds: torch.dtype) -> None:
    """Raise unless the finite numbers of ``rows`` fit the type ``holds``."""
    largest = torch.finfo(holds).max
    if rows.numel() == 0 or torch.finfo(rows.dtype).max <= largest:
        return
    low, high = rows.aminmax()
    if bool((low >= -largest) & (high <= largest)):
        return
    lost = rows.isfinite() & rows.to(holds).isinf()  # what is a little too large is rounded down
    if bool(lost.any()):
        _refuse(dtype, holds, float(rows[lost][0]))


def _lost(rows: Tensor, holds: torch.dtype) -> Tensor | None:
    if rows.numel() == 0 or torch.finfo(rows.dtype).max <= torch.finfo(holds).max:
        return None
    lost = rows.isfinite() & rows.to(holds).isinf()
    return torch.where(lost, rows.abs(), 0).amax().double().view(1, 1)


def refuse_lost(encoding: Encoding, number: float) -> None:
    """Raise if ``number``, from :meth:`Encoding.lost`, is not zero.

    Raises:
        ValueError: Naming a type that can hold the rows.
    """
    if number:
        dtype = encoding.dtype
        _refuse(dtype, torch.float32 if dtype == torch.int8 else dtype, number)


def _refuse(dtype: torch.dtype, holds: torch.dtype, number: float) -> None:
    largest = torch.finfo(holds).max
    wider = torch.bfloat16 if largest < 1e9 else torch.float64
    raise ValueError(
        explain('History.push', f'numbers must fit the type of the history, {dtype}: at most '
                f'{largest:g}', f'{number:g}', 'Make the history with '
                f"dtype='{str(wider).removeprefix('torch.')}', which has room for them.")
    )  # fmt: skip


def parse_dtype(who: str, dtype: Any, name: str = 'dtype') -> torch.dtype | None:
    """A type from itself or its name; ``None`` for ``'auto'`` or ``None``.

    Args:
        who: The public call on whose behalf errors speak.
        dtype: ``torch.int8``, ``'int8'``, ...
        name: How ``dtype`` is called there.

    Raises:
        ValueError: No history is kept in it.
    """
    if dtype is None or dtype == 'auto':
        return None
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or found not in DTYPES.values():
        raise ValueError(
            explain(who, f"'{name}' must be one of auto, {', '.join(DTYPES)}",
                    dtype if isinstance(dtype, torch.dtype) else repr(dtype), 'Pass one of them.')
        )  # fmt: skip
    return found


def encoding_of(dtype: torch.dtype) -> Encoding:
    """How rows are kept in a type."""
    return Int8Encoding() if dtype == torch.int8 else FloatEncoding(dtype)
