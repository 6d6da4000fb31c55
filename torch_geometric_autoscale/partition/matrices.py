"""Adjacency matrices with rows and columns renumbered."""

from typing import Any

import torch
from torch import Tensor

from ..graph_input import is_sparse_tensor


def permute_matrix(matrix: Any, perm: Tensor, inverse: Tensor) -> tuple[Any, Tensor]:
    """Renumber the nodes of a square sparse matrix, keeping its class and layout.

    Duplicate entries are kept. Entries of one row keep their order in an uncoalesced COO matrix;
    in all other layouts columns rise within a row (in CSC: rows within a column), as the layout
    demands, and duplicates keep their order.

    Args:
        matrix: ``(N, N)`` ``torch.sparse`` COO, CSR or CSC, or a ``SparseTensor``.
        perm: ``(N,)`` old id of every new node.
        inverse: ``(N,)`` new id of every old node.

    Returns:
        The new matrix, and ``(E,)`` the old position of each of its entries.
    """
    if is_sparse_tensor(matrix):
        row, col, value = matrix.coo()
        row, col, order = _renumber(row, col, inverse, by_column=True)
        value = None if value is None else value[order]
        sizes = tuple(matrix.sparse_sizes())
        return type(matrix)(row=row, col=col, value=value, sparse_sizes=sizes), order
    size = tuple(matrix.shape)
    if matrix.layout == torch.sparse_coo:
        row, col = matrix._indices()
        coalesced = matrix.is_coalesced()
        row, col, order = _renumber(row, col, inverse, by_column=coalesced)
        return torch.sparse_coo_tensor(
            torch.stack([row, col]),
            matrix._values()[order],
            size,
            is_coalesced=coalesced,
            check_invariants=False,
        ), order
    if matrix.layout == torch.sparse_csr:
        pointer, minor = matrix.crow_indices(), matrix.col_indices()
    else:
        pointer, minor = matrix.ccol_indices(), matrix.row_indices()
    count = pointer.diff()
    major = torch.arange(count.numel(), device=count.device).repeat_interleave(count.long())
    major, minor, order = _renumber(major, minor, inverse, by_column=True)
    new_pointer = torch.zeros_like(pointer)
    new_pointer[1:] = count[perm].cumsum(0)
    return torch.sparse_compressed_tensor(
        new_pointer,
        minor.to(new_pointer.dtype),
        matrix.values()[order],
        size,
        layout=matrix.layout,
        check_invariants=False,
    ), order


def _renumber(
    major: Tensor, minor: Tensor, inverse: Tensor, by_column: bool
) -> tuple[Tensor, Tensor, Tensor]:
    major, minor = inverse[major.long()], inverse[minor.long()]
    key = major * inverse.numel() + minor if by_column else major
    order = key.argsort(stable=True)
    return major[order], minor[order], order
