"""GCNII (Chen, Wei, Huang, Ding, Li 2020) with historical embeddings."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.nn import GCN2Conv

from .base import Exchange, LayeredGNN
from .limits import check_not_negative, check_share


class GCN2(LayeredGNN):
    r"""Deep graph convolutions with initial residual and identity mapping, between linear layers.

    Chen et al. 2020, eq. 5, with :math:`H^{(0)} = \mathrm{ReLU}(X W_{in})`:

    .. math::
        H^{(l)} = \mathrm{ReLU}\left(\left((1 - \alpha) \hat A H^{(l-1)} + \alpha H^{(0)}\right)
        \left((1 - \beta_l) I + \beta_l W^{(l)}\right)\right), \quad
        \beta_l = \log\left(\theta / l + 1\right)

    With ``shared_weights=False`` the two summands have a matrix each (their variant GCNII*).

    Uses ``adj_t`` and its values as given: normalise the graph first, see ``gcn_normalize``.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        hidden_channels: Width of the hidden layers.
        out_channels: Width of the output.
        num_layers: Number of convolutions.
        alpha: Share of the first embedding in each layer, in [0, 1].
        theta: Strength of the weights, not negative, which falls with depth; ``None``: as strong in
            each layer.
        shared_weights: Whether propagated and first embedding share a matrix.
        dropout: Probability of dropping an entry before each layer.
        drop_input: Whether features are dropped too.
        batch_norm: Normalise after each convolution, from batch rows.
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
        alpha: float = 0.1,
        theta: float | None = 0.5,
        shared_weights: bool = True,
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
        check_share('GCN2', 'Pass the share of the first embedding, e.g. 0.1.', alpha=alpha)
        if theta is not None:
            check_not_negative('GCN2', theta=theta)
        convs = (
            GCN2Conv(hidden_channels, alpha, theta, layer, shared_weights, normalize=False)
            for layer in (range(1, num_layers + 1) if theta is not None else [None] * num_layers)
        )
        self._set_layers(convs, [hidden_channels] * num_layers, batch_norm, residual)
        self.encoder = Linear(in_channels, hidden_channels)
        self.decoder = Linear(hidden_channels, out_channels)

    def compute(self, x: Tensor, adj_t: Any, rows: int, exchange: Exchange) -> Tensor:
        first = self.encoder(self._drop_features(x)).relu()
        x = self._drop(first)
        for conv, norm, history in self.layers():
            x = self._activate(conv(x, first, adj_t), norm, x)
            x = self._drop(x if history is None else exchange(history, x))
        return self.decoder(x)
