"""GAT (Velickovic et al. 2018) with historical embeddings."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import ModuleList
from torch_geometric.nn import GATConv

from .base import Exchange, ReadyGNN
from .limits import check_whole


class GAT(ReadyGNN):
    r"""Graph attention; hidden heads are concatenated, output heads averaged.

    One head of a layer is Velickovic et al. 2018, eq. 3 and 4, on the edges as given:

    .. math::
        h'_v = \sum_{w \in N(v)} \alpha_{vw} W h_w, \quad \alpha_{vw} = \mathrm{softmax}_w
        (\mathrm{LeakyReLU}(a_1^\top W h_w + a_2^\top W h_v))

    with ELU between layers, and dropout on :math:`\alpha` too. Reads the edges of ``adj_t``, not
    their values, and adds none: put self-loops into the graph first, as the paper has them.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        hidden_channels: Width of a hidden head; a hidden layer has ``hidden_heads`` times that.
        out_channels: Width of the output.
        num_layers: Number of layers.
        hidden_heads: Number of heads of a hidden layer.
        out_heads: Number of heads of the last layer.
        dropout: Probability of dropping an entry before each layer, and an attention weight.
        drop_input: Whether features are dropped too.
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
        hidden_heads: int = 8,
        out_heads: int = 1,
        dropout: float = 0.0,
        drop_input: bool = True,
        pool_size: int | None = None,
        buffer_size: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        check_whole(
            'GAT', 1, hidden_channels=hidden_channels, hidden_heads=hidden_heads,
            out_heads=out_heads,
        )  # fmt: skip
        width = int(hidden_channels * hidden_heads)
        super().__init__(
            num_nodes, in_channels, width, out_channels, num_layers, dropout, drop_input,
            pool_size, buffer_size, device,
        )  # fmt: skip
        self.hidden_channels = hidden_channels
        self.hidden_heads = hidden_heads
        self.out_heads = out_heads
        widths = [int(in_channels)] + [width] * (self.num_layers - 1)
        self.convs = ModuleList(
            GATConv(a, hidden_channels, hidden_heads, dropout=dropout, add_self_loops=False)
            for a in widths[:-1]
        )
        self.convs.append(
            GATConv(
                widths[-1], out_channels, out_heads, concat=False, dropout=dropout,
                add_self_loops=False,
            )
        )  # fmt: skip

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay: all layers."""
        return self.convs

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: none."""
        return ModuleList()

    def compute(self, x: Tensor, adj_t: Any, rows: int, exchange: Exchange) -> Tensor:
        x = self._drop_features(x)
        for conv, history in self.with_histories(self.convs):
            x = conv(x, adj_t)
            if history is not None:
                x = self._drop(exchange(history, F.elu(x)))
        return x
