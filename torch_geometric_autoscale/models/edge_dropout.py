"""Edge dropout on the adjacency of every batch, for any model."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..adjacency import Adjacency
from ..ops import dropout


def drop_edges_in_training(model: torch.nn.Module, p: float) -> RemovableHandle:
    """Let a model drop edges at random in ``train()``, whatever layers it has.

    Each call in ``train()`` drops another share ``p`` of the values of its sparse adjacency and
    scales the others by ``1 / (1 - p)``, the same ones for every layer. A dropped edge keeps its
    place with the value zero, and values weigh messages. So sums lose the dropped messages (GCN,
    GCN2, APPNP, GIN), but a mean (SAGE, PNA) still divides by all edges, degrees and degree scalers
    (PNA) still count them, and a max or min (SAGE, PNA) reads zeros in their place. Attention (GAT)
    reads no values and sees no difference.

    Args:
        model: Whose ``forward`` takes a batch's adjacency or another sparse matrix.
        p: Probability of dropping an edge, in [0, 1].

    Returns:
        A handle whose ``remove()`` undoes it.
    """

    def drop(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not module.training:
            return None
        kwargs = {name: _dropped(value, p) for name, value in kwargs.items()}
        return tuple(_dropped(value, p) for value in args), kwargs

    return model.register_forward_pre_hook(drop, with_kwargs=True)


def _dropped(value: Any, p: float) -> Any:
    sparse = isinstance(value, Tensor) and value.layout != torch.strided
    return dropout(value, p) if isinstance(value, Adjacency) or sparse else value
