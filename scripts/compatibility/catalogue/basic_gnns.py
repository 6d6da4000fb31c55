"""PyG's ``BasicGNN``s in their options."""

from typing import Any

import torch
from torch.nn import Module
from torch_geometric import nn as pyg
from torch_geometric.nn import models

from ..graphs import EDGE_CHANNELS as E
from ..recipe import IN, OUT, Options, Recipe
from .edges import SCALERS, degree_histogram

EDGES = ('x', 'edge_index')
WEIGHTED = (*EDGES, 'edge_weight')
FEATURED = (*EDGES, 'edge_attr')


def basic(kind: type[Module], attrs: tuple[str, ...] = EDGES, **kwargs: Any) -> Recipe:
    """A ``BasicGNN`` whose hidden width is not that of its input or output."""

    def build(depth: int) -> Module:
        return kind(IN, 6, depth, OUT, **kwargs)

    return Recipe(build, attrs)


def jumping(kind: type[Module], **kwargs: Any) -> dict[str, Recipe]:
    return {f'jk={mode}': basic(kind, jk=mode, **kwargs) for mode in ('last', 'cat', 'max', 'lstm')}


def basic_gnns() -> dict[str, Options]:
    pna: dict[str, Any] = {
        'aggregators': ['mean', 'max', 'std'],
        'scalers': SCALERS,
        'deg': degree_histogram(),
    }
    return {
        'GCN': {
            'default': basic(models.GCN),
            'edge weights': basic(models.GCN, WEIGHTED),
            'improved': basic(models.GCN, improved=True),
            'normalize=False': basic(models.GCN, normalize=False),
            'cached': basic(models.GCN, cached=True),
            'dropout': basic(models.GCN, dropout=0.5),
            'act=elu, act_first, BatchNorm': basic(
                models.GCN, act='elu', act_first=True, norm='batch_norm'
            ),
            'act=None': basic(models.GCN, act=None),
            **jumping(models.GCN),
            'jk=cat, BatchNorm, dropout': basic(
                models.GCN, jk='cat', norm='batch_norm', dropout=0.3
            ),
            'norm=batch_norm': basic(models.GCN, norm='batch_norm'),
            'norm=layer_norm, mode=node': basic(
                models.GCN, norm='layer_norm', norm_kwargs={'mode': 'node'}
            ),
            'norm=layer_norm, mode=graph': basic(models.GCN, norm='layer_norm'),
            'norm=torch.nn.LayerNorm': basic(models.GCN, norm=torch.nn.LayerNorm(6)),
            'norm=graph_norm': basic(models.GCN, norm='graph_norm'),
            'norm=instance_norm': basic(models.GCN, norm='instance_norm'),
            'norm=pair_norm': basic(models.GCN, norm=pyg.PairNorm()),
            'norm=mean_subtraction_norm': basic(models.GCN, norm=pyg.MeanSubtractionNorm()),
            'norm=graph_size_norm': basic(models.GCN, norm=pyg.GraphSizeNorm()),
            'norm=diff_group_norm': basic(
                models.GCN, norm='diff_group_norm', norm_kwargs={'groups': 2}
            ),
        },
        'GraphSAGE': {
            'default': basic(models.GraphSAGE),
            'aggr=max': basic(models.GraphSAGE, aggr='max'),
            'aggr=[mean, max]': basic(models.GraphSAGE, aggr=['mean', 'max']),
            'project, normalize': basic(models.GraphSAGE, project=True, normalize=True),
            'dropout, BatchNorm': basic(models.GraphSAGE, dropout=0.5, norm='batch_norm'),
            'norm=graph_norm': basic(models.GraphSAGE, norm='graph_norm'),
            **jumping(models.GraphSAGE),
        },
        'GIN': {
            'default': basic(models.GIN),
            'train_eps': basic(models.GIN, train_eps=True),
            'norm=batch_norm': basic(models.GIN, norm='batch_norm'),
            'dropout': basic(models.GIN, dropout=0.5),
            **jumping(models.GIN),
        },
        'GAT': {
            'default': basic(models.GAT),
            'two heads': basic(models.GAT, heads=2),
            'averaged heads': basic(models.GAT, heads=3, concat=False),
            'v2, two heads': basic(models.GAT, v2=True, heads=2),
            'edge features': basic(models.GAT, FEATURED, heads=2, edge_dim=E),
            'v2, edge features': basic(models.GAT, FEATURED, v2=True, edge_dim=E),
            'dropout': basic(models.GAT, heads=2, dropout=0.5),
            'residual, LayerNorm': basic(
                models.GAT, residual=True, norm='layer_norm', norm_kwargs={'mode': 'node'}
            ),
            **jumping(models.GAT, heads=2),
        },
        'PNA': {
            'default': basic(models.PNA, **pna),
            'edge features': basic(models.PNA, FEATURED, edge_dim=E, **pna),
            'towers': basic(models.PNA, towers=2, **pna),
            'norm=batch_norm': basic(models.PNA, norm='batch_norm', **pna),
            **jumping(models.PNA, **pna),
        },
        'EdgeCNN': {
            'default': basic(models.EdgeCNN),
            'aggr=mean': basic(models.EdgeCNN, aggr='mean'),
            'norm=batch_norm': basic(models.EdgeCNN, norm='batch_norm'),
            **jumping(models.EdgeCNN),
        },
    }
