"""Operators that weigh neighbours by attention."""

from torch_geometric import nn as pyg

from ..graphs import EDGE_CHANNELS as E
from ..recipe import Options, layered
from ..stacks import AfterLinear, ByAdjacency, Featured, Pairs, PairsFeatured


def attention() -> dict[str, Options]:
    """Options of each operator."""
    return {
        'GATConv': {
            'one head': layered(pyg.GATConv),
            'two heads': layered(lambda i, o: pyg.GATConv(i, o // 2, heads=2)),
            'averaged heads': layered(lambda i, o: pyg.GATConv(i, o, heads=3, concat=False)),
            'edge features': layered(
                lambda i, o: pyg.GATConv(i, o // 2, heads=2, edge_dim=E), Featured
            ),
            'edge features, fill_value=0.5': layered(
                lambda i, o: pyg.GATConv(i, o, edge_dim=E, fill_value=0.5), Featured
            ),
            'edge features, fill_value=max': layered(
                lambda i, o: pyg.GATConv(i, o, edge_dim=E, fill_value='max'), Featured
            ),
            'add_self_loops=False': layered(lambda i, o: pyg.GATConv(i, o, add_self_loops=False)),
            'residual': layered(lambda i, o: pyg.GATConv(i, o // 2, heads=2, residual=True)),
            'bias=False': layered(lambda i, o: pyg.GATConv(i, o, bias=False)),
            'dropout': layered(lambda i, o: pyg.GATConv(i, o // 2, heads=2, dropout=0.6)),
            'pair of features': layered(lambda i, o: pyg.GATConv((i, i), o // 2, heads=2), Pairs),
            'adj_t, sparse CSR': layered(
                lambda i, o: pyg.GATConv(i, o // 2, heads=2, add_self_loops=False), ByAdjacency
            ),
            'flow=target_to_source': layered(
                lambda i, o: pyg.GATConv(i, o, flow='target_to_source')
            ),
        },
        'GATv2Conv': {
            'one head': layered(pyg.GATv2Conv),
            'two heads': layered(lambda i, o: pyg.GATv2Conv(i, o // 2, heads=2)),
            'averaged heads': layered(lambda i, o: pyg.GATv2Conv(i, o, heads=3, concat=False)),
            'shared weights': layered(
                lambda i, o: pyg.GATv2Conv(i, o // 2, heads=2, share_weights=True)
            ),
            'edge features': layered(
                lambda i, o: pyg.GATv2Conv(i, o // 2, heads=2, edge_dim=E), Featured
            ),
            'add_self_loops=False': layered(lambda i, o: pyg.GATv2Conv(i, o, add_self_loops=False)),
            'residual': layered(lambda i, o: pyg.GATv2Conv(i, o // 2, heads=2, residual=True)),
            'dropout': layered(lambda i, o: pyg.GATv2Conv(i, o // 2, heads=2, dropout=0.6)),
            'pair of features': layered(lambda i, o: pyg.GATv2Conv((i, i), o // 2, heads=2), Pairs),
            'flow=target_to_source': layered(
                lambda i, o: pyg.GATv2Conv(i, o, flow='target_to_source')
            ),
        },
        'TransformerConv': {
            'one head': layered(pyg.TransformerConv),
            'two heads, beta': layered(
                lambda i, o: pyg.TransformerConv(i, o // 2, heads=2, beta=True)
            ),
            'averaged heads': layered(
                lambda i, o: pyg.TransformerConv(i, o, heads=3, concat=False)
            ),
            'edge features': layered(
                lambda i, o: pyg.TransformerConv(i, o // 2, heads=2, edge_dim=E), Featured
            ),
            'root_weight=False': layered(lambda i, o: pyg.TransformerConv(i, o, root_weight=False)),
            'dropout': layered(lambda i, o: pyg.TransformerConv(i, o // 2, heads=2, dropout=0.4)),
            'pair of features, edge features': layered(
                lambda i, o: pyg.TransformerConv((i, i), o, edge_dim=E), PairsFeatured
            ),
        },
        'AGNNConv': {
            'default': layered(lambda i, o: AfterLinear(i, o, pyg.AGNNConv())),
            'fixed beta': layered(
                lambda i, o: AfterLinear(i, o, pyg.AGNNConv(requires_grad=False))
            ),
            'add_self_loops=False': layered(
                lambda i, o: AfterLinear(i, o, pyg.AGNNConv(add_self_loops=False))
            ),
        },
        'SuperGATConv': {
            'MX': layered(lambda i, o: pyg.SuperGATConv(i, o // 2, heads=2)),
            'SD': layered(lambda i, o: pyg.SuperGATConv(i, o // 2, heads=2, attention_type='SD')),
            'averaged heads': layered(lambda i, o: pyg.SuperGATConv(i, o, heads=2, concat=False)),
            'add_self_loops=False': layered(
                lambda i, o: pyg.SuperGATConv(i, o, add_self_loops=False)
            ),
            'is_undirected': layered(
                lambda i, o: pyg.SuperGATConv(i, o, is_undirected=True), graph='undirected'
            ),
        },
        'FeaStConv': {
            'one head': layered(pyg.FeaStConv),
            'three heads': layered(lambda i, o: pyg.FeaStConv(i, o, heads=3)),
            'add_self_loops=False': layered(
                lambda i, o: pyg.FeaStConv(i, o, heads=2, add_self_loops=False)
            ),
            'pair of features': layered(lambda i, o: pyg.FeaStConv(i, o, heads=2), Pairs),
        },
        'FusedGATConv': {
            'default': layered(lambda i, o: pyg.FusedGATConv(i, o, add_self_loops=False))
        },
        'CuGraphGATConv': {'default': layered(lambda i, o: pyg.CuGraphGATConv(i, o))},
        'CuGraphSAGEConv': {'default': layered(lambda i, o: pyg.CuGraphSAGEConv(i, o))},
    }
