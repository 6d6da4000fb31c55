"""Degrees, norms and self-loops are those of the whole graph, whatever the graph is like."""

import copy

import pytest
import torch
from torch.nn import Module, ModuleList
from torch_geometric.data import Data
from torch_geometric.nn import (
    APPNP,
    GATConv,
    GCN2Conv,
    GCNConv,
    GraphConv,
    LGConv,
    SAGEConv,
    Sequential,
    SGConv,
    SSGConv,
)
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_self_loops, remove_self_loops, to_undirected

from test.oracle import assert_close

from .oracle import NODES, check, convert, graph, seeded, sweep

D = 4


class Layers(Module):
    """Operators one after the other, with edge weights if they are asked for."""

    def __init__(self, *convs: Module) -> None:
        super().__init__()
        self.convs = ModuleList(convs)

    def forward(self, x, edge_index, edge_weight=None):
        weight = () if edge_weight is None else (edge_weight,)
        for conv in self.convs[:-1]:
            x = conv(x, edge_index, *weight).tanh()
        return self.convs[-1](x, edge_index, *weight)


def stack(**options) -> Module:
    return seeded(lambda: Layers(GCNConv(D, 6, **options), GCNConv(6, 3, **options)))


def with_everything() -> Data:
    data = graph()
    assert data.has_self_loops()
    assert data.has_isolated_nodes()
    assert data.is_directed()
    assert data.edge_index.unique(dim=1).size(1) < data.num_edges  # duplicates
    return data


def undirected() -> Data:
    data = graph()
    data.edge_index = to_undirected(remove_self_loops(data.edge_index)[0], num_nodes=NODES)
    return data


def with_hub() -> Data:
    """Node 3 hears from everybody, everybody hears from node 4."""
    data = graph()
    ids = torch.arange(NODES)
    hub = torch.stack([ids, torch.full((NODES,), 3)])
    spread = torch.stack([torch.full((NODES,), 4), ids])
    data.edge_index = torch.cat([data.edge_index, hub, spread], dim=1)
    return data


def with_loops_everywhere() -> Data:
    data = undirected()
    data.edge_index = add_self_loops(data.edge_index, num_nodes=NODES)[0]
    return data


def without_edges() -> Data:
    data = graph()
    data.edge_index = data.edge_index[:, :0]
    return data


GRAPHS = [with_everything, undirected, with_hub, with_loops_everywhere, without_edges]


@pytest.mark.parametrize('make', GRAPHS)
def test_degree_normalisation_is_that_of_the_whole_graph(make):
    check(stack(), make(), stale=make is not without_edges)


@pytest.mark.parametrize('options', [
    {'improved': True}, {'add_self_loops': False}, {'normalize': False},
], ids=str)  # fmt: skip
def test_every_option_of_the_normalisation_is_kept(options):
    check(stack(**options), graph())


def test_edge_weights_count_in_degrees():
    data = graph(weight=True)
    check(stack(), data, lambda m: m(data.x, data.edge_index, data.edge_weight))


class One(Module):
    """A single operator that may cache, and a layer."""

    def __init__(self, conv: Module) -> None:
        super().__init__()
        self.conv = conv
        self.last = SAGEConv(conv.out_channels if hasattr(conv, 'out_channels') else D, 3)

    def forward(self, x, edge_index):
        if isinstance(self.conv, GCN2Conv):
            return self.last(self.conv(x, x, edge_index), edge_index)
        return self.last(self.conv(x, edge_index), edge_index)


CACHING = {
    'GCNConv': lambda: GCNConv(D, 6, cached=True),
    'GCN2Conv': lambda: GCN2Conv(D, 0.1, cached=True),
    'SGConv': lambda: SGConv(D, 6, K=2, cached=True),
    'SSGConv': lambda: SSGConv(D, 6, K=2, alpha=0.1, cached=True),
    'APPNP': lambda: APPNP(K=2, alpha=0.1, cached=True),
}


@pytest.mark.parametrize('when', ['never', 'before the conversion', 'after the conversion'])
@pytest.mark.parametrize('name', CACHING)
def test_what_an_operator_has_cached_of_the_whole_graph_does_not_reach_batches(name, when):
    data = graph()
    module = seeded(lambda: One(CACHING[name]())).eval()
    expected = copy.deepcopy(module)(data.x, data.edge_index).detach()
    if when == 'before the conversion':
        module(data.x, data.edge_index)
    gas = convert(module, data)
    if when == 'after the conversion':
        module(data.x, data.edge_index)
    assert module.conv.cached
    assert_close(gas.refresh(), expected)
    assert_close(sweep(gas), expected)
    assert_close(module(data.x, data.edge_index), expected)


def test_weights_normalised_beforehand_are_taken_as_they_are():
    data = graph()
    data.edge_index, data.edge_weight = gcn_norm(
        data.edge_index, None, NODES, dtype=torch.float64
    )  # fmt: skip
    module = stack(normalize=False)
    expected = stack()
    expected.load_state_dict(module.state_dict())
    plain = graph()
    gas = check(module, data, lambda m: m(data.x, data.edge_index, data.edge_weight))
    with torch.no_grad():
        assert_close(gas.inference(), expected.eval()(plain.x, plain.edge_index))


class CallsGcnNorm(Module):
    """Normalises once, as a user would, and hands the weights on."""

    def __init__(self) -> None:
        super().__init__()
        self.first = GCNConv(D, 6, normalize=False)
        self.last = GCNConv(6, 3, normalize=False)

    def forward(self, x, edge_index):
        edge_index, weight = gcn_norm(edge_index, None, x.size(0), dtype=x.dtype)
        x = self.first(x, edge_index, weight).relu()
        return self.last(x, edge_index, weight)


def test_gcn_norm_called_by_the_module_is_that_of_the_whole_graph():
    check(seeded(CallsGcnNorm), graph())


class AddsLoops(Module):
    """Adds self-loops to the edges that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SAGEConv(D, 6), GATConv(6, 3, add_self_loops=False)

    def forward(self, x, edge_index):
        edge_index, _ = add_self_loops(edge_index, num_nodes=x.size(0))
        return self.last(self.first(x, edge_index).relu(), edge_index)


def test_self_loops_that_a_module_adds_are_exact():
    check(seeded(AddsLoops), graph())


@pytest.mark.parametrize('make', [
    lambda: Layers(LGConv(), LGConv(), GCNConv(D, 3)),
    lambda: Layers(SGConv(D, 6, K=2), APPNP(K=2, alpha=0.1)),
    lambda: Layers(GATConv(D, 6), GATConv(6, 3, fill_value='max')),
], ids=['LightGCN', 'SGC-APPNP', 'GAT'])  # fmt: skip
@pytest.mark.parametrize('make_graph', [with_everything, with_hub])
def test_operators_that_normalise_are_exact(make, make_graph):
    check(seeded(make), make_graph())


class Sparse(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = GCNConv(D, 6), GCN2Conv(6, 0.1, add_self_loops=False)
        self.last = GraphConv(6, 3)

    def forward(self, x, adj_t):
        x = x0 = self.first(x, adj_t).relu()
        x = self.second(x, x0, adj_t).relu()
        return self.last(x, adj_t)


@pytest.mark.parametrize('layout', ['csr', 'csc', 'coo'])
@pytest.mark.parametrize('weighted', [False, True])
def test_data_may_hold_adj_t_instead_of_edges(layout, weighted):
    data = graph(weight=True)
    source, target = remove_self_loops(data.edge_index.unique(dim=1))[0]
    weight = data.edge_weight[: target.numel()] if weighted else torch.ones(target.numel()).double()
    adj_t = torch.sparse_coo_tensor(torch.stack([target, source]), weight, (NODES, NODES))
    given = {'csr': adj_t.to_sparse_csr, 'csc': adj_t.to_sparse_csc, 'coo': adj_t.coalesce}
    matrix = Data(x=data.x, adj_t=given[layout]())
    edges = torch.stack([source, target])

    def by_edges(module: Module) -> torch.Tensor:
        x = x0 = module.first(data.x, edges, weight).relu()
        x = module.second(x, x0, edges, weight).relu()
        return module.last(x, edges, weight)

    check(seeded(Sparse), matrix, by_edges)


@pytest.mark.parametrize('difference', ['existing self-loops', 'weights that SAGEConv ignores'])
def test_where_pyg_computes_something_else_for_adj_t_than_for_edges_it_is_refused(difference):
    edges = graph().edge_index.unique(dim=1)
    if difference != 'existing self-loops':
        edges = remove_self_loops(edges)[0]
    conv = GCNConv(D, 3) if difference == 'existing self-loops' else SAGEConv(D, 3)
    weight = torch.linspace(0.5, 2, edges.size(1)).double()
    adj_t = torch.sparse_coo_tensor(edges.flip(0), weight, (NODES, NODES)).to_sparse_csr()
    with pytest.raises(ValueError, match='whole graph'):
        convert(
            seeded(lambda: Sequential('x, adj_t', [(conv, 'x, adj_t -> x')])),
            Data(x=graph().x, adj_t=adj_t),
        )


def test_a_module_that_takes_edges_runs_on_data_with_adj_t():
    data = graph()
    simple = data.edge_index.unique(dim=1)
    adj_t = torch.sparse_coo_tensor(
        simple.flip(0), torch.ones(simple.size(1)).double(), (NODES, NODES)
    )
    matrix = Data(x=data.x, adj_t=adj_t.to_sparse_csr())
    check(seeded(lambda: Layers(SAGEConv(D, 6), SAGEConv(6, 3))), matrix,
          lambda m: m(data.x, simple), inputs=('x', 'edge_index'))  # fmt: skip


@pytest.mark.parametrize('num_parts', [1, NODES])
def test_one_part_and_as_many_as_nodes_are_exact(num_parts):
    data = graph()
    module = stack()
    gas = convert(module, data, partition=torch.arange(NODES) % num_parts)
    assert gas.ptr.numel() == num_parts + 1
    with torch.no_grad():
        expected = copy.deepcopy(module).eval()(data.x, data.edge_index)
    assert_close(gas.inference(), expected)
    gas.eval()
    for _ in range(2):
        for batch in gas.loader():
            out = gas(batch).detach()
    assert_close(out, expected[batch.n_id[: batch.batch_size]])


def test_parts_without_nodes_are_passed_over():
    part = torch.tensor([0, 5]).repeat(10)
    gas = convert(stack(), graph(), partition=part)
    assert gas.ptr.tolist() == [0, 10, 10, 10, 10, 10, 20]
    assert [batch.batch_size for batch in gas.loader()] == [10, 10]
    assert gas.refresh().shape == (20, 3)
