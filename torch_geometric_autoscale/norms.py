"""Layers whose statistics reach over rows: which rows they may see on a batch."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch_geometric.nn.norm import LayerNorm

from .errors import explain

# Their statistics span the whole graph, so no batch can compute them.
_SPAN_THE_GRAPH = {
    'GraphNorm', 'PairNorm', 'InstanceNorm', 'MeanSubtractionNorm', 'GraphSizeNorm',
    'DiffGroupNorm', 'HANConv', 'InstanceNorm1d',
}  # fmt: skip


class BatchRowStatistics(TorchFunctionMode):
    """While active, batch normalisation in training takes its statistics from batch rows only.

    Halo rows are stale or empty. They are normalised with the statistics of the batch rows and
    leave no trace in the running statistics.

    Args:
        batch_sizes: Number of batch rows ``B`` of a tensor with ``n`` rows, by ``n``.
    """

    def __init__(self, batch_sizes: Mapping[int, int]) -> None:
        super().__init__()
        self.batch_sizes = dict(batch_sizes)

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is not F.batch_norm:
            return func(*args, **(kwargs or {}))
        return self._batch_norm(*args, **(kwargs or {}))

    def _batch_norm(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:
        rest = (running_mean, running_var, weight, bias, training, momentum, eps)
        B = self.batch_sizes.get(input.size(0), input.size(0))
        if not training or input.size(0) == B:
            return F.batch_norm(input, *rest)
        batch = F.batch_norm(input[:B], *rest)
        # Written out, as PyTorch's lets no gradient reach the statistics it is given.
        over = [0, *range(2, input.dim())]
        var, mean = torch.var_mean(input[:B], dim=over, unbiased=False, keepdim=True)
        halo = (input[B:] - mean) * torch.rsqrt(var + eps)
        shape = mean.shape
        if weight is not None:
            halo = halo * weight.view(shape)
        if bias is not None:
            halo = halo + bias.view(shape)
        return torch.cat([batch, halo.to(batch.dtype)])


def refuse_graph_statistics(who: str, modules: Iterable[tuple[str, torch.nn.Module]]) -> None:
    """Raise for layers that no batch can compute, by name.

    Raises:
        ValueError: For layers whose statistics span the graph.
    """
    for name, module in modules:
        kind = type(module).__name__
        refused = any(
            base.__name__ in _SPAN_THE_GRAPH
            and base.__module__.startswith(('torch_geometric.', 'torch.nn.'))
            for base in type(module).__mro__
        )
        if isinstance(module, LayerNorm) and getattr(module, 'mode', 'node') == 'graph':
            refused, kind = True, "LayerNorm(mode='graph')"
        if isinstance(module, _BatchNorm) and not module.track_running_stats:
            refused, kind = True, f'{kind}(track_running_stats=False)'
        if refused:
            raise ValueError(
                explain(who, 'a layer must be computable from a batch', f"{kind} at '{name}', "
                        'whose statistics span the whole graph',
                        'Use a row-wise norm (LayerNorm(mode="node"), torch.nn.LayerNorm) or '
                        'BatchNorm with running statistics.')
            )  # fmt: skip
