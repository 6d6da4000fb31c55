"""Operators that add up neighbours, normalised by degree or not."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric import nn as pyg
from torch_geometric.typing import OptTensor

from ..recipe import IN, Options, Recipe, layered, level
from ..stacks import (
    AfterLinear,
    BeforeLinear,
    ByAdjacency,
    Called,
    First,
    Pairs,
    PairsWeighted,
    Plain,
    SourcesOnly,
    Stack,
    Weighted,
    WithFirst,
    WithFirstWeighted,
    mlp,
)

LAMBDA_MAX = torch.tensor(2.0, dtype=torch.float64)


class Dense(Module):
    """DNA: each layer attends to the outputs of all layers before it."""

    def __init__(self, convs: list[Module]) -> None:
        super().__init__()
        self.convs = torch.nn.ModuleList(convs)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: OptTensor = None) -> Tensor:
        seen = x.unsqueeze(1)
        for conv in self.convs:
            x = conv(seen, edge_index, edge_weight).tanh()
            seen = torch.cat([seen, x.unsqueeze(1)], dim=1)
        return x


class Colors(Stack):
    """Weisfeiler-Lehman: integers in, integers out."""

    def forward(self, color: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            color = conv(color, edge_index)
        return color


def dna(*more: str, **kwargs: Any) -> Recipe:
    """``more`` are attributes of the data beyond features and edges."""

    def build(depth: int) -> Module:
        return Dense([pyg.DNAConv(IN, **kwargs) for _ in range(depth)])

    return Recipe(build, ('x', 'edge_index', *more))


def mixhop(*powers: int, **kwargs: bool) -> Callable[[int, int], Module]:
    """MixHop's outputs side by side, brought to the width of a layer."""

    def make(i: int, o: int) -> Module:
        conv = pyg.MixHopConv(i, 3, powers=list(powers), **kwargs)
        return BeforeLinear(conv, 3 * len(powers), o)

    return make


def sums() -> dict[str, Options]:
    """Options of each operator."""
    return {
        'SimpleConv': {
            'sum': layered(lambda i, o: AfterLinear(i, o, pyg.SimpleConv())),
            'edge weights': layered(lambda i, o: AfterLinear(i, o, pyg.SimpleConv()), Weighted),
            'mean': layered(lambda i, o: AfterLinear(i, o, pyg.SimpleConv('mean'))),
            'max, combine_root=sum': layered(
                lambda i, o: AfterLinear(i, o, pyg.SimpleConv('max', 'sum'))
            ),
            'median, combine_root=sum': layered(
                lambda i, o: AfterLinear(i, o, pyg.SimpleConv('median', 'sum'))
            ),
            'mul': layered(lambda i, o: AfterLinear(i, o, pyg.SimpleConv('mul'))),
            'combine_root=sum': layered(
                lambda i, o: AfterLinear(i, o, pyg.SimpleConv(combine_root='sum'))
            ),
            'combine_root=cat': layered(
                lambda i, o: AfterLinear(i, o // 2, pyg.SimpleConv(combine_root='cat'))
            ),
            'combine_root=self_loop': layered(
                lambda i, o: AfterLinear(i, o, pyg.SimpleConv(combine_root='self_loop'))
            ),
            'flow=target_to_source': layered(
                lambda i, o: AfterLinear(i, o, pyg.SimpleConv(flow='target_to_source'))
            ),
        },
        'GCNConv': {
            'default': layered(pyg.GCNConv),
            'edge weights': layered(pyg.GCNConv, Weighted),
            'improved': layered(lambda i, o: pyg.GCNConv(i, o, improved=True)),
            'improved, edge weights': layered(
                lambda i, o: pyg.GCNConv(i, o, improved=True), Weighted
            ),
            'add_self_loops=False': layered(lambda i, o: pyg.GCNConv(i, o, add_self_loops=False)),
            'normalize=False': layered(lambda i, o: pyg.GCNConv(i, o, normalize=False)),
            'normalize=False, edge weights': layered(
                lambda i, o: pyg.GCNConv(i, o, normalize=False), Weighted
            ),
            'bias=False': layered(lambda i, o: pyg.GCNConv(i, o, bias=False)),
            'aggr=max': layered(lambda i, o: pyg.GCNConv(i, o, aggr='max')),
            'adj_t, sparse CSR': layered(pyg.GCNConv, ByAdjacency, graph='simple'),
            'cached': layered(lambda i, o: pyg.GCNConv(i, o, cached=True)),
            'flow=target_to_source': layered(
                lambda i, o: pyg.GCNConv(i, o, flow='target_to_source')
            ),
        },
        'ChebConv': {
            'K=1': layered(lambda i, o: pyg.ChebConv(i, o, K=1)),
            'K=2': layered(lambda i, o: pyg.ChebConv(i, o, K=2)),
            'K=3': layered(lambda i, o: pyg.ChebConv(i, o, K=3)),
            'K=3, edge weights': layered(lambda i, o: pyg.ChebConv(i, o, K=3), Weighted),
            'K=3, normalization=rw': layered(
                lambda i, o: Called(pyg.ChebConv(i, o, 3, 'rw'), lambda_max=LAMBDA_MAX)
            ),
            'K=3, normalization=None': layered(
                lambda i, o: Called(pyg.ChebConv(i, o, 3, None), lambda_max=LAMBDA_MAX)
            ),
        },
        'SAGEConv': {
            'default': layered(pyg.SAGEConv),
            'sum': layered(lambda i, o: pyg.SAGEConv(i, o, aggr='sum')),
            'max': layered(lambda i, o: pyg.SAGEConv(i, o, aggr='max')),
            'lstm': layered(lambda i, o: pyg.SAGEConv(i, o, aggr='lstm'), graph='sorted'),
            'normalize': layered(lambda i, o: pyg.SAGEConv(i, o, normalize=True)),
            'project': layered(lambda i, o: pyg.SAGEConv(i, o, project=True)),
            'root_weight=False': layered(lambda i, o: pyg.SAGEConv(i, o, root_weight=False)),
            'pair of features': layered(lambda i, o: pyg.SAGEConv((i, i), o), Pairs),
            'sources only': layered(
                lambda i, o: pyg.SAGEConv((i, i), o, root_weight=False), SourcesOnly
            ),
            'adj_t, sparse CSR': layered(pyg.SAGEConv, ByAdjacency, graph='unweighted'),
            # PyG weighs neighbours by the values of a CSR matrix, but not by edge weights.
            'adj_t, sparse CSR with weights': layered(pyg.SAGEConv, ByAdjacency, graph='simple'),
            'flow=target_to_source': layered(
                lambda i, o: pyg.SAGEConv(i, o, flow='target_to_source')
            ),
        },
        'GraphConv': {
            'default': layered(pyg.GraphConv),
            'edge weights': layered(pyg.GraphConv, Weighted),
            'mean, edge weights': layered(lambda i, o: pyg.GraphConv(i, o, aggr='mean'), Weighted),
            'max, edge weights': layered(lambda i, o: pyg.GraphConv(i, o, aggr='max'), Weighted),
            'pair of features, edge weights': layered(
                lambda i, o: pyg.GraphConv((i, i), o), PairsWeighted
            ),
            'sources only': layered(lambda i, o: pyg.GraphConv((i, i), o), SourcesOnly),
            'adj_t, sparse CSR': layered(pyg.GraphConv, ByAdjacency),
            'flow=target_to_source': layered(
                lambda i, o: pyg.GraphConv(i, o, flow='target_to_source')
            ),
        },
        'GatedGraphConv': {
            'one step': level(lambda: pyg.GatedGraphConv(IN, 1)),
            'three steps': level(lambda: pyg.GatedGraphConv(IN, 3)),
            'three steps, edge weights': level(lambda: pyg.GatedGraphConv(IN, 3), Weighted),
            'two steps, mean': level(lambda: pyg.GatedGraphConv(IN, 2, aggr='mean')),
            'two steps, max': level(lambda: pyg.GatedGraphConv(IN, 2, aggr='max')),
            'two steps, wider than its input': Recipe(
                lambda depth: Plain([pyg.GatedGraphConv(IN + 2 * (i + 1), 2) for i in range(depth)])
            ),
        },
        'TAGConv': {
            'K=1': layered(lambda i, o: pyg.TAGConv(i, o, K=1)),
            'K=3': layered(lambda i, o: pyg.TAGConv(i, o, K=3)),
            'K=3, edge weights': layered(lambda i, o: pyg.TAGConv(i, o, K=3), Weighted),
            'normalize=False': layered(lambda i, o: pyg.TAGConv(i, o, K=2, normalize=False)),
            'bias=False': layered(lambda i, o: pyg.TAGConv(i, o, K=2, bias=False)),
        },
        'ARMAConv': {
            'one layer': layered(lambda i, o: pyg.ARMAConv(i, o)),
            'two stacks, three layers': layered(lambda i, o: pyg.ARMAConv(i, o, 2, 3)),
            'two stacks, three layers, edge weights': layered(
                lambda i, o: pyg.ARMAConv(i, o, 2, 3), Weighted
            ),
            'shared weights': layered(lambda i, o: pyg.ARMAConv(i, o, 2, 3, shared_weights=True)),
            'act=None, bias=False': layered(
                lambda i, o: pyg.ARMAConv(i, o, 2, 2, act=None, bias=False)
            ),
        },
        'SGConv': {
            'K=1': layered(lambda i, o: pyg.SGConv(i, o, K=1)),
            'K=3': layered(lambda i, o: pyg.SGConv(i, o, K=3)),
            'K=3, edge weights': layered(lambda i, o: pyg.SGConv(i, o, K=3), Weighted),
            'add_self_loops=False': layered(
                lambda i, o: pyg.SGConv(i, o, K=2, add_self_loops=False)
            ),
            # It keeps what it propagated, which is right for the features of the graph only.
            'cached, first layer': layered(lambda i, o: pyg.SGConv(i, o, K=2, cached=i == IN)),
        },
        'SSGConv': {
            'K=1': layered(lambda i, o: pyg.SSGConv(i, o, 0.1, K=1)),
            'K=3': layered(lambda i, o: pyg.SSGConv(i, o, 0.1, K=3)),
            'K=3, edge weights': layered(lambda i, o: pyg.SSGConv(i, o, 0.1, K=3), Weighted),
            'add_self_loops=False': layered(
                lambda i, o: pyg.SSGConv(i, o, 0.3, K=2, add_self_loops=False)
            ),
            'cached, first layer': layered(
                lambda i, o: pyg.SSGConv(i, o, 0.1, K=2, cached=i == IN)
            ),
        },
        'APPNP': {
            'K=1': layered(lambda i, o: AfterLinear(i, o, pyg.APPNP(1, 0.1))),
            'K=3': layered(lambda i, o: AfterLinear(i, o, pyg.APPNP(3, 0.1))),
            'K=3, edge weights': layered(
                lambda i, o: AfterLinear(i, o, pyg.APPNP(3, 0.1)), Weighted
            ),
            'add_self_loops=False': layered(
                lambda i, o: AfterLinear(i, o, pyg.APPNP(2, 0.1, add_self_loops=False))
            ),
            'normalize=False': layered(
                lambda i, o: AfterLinear(i, o, pyg.APPNP(2, 0.1, normalize=False))
            ),
            'dropout of edges': layered(
                lambda i, o: AfterLinear(i, o, pyg.APPNP(2, 0.1, dropout=0.5))
            ),
            'cached': layered(lambda i, o: AfterLinear(i, o, pyg.APPNP(2, 0.1, cached=True))),
        },
        'GINConv': {
            'default': layered(lambda i, o: pyg.GINConv(mlp(i, o))),
            'train_eps': layered(lambda i, o: pyg.GINConv(mlp(i, o), eps=0.2, train_eps=True)),
            'max': layered(lambda i, o: pyg.GINConv(mlp(i, o), aggr='max')),
            'mean': layered(lambda i, o: pyg.GINConv(mlp(i, o), aggr='mean')),
            'MLP with BatchNorm': layered(
                lambda i, o: pyg.GINConv(pyg.MLP([i, 6, o], norm='batch_norm'))
            ),
            'pair of features': layered(lambda i, o: pyg.GINConv(mlp(i, o)), Pairs),
            'sources only': layered(lambda i, o: pyg.GINConv(mlp(i, o)), SourcesOnly),
            'adj_t, sparse CSR': layered(
                lambda i, o: pyg.GINConv(mlp(i, o)), ByAdjacency, graph='unweighted'
            ),
            'flow=target_to_source': layered(
                lambda i, o: pyg.GINConv(mlp(i, o), flow='target_to_source')
            ),
        },
        'MFConv': {
            'default': layered(pyg.MFConv),
            'max_degree=3': layered(lambda i, o: pyg.MFConv(i, o, max_degree=3)),
            'bias=False': layered(lambda i, o: pyg.MFConv(i, o, bias=False)),
            'pair of features': layered(lambda i, o: pyg.MFConv((i, i), o), Pairs),
        },
        'LEConv': {
            'default': layered(pyg.LEConv),
            'edge weights': layered(pyg.LEConv, Weighted),
            'bias=False': layered(lambda i, o: pyg.LEConv(i, o, bias=False)),
            'pair of features': layered(lambda i, o: pyg.LEConv((i, i), o), Pairs),
        },
        'ClusterGCNConv': {
            'default': layered(pyg.ClusterGCNConv),
            'diag_lambda': layered(lambda i, o: pyg.ClusterGCNConv(i, o, diag_lambda=0.5)),
            'add_self_loops=False': layered(
                lambda i, o: pyg.ClusterGCNConv(i, o, add_self_loops=False), graph='looped'
            ),
        },
        'GCN2Conv': {
            'default': level(lambda: pyg.GCN2Conv(IN, 0.1), WithFirst),
            'edge weights': level(lambda: pyg.GCN2Conv(IN, 0.1), WithFirstWeighted),
            'theta, layer': level(lambda: pyg.GCN2Conv(IN, 0.1, theta=0.5, layer=2), WithFirst),
            'shared_weights=False': level(
                lambda: pyg.GCN2Conv(IN, 0.2, theta=0.5, layer=1, shared_weights=False), WithFirst
            ),
            'normalize=False': level(lambda: pyg.GCN2Conv(IN, 0.1, normalize=False), WithFirst),
            'add_self_loops=False': level(
                lambda: pyg.GCN2Conv(IN, 0.1, add_self_loops=False), WithFirst
            ),
            'cached': level(lambda: pyg.GCN2Conv(IN, 0.1, cached=True), WithFirst),
        },
        'LGConv': {
            'default': layered(lambda i, o: AfterLinear(i, o, pyg.LGConv())),
            'edge weights': layered(lambda i, o: AfterLinear(i, o, pyg.LGConv()), Weighted),
            'normalize=False': layered(lambda i, o: AfterLinear(i, o, pyg.LGConv(normalize=False))),
        },
        'MixHopConv': {
            'powers 0, 1, 2': layered(mixhop(0, 1, 2)),
            'powers 0, 1, 2, edge weights': layered(mixhop(0, 1, 2), Weighted),
            'powers 2, 4': layered(mixhop(2, 4)),
            'add_self_loops=False': layered(mixhop(0, 1, 2, add_self_loops=False)),
        },
        'EGConv': {
            'default': layered(lambda i, o: pyg.EGConv(i, o, num_heads=2)),
            'sum, mean, max': layered(
                lambda i, o: pyg.EGConv(i, o, ['sum', 'mean', 'max'], num_heads=2)
            ),
            'min, std, var': layered(
                lambda i, o: pyg.EGConv(i, o, ['min', 'std', 'var'], num_heads=2)
            ),
            'symnorm, add_self_loops=False': layered(
                lambda i, o: pyg.EGConv(i, o, ['symnorm'], 2, add_self_loops=False)
            ),
            'symnorm, max': layered(lambda i, o: pyg.EGConv(i, o, ['symnorm', 'max'], 2)),
            'sum, max, add_self_loops=False': layered(
                lambda i, o: pyg.EGConv(i, o, ['sum', 'max'], 2, add_self_loops=False)
            ),
            'cached': layered(lambda i, o: pyg.EGConv(i, o, num_heads=2, cached=True)),
        },
        'FAConv': {
            'default': level(lambda: pyg.FAConv(IN), WithFirst),
            'edge weights, normalize=False': level(
                lambda: pyg.FAConv(IN, eps=0.3, normalize=False), WithFirstWeighted
            ),
            'add_self_loops=False': level(lambda: pyg.FAConv(IN, add_self_loops=False), WithFirst),
            'dropout': level(lambda: pyg.FAConv(IN, dropout=0.5), WithFirst),
            'cached': level(lambda: pyg.FAConv(IN, cached=True), WithFirst),
        },
        'DNAConv': {
            'default': dna(),
            'heads, groups': dna(heads=4, groups=2),
            'edge weights': dna('edge_weight', heads=2),
            'normalize=False, edge weights': dna('edge_weight', normalize=False),
            'dropout': dna(heads=2, dropout=0.5),
            'cached': dna(cached=True),
        },
        'PANConv': {'default': layered(lambda i, o: First(pyg.PANConv(i, o, filter_size=2)))},
        'WLConv': {'colors': level(pyg.WLConv, Colors)},
        'WLConvContinuous': {
            'default': layered(lambda i, o: AfterLinear(i, o, pyg.WLConvContinuous())),
            'edge weights': layered(
                lambda i, o: AfterLinear(i, o, pyg.WLConvContinuous()), Weighted
            ),
        },
    }
