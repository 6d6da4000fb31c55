"""What the ready models have in common."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, ModuleList

from ..errors import explain
from ..history import History
from ..ops import fast_dropout
from ..scalable import ScalableGNN


class ReadyGNN(ScalableGNN):
    """A :class:`ScalableGNN` with dropout and two groups of parameters.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        width: Width of every history.
        out_channels: Width of the output.
        num_layers: Number of layers; one history less is kept.
        dropout: Probability of dropping an entry before each layer.
        drop_input: Whether features are dropped too.
        pool_size, buffer_size, device: As in :class:`ScalableGNN`.
    """

    def __init__(
        self,
        num_nodes: int,
        in_channels: int,
        width: int,
        out_channels: int,
        num_layers: int,
        dropout: float,
        drop_input: bool,
        pool_size: int | None,
        buffer_size: int | None,
        device: torch.device | str | None,
    ) -> None:
        super().__init__(num_nodes, width, num_layers, pool_size, buffer_size, device)
        if not 0 <= dropout <= 1:
            raise ValueError(
                explain(type(self).__name__, "'dropout' must lie in [0, 1]", dropout,
                        'Pass the share of entries to drop, e.g. 0.5.')
            )  # fmt: skip
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.dropout = dropout
        self.drop_input = drop_input

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay."""
        raise NotImplementedError

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: all others."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw new parameters and reset the histories."""
        super().reset_parameters()
        for name, child in self.named_children():
            if name != 'histories':
                _reset(child)

    def _drop(self, x: Tensor) -> Tensor:
        return fast_dropout(x, self.dropout, self.training)

    def _drop_features(self, x: Tensor) -> Tensor:
        return self._drop(x) if self.drop_input else x

    def _history(self, i: int) -> History:
        history: Any = self.histories[i]
        return history


def _reset(module: Module) -> None:
    """Call ``reset_parameters`` of a layer, or of every layer in a list of them."""
    reset: Any = getattr(module, 'reset_parameters', None)
    if reset is not None:
        reset()
        return
    for child in module.children():
        _reset(child)
