"""A model on a piece of a graph: what it takes to run its training step there."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..conversion import AutoScaled, autoscale
from ..conversion.as_model import ConvertedGNN
from ..errors import explain
from ..history import History
from ..loader import SubgraphLoader
from ..scalable import ScalableGNN
from .pieces import Piece
from .terms import WHO

# A model for a piece of the graph.
Maker = Callable[[Piece], torch.nn.Module]


@dataclass
class Subject:
    """A model and the batches of the piece it was made for.

    Attributes:
        loader: Its only batch in training joins the piece's parts.
        refresh: Runs a layer-wise inference that writes every history.
    """

    model: torch.nn.Module
    loader: Any
    refresh: Callable[[], Any]


def maker_of(model: Any) -> Maker:
    """How to make the model for a piece, from whatever form it was given in.

    Args:
        model: A :class:`ScalableGNN`, what :func:`autoscale` returns, or a function that makes one
            for a number of nodes. The model itself is left alone.

    Raises:
        TypeError: For anything else.
    """
    if isinstance(model, AutoScaled):
        return lambda piece: _converted_again(model, piece)
    if isinstance(model, ConvertedGNN):
        return lambda piece: ConvertedGNN(
            copy.deepcopy(model.module), piece.data, piece.ptr, verify=False
        )
    if isinstance(model, ScalableGNN):
        return lambda piece: with_tables_of(model, piece.num_nodes)
    if isinstance(model, torch.nn.Module) or not callable(model):
        raise TypeError(
            explain(WHO, "'model' must be a ScalableGNN, what autoscale() returns, or a function "
                    'from a number of nodes to such a model', type(model).__name__,
                    'Convert a plain module with autoscale(module, data).')
        )  # fmt: skip
    return lambda piece: _made(model, piece.num_nodes)


def _made(function: Callable[[int], Any], num_nodes: int) -> torch.nn.Module:
    model = function(num_nodes)
    if not isinstance(model, (ScalableGNN, AutoScaled)):
        raise TypeError(
            explain(WHO, "'model' must make a ScalableGNN for a number of nodes",
                    type(model).__name__, 'Pass e.g. lambda n: GCN(n, 128, 256, 40, 3).')
        )  # fmt: skip
    return model


def with_tables_of(model: ScalableGNN, num_nodes: int) -> ScalableGNN:
    """A copy of a model with empty histories for another number of nodes."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        if isinstance(module, History):
            dtype = module.dtype if module.dtype_is_chosen else None
            # Other tiers are compared with main memory, wherever the model computes.
            memo[id(module)] = History(num_nodes, module.embedding_dim, dtype=dtype, tier='ram')
        for value in vars(module).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                memo[id(value)] = value.detach()  # left by an earlier call; cannot be copied
    other = copy.deepcopy(model, memo)
    other.num_nodes = num_nodes
    return other


def _converted_again(model: AutoScaled, piece: Piece) -> AutoScaled:
    nodes = torch.arange(piece.num_nodes)
    return autoscale(
        copy.deepcopy(model.module), piece.data, partition=(nodes, piece.ptr), verify=False,
        inputs=model._conversion.inputs.sources, tier='ram',
    )  # fmt: skip


def subject_of(
    make: Maker,
    piece: Piece,
    device: torch.device,
    options: Mapping[str, Any],
) -> Subject:
    """Make the model of a piece and its loader.

    Args:
        make: Makes the model.
        piece: The piece.
        device: Where the model goes.
        options: Further arguments of the loader.
    """
    torch.manual_seed(0)
    model = make(piece).to(device)
    size = len(piece.parts)
    options = {'input_nodes': piece.data.get('train_mask'), 'sampler': list(piece.parts), **options}
    if isinstance(model, AutoScaled):
        return Subject(model, model.loader(size, **options), lambda: model.refresh(size))
    loader = SubgraphLoader(piece.data, piece.ptr, size, log=False, **options)
    return Subject(model, loader, lambda: model.refresh(loader))  # type: ignore[operator]
