"""``QuantileAggregation`` on a batch whose first nodes have no edges."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.aggr import QuantileAggregation

_original_forward = QuantileAggregation.forward


def quantiles_of_a_batch(
    self: QuantileAggregation,
    x: Tensor,
    index: Tensor | None = None,
    ptr: Tensor | None = None,
    dim_size: int | None = None,
    dim: int = -2,
) -> Any:
    """PyG's own, which fails where the first node has no edge: any graph, but more often batches.

    A row for a node before the first one changes nothing for the others.
    """
    first_is_empty = index is not None and index.numel() > 0 and int(index.min()) > 0
    if index is None or not first_is_empty:
        return _original_forward(self, x, index, ptr, dim_size, dim)
    shape = list(x.shape)
    shape[dim] = 1
    x = torch.cat([x.new_zeros(shape), x], dim)
    index = torch.cat([index.new_zeros(1), index + 1])
    size = None if dim_size is None else dim_size + 1
    out = _original_forward(self, x, index, None, size, dim)
    return out.narrow(dim, 1, out.size(dim) - 1)
