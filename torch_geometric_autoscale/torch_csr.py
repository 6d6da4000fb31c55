"""Matrices in CSR layout, without PyTorch's checks and its warning about them."""

import warnings

import torch
from torch import Tensor

_is_hushed = False


def csr_matrix(crow: Tensor, col: Tensor, values: Tensor, size: tuple[int, ...]) -> Tensor:
    """A ``torch.sparse_csr`` tensor of ``size`` with these arrays."""
    hush_beta_warning()
    return torch.sparse_csr_tensor(crow, col, values, size, check_invariants=False)


def hush_beta_warning() -> None:
    """Let PyTorch give its only warning about sparse CSR tensors now, unheard."""
    global _is_hushed
    if not _is_hushed:
        _is_hushed = True
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            torch.sparse_csr_tensor([0, 1], [0], [1.0], (1, 1))
