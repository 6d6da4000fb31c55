"""PNA with jumping knowledge (Xu et al. 2018) and historical embeddings."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear

from .base import Exchange, LayeredGNN
from .pna_conv import LightPNAConv, targets_apart


class PNA_JK(LayeredGNN):
    r"""PNA layers between linear layers; the last one reads every layer's output.

    .. math::
        h^{(0)} = \mathrm{ReLU}(W_{in} x), \quad
        y = W_{out} [h^{(0)} \Vert h^{(1)} \Vert \dots \Vert h^{(L)}]

    (Xu et al. 2018, concatenation), with :math:`h^{(l)}` as in :class:`PNA`.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        hidden_channels: Width of the hidden layers.
        out_channels: Width of the output.
        num_layers: Number of PNA layers.
        aggregators, scalers, deg: As in :class:`LightPNAConv`.
        dropout: Probability of dropping an entry before each layer.
        drop_input: Whether features are dropped too.
        batch_norm: Normalise after each PNA layer, from batch rows.
        residual: Add a layer's input to its output.
        pool_size, buffer_size, device: As in :class:`ScalableGNN`.
    """

    def __init__(
        self,
        num_nodes: int,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int,
        aggregators: Sequence[str],
        scalers: Sequence[str],
        deg: Tensor,
        dropout: float = 0.0,
        drop_input: bool = True,
        batch_norm: bool = False,
        residual: bool = False,
        pool_size: int | None = None,
        buffer_size: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(
            num_nodes, in_channels, hidden_channels, out_channels, num_layers, dropout, drop_input,
            pool_size, buffer_size, device,
        )  # fmt: skip
        convs = (
            LightPNAConv(hidden_channels, hidden_channels, aggregators, scalers, deg)
            for _ in range(num_layers)
        )
        self._set_layers(convs, [hidden_channels] * num_layers, batch_norm, residual)
        self.encoder = Linear(in_channels, hidden_channels)
        self.decoder = Linear((num_layers + 1) * hidden_channels, out_channels)

    def compute(self, x: Tensor, adj_t: Any, rows: int, exchange: Exchange) -> Tensor:
        x = self.encoder(self._drop_features(x)).relu()
        outputs = [x[:rows]]
        x = self._drop(x)
        for conv, norm, history in self.layers():
            h = self._activate(conv(targets_apart(x, adj_t), adj_t), norm, x)
            outputs.append(h[:rows])
            if history is not None:
                x = self._drop(exchange(history, h))
        return self.decoder(self._drop(torch.cat(outputs, dim=-1)))
