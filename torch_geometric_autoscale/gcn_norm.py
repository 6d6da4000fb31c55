"""PyG's ``gcn_norm``, answered from the whole graph for the edges of a batch."""

from contextlib import nullcontext
from typing import Any, Optional  # noqa: F401

import torch
from torch import Tensor
from torch_geometric.typing import OptPairTensor, OptTensor, SparseTensor  # noqa: F401

from .adjacency import Adjacency
from .calls import current_call
from .errors import explain
from .graph import original_gcn_norm
from .tags import adjacency_of, is_weight_of, normaliser_of
from .watcher import current_watcher

# TorchScript reads the two signatures below, as it does PyG's own, and compiles the last line
# alone, so that operators outside of batches can still be scripted.


@torch.jit._overload
def gcn_norm(edge_index, edge_weight, num_nodes, improved, add_self_loops, flow, dtype):
    # type: (Tensor, OptTensor, Optional[int], bool, bool, str, Optional[int]) -> OptPairTensor
    pass


@torch.jit._overload
def gcn_norm(edge_index, edge_weight, num_nodes, improved, add_self_loops, flow, dtype):  # noqa
    # type: (SparseTensor, OptTensor, Optional[int], bool, bool, str, Optional[int]) -> SparseTensor
    pass


def gcn_norm(  # noqa
    edge_index,
    edge_weight=None,
    num_nodes=None,
    improved=False,
    add_self_loops=True,
    flow='source_to_target',
    dtype=None,
):
    if not torch.jit.is_scripting():
        watcher = current_watcher()
        with nullcontext() if watcher is None else watcher.paused():
            return _answer(
                edge_index, edge_weight, num_nodes, improved, add_self_loops, flow, dtype
            )
    return original_gcn_norm(
        edge_index, edge_weight, num_nodes, improved, add_self_loops, flow, dtype
    )


def _answer(
    edge_index: Any,
    edge_weight: Tensor | None,
    num_nodes: int | None,
    improved: bool,
    add_self_loops: bool,
    flow: str,
    dtype: Any,
) -> Any:
    if isinstance(edge_index, Adjacency):
        if edge_weight is not None:
            raise ValueError(
                explain('gcn_norm', "edge weights are the values of 'adj_t'", "'edge_weight' too",
                        "Set data.edge_weight (or adj_t's values) before making the loader.")
            )  # fmt: skip
        return edge_index.gcn_norm(improved, add_self_loops, dtype or edge_index.dtype), None
    normaliser = normaliser_of(edge_index)
    if normaliser is not None:
        return normaliser(edge_index, edge_weight, improved, add_self_loops, flow, dtype)
    adj = adjacency_of(edge_index)
    if adj is None and current_call() is None:
        return original_gcn_norm(
            edge_index, edge_weight, num_nodes, improved, add_self_loops, flow, dtype
        )
    weight_is_known = edge_weight is None or is_weight_of(edge_weight, edge_index)
    if adj is None or not weight_is_known or flow != 'source_to_target':
        came = 'edges that no loader of this library made'
        if adj is not None:
            came = f"flow='{flow}'" if weight_is_known else 'other edge weights'
        raise ValueError(
            explain('gcn_norm', 'on a batch, degrees can only be looked up for the edges of the '
                    'batch itself, from source to target, with the weights its loader was given',
                    came, 'Pass batch.adj_t or batch.edge_index as they are, or normalise the '
                    'whole graph first and use normalize=False.')
        )  # fmt: skip
    if edge_weight is None and adj.weight is not None:
        adj = adj.without_weight()
    normalised = adj.gcn_norm(improved, add_self_loops, dtype or adj.dtype)
    return normalised.edge_index(), normalised.values()
