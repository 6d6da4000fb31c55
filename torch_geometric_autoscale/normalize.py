"""The GCN normalisation and self-loops of a whole graph, as edges of its data."""

import warnings
from copy import copy

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import add_remaining_self_loops

from .errors import explain
from .graph import Graph, original_gcn_norm
from .graph_input import to_edges
from .grouped import Grouped, with_self_loops


def gcn_normalize(data: Data, add_self_loops: bool = True, improved: bool = False) -> Data:
    """Give a graph the symmetrically normalised adjacency (Kipf & Welling 2017, eq. 2).

    Args:
        data: The graph; left as it is.
        add_self_loops: Whether to add the self-loops that are missing first.
        improved: Whether those get weight 2.

    Returns:
        A new ``Data`` with ``edge_index`` and the normalised ``edge_weight``. Other edge-level
        attributes are left out: there is none for an added self-loop. If ``data.adj_t`` is mapped
        from a file, so is the new graph's: it has an ``adj_t`` instead, which lies in files
        without names beside it.
    """
    edges = to_edges(data, who='gcn_normalize')
    dtype = data.x.dtype if data.x is not None and data.x.is_floating_point() else None
    weight = edges.weight
    if weight is not None and weight.dim() > 1:
        raise ValueError(
            explain('gcn_normalize', "edge weights must have one number per edge",
                    f'shape {tuple(weight.shape)}', 'Reduce them to one column.')
        )  # fmt: skip
    if edges.col is not None and edges.folder is not None:
        graph = Graph.of(edges, weight)
        key = graph.gcn_norm(improved, add_self_loops, dtype or torch.get_default_dtype())
        return _with_matrix(data, graph.variant(key).grouped)
    if weight is not None and (dtype is not None or not weight.is_floating_point()):
        weight = weight.to(dtype or torch.get_default_dtype())
    out = _without_edges(data)
    out.edge_index, out.edge_weight = original_gcn_norm(
        edges.edge_index, weight, edges.num_nodes, improved, add_self_loops, dtype=dtype
    )
    out.num_nodes = edges.num_nodes
    return out


def add_self_loops(data: Data) -> Data:
    """The graph with one self-loop at every node; other attributes of edges are left out.

    Args:
        data: The graph; left as it is. What is mapped from a file stays so, as in
            :func:`gcn_normalize`.
    """
    edges = to_edges(data, who='add_self_loops')
    weight = edges.weight
    if edges.col is not None and edges.folder is not None:
        graph = Graph.of(edges, weight)
        return _with_matrix(
            data, with_self_loops('add_self_loops', graph.grouped, folder=graph.folder)
        )
    out = _without_edges(data)
    out.edge_index, weight = add_remaining_self_loops(
        edges.edge_index, weight, num_nodes=edges.num_nodes
    )
    if weight is not None:
        out.edge_weight = weight
    out.num_nodes = edges.num_nodes
    return out


def _without_edges(data: Data) -> Data:
    out = copy(data)
    for name in list(out.keys()):
        if data.is_edge_attr(name) or name in ('adj_t', 'edge_index'):
            del out[name]
    return out


def _with_matrix(data: Data, graph: Grouped) -> Data:
    out = _without_edges(data)
    out.adj_t = csr_matrix(graph)
    out.num_nodes = graph.rowptr.numel() - 1
    return out


def csr_matrix(graph: Grouped) -> Tensor:
    """Grouped edges as a ``torch.sparse_csr`` tensor over the same arrays, ``(N, N)``."""
    num_nodes = graph.rowptr.numel() - 1
    weight = torch.ones(1).expand(graph.col.numel()) if graph.weight is None else graph.weight
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Sparse CSR tensor support', UserWarning)
        return torch.sparse_csr_tensor(
            graph.rowptr.to(graph.col.dtype), graph.col, weight, (num_nodes, num_nodes),
            check_invariants=False,
        )  # fmt: skip
