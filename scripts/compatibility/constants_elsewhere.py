"""A full-batch run that a batch may learn from: the rows of other nodes are constants."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.overrides import TorchFunctionMode
from torch_geometric.nn import MessagePassing

from .graphs import NODE_COUNTS, NODES

Ids = Mapping[str, Tensor]
_SCATTERS = {'scatter_add_', 'scatter_reduce_', 'index_add_', 'scatter_add', 'index_add'}


@contextmanager
def constants_elsewhere(module: Module, ids: Ids) -> Iterator[None]:
    """Inside, rows of nodes not in ``ids`` carry no gradient on.

    They are cut off where an operator, a propagation inside of one, or a scatter or product with
    the adjacency outside of one, gives them. That is where histories take over, or before it: what
    is computed of such rows alone until then is not read by the rows of ``ids``.
    """
    by_hand = _ByHand(ids)
    handles = []
    for part in module.modules():
        if isinstance(part, MessagePassing):
            handles.append(part.register_propagate_forward_hook(_after_propagation(ids)))
            handles.append(part.register_forward_pre_hook(by_hand.enter))
            handles.append(part.register_forward_hook(by_hand.leave))
            handles.append(part.register_forward_hook(_after_operator(ids)))
    try:
        with by_hand:
            yield
    finally:
        for handle in handles:
            handle.remove()


class _ByHand(TorchFunctionMode):
    """Cuts after scatters and sparse products that no operator makes."""

    def __init__(self, ids: Ids) -> None:
        super().__init__()
        self.ids, self.operators = ids, 0

    def enter(self, *_: Any) -> None:
        self.operators += 1

    def leave(self, *_: Any) -> None:
        self.operators -= 1

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, '__name__', '')
        sparse = any(isinstance(a, Tensor) and a.layout != torch.strided for a in args)
        if self.operators or not (sparse or name in _SCATTERS) or not isinstance(out, Tensor):
            return out
        return _cut(out, self.ids, 0) if out.layout == torch.strided and out.dim() else out


def _after_propagation(ids: Ids) -> Any:
    def hook(operator: MessagePassing, _: Any, out: Any) -> Any:
        return _cut(out, ids, operator.node_dim)

    return hook


def _after_operator(ids: Ids) -> Any:
    def hook(_: MessagePassing, __: Any, out: Any) -> Any:
        if isinstance(out, dict):
            return {
                key: _cut(rows, ids if '' in ids else {key: ids[key]}, 0)
                for key, rows in out.items()
            }
        return _cut(out, ids, 0)

    return hook


def _cut(rows: Any, ids: Ids, dim: int) -> Any:
    if not isinstance(rows, Tensor) or not rows.requires_grad:
        return rows
    nodes = _of_as_many_nodes(ids, rows.size(dim))
    if nodes is None:
        return rows
    keep = torch.zeros(rows.size(dim), dtype=torch.bool)
    keep[nodes] = True
    shape = [1] * rows.dim()
    shape[dim] = -1
    return torch.where(keep.view(shape), rows, rows.detach())


def _of_as_many_nodes(ids: Ids, num_rows: int) -> Tensor | None:
    """The batch nodes of the type that has as many nodes as there are rows."""
    if '' in ids:
        return ids[''] if num_rows == NODES else None
    return next((ids[key] for key, count in NODE_COUNTS.items() if count == num_rows), None)
