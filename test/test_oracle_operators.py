"""PyG's operators and custom ones: exact on batches or a clear error, never a wrong number."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch.nn import Linear, Module, ModuleList
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import softmax, spmm

from test.oracle import (
    NODES,
    check_batch_statistics,
    check_forward,
    check_gradients,
    check_inference,
    check_one_batch_is_full_batch,
    nasty_graph,
    sweep_loader,
    with_edges,
)
from torch_geometric_autoscale import ScalableGNN

C, E = 4, 3  # channels of nodes and of edges
DEGREES = torch.tensor([2, 3, 4, 5, 3, 2])

Make = Callable[[], Module]


class Two(ScalableGNN):
    """Two operators with a boundary in between, called with one ``x``."""

    def __init__(self, make: Make) -> None:
        super().__init__(NODES, C, 2)
        self.convs = ModuleList([make(), make()])
        for parameter in self.parameters():  # a zero weight would hide errors
            if not parameter.detach().any():
                torch.nn.init.uniform_(parameter, -0.5, 0.5)


class ByAdjacency(Two):
    def forward(self, x, adj_t, batch_size=None, n_id=None):
        x = self.convs[0](x, adj_t).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, adj_t)


class ByEdges(Two):
    def forward(self, x, edge_index, batch_size=None, n_id=None, edge_attr=None):
        more = () if edge_attr is None else (edge_attr,)
        x = self.convs[0](x, edge_index, *more).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, edge_index, *more)


class ByAdjacencyAndAttributes(Two):
    def forward(self, x, adj_t, batch_size=None, n_id=None, edge_attr=None):
        x = self.convs[0](x, adj_t, edge_attr).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, adj_t, edge_attr)


class WithPosition(Two):
    def forward(self, x, edge_index, batch_size=None, n_id=None, pos=None):
        x = self.convs[0](x, pos, edge_index).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, pos, edge_index)


class WithFirstFeatures(Two):
    def forward(self, x, adj_t, batch_size=None, n_id=None):
        x_0 = x
        x = self.convs[0](x, x_0, adj_t).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, x_0, adj_t)


# Custom operators ################################################################


class EdgeAttention(MessagePassing):
    """Attention over each node's edges, with edge features in score and message."""

    def __init__(self) -> None:
        super().__init__(aggr='sum')
        self.lin, self.edge, self.score = Linear(C, C), Linear(E, C), Linear(3 * C, 1)

    def forward(self, x, edge_index, edge_attr):
        return self.propagate(edge_index, x=self.lin(x), edge_attr=self.edge(edge_attr))

    def message(self, x_i, x_j, edge_attr, index, ptr, size_i):
        score = self.score(torch.cat([x_i, x_j, edge_attr], -1)).tanh()
        return softmax(score, index, ptr, size_i) * (x_j + edge_attr)


class Fused(MessagePassing):
    """Has a sparse path of its own."""

    def __init__(self, aggr: str = 'sum') -> None:
        super().__init__(aggr=aggr)
        self.lin, self.root = Linear(C, C), Linear(C, C)

    def forward(self, x, edge_index):
        return self.lin(self.propagate(edge_index, x=x)) + self.root(x)

    def message(self, x_j):
        return x_j

    def message_and_aggregate(self, adj_t, x):
        return spmm(adj_t, x, reduce=self.aggr)


class OwnForward(pyg.GCNConv):
    """A subclass of ``GCNConv`` with a forward of its own."""

    def forward(self, x, edge_index, edge_weight=None):
        return 2 * super().forward(x.tanh(), edge_index, edge_weight) - x


class OwnGraphConv(pyg.GraphConv):
    def forward(self, x, edge_index, edge_weight=None, size=None):
        return super().forward(x * x, edge_index, edge_weight, size).sin()


def mlp(inputs: int = C, outputs: int = C) -> Module:
    return torch.nn.Sequential(Linear(inputs, 5), torch.nn.Tanh(), Linear(5, outputs))


def pna(**kwargs: Any) -> Module:
    scalers = ['identity', 'amplification', 'attenuation', 'linear']
    return pyg.PNAConv(C, C, ['mean', 'max', 'std', 'var'], scalers, DEGREES, towers=2, **kwargs)


SINGLE: dict[str, Make] = {
    'Cheb': partial(pyg.ChebConv, C, C, K=2),
    'Cheb rw': partial(pyg.ChebConv, C, C, K=2, normalization='rw'),
    'GCN': partial(pyg.GCNConv, C, C),
    'GCN narrowing': lambda: pyg.GCNConv(C, C, bias=False),
    'GCN improved': partial(pyg.GCNConv, C, C, improved=True),
    'GCN without self-loops': partial(pyg.GCNConv, C, C, add_self_loops=False),
    'GCN without normalisation': partial(pyg.GCNConv, C, C, normalize=False),
    'GCN subclass': partial(OwnForward, C, C),
    'GraphConv': partial(pyg.GraphConv, C, C),
    'GraphConv mean': partial(pyg.GraphConv, C, C, aggr='mean'),
    'GraphConv max': partial(pyg.GraphConv, C, C, aggr='max'),
    'GraphConv min': partial(pyg.GraphConv, C, C, aggr='min'),
    'GraphConv softmax': partial(pyg.GraphConv, C, C, aggr='softmax'),
    'GraphConv median': partial(pyg.GraphConv, C, C, aggr='median'),
    'GraphConv std': partial(pyg.GraphConv, C, C, aggr='std'),
    'GraphConv subclass': partial(OwnGraphConv, C, C),
    'SAGE mean': partial(pyg.SAGEConv, C, C),
    'SAGE max': partial(pyg.SAGEConv, C, C, aggr='max'),
    'SAGE lstm': partial(pyg.SAGEConv, C, C, aggr='lstm'),
    'SAGE powermean': partial(pyg.SAGEConv, C, C, aggr='powermean'),
    'SAGE normalize': partial(pyg.SAGEConv, C, C, normalize=True),
    'SAGE project': partial(pyg.SAGEConv, C, C, project=True),
    'SAGE many': lambda: pyg.SAGEConv(C, C, aggr=['mean', 'max', 'std']),
    'SAGE sort': lambda: pyg.SAGEConv((2 * C, C), C, aggr=pyg.aggr.SortAggregation(2)),
    'SAGE gru': lambda: pyg.SAGEConv(C, C, aggr=pyg.aggr.GRUAggregation(C, C)),
    'SAGE set transformer': lambda: pyg.SAGEConv(C, C, aggr=pyg.aggr.SetTransformerAggregation(C)),
    'GIN': lambda: pyg.GINConv(mlp(), train_eps=True),
    'GAT': partial(pyg.GATConv, C, 2, heads=2),
    'GAT averaged heads': partial(pyg.GATConv, C, C, heads=2, concat=False),
    'GAT without self-loops': partial(pyg.GATConv, C, C, add_self_loops=False),
    'GAT residual': partial(pyg.GATConv, C, 2, heads=2, residual=True),
    'GATv2': partial(pyg.GATv2Conv, C, 2, heads=2),
    'GATv2 shared': partial(pyg.GATv2Conv, C, 2, heads=2, share_weights=True),
    'Transformer beta': partial(pyg.TransformerConv, C, 2, heads=2, beta=True),
    'LE': partial(pyg.LEConv, C, C),
    'ResGated': partial(pyg.ResGatedGraphConv, C, C),
    'TAG, one hop': partial(pyg.TAGConv, C, C, K=1),
    'SG, one hop': partial(pyg.SGConv, C, C, K=1),
    'SSG, one hop': partial(pyg.SSGConv, C, C, alpha=0.1, K=1),
    'ARMA, one layer': partial(pyg.ARMAConv, C, C, num_stacks=2),
    'MixHop, one hop': lambda: pyg.MixHopConv(C, 2, powers=[0, 1]),
    'GatedGraph, one layer': partial(pyg.GatedGraphConv, C, 1),
    'FeaSt': partial(pyg.FeaStConv, C, C, heads=2),
    'MF': partial(pyg.MFConv, C, C),
    'ClusterGCN': partial(pyg.ClusterGCNConv, C, C),
    'PNA': pna,
    'CG': partial(pyg.CGConv, C),
    'Edge': lambda: pyg.EdgeConv(mlp(2 * C)),
    'AGNN': pyg.AGNNConv,
    'FiLM': partial(pyg.FiLMConv, C, C),
    'EG symnorm': lambda: pyg.EGConv(C, C, aggregators=['symnorm', 'max'], num_heads=2),
    'General attention': partial(pyg.GeneralConv, C, C, attention=True, heads=2),
    'custom fused sum': Fused,
    'custom fused mean': partial(Fused, 'mean'),
    'custom fused max': partial(Fused, 'max'),
}
WITH_EDGES: dict[str, Make] = {
    'GINE': lambda: pyg.GINEConv(mlp(), edge_dim=E),
    'GAT': partial(pyg.GATConv, C, 2, heads=2, edge_dim=E),
    'GAT fill value': partial(pyg.GATConv, C, 2, heads=2, edge_dim=E, fill_value=0.5),
    'GATv2': partial(pyg.GATv2Conv, C, 2, heads=2, edge_dim=E),
    'Transformer': partial(pyg.TransformerConv, C, 2, heads=2, edge_dim=E),
    'ResGated': partial(pyg.ResGatedGraphConv, C, C, edge_dim=E),
    'PNA': partial(pna, edge_dim=E),
    'NN': lambda: pyg.NNConv(C, C, mlp(E, C * C)),
    'CG': partial(pyg.CGConv, C, dim=E),
    'GMM': partial(pyg.GMMConv, C, C, E, 2),
    'General': partial(pyg.GeneralConv, C, C, in_edge_channels=E),
    'custom attention': EdgeAttention,
}


def graph(**kwargs: Any) -> Data:
    """Sorted by target: PyG's aggregations over sequences ask for it."""
    data = nasty_graph()
    order = data.edge_index[1].argsort(stable=True)
    data.edge_index = data.edge_index[:, order]
    data.pos = data.x[:, :3].sin()
    return with_edges(data, **kwargs)


def build(kind: type[Two], make: Make) -> Two:
    torch.manual_seed(3)
    return kind(make).double()


def check(model: Two, data: Data, **kwargs: Any) -> None:
    loader = sweep_loader(data, **kwargs)
    check_forward(model, data, loader)
    check_gradients(model, data, loader)
    check_inference(model, data, loader)


@pytest.mark.parametrize('name', SINGLE)
def test_operator_with_one_x_is_exact_in_every_form(name: str) -> None:
    data = graph()
    check(build(ByAdjacency, SINGLE[name]), data, bipartite=True)
    check_forward(build(ByAdjacency, SINGLE[name]), data, sweep_loader(data, bipartite=False))
    model = build(ByEdges, SINGLE[name])
    check_gradients(model, data, sweep_loader(data))
    check_inference(model, data, sweep_loader(data, batch_size=2))
    whole = sweep_loader(data, torch.tensor([0, NODES]))
    check_one_batch_is_full_batch(model, data, whole)


@pytest.mark.parametrize('name', WITH_EDGES)
def test_operator_with_edge_attributes_is_exact(name: str) -> None:
    data = graph(attr=E)
    check(build(ByEdges, WITH_EDGES[name]), data, bipartite=False)
    check(build(ByAdjacencyAndAttributes, WITH_EDGES[name]), data, bipartite=True)


@pytest.mark.parametrize('bipartite', [True, False])
@pytest.mark.parametrize('name', ['GCN', 'GraphConv', 'LE', 'GCN subclass', 'TAG, one hop'])
def test_values_of_the_adjacency_weigh_the_edges(name: str, bipartite: bool) -> None:
    check(build(ByAdjacency, SINGLE[name]), graph(weight=True), bipartite=bipartite)


@pytest.mark.parametrize('bipartite', [True, False])
def test_point_operator_with_positions_is_exact(bipartite: bool) -> None:
    def make() -> Module:
        return pyg.PointNetConv(mlp(C + 3), mlp())

    check(build(WithPosition, make), graph(), bipartite=bipartite)


@pytest.mark.parametrize('shared', [True, False])
@pytest.mark.parametrize('bipartite', [True, False])
def test_gcn2_with_first_features_is_exact(shared: bool, bipartite: bool) -> None:
    make = partial(pyg.GCN2Conv, C, alpha=0.2, theta=0.5, layer=2, shared_weights=shared)
    check(build(WithFirstFeatures, make), graph(), bipartite=bipartite)


BATCH_NORM: dict[str, tuple[Make, int]] = {
    'GEN': (partial(pyg.GENConv, C, C), 0),
    'GEN with edges': (partial(pyg.GENConv, C, C, edge_dim=E), E),
    'CG': (partial(pyg.CGConv, C, batch_norm=True), 0),
    'GIN': (lambda: pyg.GINConv(pyg.MLP([C, 5, C], norm='batch_norm')), 0),
}


@pytest.mark.parametrize('name', BATCH_NORM)
def test_batch_norm_inside_an_operator_sees_batch_rows_only(name: str) -> None:
    make, attr = BATCH_NORM[name]
    data = graph(attr=attr)
    for bipartite in (True, False):
        model, loader = build(ByEdges, make), sweep_loader(data, bipartite=bipartite)
        check_forward(model, data, loader)
        check_batch_statistics(model, data, loader)
        check_inference(model, data, loader)


# Called otherwise ################################################################


class PassesWeights(Two):
    """Passes the weights beside the adjacency that holds them."""

    def forward(self, x, adj_t, batch_size=None, n_id=None, edge_weight=None):
        x = self.convs[0](x, adj_t, edge_weight).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, adj_t, edge_weight=edge_weight)


class PassesWeightsWithEdges(Two):
    def forward(self, x, edge_index, batch_size=None, n_id=None, edge_weight=None):
        x = self.convs[0](x, edge_index, edge_weight).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, edge_index, edge_weight)


class LearnedWeights(Two):
    """Computes weights from edge attributes and passes them beside the adjacency."""

    def __init__(self, make: Make) -> None:
        super().__init__(make)
        self.gate = Linear(E, 1)

    def forward(self, x, adj_t, batch_size=None, n_id=None, edge_attr=None):
        weight = self.gate(edge_attr).sigmoid().view(-1)
        x = self.convs[0](x, adj_t, weight).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, adj_t, weight)


@pytest.mark.parametrize('name', ['GCN', 'GraphConv', 'LE'])
@pytest.mark.parametrize('kind', [PassesWeights, PassesWeightsWithEdges])
def test_weights_passed_a_second_time_do_not_count_twice(kind: type[Two], name: str) -> None:
    for bipartite in (True, False):
        check(build(kind, SINGLE[name]), graph(weight=True), bipartite=bipartite)


@pytest.mark.parametrize('name', ['GraphConv', 'LE', 'GCN without normalisation'])
@pytest.mark.parametrize('bipartite', [True, False])
def test_learned_weights_beside_the_adjacency_are_used(name: str, bipartite: bool) -> None:
    check(build(LearnedWeights, SINGLE[name]), graph(attr=E), bipartite=bipartite)


def test_learned_weights_cannot_be_normalised_on_a_batch() -> None:
    model, data = build(LearnedWeights, SINGLE['GCN']), graph(attr=E)
    batch = next(iter(sweep_loader(data)))
    with pytest.raises(ValueError, match=r'gcn_norm: .* with the weights its loader was given'):
        model(batch)


class LoopsOfItsOwn(Two):
    """Rebuilds ``edge_index`` by hand."""

    def forward(self, x, edge_index, batch_size=None, n_id=None):
        edge_index = edge_index.clone()
        x = self.convs[0](x, edge_index).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, edge_index)


@pytest.mark.parametrize('name', ['SAGE mean', 'SAGE lstm', 'GAT', 'GIN'])
def test_edges_rebuilt_by_hand_stay_exact(name: str) -> None:
    check(build(LoopsOfItsOwn, SINGLE[name]), graph())


def test_edges_rebuilt_by_hand_cannot_be_normalised() -> None:
    model = build(LoopsOfItsOwn, SINGLE['GCN'])
    with pytest.raises(ValueError, match='edges that no loader of this library made'):
        model(next(iter(sweep_loader(graph()))))


# Refused #########################################################################

REFUSED: dict[str, tuple[Make, str]] = {
    'TAG': (partial(pyg.TAGConv, C, C, K=2), 'TAGConv .* its own earlier propagation'),
    'SG': (partial(pyg.SGConv, C, C, K=2), 'SGConv .* its own earlier propagation'),
    'APPNP': (partial(pyg.APPNP, 2, 0.1), 'APPNP .* its own earlier propagation'),
    'ARMA': (partial(pyg.ARMAConv, C, C, num_layers=2), 'ARMAConv .* its own earlier propagation'),
    'MixHop': (
        lambda: pyg.MixHopConv(C, 2, powers=[1, 2]),
        'MixHopConv .* its own earlier propagation',
    ),
    'GatedGraph': (
        partial(pyg.GatedGraphConv, C, 2),
        'GatedGraphConv .* its own earlier propagation',
    ),
    'Cheb': (partial(pyg.ChebConv, C, C, K=3), 'ChebConv .* its own earlier propagation'),
    'GPS': (
        lambda: pyg.GPSConv(C, pyg.SAGEConv(C, C), heads=2, norm=None),
        "GPSConv at 'convs.0', whose attention spans the whole graph",
    ),
    'DirGNN': (lambda: pyg.DirGNNConv(pyg.SAGEConv(C, C)), 'edges into halo nodes'),
    'Hypergraph': (partial(pyg.HypergraphConv, C, C), 'HypergraphConv'),
    'reversed flow': (
        partial(pyg.GraphConv, C, C, flow='target_to_source'),
        r"GraphConv: .* \(got 'target_to_source'\).*direction='both'",
    ),
    'reversed GCN': (partial(pyg.GCNConv, C, C, flow='target_to_source'), 'target_to_source'),
    'cached': (partial(pyg.GCNConv, C, C, cached=True), "GCNConv: 'cached' must be False"),
}


@pytest.mark.parametrize('name', REFUSED)
def test_operator_that_no_batch_can_compute_is_refused(name: str) -> None:
    make, message = REFUSED[name]
    data = graph()
    model = build(ByEdges, make)
    loader = sweep_loader(data, bipartite=False)
    before = model.histories[0].emb.clone()
    with pytest.raises(ValueError, match=message):
        model(next(iter(loader)))
    assert torch.equal(model.histories[0].emb, before)
    with pytest.raises(ValueError, match=message):
        model(loader=loader)


def test_reading_both_ways_is_exact_with_a_loader_for_both_directions() -> None:
    data = graph()
    model = build(ByEdges, lambda: pyg.DirGNNConv(pyg.SAGEConv(C, C)))
    loader = sweep_loader_both(data)
    check_forward(model, data, loader)
    check_gradients(model, data, loader)


def test_reversed_flow_is_exact_with_a_loader_for_both_directions() -> None:
    data = graph()
    model = build(ByEdges, partial(pyg.GraphConv, C, C, flow='target_to_source'))
    loader = sweep_loader_both(data)
    check_forward(model, data, loader)
    check_gradients(model, data, loader)


def sweep_loader_both(data: Data) -> Any:
    return sweep_loader(data, direction='both')


@pytest.mark.parametrize('name', ['GCN', 'GAT', 'SAGE mean', 'SAGE lstm', 'GIN'])
@pytest.mark.parametrize('bipartite', [True, False])
def test_a_halo_of_both_directions_changes_no_output(name: str, bipartite: bool) -> None:
    data = graph()
    check(build(ByAdjacency, SINGLE[name]), data, direction='both', bipartite=bipartite)


def test_attention_dropout_is_off_in_eval() -> None:
    data = graph()
    model = build(ByAdjacency, partial(pyg.GATConv, C, 2, heads=2, dropout=0.6))
    check_forward(model, data, sweep_loader(data))
    check_inference(model, data, sweep_loader(data))
