"""``permute``: a graph renumbered so that the nodes of a part are neighbours in memory."""

import copy
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data

from ..errors import explain
from ..graph_folder import load_graph
from ..graph_input import is_sparse_matrix, is_sparse_tensor, to_edges
from .contract import check_perm
from .matrices import permute_matrix
from .rewrite import write_permuted

_EDGE_KEYS = {'edge_index', 'edge_attr', 'edge_weight', 'edge_type'}


def permute(
    data: Data,
    perm: Tensor,
    log: bool = True,
    *,
    out: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Data:
    """Renumber the nodes of ``data``: new node ``i`` is old node ``perm[i]``.

    Node-level attributes and masks follow the nodes. Edges are sorted by their new target, those
    of one target keep their order, and edge-level attributes follow them. ``adj_t`` (and
    ``adj``) change rows and columns. Attributes that hold node ids, which PyG tells by 'index'
    in their name (``edge_label_index``), are renumbered. Everything else is kept as it is.

    What is node-level and what edge-level is PyG's decision (``is_node_attr`` and
    ``is_edge_attr``, by name where a graph has as many edges as nodes). Edge-level attributes
    follow ``edge_index`` where present, else ``adj_t``.

    Args:
        data: The graph; it is left untouched. A :class:`~torch_geometric.data.Batch` becomes a
            :class:`~torch_geometric.data.Data` without ``ptr``, as its graphs may mix.
        perm: ``(N,)`` permutation, e.g. of :func:`metis`.
        log: Print one line when done.
        out: Write the new graph to this graph folder, block by block, and map it: for graphs
            larger than memory. ``perm`` is kept in the folder.
        overwrite: Whether a graph folder at ``out`` may be replaced.

    Returns:
        A new graph on the device of the old one; with ``out`` one over the mapped files, whose
        structure is its ``adj_t``.

    Raises:
        TypeError: If ``data`` is no homogeneous :class:`~torch_geometric.data.Data`, or ``perm``
            no tensor of integers; with ``out``, if an attribute is nothing that a folder can hold.
        OSError: With ``out``, if it exists, or the disk has not enough room. Nothing is left then.
        ValueError: If ``perm`` is no permutation of the nodes, ids are out of range, or an
            attribute could be node-level as well as edge-level.
    """
    who = 'permute'
    started = time.perf_counter()
    if not isinstance(data, Data):
        raise TypeError(
            explain(
                who,
                "'data' must be a homogeneous Data object",
                type(data).__name__,
                'Wrap the tensors: Data(x=x, edge_index=edge_index).',
            )
        )
    view = _view(data)
    num_nodes = _check_graph(view, who)
    perm = check_perm(perm, num_nodes, who)
    levels = {key: _level(view, key, num_nodes, who) for key in list(view.keys())}
    if out is None:
        result = _renumbered(view, levels, perm, who)
    else:
        _write(view, levels, perm, Path(out), {'perm': perm}, {}, overwrite)
        result = load_graph(out)
    if log:
        seconds = time.perf_counter() - started
        print(f'Permuting {num_nodes:,} nodes and {view.num_edges:,} edges... {seconds:.1f} s')
    return result


def permute_to_folder(
    data: Data, perm: Tensor, path: Path, extra: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """:func:`permute` with ``out``, for a ``perm`` that is right; an older folder is replaced.

    Args:
        data, perm: As in :func:`permute`.
        path: The folder to make.
        extra: Further arrays to keep there.
        metadata: Texts to keep there.
    """
    view = _view(data)
    levels = {key: _level(view, key, perm.numel(), 'permute') for key in list(view.keys())}
    _write(view, levels, perm, path, extra, metadata, overwrite=True)


def _renumbered(view: Data, levels: Mapping[str, str], perm: Tensor, who: str) -> Data:
    num_nodes = perm.numel()
    inverse = torch.empty_like(perm)
    inverse[perm] = torch.arange(num_nodes, device=perm.device)

    out = _view(view)
    orders: dict[str, Tensor] = {}
    for key, level in levels.items():
        if level == 'matrix':
            there = view[key]
            device = there.device() if callable(there.device) else there.device
            out[key], orders[key] = permute_matrix(there, perm.to(device), inverse.to(device))
    if view.get('edge_index') is not None:
        out.edge_index, order = _permute_edge_index(view.edge_index, inverse, num_nodes)
    else:
        order = orders.get('adj_t', orders.get('adj', torch.empty(0, dtype=torch.long)))

    for key, level in levels.items():
        if level == 'node':
            out[key] = _take(view, key, perm)
        elif level == 'edge' and key != 'edge_index':
            out[key] = _take(view, key, order)
        elif level == 'dense matrix':
            there = perm.to(view[key].device)
            out[key] = view[key].index_select(-2, there).index_select(-1, there)
        if level != 'matrix' and key != 'edge_index' and _holds_node_ids(view, key, num_nodes):
            out[key] = _renumber(out[key], inverse, key, who)
    return out


def _write(
    data: Data,
    levels: Mapping[str, str],
    perm: Tensor,
    path: Path,
    extra: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    overwrite: bool = False,
) -> None:
    who = 'permute'
    matrices = [key for key, level in levels.items() if level in ('matrix', 'dense matrix')]
    others = {
        key: level
        for key, level in levels.items()
        if key not in (*matrices, 'edge_index', 'edge_weight', 'num_nodes')
    }
    ids = [key for key in others if _holds_node_ids(data, key, perm.numel())]
    one_adjacency = ('edge_index' in levels) + len(matrices) == 1
    if ids or not one_adjacency:
        raise TypeError(
            explain(
                who,
                "with 'out', a graph must have one adjacency, and no attributes that hold node ids",
                ', '.join(ids or [*matrices, *({'edge_index'} & levels.keys())]),
                "Leave the others out, or permute in memory, without 'out'.",
            )
        )
    edges = to_edges(data, who=who)
    write_permuted(data, edges, others, perm.cpu(), path, extra, metadata, overwrite)


def _view(data: Data) -> Data:
    """A shallow copy without what PyG remembers about attributes."""
    if isinstance(data, Batch):
        kept = {key: value for key, value in data.to_dict().items() if key != 'ptr'}
        return Data.from_dict(kept)
    view = copy.copy(data)
    view._store.__dict__.pop('_cached_attr', None)
    return view


def _check_graph(data: Data, who: str) -> int:
    """Check every adjacency of ``data`` and return its number of nodes."""
    num_nodes = None
    if data.get('adj_t') is not None:
        num_nodes = to_edges(data, who=who).num_nodes
    if data.get('edge_index') is not None:
        edges = to_edges(data.edge_index, num_nodes or data.num_nodes, who)
        num_nodes = edges.num_nodes
    return int(data.num_nodes or 0) if num_nodes is None else num_nodes


def _level(data: Data, key: str, num_nodes: int, who: str) -> str:
    value = data[key]
    cat_dim = data.__cat_dim__(key, value)
    if is_sparse_tensor(value) and 'adj' not in key:
        raise TypeError(
            explain(
                who,
                f"'{key}' must not be a SparseTensor unless it is an adjacency",
                f'sizes {tuple(value.sparse_sizes())}',
                "Convert it with 'to_torch_sparse_csr_tensor()'.",
            )
        )
    if is_sparse_tensor(value) or (is_sparse_matrix(value) and isinstance(cat_dim, tuple)):
        to_edges(value, num_nodes, who)  # raises unless square and of this graph
        return 'matrix'
    square = isinstance(value, Tensor) and value.shape[-2:] == (num_nodes, num_nodes)
    if key == 'adj' and square:
        return 'dense matrix'
    if isinstance(value, (list, tuple)):
        return _level_of_list(data, key, num_nodes, who)
    if key == 'edge_index':
        return 'edge'
    if data.is_node_attr(key):
        if key in _EDGE_KEYS:
            raise ValueError(
                explain(
                    who,
                    f"'{key}' must have one row per edge ({data.num_edges:,})",
                    f'{num_nodes:,} rows, one per node',
                    'Correct its length, or rename it if it is node-level.',
                )
            )
        return 'node'
    return 'edge' if data.is_edge_attr(key) else 'graph'


def _level_of_list(data: Data, key: str, num_nodes: int, who: str) -> str:
    fits_nodes, fits_edges = len(data[key]) == num_nodes, len(data[key]) == data.num_edges
    if fits_nodes and fits_edges and num_nodes > 0:
        # PyG says yes to both questions here, so only the name can decide.
        if ('edge' in key) == ('node' in key):
            raise ValueError(
                explain(
                    who,
                    f"it must be clear whether '{key}' is node-level or edge-level",
                    f'a list of {num_nodes:,} values in a graph with as many nodes as edges',
                    "Put 'node' or 'edge' in its name, or pass a tensor.",
                )
            )
        return 'edge' if 'edge' in key else 'node'
    return 'node' if fits_nodes else 'edge' if fits_edges else 'graph'


def _permute_edge_index(
    edge_index: Tensor, inverse: Tensor, num_nodes: int
) -> tuple[Tensor, Tensor]:
    plain = edge_index.as_tensor() if isinstance(edge_index, EdgeIndex) else edge_index
    renumbered = inverse.to(plain.device)[plain.long()]
    order = renumbered[1].argsort(stable=True)
    result = renumbered[:, order].to(plain.dtype)
    if isinstance(edge_index, EdgeIndex):
        result = EdgeIndex(
            result,
            sparse_size=(num_nodes, num_nodes),
            sort_order='col',
            is_undirected=edge_index.is_undirected,
        )
    return result, order


def _take(data: Data, key: str, order: Tensor) -> Any:
    """The rows of an attribute in another order, along PyG's dimension for it."""
    value = data[key]
    if isinstance(value, (list, tuple)):
        return type(value)([value[i] for i in order.tolist()])
    dim = data.__cat_dim__(key, value)
    if isinstance(value, np.ndarray):
        return np.take(value, order.cpu().numpy(), axis=dim)
    if not isinstance(value, Tensor):
        return value[order]  # e.g. a TensorFrame
    order = order.to(value.device)
    if value.layout == torch.strided:
        return value.index_select(dim, order)
    taken = value.to_sparse_coo().index_select(dim, order).coalesce()
    return taken.to_sparse(layout=value.layout)


def _holds_node_ids(data: Data, key: str, num_nodes: int) -> bool:
    """Whether PyG would shift the values by the number of nodes when it joins graphs."""
    value = data[key]
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.numel() == 0:
        return False
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        return False
    if 'batch' in key or ('index' not in key and key != 'face'):
        return False
    shift = data.__inc__(key, value)
    return isinstance(shift, int) and shift == num_nodes


def _renumber(ids: Tensor, inverse: Tensor, key: str, who: str) -> Tensor:
    low, high = (int(bound) for bound in ids.aminmax())
    if low < 0 or high >= inverse.numel():
        raise ValueError(
            explain(
                who,
                f"'{key}' holds node ids by its name, so they must lie in [0, {inverse.numel():,})",
                low if low < 0 else high,
                "Correct them, or rename it without 'index' if it holds something else.",
            )
        )
    return inverse.to(ids.device)[ids.long()].to(ids.dtype)
