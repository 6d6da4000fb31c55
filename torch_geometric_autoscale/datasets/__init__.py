"""Graphs by name (``registry``), from a file (``npz``), and one in the package (``embedded``)."""

from torch_geometric_autoscale.datasets.embedded import WordNet
from torch_geometric_autoscale.datasets.npz import load_npz
from torch_geometric_autoscale.datasets.registry import available, describe, get_data

__all__ = ['WordNet', 'available', 'describe', 'get_data', 'load_npz']
