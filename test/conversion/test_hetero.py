"""Heterogeneous graphs: every model is exact on batches, or refused."""

import copy

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import (
    GATConv,
    GCNConv,
    GraphConv,
    HANConv,
    HeteroConv,
    HGTConv,
    Linear,
    SAGEConv,
    to_hetero,
)  # fmt: skip

from torch_geometric_autoscale import autoscale

CITES = ('paper', 'cites', 'paper')
COUNTS = {'paper': 120, 'author': 60, 'venue': 14}
WIDTHS = {'paper': 8, 'author': 6, 'venue': 4}


@pytest.fixture
def data() -> HeteroData:
    rng = torch.Generator().manual_seed(1)
    data = HeteroData()
    for node_type, count in COUNTS.items():
        x = torch.randn(count, WIDTHS[node_type], generator=rng, dtype=torch.float64)
        data[node_type].x = x
    data['paper'].y = torch.randint(0, 3, (COUNTS['paper'],), generator=rng)

    def edges(source: str, target: str, count: int) -> torch.Tensor:
        ends = [
            torch.randint(0, COUNTS[source], (count,), generator=rng),
            torch.randint(0, COUNTS[target] - 2, (count,), generator=rng),  # two without edges
        ]
        return torch.stack(ends)

    cites = edges('paper', 'paper', 360)
    cites[:, :5] = cites[0, :5]
    data[CITES].edge_index = cites
    writes, held = edges('author', 'paper', 200), edges('paper', 'venue', 120)
    data['author', 'writes', 'paper'].edge_index = writes
    data['paper', 'rev_writes', 'author'].edge_index = writes.flip(0)
    data['paper', 'in', 'venue'].edge_index = held
    data['venue', 'rev_in', 'paper'].edge_index = held.flip(0)
    return data


class Plain(nn.Module):
    def __init__(self, conv, num_layers=3, norm=False):
        super().__init__()
        self.convs = nn.ModuleList(conv() for _ in range(num_layers))
        self.norms = nn.ModuleList(nn.BatchNorm1d(8) for _ in range(num_layers - 1))
        self.dropout, self.norm = nn.Dropout(0.3), norm

    def forward(self, x, edge_index):
        for i, conv in enumerate(self.convs[:-1]):
            x = conv(x, edge_index)
            if self.norm:
                x = self.norms[i](x)
            x = self.dropout(x.relu())
        return self.convs[-1](x, edge_index)


class Layers(nn.Module):
    def __init__(self, layers, target='paper'):
        super().__init__()
        self.layers, self.target = nn.ModuleList(layers), target
        self.lin = Linear(-1, 3) if target else None

    def forward(self, x_dict, edge_index_dict):
        for layer in self.layers:
            x_dict = {t: x.relu() for t, x in layer(x_dict, edge_index_dict).items()}
        return x_dict if self.lin is None else self.lin(x_dict[self.target])


def hetero_conv(data, make, aggr, num_layers=2):
    return Layers(
        [HeteroConv({t: make(t) for t in data.edge_types}, aggr=aggr) for _ in range(num_layers)]
    )


def sage(edge_type=None):
    return SAGEConv((-1, -1), 8)


def sage_or_gcn(edge_type):
    return GCNConv(-1, 8) if edge_type == CITES else sage()


def gat():
    return GATConv((-1, -1), 8, add_self_loops=False)


MODELS = {
    'to_hetero SAGE': lambda d: to_hetero(Plain(sage), d.metadata(), aggr='sum'),
    'to_hetero GraphConv': lambda d: to_hetero(
        Plain(lambda: GraphConv((-1, -1), 8), 2), d.metadata(), aggr='mean'
    ),
    'to_hetero GAT': lambda d: to_hetero(Plain(gat, 2), d.metadata(), aggr='max'),
    'to_hetero BatchNorm': lambda d: to_hetero(Plain(sage, 2, norm=True), d.metadata()),
    'HeteroConv sum': lambda d: hetero_conv(d, sage, 'sum', 3),
    'HeteroConv mean': lambda d: hetero_conv(d, sage, 'mean'),
    'HeteroConv max': lambda d: hetero_conv(d, sage, 'max'),
    'HeteroConv cat': lambda d: hetero_conv(d, sage, 'cat'),
    'HeteroConv GCN': lambda d: hetero_conv(d, sage_or_gcn, 'sum'),
    'HGT': lambda d: Layers(
        [HGTConv(WIDTHS if i == 0 else 8, 8, d.metadata(), heads=2) for i in range(3)], None
    ),
}


def as_dict(out):
    return {t: x for t, x in out.items() if x is not None} if isinstance(out, dict) else {'': out}


def full_batch(model, data):
    with torch.no_grad():
        return as_dict(model(data.x_dict, data.edge_index_dict))


def largest_error(out, expected):
    out = as_dict(out)
    assert out.keys() == expected.keys()
    scale = max(float(x.abs().max()) for x in expected.values())
    return max(float((out[t] - expected[t]).abs().max()) for t in expected) / scale


def swept(gas):
    """One sweep over all batches; every output row in its place."""
    found: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for batch in gas.loader(batch_size=2):
            for t, rows in as_dict(gas(batch)).items():
                store = batch[t or 'paper']
                n_id = store.n_id[: store.batch_size]
                table = found.setdefault(
                    t, rows.new_full((COUNTS[t or 'paper'], rows.size(1)), float('nan'))
                )
                table[n_id] = rows
    return found


@pytest.fixture(params=MODELS, name='case')
def make_case(request, data):
    torch.manual_seed(0)
    model = MODELS[request.param](data).double()
    gas = autoscale(model, data, num_parts=5).eval()
    return gas, data, full_batch(model, data)


def test_batches_and_inference_are_exact(case):
    gas, _, expected = case
    assert largest_error(gas.inference(2), expected) < 1e-9
    gas.reset_histories()
    assert largest_error(swept(gas), expected) > 1e-2  # the histories are what is tested
    for _ in range(2):
        out = swept(gas)
    assert largest_error(out, expected) < 1e-9
    gas.reset_histories()
    assert largest_error(gas.refresh(), expected) < 1e-9
    assert largest_error(swept(gas), expected) < 1e-9


def test_one_batch_of_all_partitions_gives_full_batch_gradients(case):
    gas, data, _ = case
    gas.refresh()
    parameters = [p for p in gas.parameters() if not isinstance(p, nn.UninitializedParameter)]

    def gradients(out):
        loss = sum(x.square().sum() for x in as_dict(out).values())
        return torch.autograd.grad(loss, parameters, allow_unused=True)

    expected = gradients(gas.module(data.x_dict, data.edge_index_dict))
    (batch,) = gas.loader(batch_size=5)
    for one, other in zip(gradients(gas(batch)), expected, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert torch.allclose(one, other, rtol=1e-8, atol=1e-10)


def test_a_sum_over_relations_needs_one_history_per_layer_and_type(data):
    gas = autoscale(hetero_conv(data, sage, 'sum', 3).double(), data, num_parts=4)
    assert [(b.node_type, b.width) for b in gas.boundaries] == [
        ('author', 8), ('venue', 8), ('paper', 8),
    ] * 2  # fmt: skip
    assert gas.histories[1].num_embeddings == COUNTS['venue']


def test_batches_hold_what_neighbor_loader_gives(data):
    data[CITES].edge_attr = torch.arange(360.0)
    gas = autoscale(MODELS['HeteroConv sum'](data).double(), data, num_parts=4)
    seen = []
    for batch in gas.loader(batch_size=1, shuffle=True):
        for t in COUNTS:
            n_id = batch[t].n_id
            assert torch.equal(batch[t].x, data[t].x[n_id])
            assert n_id.unique().numel() == n_id.numel()
        paper = batch['paper']
        assert torch.equal(paper.y, data['paper'].y[paper.n_id])
        seen.append(paper.n_id[: paper.batch_size])
        source, target = paper.n_id[batch[CITES].edge_index]
        e_id = batch[CITES].e_id
        assert torch.equal(torch.stack([source, target]), data[CITES].edge_index[:, e_id])
        assert torch.equal(batch[CITES].edge_attr, e_id.float())
        counts = [batch[t].num_nodes for t in COUNTS]
        assert len(set(counts)) == len(counts)
    assert torch.equal(torch.cat(seen).sort()[0], torch.arange(COUNTS['paper']))


def test_batches_can_be_made_by_workers(data):
    gas = autoscale(MODELS['HeteroConv GCN'](data).double(), data, num_parts=4).eval()
    expected = gas.refresh()
    for batch in gas.loader(batch_size=2, num_workers=2):
        paper = batch['paper']
        assert torch.allclose(gas(batch), expected[paper.n_id[: paper.batch_size]])


def test_edge_weights_are_normalised_over_the_whole_graph(data):
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = GCNConv(8, 8), GCNConv(8, 8, improved=True)

        def forward(self, x_dict, edge_index_dict, edge_weight_dict):
            edges = edge_index_dict[CITES], edge_weight_dict[CITES]
            return self.two(self.one(x_dict['paper'], *edges).relu(), *edges)

    data[CITES].edge_weight = torch.rand(360, dtype=torch.float64) + 0.5
    model = Weighted().double()
    gas = autoscale(model, data, num_parts=4)
    expected = model(data.x_dict, data.edge_index_dict, {CITES: data[CITES].edge_weight})
    assert torch.allclose(gas.refresh(), expected)
    gas.eval()
    for batch in gas.loader():
        n_id = batch['paper'].n_id[: batch['paper'].batch_size]
        assert torch.allclose(gas(batch), expected[n_id])


def test_features_may_change_and_edges_may_not(data):
    gas = autoscale(MODELS['HeteroConv sum'](data).double(), data, num_parts=4).eval()
    data['author'].x = data['author'].x * 2
    expected = full_batch(gas.module, data)
    assert largest_error(gas.inference(), expected) < 1e-9
    data[CITES].edge_index = data[CITES].edge_index.clone()  # the same edges
    gas.inference()
    data[CITES].edge_index[0, 0] = 7
    with pytest.raises(ValueError, match='must stay as they were at the conversion'):
        gas.inference()


def test_attention_over_the_graph_is_refused(data):
    model = Layers([HANConv(WIDTHS, 8, data.metadata())]).double()
    with pytest.raises(ValueError, match='HANConv'):
        autoscale(model, data, num_parts=4)


def test_dropout_that_ignores_eval_mode_is_refused(data):
    class Baked(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = sage(), sage()

        def forward(self, x, edge_index):
            x = nn.functional.dropout(self.one(x, edge_index), 0.5)
            return self.two(x, edge_index)

    with pytest.warns(UserWarning, match='baked in'):
        model = to_hetero(Baked(), data.metadata()).double()
    with pytest.raises(ValueError, match='must not be random'):
        autoscale(model, data, num_parts=4)


def test_batches_of_another_graph_are_refused(data):
    gas = autoscale(MODELS['HeteroConv sum'](data).double(), data, num_parts=4)
    other = copy.deepcopy(data)
    other[CITES].edge_index[:, 0] += 1
    stranger = autoscale(MODELS['HeteroConv sum'](other).double(), other, num_parts=4)
    with pytest.raises(ValueError, match='must come from the graph'):
        gas(next(iter(stranger.loader())))
    with pytest.raises(TypeError, match='batches of its own loader'):
        gas(data)


@pytest.mark.parametrize('missing', ['edge_index', 'num_nodes'])
def test_incomplete_graphs_are_refused(data, missing):
    if missing == 'edge_index':
        del data[CITES].edge_index
        data[CITES].edge_attr = torch.ones(3)
    else:
        data['nowhere'].label = 'x'
    with pytest.raises(ValueError, match=r'every (node|edge) type must'):
        autoscale(MODELS['HeteroConv sum'](data).double(), data, num_parts=4)


def test_sparse_features_are_cut_like_dense_ones(data):
    class Sparse(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.ModuleDict({t: nn.Linear(width, 8) for t, width in WIDTHS.items()})
            self.gnn = hetero_conv(data, sage, 'sum')

        def forward(self, x_dict, edge_index_dict):
            return self.gnn({t: self.lin[t](x) for t, x in x_dict.items()}, edge_index_dict)

    torch.manual_seed(0)
    model = Sparse().double()
    data['author'].x = data['author'].x.to_sparse_coo()
    gas = autoscale(model, data, num_parts=4).eval()
    expected = full_batch(model, data)
    assert largest_error(gas.refresh(), expected) < 1e-9
    assert largest_error(swept(gas), expected) < 1e-9
    data['author'].x = data['author'].x.to_sparse_csr()
    with pytest.raises(TypeError, match="'x' of 'author' must be dense or a COO tensor"):
        autoscale(model, data, num_parts=4)


@pytest.mark.parametrize('num_parts', [1, 3])
@pytest.mark.parametrize('counts', [(12, 12), (5, 5), (2, 3), (300, 300)])
def test_node_types_may_have_as_many_nodes(counts, num_parts):
    # Rows are told apart by their number; with every node in a batch there is none to add.
    torch.manual_seed(0)
    data = HeteroData()
    for node_type, count in zip('ab', counts, strict=True):
        data[node_type].x = torch.randn(count, 4, dtype=torch.float64)
    for source, target in ('ab', 'ba'):
        ends = [torch.randint(data[t].num_nodes, (4 * max(counts),)) for t in (source, target)]
        data[source, 'to', target].edge_index = torch.stack(ends)
    layers = [HeteroConv({t: sage() for t in data.edge_types}) for _ in range(3)]
    model = Layers(layers, None).double()
    gas = autoscale(model, data, num_parts=num_parts).eval()
    expected = full_batch(model, data)
    gas.refresh()
    for batch in gas.loader():
        for node_type, rows in gas(batch).items():
            ids = batch[node_type].n_id[: batch[node_type].batch_size]
            assert torch.allclose(rows, expected[node_type][ids], rtol=1e-9, atol=1e-12)
    assert largest_error(gas.inference(), expected) < 1e-9


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        edge_types = [('a', 'to', 'a'), ('a', 'at', 'b'), ('b', 'of', 'a')]
        self.convs = nn.ModuleList(
            HeteroConv({edge_type: SAGEConv((3, 3), 3) for edge_type in edge_types})
            for _ in range(2)
        )

    def forward(self, x_dict, edge_index_dict):
        x_dict = {key: x.relu() for key, x in self.convs[0](x_dict, edge_index_dict).items()}
        return self.convs[1](x_dict, edge_index_dict)['a']


def test_a_batch_may_hold_no_node_of_a_type():
    rng = torch.Generator().manual_seed(1)
    ring = torch.arange(10)
    ring = torch.stack([ring, (ring + 1) % 10])
    data = HeteroData()  # two rings, one of them without a 'b'
    data['a'].x = torch.randn(20, 3, generator=rng, dtype=torch.float64)
    data['b'].x = torch.randn(2, 3, generator=rng, dtype=torch.float64)
    data['a', 'to', 'a'].edge_index = torch.cat([ring, ring + 10], 1)
    data['a', 'at', 'b'].edge_index = torch.tensor([[0, 1], [0, 1]])
    data['b', 'of', 'a'].edge_index = torch.tensor([[0, 1], [2, 3]])
    model = TwoLayers().double().eval()
    gas = autoscale(model, data, num_parts=2)
    expected = model(data.x_dict, data.edge_index_dict).detach()
    torch.testing.assert_close(gas.inference(), expected)
