"""Models that are one operator after the other."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Linear, Module, ModuleList

from .base import ReadyGNN


class ConvStack(ReadyGNN):
    """Operators with optional batch norm, residuals and linear encoder and decoder.

    One layer is ``h = ReLU(norm(conv(x, adj_t)) + x)``, with norm and residual where asked for.

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
        super().__init__(
            num_nodes, in_channels, hidden_channels, out_channels, num_layers, dropout, drop_input,
            pool_size, buffer_size, device,
        )  # fmt: skip
        self.batch_norm = batch_norm
        self.residual = residual
        self.linear = linear

        hidden = [hidden_channels] * (num_layers - 1)
        ends = (hidden_channels, hidden_channels) if linear else (in_channels, out_channels)
        widths = [ends[0], *hidden, ends[1]]
        self.convs = ModuleList(make_conv(a, b) for a, b in pairwise(widths))
        self.norms = ModuleList(
            BatchNorm1d(width) for width in (widths[1:] if linear else hidden) if batch_norm
        )
        self.encoder = Linear(in_channels, hidden_channels) if linear else None
        self.decoder = Linear(hidden_channels, out_channels) if linear else None

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay: operators and norms but the last layer."""
        convs = self.convs if self.linear else self.convs[:-1]
        return ModuleList([*convs, *self.norms])

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: the last layer, or encoder and decoder."""
        if self.encoder is None or self.decoder is None:
            return self.convs[-1:]
        return ModuleList([self.encoder, self.decoder])

    def _propagate(self, i: int, x: Tensor, adj_t: Any) -> Tensor:
        return self.convs[i](x, adj_t)

    def _layer(self, i: int, x: Tensor, adj_t: Any) -> Tensor:
        h = self._propagate(i, x, adj_t)
        if self.batch_norm:
            h = self.norms[i](h)
        if self.residual and h.size(-1) == x.size(-1):
            h = h + x[: h.size(0)]
        return h.relu_()

    def forward(
        self,
        x: Tensor,
        adj_t: Any,
        batch_size: int | None = None,
        n_id: Tensor | None = None,
        offset: Tensor | None = None,
        count: Tensor | None = None,
    ) -> Tensor:
        """Compute the output rows; see :class:`ScalableGNN` for the arguments.

        Args:
            x: ``(n, in_channels)``.
            adj_t: Adjacency, rows are targets.

        Returns:
            ``(B, out_channels)``.
        """
        x = self._drop_features(x)
        if self.encoder is not None:
            x = self._drop(self.encoder(x).relu_())
        for i in range(self.num_layers - 1):
            x = self._layer(i, x, adj_t)
            x = self.push_and_pull(self._history(i), x, batch_size, n_id, offset, count)
            x = self._drop(x)
        if self.decoder is None:
            return self._propagate(self.num_layers - 1, x, adj_t)
        return self.decoder(self._drop(self._layer(self.num_layers - 1, x, adj_t)))
