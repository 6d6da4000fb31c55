"""Operators that read edge features, or build messages with a network of their own."""

import torch
from torch.nn import Module
from torch_geometric import nn as pyg
from torch_geometric.utils import degree

from ..graphs import EDGE_CHANNELS as E
from ..graphs import everything
from ..recipe import IN, Options, layered, level
from ..stacks import Featured, Lifted, Pairs, PairsFeatured, Unstructured, mlp

SCALERS = ['identity', 'amplification', 'attenuation', 'linear', 'inverse_linear']


def degree_histogram() -> torch.Tensor:
    """How many nodes have each in-degree, as ``PNAConv`` asks for it."""
    data = everything('general')
    return torch.bincount(degree(data.edge_index[1], data.num_nodes, torch.int64))


def pna(
    i: int, o: int, aggregators: tuple[str, ...] = ('mean', 'min', 'max', 'std'), **kwargs: object
) -> Module:
    """A ``PNAConv`` that knows the graph's degrees."""
    return pyg.PNAConv(i, o, list(aggregators), SCALERS, degree_histogram(), **kwargs)


def edges() -> dict[str, Options]:
    """Options of each operator."""
    return {
        'GINEConv': {
            'default': level(lambda: pyg.GINEConv(mlp(IN, IN)), Lifted),
            'edge_dim': layered(lambda i, o: pyg.GINEConv(mlp(i, o), edge_dim=E), Featured),
            'train_eps': layered(
                lambda i, o: pyg.GINEConv(mlp(i, o), train_eps=True, edge_dim=E), Featured
            ),
            'max': layered(lambda i, o: pyg.GINEConv(mlp(i, o), edge_dim=E, aggr='max'), Featured),
            'pair of features': layered(
                lambda i, o: pyg.GINEConv(mlp(i, o), edge_dim=E), PairsFeatured
            ),
        },
        'NNConv': {
            'default': layered(lambda i, o: pyg.NNConv(i, o, mlp(E, i * o)), Featured),
            'mean': layered(lambda i, o: pyg.NNConv(i, o, mlp(E, i * o), aggr='mean'), Featured),
            'max': layered(lambda i, o: pyg.NNConv(i, o, mlp(E, i * o), aggr='max'), Featured),
            'root_weight=False, bias=False': layered(
                lambda i, o: pyg.NNConv(i, o, mlp(E, i * o), root_weight=False, bias=False),
                Featured,
            ),
            'pair of features': layered(
                lambda i, o: pyg.NNConv((i, i), o, mlp(E, i * o)), PairsFeatured
            ),
        },
        'CGConv': {
            'default': level(lambda: pyg.CGConv(IN)),
            'edge features': level(lambda: pyg.CGConv(IN, dim=E), Featured),
            'batch_norm': level(lambda: pyg.CGConv(IN, dim=E, batch_norm=True), Featured),
            'mean': level(lambda: pyg.CGConv(IN, dim=E, aggr='mean'), Featured),
            'max': level(lambda: pyg.CGConv(IN, dim=E, aggr='max'), Featured),
            'pair of features': level(lambda: pyg.CGConv((IN, IN), dim=E), PairsFeatured),
        },
        'GMMConv': {
            'default': layered(lambda i, o: pyg.GMMConv(i, o, E, 3), Featured),
            'separate_gaussians': layered(
                lambda i, o: pyg.GMMConv(i, o, E, 2, separate_gaussians=True), Featured
            ),
            'max': layered(lambda i, o: pyg.GMMConv(i, o, E, 2, aggr='max'), Featured),
            'root_weight=False': layered(
                lambda i, o: pyg.GMMConv(i, o, E, 2, root_weight=False), Featured
            ),
            'pair of features': layered(lambda i, o: pyg.GMMConv((i, i), o, E, 2), PairsFeatured),
        },
        'SplineConv': {'default': layered(lambda i, o: pyg.SplineConv(i, o, E, 3), Featured)},
        'PNAConv': {
            'all scalers': layered(pna),
            'towers, two pre- and post-layers': layered(
                lambda i, o: pna(i, o, towers=2, pre_layers=2, post_layers=2)
            ),
            'divide_input': layered(lambda i, o: pna(i, o, towers=2, divide_input=True)),
            'edge features': layered(lambda i, o: pna(i, o, edge_dim=E), Featured),
            'train_norm': layered(lambda i, o: pna(i, o, train_norm=True)),
            'sum, var, median': layered(lambda i, o: pna(i, o, ('sum', 'var', 'median'))),
        },
        'GENConv': {
            'default': layered(pyg.GENConv),
            'edge features': layered(lambda i, o: pyg.GENConv(i, o, edge_dim=E), Featured),
            'learn_t': layered(lambda i, o: pyg.GENConv(i, o, learn_t=True)),
            'powermean, learn_p': layered(
                lambda i, o: pyg.GENConv(i, o, aggr='powermean', learn_p=True)
            ),
            'several aggregations': layered(
                lambda i, o: pyg.GENConv(i, o, aggr=['mean', 'max', 'softmax'])
            ),
            'msg_norm': layered(
                lambda i, o: pyg.GENConv(i, o, msg_norm=True, learn_msg_scale=True)
            ),
            'layer norm': layered(lambda i, o: pyg.GENConv(i, o, norm='layer')),
            'instance norm': layered(lambda i, o: pyg.GENConv(i, o, norm='instance')),
            'no norm': layered(lambda i, o: pyg.GENConv(i, o, norm=None)),
            'pair of features': layered(lambda i, o: pyg.GENConv((i, i), o), Pairs),
        },
        'GeneralConv': {
            'default': layered(pyg.GeneralConv),
            'edge features': layered(
                lambda i, o: pyg.GeneralConv(i, o, in_edge_channels=E), Featured
            ),
            'additive attention': layered(
                lambda i, o: pyg.GeneralConv(i, o, attention=True, heads=2)
            ),
            'dot-product attention': layered(
                lambda i, o: pyg.GeneralConv(
                    i, o, attention=True, heads=2, attention_type='dot_product'
                )
            ),
            'directed_msg=False': layered(lambda i, o: pyg.GeneralConv(i, o, directed_msg=False)),
            'skip_linear, l2_normalize': layered(
                lambda i, o: pyg.GeneralConv(i, o, skip_linear=True, l2_normalize=True)
            ),
            'max': layered(lambda i, o: pyg.GeneralConv(i, o, aggr='max')),
        },
        'PDNConv': {
            'default': layered(lambda i, o: pyg.PDNConv(i, o, E, 4), Featured),
            'add_self_loops=False': layered(
                lambda i, o: pyg.PDNConv(i, o, E, 4, add_self_loops=False), Featured
            ),
            'normalize=False': layered(
                lambda i, o: pyg.PDNConv(i, o, E, 4, normalize=False), Featured
            ),
        },
        'ResGatedGraphConv': {
            'default': layered(pyg.ResGatedGraphConv),
            'edge features': layered(
                lambda i, o: pyg.ResGatedGraphConv(i, o, edge_dim=E), Featured
            ),
            'root_weight=False': layered(
                lambda i, o: pyg.ResGatedGraphConv(i, o, root_weight=False)
            ),
            'pair of features': layered(lambda i, o: pyg.ResGatedGraphConv((i, i), o), Pairs),
        },
        'EdgeConv': {
            'max': layered(lambda i, o: pyg.EdgeConv(mlp(2 * i, o))),
            'mean': layered(lambda i, o: pyg.EdgeConv(mlp(2 * i, o), aggr='mean')),
            'sum': layered(lambda i, o: pyg.EdgeConv(mlp(2 * i, o), aggr='sum')),
            'pair of features': layered(lambda i, o: pyg.EdgeConv(mlp(2 * i, o)), Pairs),
        },
        'DynamicEdgeConv': {
            'default': layered(lambda i, o: pyg.DynamicEdgeConv(mlp(2 * i, o), 4), Unstructured)
        },
    }
