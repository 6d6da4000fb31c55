"""Kernels for devices, in Triton: optional, and loaded when first used."""

from .rows import available, gather_rows, scatter_rows, why_not

__all__ = ['available', 'gather_rows', 'scatter_rows', 'why_not']
