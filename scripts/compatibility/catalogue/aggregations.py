"""Every aggregation of PyG, in ``SAGEConv``."""

from collections.abc import Callable

from torch import Tensor
from torch.nn import Module
from torch_geometric import nn as pyg
from torch_geometric.nn import aggr

from ..recipe import Options, Recipe, layered
from ..stacks import mlp
from .edges import SCALERS, degree_histogram

Make = Callable[[int], str | list[str] | Module]


def sage(make: Make, wider: int = 1, graph: str = 'general') -> Recipe:
    """``make(in_channels)`` is the aggregation; ``wider`` is how many times its output is."""

    def conv(i: int, o: int) -> Module:
        aggregation = make(i)
        if wider == 1:
            return pyg.SAGEConv(i, o, aggr=aggregation)
        return pyg.SAGEConv((wider * i, i), o, aggr=aggregation)

    return layered(conv, graph=graph)


def ordered(make: Make, wider: int = 1) -> Recipe:
    """An aggregation that asks for edges sorted by target."""
    return sage(make, wider, 'sorted')


class Weights(Module):
    """Scores for attentional aggregation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.net = mlp(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def aggregations() -> dict[str, Options]:
    """Options of each aggregation."""
    degrees = degree_histogram()
    several = ['mean', 'max', 'std']
    return {
        'MeanAggregation': {'mean': sage(lambda i: 'mean')},
        'SumAggregation': {'sum': sage(lambda i: 'sum')},
        'MaxAggregation': {'max': sage(lambda i: 'max')},
        'MinAggregation': {'min': sage(lambda i: 'min')},
        'MulAggregation': {'mul': sage(lambda i: 'mul')},
        'VarAggregation': {'var': sage(lambda i: 'var')},
        'StdAggregation': {'std': sage(lambda i: 'std')},
        'SoftmaxAggregation': {
            'fixed': sage(lambda i: 'softmax'),
            'learned, per channel': sage(lambda i: aggr.SoftmaxAggregation(learn=True, channels=i)),
            'semi_grad': sage(lambda i: aggr.SoftmaxAggregation(0.1, semi_grad=True)),
        },
        'PowerMeanAggregation': {
            'fixed': sage(lambda i: 'powermean'),
            'learned': sage(lambda i: aggr.PowerMeanAggregation(2.0, learn=True)),
        },
        'MedianAggregation': {'median': sage(lambda i: 'median')},
        'QuantileAggregation': {
            'lower': sage(lambda i: aggr.QuantileAggregation(0.3, 'lower')),
            'two, linear': sage(lambda i: aggr.QuantileAggregation([0.3, 0.7]), 2),
        },
        'LSTMAggregation': {'lstm': ordered(lambda i: 'lstm')},
        'GRUAggregation': {'default': ordered(lambda i: aggr.GRUAggregation(i, i))},
        'Set2Set': {'two steps': ordered(lambda i: aggr.Set2Set(i, 2), 2)},
        'SortAggregation': {'k=2': ordered(lambda i: aggr.SortAggregation(2), 2)},
        'MultiAggregation': {
            'concatenated': sage(lambda i: several),
            'added': sage(lambda i: aggr.MultiAggregation(several, mode='sum')),
            'largest': sage(lambda i: aggr.MultiAggregation(several, mode='max')),
            'projected': sage(
                lambda i: aggr.MultiAggregation(
                    several, mode='proj', mode_kwargs={'in_channels': i, 'out_channels': i}
                )
            ),
            'attention': sage(
                lambda i: aggr.MultiAggregation(
                    several,
                    mode='attn',
                    mode_kwargs={'in_channels': i, 'out_channels': i, 'num_heads': 2},
                )
            ),
        },
        'DegreeScalerAggregation': {
            'all scalers': sage(
                lambda i: aggr.DegreeScalerAggregation(['mean', 'max'], SCALERS, degrees), 10
            ),
            'train_norm': sage(
                lambda i: aggr.DegreeScalerAggregation('mean', 'linear', degrees, train_norm=True)
            ),
        },
        'AttentionalAggregation': {
            'scores': sage(lambda i: aggr.AttentionalAggregation(Weights(i))),
            'scores per channel, transformed': sage(
                lambda i: aggr.AttentionalAggregation(mlp(i, i), mlp(i, i))
            ),
        },
        'EquilibriumAggregation': {
            'default': sage(lambda i: aggr.EquilibriumAggregation(i, i, [4], grad_iter=2))
        },
        'MLPAggregation': {
            'default': ordered(
                lambda i: aggr.MLPAggregation(i, i, 64, num_layers=1, hidden_channels=4, norm=None)
            )
        },
        'DeepSetsAggregation': {
            'default': sage(lambda i: aggr.DeepSetsAggregation(mlp(i, i), mlp(i, i)))
        },
        'SetTransformerAggregation': {
            'default': ordered(lambda i: aggr.SetTransformerAggregation(i)),
            'two heads, layer norm': ordered(
                lambda i: aggr.SetTransformerAggregation(i, heads=2, layer_norm=True)
            ),
        },
        'GraphMultisetTransformer': {
            'default': ordered(lambda i: aggr.GraphMultisetTransformer(i, k=3, heads=2))
        },
        'LCMAggregation': {
            'default': ordered(lambda i: aggr.LCMAggregation(i, i, project=False)),
            'project': ordered(lambda i: aggr.LCMAggregation(i, i)),
        },
        'VariancePreservingAggregation': {
            'default': sage(lambda i: aggr.VariancePreservingAggregation())
        },
        'PatchTransformerAggregation': {
            'default': sage(  # reads the largest in-degree, of which the hub makes a difference
                lambda i: aggr.PatchTransformerAggregation(i, i, 4, 8, 1, heads=2),
                graph='sorted, with a hub',
            )
        },
    }
