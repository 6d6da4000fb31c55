"""GCN (Kipf & Welling 2017) with historical embeddings."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Linear, ModuleList
from torch_geometric.nn import GCNConv

from ..ops import fast_dropout
from ..scalable import ScalableGNN


class GCN(ScalableGNN):
    """Graph convolutions with optional batch norm, residuals and linear encoder and decoder.

    Uses ``adj_t`` and its values as given: normalise the graph first, see ``gcn_normalize``.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        hidden_channels: Width of the hidden layers.
        out_channels: Width of the output.
        num_layers: Number of convolutions.
        dropout: Probability of dropping an entry before each layer.
        drop_input: Whether features are dropped too. Without it the first propagation is the same
            in every epoch and is computed once.
        batch_norm: Normalise after each convolution, from batch rows.
        residual: Add a layer's input to its output where widths agree.
        linear: Put a linear layer before the first and after the last convolution.
        pool_size, buffer_size, device: As in :class:`ScalableGNN`.
    """

    def __init__(
        self,
        num_nodes: int,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int,
        dropout: float = 0.0,
        drop_input: bool = True,
        batch_norm: bool = False,
        residual: bool = False,
        linear: bool = False,
        pool_size: int | None = None,
        buffer_size: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(num_nodes, hidden_channels, num_layers, pool_size, buffer_size, device)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.dropout = dropout
        self.drop_input = drop_input
        self.batch_norm = batch_norm
        self.residual = residual
        self.linear = linear

        hidden = [hidden_channels] * (num_layers - 1)
        ends = (hidden_channels, hidden_channels) if linear else (in_channels, out_channels)
        widths = [ends[0], *hidden, ends[1]]
        self.convs = ModuleList(GCNConv(a, b, normalize=False) for a, b in pairwise(widths))
        self.norms = ModuleList(
            BatchNorm1d(width) for width in (widths[1:] if linear else hidden) if batch_norm
        )
        self.encoder = Linear(in_channels, hidden_channels) if linear else None
        self.decoder = Linear(hidden_channels, out_channels) if linear else None

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay: convolutions and norms but the last layer."""
        convs = self.convs if self.linear else self.convs[:-1]
        return ModuleList([*convs, *self.norms])

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: the last layer, or encoder and decoder."""
        if self.encoder is None or self.decoder is None:
            return self.convs[-1:]
        return ModuleList([self.encoder, self.decoder])

    def reset_parameters(self) -> None:
        """Draw new parameters and reset the histories."""
        super().reset_parameters()
        layers: Sequence[Any] = [*self.convs, *self.norms, self.encoder, self.decoder]
        for layer in layers:
            if layer is not None:
                layer.reset_parameters()

    def _drop(self, x: Tensor) -> Tensor:
        return fast_dropout(x, self.dropout, self.training)

    def _layer(self, i: int, x: Tensor, adj_t: Any) -> Tensor:
        h = self.convs[i](x, adj_t)
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
            adj_t: Normalised adjacency, rows are targets.

        Returns:
            ``(B, out_channels)``.
        """
        if self.drop_input:
            x = self._drop(x)
        if self.encoder is not None:
            x = self._drop(self.encoder(x).relu_())
        for i, history in enumerate(self.histories):
            x = self._layer(i, x, adj_t)
            x = self.push_and_pull(history, x, batch_size, n_id, offset, count)  # type: ignore[arg-type]
            x = self._drop(x)
        if self.decoder is None:
            return self.convs[-1](x, adj_t)
        return self.decoder(self._drop(self._layer(len(self.convs) - 1, x, adj_t)))
