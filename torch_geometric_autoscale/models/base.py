"""What the ready models have in common."""

from collections.abc import Callable, Iterable, Iterator
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Module, ModuleList

from ..ops import fast_dropout
from ..scalable import ScalableGNN
from .limits import check_share, check_whole

# ``exchange(history, h)``: a layer boundary, as ``push_and_pull`` for the batch at hand.
Exchange = Callable[[Any, Tensor], Tensor]


class ReadyGNN(ScalableGNN):
    """A :class:`ScalableGNN` with dropout and two groups of parameters.

    Subclasses write :meth:`compute`.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        in_channels: Width of the features.
        width: Width of every history.
        out_channels: Width of the output.
        num_layers: Number of layers; one history less is kept.
        dropout: Probability of dropping an entry before each layer.
        drop_input: Whether features are dropped too.
        pool_size, buffer_size, device: As in :class:`ScalableGNN`.

    Attributes:
        can_infer_in_channels: Whether -1 leaves ``in_channels`` to the first features, as in PyG.

    Raises:
        ValueError: For a width or number of layers that is not whole and positive, or ``dropout``
            outside of [0, 1]. Features of width 0 are allowed: GIN counts edges without any.
    """

    can_infer_in_channels = False

    def __init__(
        self,
        num_nodes: int,
        in_channels: int,
        width: int,
        out_channels: int,
        num_layers: int,
        dropout: float,
        drop_input: bool,
        pool_size: int | None,
        buffer_size: int | None,
        device: torch.device | str | None,
    ) -> None:
        who = type(self).__name__
        if not (self.can_infer_in_channels and in_channels == -1):
            check_whole(who, 0, in_channels=in_channels)
        check_whole(
            who, 1, out_channels=out_channels, num_layers=num_layers, hidden_channels=width
        )  # fmt: skip
        check_share(who, 'Pass the share of entries to drop, e.g. 0.5.', dropout=dropout)
        super().__init__(num_nodes, int(width), int(num_layers), pool_size, buffer_size, device)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.dropout = dropout
        self.drop_input = drop_input

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay."""
        raise NotImplementedError

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: all others."""
        raise NotImplementedError

    def reset_parameters(self) -> None:
        """Draw new parameters and reset the histories."""
        super().reset_parameters()
        for name, child in self.named_children():
            if name != 'histories':
                _reset(child)

    def forward(
        self,
        x: Tensor,
        adj_t: Any,
        batch_size: int | None = None,
        n_id: Tensor | None = None,
        offset: Tensor | None = None,
        count: Tensor | None = None,
    ) -> Any:
        """Compute the output rows; see :class:`ScalableGNN` for the arguments.

        Args:
            x: ``(n, in_channels)``.
            adj_t: Adjacency, rows are targets.

        Returns:
            ``(B, out_channels)``.
        """

        def exchange(history: Any, h: Tensor) -> Tensor:
            return self.push_and_pull(history, h, batch_size, n_id, offset, count)

        rows = x.size(0) if batch_size is None else batch_size
        return self.compute(x, adj_t, rows, exchange)

    def compute(self, x: Tensor, adj_t: Any, rows: int, exchange: Exchange) -> Any:
        """The output, given ``(n, in_channels)``; the first ``rows`` rows are the batch's.

        Each layer's output but the last goes through ``exchange`` with the layer's history.
        """
        raise NotImplementedError

    def with_histories(self, layers: Iterable[Module]) -> Iterator[tuple[Any, Any]]:
        """Each layer with the history of its output; ``None`` for the last."""
        return zip_longest(layers, self.histories)

    def _drop(self, x: Tensor) -> Tensor:
        return fast_dropout(x, self.dropout, self.training)

    def _drop_features(self, x: Tensor) -> Tensor:
        return self._drop(x) if self.drop_input else x


class LayeredGNN(ReadyGNN):
    """Operators with optional batch norm and residuals between linear layers.

    One layer is ``h = ReLU(norm(conv(x)) + x)``, with norm and residual where asked for.

    Attributes:
        convs: The operators.
        norms: Their norms, if any; there may be none for the last.
        encoder, decoder: The linear layers.
    """

    convs: ModuleList
    norms: ModuleList
    encoder: Any
    decoder: Any

    def _set_layers(
        self, convs: Iterable[Module], widths: Iterable[int], batch_norm: bool, residual: bool
    ) -> None:
        """Take the operators, and make norms for those whose ``widths`` are given."""
        self.batch_norm = batch_norm
        self.residual = residual
        self.convs = ModuleList(convs)
        self.norms = ModuleList(BatchNorm1d(width) for width in widths if batch_norm)

    @property
    def reg_modules(self) -> ModuleList:
        """Modules for the first weight decay: operators and norms."""
        return ModuleList([*self.convs, *self.norms])

    @property
    def nonreg_modules(self) -> ModuleList:
        """Modules for the second weight decay: the linear layers."""
        return ModuleList([self.encoder, self.decoder])

    def layers(self) -> Iterator[tuple[Any, Any, Any]]:
        """Each operator with its norm, or ``None``, and the history of its output, or ``None``."""
        return zip_longest(self.convs, self.norms, self.histories)

    def _activate(self, h: Tensor, norm: Module | None, x: Tensor) -> Tensor:
        """What a layer gives, from its operator's output and its input."""
        if norm is not None:
            h = norm(h)
        if self.residual and h.size(-1) == x.size(-1):
            h = h + x[: h.size(0)]
        return h.relu_()


def _reset(module: Module) -> None:
    """Call ``reset_parameters`` of a layer, or of every layer in a list of them."""
    reset: Any = getattr(module, 'reset_parameters', None)
    if reset is not None:
        reset()
        return
    for child in module.children():
        _reset(child)
