"""APPNP (Gasteiger, Bojchevski, Günnemann 2019) with historical embeddings."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, ModuleList
from torch_geometric.nn import LGConv

from .base import Exchange, ReadyGNN
from .limits import check_share, check_whole


class APPNP(ReadyGNN):
    r"""Predict from features, then propagate by personalised PageRank.

    Gasteiger et al. 2019, eq. 4, without its last softmax:

    .. math::
        Z^{(0)} = H = f_\theta(X), \quad
        Z^{(k)} = (1 - \alpha) \hat A Z^{(k-1)} + \alpha H, \quad k = 1, \dots, K

    with :math:`f_\theta` two linear layers. Each propagation is a layer of its own, with its own
    history; no dropout acts between them, and none on edges.

    Uses ``adj_t`` and its values as given: normalise the graph first, see ``gcn_normalize``.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        hidden_channels: Width between the two linear layers.
        out_channels: Width of the output, and of every history.
        num_layers: Number of propagations ``K``.
        alpha: Share of the first prediction in each step, in [0, 1].
        dropout: Probability of dropping an entry before each linear layer.
        drop_input: Whether features are dropped too.
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
        dropout: float = 0.0,
        drop_input: bool = True,
        pool_size: int | None = None,
        buffer_size: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(
            num_nodes, in_channels, out_channels, out_channels, num_layers, dropout, drop_input,
            pool_size, buffer_size, device,
        )  # fmt: skip
        check_whole('APPNP', 1, hidden_channels=hidden_channels)
        check_share('APPNP', 'Pass the share of the first prediction, e.g. 0.1.', alpha=alpha)
        self.hidden_channels = hidden_channels
        self.alpha = alpha
        self.lins = ModuleList(
            [Linear(in_channels, hidden_channels), Linear(hidden_channels, out_channels)]
        )
        self.props = ModuleList(LGConv(normalize=False) for _ in range(num_layers))

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay: the first linear layer."""
        return self.lins[:1]

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: the last linear layer."""
        return self.lins[1:]

    def compute(self, x: Tensor, adj_t: Any, rows: int, exchange: Exchange) -> Tensor:
        x = self.lins[0](self._drop_features(x)).relu_()
        x = first = self.lins[1](self._drop(x))
        for prop, history in self.with_histories(self.props):
            h = prop(x, adj_t)
            x = (1 - self.alpha) * h + self.alpha * first[: h.size(0)]
            if history is not None:
                x = exchange(history, x)
        return x
