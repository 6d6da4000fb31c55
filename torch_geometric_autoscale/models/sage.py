"""GraphSAGE (Hamilton, Ying, Leskovec 2017) with historical embeddings."""

from functools import partial

import torch
from torch_geometric.nn import SAGEConv

from .stack import ConvStack


class SAGE(ConvStack):
    r"""GraphSAGE layers with optional batch norm, residuals and linear encoder and decoder.

    One layer is Hamilton et al. 2017, Alg. 1, lines 4 and 5, over *all* neighbours instead of a
    sample, with a matrix each for a node and its neighbours (their concatenation written out):

    .. math::
        h_v^{(l)} = \mathrm{ReLU}(W_1^{(l)} \mathrm{aggr}_{w \in N(v)} h_w^{(l-1)}
        + W_2^{(l)} h_v^{(l-1)} + b^{(l)})

    Reads the edges of ``adj_t``, not the weights that the graph gives them; values that
    ``drop_edges_in_training`` or :func:`dropout` has set weigh the messages.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        hidden_channels: Width of the hidden layers.
        out_channels: Width of the output.
        num_layers: Number of layers.
        dropout: Probability of dropping an entry before each layer.
        drop_input: Whether features are dropped too.
        batch_norm: Normalise after each layer, from batch rows.
        residual: Add a layer's input to its output where widths agree.
        linear: Put a linear layer before the first and after the last layer.
        aggr: How neighbours are aggregated, ``'mean'``, ``'max'`` or another name PyG knows.
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
        aggr: str = 'mean',
        pool_size: int | None = None,
        buffer_size: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(
            partial(SAGEConv, aggr=aggr), num_nodes, in_channels, hidden_channels, out_channels,
            num_layers, dropout, drop_input, batch_norm, residual, linear, pool_size, buffer_size,
            device,
        )  # fmt: skip
