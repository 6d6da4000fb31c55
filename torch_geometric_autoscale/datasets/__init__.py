"""Graphs by name (``registry``), from a file (``npz``), and one in the package (``embedded``)."""

from torch_geometric_autoscale.datasets.embedded import WordNet
from torch_geometric_autoscale.datasets.hetero_npz import load_hetero_npz
from torch_geometric_autoscale.datasets.many_graphs import split_graphs
from torch_geometric_autoscale.datasets.npz import load_npz
from torch_geometric_autoscale.datasets.registry import available, canonical, describe, get_data
from torch_geometric_autoscale.datasets.sbm import generate_cluster

__all__ = [
    'WordNet',
    'available',
    'canonical',
    'describe',
    'generate_cluster',
    'get_data',
    'load_hetero_npz',
    'load_npz',
    'split_graphs',
]
