"""GCN (Kipf & Welling 2017) with historical embeddings."""

from functools import partial

import torch
from torch_geometric.nn import GCNConv

from .stack import ConvStack


class GCN(ConvStack):
    r"""Graph convolutions with optional batch norm, residuals and linear encoder and decoder.

    One layer is Kipf & Welling 2017, eq. 2, on the adjacency as given:

    .. math::
        H^{(l)} = \mathrm{ReLU}(\hat A H^{(l-1)} W^{(l)} + b^{(l)})

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

    can_infer_in_channels = True

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
        super().__init__(
            partial(GCNConv, normalize=False), num_nodes, in_channels, hidden_channels,
            out_channels, num_layers, dropout, drop_input, batch_norm, residual, linear,
            pool_size, buffer_size, device,
        )  # fmt: skip
