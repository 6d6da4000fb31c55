"""The scaled Laplacian of ``ChebConv``, answered from the whole graph for the edges of a batch."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import ChebConv

from .calls import current_call
from .errors import explain
from .graph import Graph
from .tags import adjacency_of, is_weight_of

_original_norm = ChebConv.__norm__


def scaled_laplacian(
    self: ChebConv,
    edge_index: Tensor,
    num_nodes: int | None,
    edge_weight: Tensor | None,
    normalization: str | None,
    lambda_max: Any = None,
    dtype: Any = None,
    batch: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Edges and weights of ``2 L / lambda_max - I`` (Defferrard et al. 2016, eq. 4).

    On a batch these are the batch's rows of the whole graph's, computed once for each setting.
    """
    adj = adjacency_of(edge_index)
    if adj is None and current_call() is None:
        return _original_norm(
            self, edge_index, num_nodes, edge_weight, normalization, lambda_max, dtype, batch
        )
    weight_is_known = edge_weight is None or is_weight_of(edge_weight, edge_index)
    several = isinstance(lambda_max, Tensor) and lambda_max.numel() > 1
    if adj is None or not weight_is_known or batch is not None or several:
        raise ValueError(
            explain('ChebConv', 'on a batch, its Laplacian can only be looked up for the edges of '
                    'the batch itself, with the weights its loader was given', 'other edges, '
                    'weights or several graphs', 'Pass batch.edge_index and batch.edge_weight as '
                    'they are.')
        )  # fmt: skip
    largest = None if lambda_max is None else float(lambda_max)
    weighted = edge_weight is not None
    key = ('chebyshev', normalization, largest, str(dtype), weighted)
    graph = adj.graph

    def compute() -> Graph:
        values = graph.values(dtype or torch.get_default_dtype()) if weighted else None
        edges, norm = _original_norm(
            self, graph.edge_index(), graph.num_nodes, values, normalization, largest, dtype
        )
        return Graph(edges, graph.num_nodes, norm)

    with torch.no_grad():
        graph.derive(key, compute)
    form = adj.with_(key=key)
    return form.edge_index(), form.values()
