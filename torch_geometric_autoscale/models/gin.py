"""GIN (Xu et al. 2019) with historical embeddings and the GAS paper's perturbation loss."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Linear, Module, ModuleList, ReLU, Sequential
from torch_geometric.nn import GINConv

from .base import Exchange, ReadyGNN
from .limits import check_not_negative


class GIN(ReadyGNN):
    r"""Graph isomorphism layers between linear layers, as expressive as the WL test.

    One layer is Xu et al. 2019, eq. 4.1, with a two-layer network and a learned :math:`\epsilon`:

    .. math::
        h_v^{(l)} = \mathrm{MLP}^{(l)}\left((1 + \epsilon^{(l)}) h_v^{(l-1)}
        + \sum_{w \in N(v)} h_w^{(l-1)}\right)

    plus :math:`h_v^{(l-1)}` with ``residual``. A layer that tells neighbourhoods apart may also
    answer a small error of a history with a large one. The GAS paper's perturbation loss (Fey et
    al. 2021, Sec. 3), which makes layers :math:`f^{(l)}` locally Lipschitz-small, keeps them from
    doing so, where they read histories:

    .. math::
        \mathcal{R} = \frac{1}{L - 1} \sum_{l=2}^{L} \frac{1}{B} \sum_{v=1}^{B}
        \left\Vert f^{(l)}(H^{(l-1)})_v - f^{(l)}(H^{(l-1)} + E)_v \right\Vert_2, \quad
        E \sim \mathcal{N}(0, \sigma^2 I)

    In training, ``forward`` then returns ``(out, perturbation * R)``, to be added to the loss. The
    first layer reads no history and is left out; the mean over layers and nodes makes the weight
    mean the same at any depth and batch size. Batch norms take part with the statistics of the
    batch, and perturbed rows leave no trace in the running ones.

    Reads the edges of ``adj_t``, not the weights that the graph gives them; values that
    ``drop_edges_in_training`` or :func:`dropout` has set weigh the messages.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        hidden_channels: Width of the hidden layers.
        out_channels: Width of the output.
        num_layers: Number of GIN layers ``L``.
        dropout: Probability of dropping an entry before each layer.
        drop_input: Whether features are dropped too.
        batch_norm: Normalise inside of each network, with running statistics.
        residual: Add a layer's input to its output.
        perturbation: Weight of the perturbation loss; 0: none, and ``forward`` returns ``out``.
        noise: Its :math:`\sigma`.
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
        batch_norm: bool = True,
        residual: bool = True,
        perturbation: float = 0.0,
        noise: float = 0.1,
        pool_size: int | None = None,
        buffer_size: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(
            num_nodes, in_channels, hidden_channels, out_channels, num_layers, dropout, drop_input,
            pool_size, buffer_size, device,
        )  # fmt: skip
        check_not_negative('GIN', perturbation=perturbation, noise=noise)
        self.residual = residual
        self.perturbation = perturbation
        self.noise = noise
        self.convs = ModuleList(
            GINConv(_network(hidden_channels, batch_norm), train_eps=True)
            for _ in range(num_layers)
        )
        self.encoder = Linear(in_channels, hidden_channels)
        self.decoder = Linear(hidden_channels, out_channels)

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay: GIN layers and their norms."""
        return self.convs

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: the linear layers."""
        return ModuleList([self.encoder, self.decoder])

    def _layer(self, conv: Module, x: Tensor, adj_t: Any) -> Tensor:
        h = conv(x, adj_t)
        return h + x[: h.size(0)] if self.residual else h

    def _answer_to_noise(self, conv: Module, x: Tensor, h: Tensor, adj_t: Any, rows: int) -> Tensor:
        """Mean distance between a layer's output rows and those of perturbed inputs."""
        with _running_statistics_kept(conv):
            perturbed = self._layer(conv, x + self.noise * torch.randn_like(x), adj_t)
        return (h[:rows] - perturbed[:rows]).norm(dim=-1).mean()

    def compute(
        self, x: Tensor, adj_t: Any, rows: int, exchange: Exchange
    ) -> Tensor | tuple[Tensor, Tensor]:
        """The output; in training with a perturbation loss, a pair with the weighted loss."""
        perturbs = self.training and self.perturbation > 0
        losses = []
        x = self._drop(self.encoder(self._drop_features(x)).relu())
        for conv, history in self.with_histories(self.convs):
            h = self._layer(conv, x, adj_t)
            if perturbs and conv is not self.convs[0]:
                losses.append(self._answer_to_noise(conv, x, h, adj_t, rows))
            x = self._drop(h if history is None else exchange(history, h))
        out = self.decoder(x)
        if not perturbs:
            return out
        loss = sum(losses, out.new_zeros(()))
        return out, self.perturbation * loss / max(self.num_layers - 1, 1)


def _network(width: int, batch_norm: bool) -> Sequential:
    norm = [BatchNorm1d(width)] if batch_norm else []
    return Sequential(Linear(width, width), *norm, ReLU(), Linear(width, width), ReLU())


@contextmanager
def _running_statistics_kept(module: Module) -> Iterator[None]:
    """Let batch norms normalise as in training without taking note of what they see."""
    norms = [m for m in module.modules() if isinstance(m, BatchNorm1d) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
