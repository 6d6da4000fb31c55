"""PNA with jumping knowledge (Xu et al. 2018) and historical embeddings."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Linear, ModuleList

from .base import ReadyGNN
from .pna_conv import LightPNAConv, targets_apart


class PNA_JK(ReadyGNN):
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
        self.batch_norm = batch_norm
        self.residual = residual
        self.convs = ModuleList(
            LightPNAConv(hidden_channels, hidden_channels, aggregators, scalers, deg)
            for _ in range(num_layers)
        )
        norms = num_layers if batch_norm else 0
        self.norms = ModuleList(BatchNorm1d(hidden_channels) for _ in range(norms))
        self.encoder = Linear(in_channels, hidden_channels)
        self.decoder = Linear((num_layers + 1) * hidden_channels, out_channels)

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay: PNA layers and norms."""
        return ModuleList([*self.convs, *self.norms])

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: the linear layers."""
        return ModuleList([self.encoder, self.decoder])

    def _layer(self, i: int, x: Tensor, adj_t: Any) -> Tensor:
        h = self.convs[i](targets_apart(x, adj_t), adj_t)
        if self.batch_norm:
            h = self.norms[i](h)
        if self.residual:
            h = h + x[: h.size(0)]
        return h.relu()

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
        x = self.encoder(self._drop_features(x)).relu()
        rows = x.size(0) if batch_size is None else batch_size
        outputs = [x[:rows]]
        x = self._drop(x)
        for i in range(self.num_layers - 1):
            h = self._layer(i, x, adj_t)
            outputs.append(h[:rows])
            x = self.push_and_pull(self._history(i), h, batch_size, n_id, offset, count)
            x = self._drop(x)
        outputs.append(self._layer(self.num_layers - 1, x, adj_t)[:rows])
        return self.decoder(self._drop(torch.cat(outputs, dim=-1)))
