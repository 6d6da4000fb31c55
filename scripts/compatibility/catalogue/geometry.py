"""Operators on points, meshes and hypergraphs."""

from torch_geometric import nn as pyg

from ..recipe import IN, Options, layered, level
from ..stacks import (
    Hyper,
    Oriented,
    PairsPositioned,
    Plain,
    PointCloud,
    Positioned,
    Unstructured,
    mlp,
)


def geometry() -> dict[str, Options]:
    """Options of each operator."""
    return {
        'PointNetConv': {
            'default': layered(lambda i, o: pyg.PointNetConv(mlp(i + 3, o), mlp(o, o)), Positioned),
            'add_self_loops=False': layered(
                lambda i, o: pyg.PointNetConv(mlp(i + 3, o), mlp(o, o), add_self_loops=False),
                Positioned,
            ),
            'one network, mean': layered(
                lambda i, o: pyg.PointNetConv(mlp(i + 3, o), aggr='mean'), Positioned
            ),
            'pair of features': layered(
                lambda i, o: pyg.PointNetConv(mlp(i + 3, o), add_self_loops=False), PairsPositioned
            ),
        },
        'PointTransformerConv': {
            'default': layered(pyg.PointTransformerConv, Positioned),
            'own networks': layered(
                lambda i, o: pyg.PointTransformerConv(i, o, mlp(3, o), mlp(o, o)), Positioned
            ),
            'add_self_loops=False': layered(
                lambda i, o: pyg.PointTransformerConv(i, o, add_self_loops=False), Positioned
            ),
            'pair of features': layered(
                lambda i, o: pyg.PointTransformerConv((i, i), o, add_self_loops=False),
                PairsPositioned,
            ),
        },
        'PPFConv': {
            'default': layered(lambda i, o: pyg.PPFConv(mlp(i + 4, o), mlp(o, o)), Oriented),
            'add_self_loops=False': layered(
                lambda i, o: pyg.PPFConv(mlp(i + 4, o), add_self_loops=False), Oriented
            ),
        },
        'PointGNNConv': {
            'default': level(
                lambda: pyg.PointGNNConv(mlp(IN, 3), mlp(IN + 3, 6), mlp(6, IN)), Positioned
            ),
            'mean': level(
                lambda: pyg.PointGNNConv(mlp(IN, 3), mlp(IN + 3, 6), mlp(6, IN), aggr='mean'),
                Positioned,
            ),
        },
        'GravNetConv': {
            'default': layered(lambda i, o: pyg.GravNetConv(i, o, 3, 4, k=4), Unstructured)
        },
        'XConv': {
            'default': layered(lambda i, o: pyg.XConv(i, o, 3, 4, hidden_channels=5), PointCloud)
        },
        'MeshCNNConv': {
            'default': layered(pyg.MeshCNNConv, graph='mesh'),
        },
        'HypergraphConv': {
            'hyperedge_index': layered(pyg.HypergraphConv, Hyper),
            'edge_index': layered(pyg.HypergraphConv, Plain),
        },
    }
