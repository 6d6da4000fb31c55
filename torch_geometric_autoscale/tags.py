"""What a tensor remembers of where it came from, until somebody writes to it."""

from typing import Any

from torch import Tensor


def tag_edge_index(edge_index: Tensor, adj: Tensor, weight: Tensor | None) -> Tensor:
    """Let ``edge_index`` remember the adjacency and the weights that it was made from."""
    edge_index._adjacency = (adj, version_of(edge_index))  # type: ignore[attr-defined]
    edge_index._weight = (weight, version_of(weight))  # type: ignore[attr-defined]
    return edge_index


def adjacency_of(edge_index: Any) -> Any:
    """The adjacency that a batch's ``edge_index`` was made from, unless it was written to since."""
    if not isinstance(edge_index, Tensor):
        return None  # torch.fx passes stand-ins
    adj, version = getattr(edge_index, '_adjacency', (None, None))
    return adj if adj is not None and version == version_of(edge_index) else None


def weight_of(edge_index: Tensor) -> Tensor | None:
    """The edge weights that belong to a batch's ``edge_index``, unless written to since."""
    weight, version = getattr(edge_index, '_weight', (None, None))
    return weight if version == version_of(weight) else None


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


def version_of(x: Tensor | None) -> int:
    """A number that grows with every write to ``x``; constant where PyTorch keeps none."""
    return -1 if x is None or x.is_inference() else x._version
