"""Graphs in a folder of mapped arrays: opened (``folder``), and written (``writer``)."""

from .folder import GraphFolder, as_tensor, is_graph_folder, load_graph
from .header import index_dtype
from .writer import GraphWriter

__all__ = [
    'GraphFolder', 'GraphWriter', 'as_tensor', 'index_dtype', 'is_graph_folder', 'load_graph',
]  # fmt: skip
