"""The GCN normalisation of a whole graph, as edge weights of its data."""

from copy import copy

import torch
from torch_geometric.data import Data

from .errors import explain
from .graph import original_gcn_norm
from .graph_input import to_edges


def gcn_normalize(data: Data, add_self_loops: bool = True, improved: bool = False) -> Data:
    """Give a graph the symmetrically normalised adjacency (Kipf & Welling 2017, eq. 2).

    Args:
        data: The graph; left as it is.
        add_self_loops: Whether to add the self-loops that are missing first.
        improved: Whether those get weight 2.

    Returns:
        A new ``Data`` with ``edge_index`` and the normalised ``edge_weight``. Other edge-level
        attributes are left out: there is none for an added self-loop.
    """
    edges = to_edges(data, who='gcn_normalize')
    dtype = data.x.dtype if data.x is not None and data.x.is_floating_point() else None
    weight = edges.weight
    if weight is not None and weight.dim() > 1:
        raise ValueError(
            explain('gcn_normalize', "edge weights must have one number per edge",
                    f'shape {tuple(weight.shape)}', 'Reduce them to one column.')
        )  # fmt: skip
    if weight is not None and (dtype is not None or not weight.is_floating_point()):
        weight = weight.to(dtype or torch.get_default_dtype())
    out = copy(data)
    for name in list(out.keys()):
        if data.is_edge_attr(name) or name in ('adj_t', 'edge_index'):
            del out[name]
    out.edge_index, out.edge_weight = original_gcn_norm(
        edges.edge_index, weight, edges.num_nodes, improved, add_self_loops, dtype=dtype
    )
    out.num_nodes = edges.num_nodes
    return out
