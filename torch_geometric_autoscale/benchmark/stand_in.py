"""Stand-in graphs: the shape of a data set, scaled down, with nothing of its content."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..datasets.many_graphs import join_graphs

NODES, FEATURES, DEGREE, PARTS, WIDTH = 96, 16, 6, 4, 8


@dataclass(frozen=True)
class Shape:
    """What is known of a data set.

    Attributes:
        nodes: Number of nodes.
        degree: Edges into a node, on average.
        features: Columns of ``x``.
        classes: Classes, or labels of a node.
        many_labels: Whether a node has several.
        splits: Number of splits.
        many_graphs: Whether the data set is many graphs, split as whole graphs.
    """

    nodes: int
    degree: float
    features: int
    classes: int
    many_labels: bool = False
    splits: int = 1
    many_graphs: bool = False


SHAPES: Mapping[str, Shape] = {
    'cora': Shape(2_708, 3.9, 1_433, 7),
    'citeseer': Shape(3_327, 2.7, 3_703, 6),
    'pubmed': Shape(19_717, 4.5, 500, 3),
    'coauthor-cs': Shape(18_333, 8.9, 6_805, 15, splits=20),
    'coauthor-physics': Shape(34_493, 14.4, 8_415, 5, splits=20),
    'amazon-computers': Shape(13_752, 35.8, 767, 10, splits=20),
    'amazon-photo': Shape(7_650, 31.1, 745, 8, splits=20),
    'wikics': Shape(11_701, 36.9, 300, 10, splits=20),
    'reddit': Shape(232_965, 99.6, 602, 41),
    'ppi': Shape(56_944, 28.0, 50, 121, many_labels=True, many_graphs=True),
    'flickr': Shape(89_250, 10.1, 500, 7),
    'yelp': Shape(716_847, 19.5, 300, 100, many_labels=True),
    'ogbn-arxiv': Shape(169_343, 13.7, 128, 40),
    'ogbn-products': Shape(2_449_029, 50.5, 100, 47),
    'wordnet': Shape(117_659, 3.1, 512, 45),
    'linux_calls': Shape(543_092, 4.7, 256, 69),
    'cluster': Shape(1_406_436, 36.7, 7, 6, many_graphs=True),
    'cluster-sbm': Shape(145_046, 37.8, 7, 6, many_graphs=True),
}


def make_stand_in(name: str, seed: int = 0) -> tuple[Data, int, int]:
    """A random undirected graph in the shape of a data set.

    It has the data set's classes and kind of labels, its number of splits, and, scaled down where
    they are large, its nodes, features and degree. Labels have nothing to do with features.

    Returns:
        ``data, in_channels, out_channels``, as ``get_data``.
    """
    shape = SHAPES[name]
    rng = torch.Generator().manual_seed(seed)
    nodes = min(shape.nodes, NODES)
    if shape.many_graphs:
        sizes = {'train': [nodes // 4] * 2, 'val': [nodes // 4], 'test': [nodes // 4]}
        data = join_graphs({s: [_graph(shape, n, rng) for n in sizes[s]] for s in sizes})
    else:
        data = _graph(shape, nodes, rng)
        draws = torch.rand(nodes, shape.splits, generator=rng)
        draws = draws.view(-1) if shape.splits == 1 else draws
        data.train_mask, data.val_mask = draws < 0.5, (draws >= 0.5) & (draws < 0.75)
        data.test_mask = draws >= 0.75
    return data, data.num_features, shape.classes


def _graph(shape: Shape, nodes: int, rng: torch.Generator) -> Data:
    x = torch.randn(nodes, min(shape.features, FEATURES), generator=rng)
    if shape.many_labels:
        y = (torch.rand(nodes, shape.classes, generator=rng) < 0.3).float()
    else:
        y = torch.randint(shape.classes, (nodes,), generator=rng)
    return Data(x=x, edge_index=_edges(nodes, min(shape.degree, DEGREE), rng), y=y)


def _edges(nodes: int, degree: float, rng: torch.Generator) -> Tensor:
    """Both directions of edges between nodes that are near in a ring, without doubles."""
    count = max(1, round(nodes * degree / 2))
    source = torch.randint(nodes, (count,), generator=rng)
    target = (source + torch.randint(1, 12, (count,), generator=rng)) % nodes
    both = torch.cat([torch.stack([source, target]), torch.stack([target, source])], dim=1)
    return both.unique(dim=1)


def scale_down(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for a stand-in: as many parts and channels as fit it, all else as it was."""
    scaled = {**settings, 'model': dict(settings['model'])}
    num_parts, batch_size = settings['num_parts'], settings['batch_size']
    if isinstance(num_parts, int) and num_parts > PARTS:
        scaled['num_parts'] = PARTS
        if isinstance(batch_size, int):
            scaled['batch_size'] = max(1, round(batch_size * PARTS / num_parts))
    width = settings['model']['hidden_channels']
    scaled['model']['hidden_channels'] = min(width, WIDTH)
    return scaled
