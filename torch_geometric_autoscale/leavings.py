"""What the call of a unit changes besides what it returns."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


class Leavings:
    """Compares what a call can reach before it and after it.

    A value that is answered from a table leaves nothing behind, so whoever answers must know.

    Args:
        module: What is about to be called.
        args, kwargs: What it is called with.
    """

    def __init__(self, module: torch.nn.Module, args: Any, kwargs: Any) -> None:
        self._module = module
        self._given = [(t, t._version) for t in _tensors((args, kwargs))]
        # The tensors themselves: an address alone may be given away again.
        self._owned = [(t, t._version) for t in _tensors_of(module)]

    def writes_to_arguments(self) -> bool:
        """Whether the call has written to what it was given."""
        return any(tensor._version != version for tensor, version in self._given)

    def on_module(self) -> list[Tensor]:
        """The tensors that the call has left or changed in attributes of its module."""
        before = {id(tensor): version for tensor, version in self._owned}
        return [t for t in _tensors_of(self._module) if before.get(id(t)) != t._version]


def _tensors_of(module: torch.nn.Module) -> Iterator[Tensor]:
    for inner in module.modules():
        yield from _tensors(dict(vars(inner)))


def _tensors(values: Any) -> Iterator[Tensor]:
    for leaf in tree_leaves(values):
        # What has no version counter, e.g. a tensor made in inference mode, is not written to.
        if isinstance(leaf, Tensor) and not leaf.is_inference():
            yield leaf
