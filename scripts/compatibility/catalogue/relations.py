"""Operators for several types of edges or nodes."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module, ModuleList
from torch_geometric import nn as pyg

from ..graphs import EDGE_CHANNELS as E
from ..graphs import EDGE_TYPES, NODE_TYPES, RELATIONS
from ..recipe import IN, OUT, Options, Recipe, layered
from ..stacks import NodesTyped, Pairs, PairsTyped, Typed, TypedFeatured

R, T = EDGE_TYPES, NODE_TYPES
METADATA = (['paper', 'author'], RELATIONS)
ONE_TYPE = (['node'], [('node', str(r), 'node') for r in range(R)])


class BySign(Module):
    """Positive and negative edges, told apart by ``edge_type`` inside of the model."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.convs = signed(depth)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        positive, negative = edge_index[:, edge_type == 0], edge_index[:, edge_type != 0]
        for conv in self.convs:
            x = conv(x, positive, negative).tanh()
        return x


class BySignOfData(Module):
    """Positive and negative edges, each an attribute of the data."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.convs = signed(depth)

    def forward(self, x: Tensor, pos_edge_index: Tensor, neg_edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, pos_edge_index, neg_edge_index).tanh()
        return x


def signed(depth: int) -> ModuleList:
    """The first layer reads plain features, the others positive and negative ones."""
    more = [pyg.SignedConv(4, 4, first_aggr=False) for _ in range(depth - 1)]
    return ModuleList([pyg.SignedConv(IN, 4, first_aggr=True), *more])


class ByRelation(Module):
    """An operator on dictionaries, which the model makes of ``edge_type``: one type of nodes."""

    def __init__(self, convs: list[Module]) -> None:
        super().__init__()
        self.convs = ModuleList(convs)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        edges = {ONE_TYPE[1][r]: edge_index[:, edge_type == r] for r in range(R)}
        for conv in self.convs:
            x = conv({'node': x}, edges)['node'].tanh()
        return x


class OnDictionaries(Module):
    """An operator on the dictionaries of ``HeteroData``."""

    def __init__(self, convs: list[Module]) -> None:
        super().__init__()
        self.convs = ModuleList(convs)

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: Any) -> dict[str, Tensor]:
        for conv in self.convs:
            x_dict = {key: x.tanh() for key, x in conv(x_dict, edge_index_dict).items()}
        return x_dict


def on_types(make: Any) -> Recipe:
    """``make(in_channels, out_channels, metadata)`` on one type of nodes and three relations."""
    return Recipe(
        lambda depth: ByRelation(
            [make(IN if i == 0 else OUT, OUT, ONE_TYPE) for i in range(depth)]
        ),
        ('x', 'edge_index', 'edge_type'),
    )


def on_hetero(make: Any) -> Recipe:
    """``make(in_channels, out_channels, metadata)`` on two types of nodes and four relations."""
    return Recipe(
        lambda depth: OnDictionaries(
            [make(IN if i == 0 else OUT, OUT, METADATA) for i in range(depth)]
        ),
        ('x_dict', 'edge_index_dict'),
        'hetero',
    )


def hetero_conv(kind: Any, aggr: str | None = 'sum') -> Any:
    """One operator for each relation."""

    def make(i: int, o: int, metadata: Any) -> Module:
        return pyg.HeteroConv({relation: kind(i, o) for relation in metadata[1]}, aggr)

    return make


def relational_gat(i: int, o: int, **kwargs: Any) -> Module:
    conv = pyg.RGATConv(i, o, R, **kwargs)
    torch.nn.init.uniform_(conv.l2)  # PyG 2.8 leaves it as it comes from memory
    return conv


def heat(i: int, o: int, **kwargs: Any) -> Module:
    return pyg.HEATConv(i, o, T, R, 5, E, 6, **kwargs)


def sage(i: int, o: int) -> Module:
    return pyg.SAGEConv((i, i), o)


def gat(i: int, o: int) -> Module:
    return pyg.GATConv((i, i), o, add_self_loops=False)


def relations() -> dict[str, Options]:
    """Options of each operator."""
    product = 'multiplicative-self-attention'
    return {
        'RGCNConv': {
            'default': layered(lambda i, o: pyg.RGCNConv(i, o, R), Typed),
            'num_bases': layered(lambda i, o: pyg.RGCNConv(i, o, R, num_bases=2), Typed),
            'num_blocks': layered(lambda i, o: pyg.RGCNConv(i, o, R, num_blocks=2), Typed),
            'sum': layered(lambda i, o: pyg.RGCNConv(i, o, R, aggr='sum'), Typed),
            'max': layered(lambda i, o: pyg.RGCNConv(i, o, R, aggr='max'), Typed),
            'root_weight=False': layered(
                lambda i, o: pyg.RGCNConv(i, o, R, root_weight=False), Typed
            ),
            'pair of features': layered(lambda i, o: pyg.RGCNConv((i, i), o, R), PairsTyped),
        },
        'FastRGCNConv': {
            'default': layered(lambda i, o: pyg.FastRGCNConv(i, o, R), Typed),
            'num_bases': layered(lambda i, o: pyg.FastRGCNConv(i, o, R, num_bases=2), Typed),
            'num_blocks': layered(lambda i, o: pyg.FastRGCNConv(i, o, R, num_blocks=2), Typed),
            'sum': layered(lambda i, o: pyg.FastRGCNConv(i, o, R, aggr='sum'), Typed),
        },
        'CuGraphRGCNConv': {'default': layered(lambda i, o: pyg.CuGraphRGCNConv(i, o, R), Typed)},
        'RGATConv': {
            'default': layered(relational_gat, Typed),
            'within relations, two heads': layered(
                lambda i, o: relational_gat(
                    i, o // 2, heads=2, attention_mechanism='within-relation'
                ),
                Typed,
            ),
            'multiplicative': layered(
                lambda i, o: relational_gat(i, o, attention_mode=product), Typed
            ),
            'multiplicative, two dimensions': layered(
                lambda i, o: relational_gat(i, o // 2, dim=2, attention_mode=product), Typed
            ),
            'mod=additive': layered(lambda i, o: relational_gat(i, o, mod='additive'), Typed),
            'mod=scaled': layered(lambda i, o: relational_gat(i, o, mod='scaled'), Typed),
            'mod=f-additive': layered(lambda i, o: relational_gat(i, o, mod='f-additive'), Typed),
            'mod=f-scaled': layered(lambda i, o: relational_gat(i, o, mod='f-scaled'), Typed),
            'num_bases, edge features': layered(
                lambda i, o: relational_gat(i, o, num_bases=2, edge_dim=E), TypedFeatured
            ),
            'num_blocks, averaged heads': layered(
                lambda i, o: relational_gat(i, o, num_blocks=2, heads=2, concat=False), Typed
            ),
        },
        'FiLMConv': {
            'one relation': layered(pyg.FiLMConv),
            'three relations': layered(lambda i, o: pyg.FiLMConv(i, o, R), Typed),
            'sum, act=None': layered(
                lambda i, o: pyg.FiLMConv(i, o, R, act=None, aggr='sum'), Typed
            ),
            'own network': layered(
                lambda i, o: pyg.FiLMConv(i, o, R, nn=torch.nn.Linear(i, 2 * o)), Typed
            ),
            'pair of features': layered(lambda i, o: pyg.FiLMConv((i, i), o), Pairs),
        },
        'SignedConv': {
            'edges split by edge_type': Recipe(BySign, ('x', 'edge_index', 'edge_type')),
            'pos_edge_index and neg_edge_index': Recipe(
                BySignOfData, ('x', 'pos_edge_index', 'neg_edge_index')
            ),
        },
        'HEATConv': {
            'default': layered(heat, NodesTyped),
            'two heads': layered(lambda i, o: heat(i, o // 2, heads=2), NodesTyped),
            'averaged heads': layered(lambda i, o: heat(i, o, heads=2, concat=False), NodesTyped),
            'root_weight=False': layered(lambda i, o: heat(i, o, root_weight=False), NodesTyped),
            'dropout': layered(lambda i, o: heat(i, o, dropout=0.5), NodesTyped),
        },
        'HGTConv': {
            'one type of nodes': on_types(lambda i, o, m: pyg.HGTConv(i, o, m, heads=2)),
            'HeteroData': on_hetero(lambda i, o, m: pyg.HGTConv(i, o, m, heads=2)),
        },
        'HANConv': {
            'one type of nodes': on_types(lambda i, o, m: pyg.HANConv(i, o, m, heads=2)),
            'HeteroData': on_hetero(lambda i, o, m: pyg.HANConv(i, o, m, heads=2)),
        },
        'HeteroConv': {
            'SAGE, one type of nodes': on_types(hetero_conv(sage)),
            'GAT and max, one type of nodes': on_types(hetero_conv(gat, 'max')),
            'GCN, one type of nodes': on_types(
                hetero_conv(lambda i, o: pyg.GCNConv(i, o, add_self_loops=False))
            ),
            'SAGE, HeteroData': on_hetero(hetero_conv(sage)),
            'GAT and mean, HeteroData': on_hetero(hetero_conv(gat, 'mean')),
            'GraphConv and max, HeteroData': on_hetero(
                hetero_conv(lambda i, o: pyg.GraphConv((i, i), o), 'max')
            ),
        },
    }
