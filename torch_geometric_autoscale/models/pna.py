"""PNA (Corso et al. 2020), the GAS paper's light variant, with historical embeddings."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from .pna_conv import LightPNAConv, targets_apart
from .stack import ConvStack


class PNA(ConvStack):
    """Layers of several aggregators and degree scalers; :class:`LightPNAConv` has the equation.

    Values of ``adj_t`` weigh the messages: the paper's runs use none, and no self-loops. With
    ``drop_edges_in_training`` means and degree scalers still count dropped edges, and a min reads
    zeros in their place (to a max of what ReLU gives, these are as no message).

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        hidden_channels: Width of the hidden layers.
        out_channels: Width of the output.
        num_layers: Number of layers.
        aggregators, scalers, deg: As in :class:`LightPNAConv`.
        dropout: Probability of dropping an entry before each layer.
        drop_input: Whether features are dropped too.
        batch_norm: Normalise after each layer, from batch rows.
        residual: Add a layer's input to its output where widths agree.
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
        make = partial(LightPNAConv, aggregators=aggregators, scalers=scalers, deg=deg)
        super().__init__(
            make, num_nodes, in_channels, hidden_channels, out_channels, num_layers, dropout,
            drop_input, batch_norm, residual, False, pool_size, buffer_size, device,
        )  # fmt: skip

    def propagate(self, conv: Module, x: Tensor, adj_t: Any) -> Tensor:
        return conv(targets_apart(x, adj_t), adj_t)
