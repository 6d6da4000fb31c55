"""Models that are one operator after the other."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleList

from .base import Exchange, LayeredGNN
from .limits import check_whole


class ConvStack(LayeredGNN):
    """Operators with optional batch norm, residuals and linear encoder and decoder.

    Without these the last operator gives the output as it is.

    Args:
        make_conv: Makes an operator, given its two widths.
        batch_norm: Normalise after each operator, from batch rows.
        residual: Add a layer's input to its output where widths agree.
        linear: Put a linear layer before the first and after the last operator.

    The other arguments are those of :class:`ReadyGNN`; ``hidden_channels`` is the width of the
    hidden layers.
    """

    def __init__(
        self,
        make_conv: Callable[[int, int], Module],
        num_nodes: int,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int,
        dropout: float,
        drop_input: bool,
        batch_norm: bool,
        residual: bool,
        linear: bool,
        pool_size: int | None,
        buffer_size: int | None,
        device: torch.device | str | None,
    ) -> None:
        if linear:  # only operators can leave it to the first features
            check_whole(type(self).__name__, 0, in_channels=in_channels)
        super().__init__(
            num_nodes, in_channels, hidden_channels, out_channels, num_layers, dropout, drop_input,
            pool_size, buffer_size, device,
        )  # fmt: skip
        self.linear = linear
        # Operators of PyG take no width of NumPy for one.
        in_channels, hidden_channels = int(in_channels), int(hidden_channels)
        hidden = [hidden_channels] * (self.num_layers - 1)
        ends = (hidden_channels, hidden_channels) if linear else (in_channels, out_channels)
        widths = [ends[0], *hidden, ends[1]]
        convs = (make_conv(a, b) for a, b in pairwise(widths))
        self._set_layers(convs, widths[1:] if linear else hidden, batch_norm, residual)
        self.encoder = Linear(in_channels, hidden_channels) if linear else None
        self.decoder = Linear(hidden_channels, out_channels) if linear else None

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay: operators and norms but the last layer."""
        return super().reg_modules if self.linear else ModuleList([*self.convs[:-1], *self.norms])

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: the last layer, or encoder and decoder."""
        return super().nonreg_modules if self.linear else self.convs[-1:]

    def propagate(self, conv: Module, x: Tensor, adj_t: Any) -> Tensor:
        """Call an operator."""
        return conv(x, adj_t)

    def compute(self, x: Tensor, adj_t: Any, rows: int, exchange: Exchange) -> Tensor:
        x = self._drop_features(x)
        if self.encoder is not None:
            x = self._drop(self.encoder(x).relu_())
        for conv, norm, history in self.layers():
            h = self.propagate(conv, x, adj_t)
            if history is None and self.decoder is None:
                return h
            x = self._activate(h, norm, x)
            x = self._drop(x if history is None else exchange(history, x))
        assert self.decoder is not None
        return self.decoder(x)
