"""Graphs that are drawn: ``generate_graph``."""

from .generate import generate_graph

__all__ = ['generate_graph']
