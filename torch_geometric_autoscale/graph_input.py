"""One reading of every way a graph can be handed over: :func:`to_edges`.

Supported are :class:`~torch_geometric.data.Data`, a plain ``edge_index``, PyG's
:class:`~torch_geometric.EdgeIndex`, square ``torch.sparse`` matrices (COO, CSR, CSC) and, where
the user has torch-sparse installed, its ``SparseTensor``. In every matrix the *rows are targets*,
as in PyG's ``adj_t``.
"""

import warnings
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Data, HeteroData

from .edges import Edges, expand
from .errors import explain

_KINDS = 'Data, edge_index (2, E), EdgeIndex, a square torch.sparse matrix or a SparseTensor'


def to_edges(graph: Any, num_nodes: int | None = None, who: str = 'metis') -> Edges:
    """Read the edges of ``graph``, keeping duplicates and the order they are stored in.

    Args:
        graph: :class:`~torch_geometric.data.Data` (its ``adj_t`` where present, else
            ``edge_index`` with ``edge_weight``), ``edge_index`` ``(2, E)``, ``EdgeIndex``, or a
            square sparse matrix whose rows are targets and whose values are weights. An
            uncoalesced COO matrix keeps its duplicates. The entries of every row keep their
            column order.
        num_nodes: Number of nodes. Needed for a plain ``edge_index``; elsewhere it is checked
            against what the graph says.
        who: The public call on whose behalf errors speak.

    Returns:
        :class:`Edges`, on the device of ``graph``. Tensors share memory with the input where they
        can: a CSR matrix is taken as it is, in its own integers, mapped files included.

    Raises:
        TypeError: For heterogeneous graphs, unknown kinds of graphs and ids that are no integers.
        ValueError: For wrong shapes, matrices that are not square, ids or row bounds out of range,
            and an unknown or contradictory number of nodes.
    """
    if num_nodes is not None:
        num_nodes = _check_num_nodes(num_nodes, who)
    if isinstance(graph, HeteroData):
        raise TypeError(
            explain(
                who,
                'heterogeneous graphs are not supported yet',
                'HeteroData',
                "Pass a homogeneous graph, e.g. 'data.to_homogeneous()'.",
            )
        )
    if isinstance(graph, Data):
        edges = _from_data(graph, num_nodes, who)
    elif isinstance(graph, EdgeIndex):
        edges = _from_edge_index_class(graph, num_nodes, who)
    elif is_sparse_matrix(graph):
        edges = _from_matrix(graph, num_nodes, who)
    elif isinstance(graph, Tensor):
        edges = _from_edge_index(graph, num_nodes, who)
    else:
        raise TypeError(
            explain(who, f"'graph' must be {_KINDS}", type(graph).__name__, 'Pass one of these.')
        )
    _check_range(edges, who)
    return edges


def is_sparse_tensor(value: Any) -> bool:
    """Whether ``value`` looks like torch-sparse's ``SparseTensor``, which is never imported."""
    methods = ('coo', 'csr', 'sparse_sizes')
    return not isinstance(value, Tensor) and all(
        callable(getattr(value, name, None)) for name in methods
    )


def is_sparse_matrix(value: Any) -> bool:
    """Whether ``value`` is a ``torch.sparse`` matrix or a ``SparseTensor``."""
    if isinstance(value, Tensor):
        return value.layout != torch.strided
    return is_sparse_tensor(value)


def _from_data(data: Data, num_nodes: int | None, who: str) -> Edges:
    adj_t = data.get('adj_t')
    if adj_t is not None:
        if not is_sparse_matrix(adj_t):
            raise TypeError(
                explain(
                    who,
                    "'data.adj_t' must be a square torch.sparse matrix or a SparseTensor",
                    type(adj_t).__name__,
                    "Pass a sparse matrix, or leave it out and set 'data.edge_index'.",
                )
            )
        edges = _from_matrix(adj_t, num_nodes, who)
        _check_agrees(_declared_num_nodes(data), edges.num_nodes, "'data.adj_t'", who)
        return edges

    edge_index = data.get('edge_index')
    if edge_index is None:
        raise ValueError(
            explain(
                who,
                "'data' must have 'adj_t' or 'edge_index'",
                f'only {sorted(data.keys())}',
                "Set 'data.edge_index'; a graph without edges has one of shape (2, 0).",
            )
        )
    declared = _declared_num_nodes(data)
    if declared is not None:
        _check_agrees(num_nodes, declared, "'data.num_nodes'", who)
        num_nodes = declared
    elif num_nodes is None:
        num_nodes = data.num_nodes  # PyG's guess, with PyG's warning
    if isinstance(edge_index, EdgeIndex):
        edges = _from_edge_index_class(edge_index, num_nodes, who)
    else:
        edges = _from_edge_index(edge_index, num_nodes, who)

    weight = data.get('edge_weight')
    if weight is None:
        return edges
    num_edges = edges.num_edges
    if not isinstance(weight, Tensor) or weight.dim() not in (1, 2) or len(weight) != num_edges:
        raise ValueError(
            explain(
                who,
                f"'data.edge_weight' must have shape ({num_edges},) or ({num_edges}, D)",
                tuple(weight.shape) if isinstance(weight, Tensor) else type(weight).__name__,
                'Pass one weight per edge.',
            )
        )
    return replace(edges, weight=weight)


def _declared_num_nodes(data: Data) -> int | None:
    """What ``data`` says about its number of nodes, without PyG's guess from the edges."""
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        try:
            return data.num_nodes
        except UserWarning:
            return None


def _from_edge_index_class(edge_index: EdgeIndex, num_nodes: int | None, who: str) -> Edges:
    sizes = {size for size in edge_index.sparse_size() if size is not None}
    if len(sizes) > 1:
        raise ValueError(
            explain(
                who,
                "'graph' must be square",
                f'sparse_size {edge_index.sparse_size()}',
                'Pass a graph whose sources and targets are the same nodes.',
            )
        )
    for size in sizes:
        _check_agrees(num_nodes, size, 'the sparse_size of EdgeIndex', who)
        num_nodes = size
    return _from_edge_index(edge_index.as_tensor(), num_nodes, who)


def _from_edge_index(edge_index: Any, num_nodes: int | None, who: str) -> Edges:
    if not isinstance(edge_index, Tensor):
        raise TypeError(
            explain(
                who,
                "'edge_index' must be a tensor",
                type(edge_index).__name__,
                "Convert it, e.g. with 'torch.as_tensor'.",
            )
        )
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(
            explain(
                who,
                "'edge_index' must have shape (2, E)",
                tuple(edge_index.shape),
                'Pass sources in row 0 and targets in row 1.',
            )
        )
    if edge_index.is_floating_point() or edge_index.is_complex() or edge_index.dtype == torch.bool:
        raise TypeError(
            explain(
                who,
                "'edge_index' must hold integers",
                edge_index.dtype,
                "Convert it with 'edge_index.long()'.",
            )
        )
    if num_nodes is None:
        raise ValueError(
            explain(
                who,
                "'num_nodes' is needed with a plain 'edge_index'",
                None,
                "Pass 'num_nodes=', as isolated nodes cannot be seen from the edges.",
            )
        )
    return Edges(num_nodes, pairs=edge_index)


def _from_matrix(matrix: Any, num_nodes: int | None, who: str) -> Edges:
    sparse_tensor = is_sparse_tensor(matrix)
    sizes = tuple(matrix.sparse_sizes()) if sparse_tensor else tuple(matrix.shape)
    if len(sizes) < 2 or sizes[0] != sizes[1]:
        raise ValueError(
            explain(
                who,
                'a sparse matrix must be square',
                f'shape {sizes}',
                'Pass a matrix of shape (N, N) whose rows are targets.',
            )
        )
    size = int(sizes[0])
    _check_agrees(num_nodes, size, 'the sparse matrix', who)
    if sparse_tensor:
        target, source, weight = matrix.coo()
        edges = _from_coo(target, source, weight, size)
    else:
        edges = _entries(matrix, size, who)
    weight = edges.weight
    if weight is not None and weight.dim() not in (1, 2):
        raise ValueError(
            explain(
                who,
                f'values must have shape ({edges.num_edges},) or ({edges.num_edges}, D)',
                tuple(weight.shape),
                'Flatten what belongs to one edge into one row.',
            )
        )
    return edges


def _entries(matrix: Tensor, size: int, who: str) -> Edges:
    """The entries of a ``torch.sparse`` matrix, in stored order."""
    if matrix.layout == torch.sparse_coo and matrix.sparse_dim() == 2:
        indices = matrix._indices()  # 'indices()' would merge duplicates
        return _from_coo(indices[0], indices[1], matrix._values(), size)
    if matrix.layout == torch.sparse_csr and matrix.crow_indices().dim() == 1:
        rowptr, col = matrix.crow_indices(), matrix.col_indices()
        _check_rowptr(rowptr, col.numel(), who)
        return Edges(size, _values(matrix), rowptr=rowptr, col=col)
    if matrix.layout == torch.sparse_csc and matrix.ccol_indices().dim() == 1:
        colptr = matrix.ccol_indices()
        _check_rowptr(colptr, matrix.row_indices().numel(), who)
        return _from_coo(matrix.row_indices(), expand(colptr), matrix.values(), size)
    raise TypeError(
        explain(
            who,
            'a sparse matrix must be two-dimensional, in COO, CSR or CSC layout',
            f'{matrix.layout} of shape {tuple(matrix.shape)}',
            "Convert it with 'matrix.to_sparse_csr()'.",
        )
    )


def _from_coo(target: Tensor, source: Tensor, weight: Tensor | None, size: int) -> Edges:
    return Edges(size, weight, pairs=torch.stack([source, target]))


def _values(matrix: Tensor) -> Tensor | None:
    """The values of a matrix, or ``None`` where all of them are one and the same number one.

    A CSR matrix must have values. ``torch.ones(1).expand(E)`` says that there are no weights
    without taking room for them.
    """
    values = matrix.values()
    single = values.dim() == 1 and values.numel() > 1 and values.stride() == (0,)
    return None if single and bool(values[0] == 1) else values


def _check_num_nodes(num_nodes: Any, who: str) -> int:
    if isinstance(num_nodes, bool) or not hasattr(num_nodes, '__index__'):
        raise TypeError(
            explain(who, "'num_nodes' must be an integer", repr(num_nodes), 'Pass a node count.')
        )
    if int(num_nodes) < 0:
        raise ValueError(
            explain(who, "'num_nodes' must not be negative", num_nodes, 'Pass a node count.')
        )
    return int(num_nodes)


def _check_agrees(given: int | None, found: int, where: str, who: str) -> None:
    if given is not None and given != found:
        raise ValueError(
            explain(
                who,
                f'the number of nodes must agree with {where}, which has {found:,}',
                f'{given:,}',
                "Leave 'num_nodes' out, or make both describe the same graph.",
            )
        )


def _check_rowptr(rowptr: Tensor, num_entries: int, who: str) -> None:
    first, last = int(rowptr[0]), int(rowptr[-1])
    if first == 0 and last == num_entries and not bool((rowptr[1:] < rowptr[:-1]).any()):
        return
    raise ValueError(
        explain(
            who,
            f'the bounds of the rows of a matrix must rise from 0 to its {num_entries:,} entries',
            f'{first:,} to {last:,}' + (', falling in between' if last == num_entries else ''),
            "Check it with 'torch.sparse.check_sparse_tensor_invariants'.",
        )
    )


def _check_range(edges: Edges, who: str) -> None:
    stored = edges.col if edges.pairs is None else edges.pairs
    if stored is None or stored.numel() == 0:
        return
    low, high = (int(bound) for bound in stored.aminmax())
    if low >= 0 and high < edges.num_nodes:
        return
    num_bad = 0
    for ends in edges.pieces():
        outside = [(ids < 0) | (ids >= edges.num_nodes) for ids in ends]
        num_bad += int((outside[0] | outside[1]).sum())
    raise ValueError(
        explain(
            who,
            f'node ids must lie in [0, {edges.num_nodes:,})',
            f'{num_bad:,} edges with ids outside, the extreme one {low if low < 0 else high:,}',
            "Correct 'edge_index' or pass the number of nodes it was made for.",
        )
    )
