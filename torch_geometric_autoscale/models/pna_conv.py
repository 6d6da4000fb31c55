"""The light variant of principal neighbourhood aggregation that the GAS paper trains."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, ModuleList
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import OptTensor
from torch_geometric.utils import degree, scatter, spmm
from torch_geometric.utils.sparse import is_sparse

from ..errors import explain

AGGREGATORS = ('sum', 'mean', 'min', 'max', 'var', 'std')
SCALERS = ('identity', 'amplification', 'attenuation', 'linear', 'inverse_linear')
SMALLEST_VARIANCE = 1e-5  # below it a deviation counts as none, as in PyG's StdAggregation


class LightPNAConv(MessagePassing):
    r"""Several aggregators and degree scalers side by side (Corso et al. 2020, eq. 8), lightly.

    Each pair of an aggregator :math:`a` and a scaler :math:`s` has a linear layer with ReLU before
    and a linear layer after the aggregation; the pairs are summed, and a linear skip is added:

    .. math::
        h'_v = W h_v + \sum_{a, s} V_{as} \; s(d_v) \; a_{w \in N(v)} \mathrm{ReLU}(U_{as} h_w)

    where each :math:`W, V, U` has a bias, :math:`d_v` is the number of edges into :math:`v`, and,
    with :math:`\delta` and :math:`\lambda` the means of :math:`d` and :math:`\log(d + 1)` over the
    degree histogram, :math:`s` is 1 (``identity``), :math:`\log(d_v + 1) / \lambda`
    (``amplification``), its inverse (``attenuation``), :math:`d_v / \delta` (``linear``) or its
    inverse (``inverse_linear``), the inverses with a degree of at least 1.

    PyG's :class:`~torch_geometric.nn.PNAConv` has the same aggregators and scalers. There a
    message also reads the target (:math:`M(h_v, h_w)`), one network serves all pairs, and the
    scaled aggregations are concatenated before a last linear layer: a message per edge and a
    wide concatenation, neither of which is needed here.

    Args:
        in_channels, out_channels: Widths.
        aggregators: Names among ``sum, mean, min, max, var, std``.
        scalers: Names among ``identity, amplification, attenuation, linear, inverse_linear``.
        deg: ``(D + 1,)`` histogram of in-degrees, as PyG's ``PNAConv.get_degree_histogram``.

    Raises:
        ValueError: For an unknown name, none at all, or a histogram without nodes.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        aggregators: Sequence[str],
        scalers: Sequence[str],
        deg: Tensor,
    ) -> None:
        _check_names('aggregators', aggregators, AGGREGATORS)
        _check_names('scalers', scalers, SCALERS)
        super().__init__(aggr=None)
        self.pairs = list(product(aggregators, scalers))
        mean_degree, mean_log = _means(deg)
        self.mean_degree, self.mean_log = mean_degree, mean_log
        self.before = ModuleList(Linear(in_channels, out_channels) for _ in self.pairs)
        self.after = ModuleList(Linear(out_channels, out_channels) for _ in self.pairs)
        self.skip = Linear(in_channels, out_channels)

    def reset_parameters(self) -> None:
        super().reset_parameters()
        layers: list[Any] = [*self.before, *self.after, self.skip]
        for layer in layers:
            layer.reset_parameters()

    def forward(
        self, x: Tensor | tuple[Tensor, Tensor], edge_index: Any, edge_weight: Tensor | None = None
    ) -> Tensor:
        """Aggregate once for each pair.

        Args:
            x: ``(n, in_channels)``; or sources and targets apart, for a rectangular matrix.
            edge_index: ``(2, E)`` or a sparse matrix whose rows are targets.
            edge_weight: ``(E,)`` factors of the messages; of a matrix, its values.
        """
        source, target = x if isinstance(x, tuple) else (x, x)
        degrees = _degrees(edge_index, target)
        out = self.skip(target)
        for (aggregator, scaler), before, after in zip(
            self.pairs, self.before, self.after, strict=True
        ):
            h = before(source).relu()
            h = self._aggregate(aggregator, h, edge_index, edge_weight, target.size(0))
            out = out + after(self._scale(scaler, h, degrees))
        return out

    def _aggregate(
        self, aggregator: str, h: Tensor, edge_index: Any, edge_weight: Any, num_targets: int
    ) -> Tensor:
        def reduced(rows: Tensor, by: str) -> Tensor:
            return self.propagate(
                edge_index, x=rows, edge_weight=edge_weight, reduce=by,
                size=(rows.size(0), num_targets),
            )  # fmt: skip

        if aggregator not in ('var', 'std'):
            return reduced(h, aggregator)
        variance = reduced(h * h, 'mean') - reduced(h, 'mean') ** 2
        if aggregator == 'var':
            return variance
        some = variance > SMALLEST_VARIANCE
        return torch.where(some, variance.clamp(min=SMALLEST_VARIANCE).sqrt(), 0.0)

    def _scale(self, scaler: str, h: Tensor, degrees: Tensor) -> Tensor:
        if scaler == 'identity':
            return h
        logs = scaler in ('amplification', 'attenuation')
        inverse = scaler in ('attenuation', 'inverse_linear')
        d = degrees.clamp(min=1) if inverse else degrees
        scale = (d + 1).log() / self.mean_log if logs else d / self.mean_degree
        return h * (1 / scale if inverse else scale)

    def message(self, x_j: Tensor, edge_weight: OptTensor) -> Tensor:
        return x_j if edge_weight is None else x_j * edge_weight.view(-1, 1)

    def aggregate(
        self, inputs: Tensor, index: Tensor, dim_size: Any = None, reduce: str = 'sum'
    ) -> Tensor:
        return scatter(inputs, index, dim=0, dim_size=dim_size, reduce=reduce)

    def message_and_aggregate(self, edge_index: Any, x: Tensor, reduce: str = 'sum') -> Tensor:
        return spmm(edge_index, x, reduce=reduce)


def targets_apart(x: Tensor, adj_t: Any) -> Tensor | tuple[Tensor, Tensor]:
    """``x``, or for a rectangular matrix the pair of sources and targets: spares halo rows."""
    if not is_sparse(adj_t) or adj_t.size(0) == adj_t.size(1):
        return x
    return x, x[: adj_t.size(0)]


def _degrees(edge_index: Any, target: Tensor) -> Tensor:
    """Number of edges into each target, ``(B, 1)``."""
    if not is_sparse(edge_index):
        counts = degree(edge_index[1], target.size(0), dtype=target.dtype)
    elif isinstance(edge_index, Tensor):
        csr = edge_index if edge_index.layout == torch.sparse_csr else edge_index.to_sparse_csr()
        counts = csr.crow_indices().diff().to(target.dtype)
    else:
        counts = edge_index.storage.rowcount().to(target.dtype)
    return counts.view(-1, 1)


def _means(deg: Tensor) -> tuple[float, float]:
    """Mean degree and mean ``log(d + 1)`` of a histogram."""
    count = torch.as_tensor(deg).double().view(-1)
    total = float(count.sum())
    d = torch.arange(count.numel(), dtype=torch.double)
    if total <= 0 or float((d * count).sum()) == 0:
        raise ValueError(
            explain('LightPNAConv', "'deg' must count nodes by their in-degree, some with edges",
                    f'{int(total)} nodes', 'Pass the degree histogram of the training graph.')
        )  # fmt: skip
    return float((d * count).sum()) / total, float(((d + 1).log() * count).sum()) / total


def _check_names(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    if isinstance(names, str) or not names or any(name not in known for name in names):
        raise ValueError(
            explain('LightPNAConv', f"'{what}' must be a list of names among {', '.join(known)}",
                    repr(names), 'Pass at least one of them.')
        )  # fmt: skip
