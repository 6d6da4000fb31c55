"""One pass of a model with something done at each of its boundaries."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torch_geometric.nn import MessagePassing

from ..errors import explain
from ..inference import current_replay
from ..watcher import Site, Watcher
from ..ways import note_step
from .boundaries import Boundary

# ``handle(k, boundary, rows)``: rows in, as ``(rows, C)``, and what goes on in their place.
Handle = Callable[[int, Boundary, Tensor], Tensor]


class BoundaryPass(Watcher):
    """Hands each boundary's rows to ``handle``, and checks that all boundaries were met.

    Args:
        model: The model that runs inside :meth:`watching`.
        boundaries: In the order of the forward.
        handle: Answers boundary ``k``; its rows are ``(n, C)`` or ``(B, C)``.
        pad_to: Number of rows that operators without a boundary are filled up to, with zeros, if
            they give ``pad_from`` rows.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        boundaries: Sequence[Boundary],
        handle: Handle,
        pad_from: int | None = None,
        pad_to: int | None = None,
    ) -> None:
        super().__init__(model)
        self._model = model
        self._boundaries = boundaries
        self._handle = handle
        self._pad = (pad_from, pad_to)
        self._at: dict[tuple[str, str, int], list[tuple[int, Boundary]]] = {}
        for k, boundary in enumerate(boundaries):
            site = boundary.site
            self._at.setdefault((site.kind, site.name, site.time), []).append((k, boundary))
        self.functions = {b.site.name for b in boundaries if b.site.kind == 'function'}
        opened = {b.site.name for b in boundaries if b.site.kind == 'propagation'}
        self._opened = [
            m for m, path in self._paths.items() if path in opened and isinstance(m, MessagePassing)
        ]
        self.num_met = 0

    def propagations(self) -> list[MessagePassing]:
        return self._opened

    def compute_propagation(
        self, operator: MessagePassing, propagate: Callable, args: Any, kwargs: Any
    ) -> Any:
        replay = current_replay()
        if replay is not None:
            return replay.unit(operator, args, kwargs, propagate)
        note_step(operator)
        return propagate(*args, **kwargs)

    def reached(self, site: Site, value: Any, dim: int) -> Any:
        here = self._at.get((site.kind, site.name, site.time))
        if here is None:
            return self._padded(value, dim) if site.kind == 'operator' else value
        leaves, spec = tree_flatten(value)
        for k, boundary in here:
            if boundary.leaf >= len(leaves) or not isinstance(leaves[boundary.leaf], Tensor):
                self._refuse_other_value(boundary, 'no tensor')
            leaves[boundary.leaf] = self._at_boundary(k, boundary, leaves[boundary.leaf])
        return tree_unflatten(leaves, spec)

    def check_finished(self) -> None:
        """Raise unless the forward has met every boundary."""
        if self.num_met != len(self._boundaries):
            raise ValueError(
                explain(type(self._model).__name__, 'forward must take the same steps on every '
                        'call', f'{self.num_met} of its {len(self._boundaries)} boundaries',
                        'Do not let the order of layers depend on the data or the epoch.')
            )  # fmt: skip

    def _at_boundary(self, k: int, boundary: Boundary, value: Tensor) -> Tensor:
        dim = boundary.dim
        tail = list(value.shape)
        if not -value.dim() <= dim < value.dim():
            self._refuse_other_value(boundary, f'shape {tuple(value.shape)}')
        rows = tail.pop(dim)
        if tuple(tail) != boundary.tail:
            self._refuse_other_value(boundary, f'shape {tuple(value.shape)}')
        self.num_met += 1
        note_step(boundary)
        flat = value
        if dim != 0 or len(tail) != 1:
            # Not -1: a batch may hold no node of a type.
            flat = value.movedim(dim, 0).reshape(rows, math.prod(tail))
        out = self._handle(k, boundary, flat)
        if out is flat:
            return value
        if flat is value:
            return out
        return out.view(out.size(0), *tail).movedim(0, dim)

    def _refuse_other_value(self, boundary: Boundary, came: str) -> None:
        raise ValueError(
            explain(type(self._model).__name__, 'forward must take the same steps on every call; '
                    f'at {boundary} it gave rows of shape {boundary.tail} before', came,
                    'Do not let the order or the shape of layers depend on the data.')
        )  # fmt: skip

    def _padded(self, value: Any, dim: int) -> Any:
        short, full = self._pad
        if short is None or full is None or short == full or not isinstance(value, Tensor):
            return value
        if value.dim() == 0 or (dim < 0 and value.dim() < -dim) or value.size(dim) != short:
            return value
        shape = list(value.shape)
        shape[dim] = full - short
        return torch.cat([value, value.new_zeros(shape)], dim)
