"""The store itself: encoded rows in tensors of a medium."""

from typing import Any

import torch
from torch import Tensor

from .encoding import Encoding, Fields
from .medium import Medium
from .store import Store


class TableStore(Store):
    """A store that keeps every field in one tensor.

    Args:
        num_rows, width, encoding, medium: As in :class:`Store`.

    Raises:
        OSError: The medium has not enough room.
    """

    def __init__(self, num_rows: int, width: int, encoding: Encoding, medium: Medium) -> None:
        super().__init__(num_rows, width, encoding, medium)
        self._made: Fields | None = None if medium.is_lazy else self._new_fields()

    @property
    def is_untouched(self) -> bool:
        return self._made is None

    @property
    def _fields(self) -> Fields:
        if self._made is None:
            self._made = self._new_fields()
        return self._made

    def _new_fields(self) -> Fields:
        with torch.inference_mode(False):  # the table outlives an evaluation
            return {
                name: self.medium.zeros((self.num_rows, size), dtype)
                for name, (size, dtype) in self.encoding.fields(self.width).items()
            }

    @property
    def device(self) -> torch.device:
        return self.medium.device

    @property
    def table(self) -> Tensor:
        as_it_is = self._fields.keys() == {'emb'}
        return self._fields['emb'] if as_it_is else self.pull(None)

    def read(self, index: Tensor, out: Fields | None = None) -> Fields:
        index = index.to(self.device)
        gather = self.medium.gather
        return {
            name: gather(field, index, None if out is None else out[name])
            for name, field in self._fields.items()
        }

    def read_range(self, first: int, length: int) -> Fields:
        return {name: field[first : first + length] for name, field in self._fields.items()}

    def write(self, index: Tensor, fields: Fields) -> None:
        index = index.to(self.device)
        for name, field in fields.items():
            self._fields[name].index_copy_(0, index, field.to(self.device))

    def write_range(self, first: int, fields: Fields) -> None:
        for name, field in fields.items():
            self._fields[name][first : first + field.size(0)] = field

    def reset(self) -> None:
        for field in (self._made or {}).values():
            field.zero_()

    def state(self) -> Fields:
        return dict(self._fields)

    def load(self, state: dict[str, Any]) -> None:
        for name, field in self._fields.items():
            field.copy_(state[name].detach())

    def empty(self, encoding: Encoding, medium: Medium) -> 'TableStore':
        return TableStore(self.num_rows, self.width, encoding, medium)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'TableStore':
        copied = _filled(self.num_rows, self.width, self.encoding, self.medium, self._made)
        memo[id(self)] = copied
        return copied

    def __reduce__(self) -> Any:
        return _filled, (self.num_rows, self.width, self.encoding, self.medium, self._made)


def _filled(
    num_rows: int, width: int, encoding: Encoding, medium: Medium, fields: Fields | None
) -> TableStore:
    """A store of its own with given content: tensors alone would be copied to main memory."""
    store = TableStore(num_rows, width, encoding, medium)
    if fields is not None:
        store.load(fields)
    return store
