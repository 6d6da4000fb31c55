"""What a tensor remembers of where it came from, until somebody writes to it."""

from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

# Hooks and the like hand on another tensor with the same content in the same place.
_tagged: WeakValueDictionary[int, Tensor] = WeakValueDictionary()


def tag_edge_index(edge_index: Tensor, adj: Tensor, weight: Tensor | None) -> Tensor:
    """Let ``edge_index`` remember the adjacency and the weights that it was made from."""
    edge_index._adjacency = (adj, version_of(edge_index))  # type: ignore[attr-defined]
    edge_index._weight = (weight, version_of(weight))  # type: ignore[attr-defined]
    if edge_index.numel():  # without content there is no place
        _tagged[edge_index.data_ptr()] = edge_index
    return edge_index


def adjacency_of(edge_index: Any) -> Any:
    """The adjacency that a batch's ``edge_index`` was made from, unless it was written to since."""
    if not isinstance(edge_index, Tensor):
        return None  # torch.fx passes stand-ins
    adj, version = getattr(_original(edge_index), '_adjacency', (None, None))
    return adj if adj is not None and version == version_of(edge_index) else None


def weight_of(edge_index: Tensor) -> Tensor | None:
    """The edge weights that belong to a batch's ``edge_index``, unless written to since."""
    weight, version = getattr(_original(edge_index), '_weight', (None, None))
    return weight if version == version_of(weight) else None


def is_weight_of(weight: Tensor | None, edge_index: Tensor) -> bool:
    """Whether ``weight`` are the edge weights that belong to a batch's ``edge_index``."""
    known = weight_of(edge_index)
    return weight is known or _same_memory(weight, known)


def _original(edge_index: Tensor) -> Tensor:
    """The tagged tensor that ``edge_index`` is, or shares its memory with."""
    if hasattr(edge_index, '_adjacency') or type(edge_index) is not Tensor:
        return edge_index
    if edge_index.dtype != torch.int64 or edge_index.dim() != 2 or edge_index.size(0) != 2:
        return edge_index
    known = _tagged.get(edge_index.data_ptr()) if edge_index.numel() else None
    return known if known is not None and _same_memory(known, edge_index) else edge_index


def _same_memory(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or one.layout != torch.strided:
        return False
    if (one.shape, one.dtype, one.device) != (other.shape, other.dtype, other.device):
        return False
    return one.data_ptr() == other.data_ptr() and one.stride() == other.stride()


def tag_normaliser(edge_index: Tensor, normaliser: Any) -> Tensor:
    """Let ``edge_index`` remember who answers ``gcn_norm`` for it."""
    edge_index._normaliser = (normaliser, version_of(edge_index))  # type: ignore[attr-defined]
    return edge_index


def normaliser_of(edge_index: Any) -> Any:
    """Who answers ``gcn_norm`` for a batch's ``edge_index``, unless it was written to since."""
    normaliser, version = getattr(edge_index, '_normaliser', (None, None))
    return normaliser if normaliser is not None and version == version_of(edge_index) else None


def mark_halo_constant(x: Tensor) -> Tensor:
    """Note on ``x`` that its halo rows carry no gradient."""
    x._halo_is_constant = version_of(x)  # type: ignore[attr-defined]
    return x


def halo_is_constant(x: Tensor) -> bool:
    """Whether ``x`` was marked by :func:`mark_halo_constant` and not written to since."""
    return getattr(x, '_halo_is_constant', None) == version_of(x)


def mark_copy(x: Tensor, of: Tensor) -> Tensor:
    """Note on ``x`` that it is a copy of another tensor, e.g. on another device."""
    if x is not of:
        original = getattr(of, '_copy_of', None)  # of a copy it is one of the first
        known = original is not None and original[1:] == (version_of(original[0]), version_of(of))
        source = original[0] if known else of  # type: ignore[index]
        x._copy_of = (source, version_of(source), version_of(x))  # type: ignore[attr-defined]
    return x


def is_copy(x: Tensor | None, of: Tensor | None) -> bool:
    """Whether ``x`` is ``of``, or was marked as its copy, with neither written to since."""
    if x is of:
        return True
    original, *versions = getattr(x, '_copy_of', (None,))
    return original is of and of is not None and versions == [version_of(of), version_of(x)]


def version_of(x: Tensor | None) -> int:
    """A number that grows with every write to ``x``; constant where PyTorch keeps none."""
    return -1 if x is None or x.is_inference() else x._version
