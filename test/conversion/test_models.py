"""PyG's own models and operators, unchanged, give on batches what they give on the whole graph."""

from typing import Any

import pytest
import torch
from torch.nn import Linear, Module, ModuleList, ReLU
from torch_geometric.nn import (
    APPNP,
    GAT,
    GCN,
    GIN,
    PNA,
    ARMAConv,
    EdgeCNN,
    GATConv,
    GatedGraphConv,
    GATv2Conv,
    GCN2Conv,
    GCNConv,
    GINEConv,
    GraphConv,
    GraphSAGE,
    JumpingKnowledge,
    LGConv,
    MixHopConv,
    NNConv,
    ResGatedGraphConv,
    RGCNConv,
    SAGEConv,
    Sequential,
    SGConv,
    SSGConv,
    SuperGATConv,
    TAGConv,
    TransformerConv,
)
from torch_geometric.nn.norm import LayerNorm

from test.oracle import assert_close
from torch_geometric_autoscale import VerificationError

from .oracle import check, convert, graph, seeded

D = 4  # channels of x
OPERATORS = ["{} 'convs.0'", "{} 'convs.1'"]


def layers(conv: str) -> list[str]:
    return [place.format(conv) for place in OPERATORS]


# BasicGNN ########################################################################


@pytest.mark.parametrize(
    ('make', 'conv'),
    [
        (lambda: GCN(D, 8, 3, 3), 'GCNConv'),
        (lambda: GCN(D, 8, 3, 3, jk='cat'), 'GCNConv'),
        (lambda: GraphSAGE(D, 8, 3, 3, jk='max'), 'SAGEConv'),
        (lambda: GraphSAGE(D, 8, 3, 3, jk='lstm', norm='LayerNorm', norm_kwargs={'mode': 'node'}),
         'SAGEConv'),
        (lambda: GraphSAGE(D, 8, 3, 3, project=True, aggr='max'), 'SAGEConv'),
        (lambda: GAT(D, 8, 3, 3, heads=2, v2=True), 'GATv2Conv'),
        (lambda: GAT(D, 8, 3, 3, heads=2, residual=True, act='elu', act_first=True), 'GATConv'),
        (lambda: EdgeCNN(D, 8, 3, 3), 'EdgeConv'),
        (lambda: PNA(D, 8, 3, 3, aggregators=['mean', 'max', 'std'],
                     scalers=['identity', 'amplification'], deg=torch.tensor([2, 3, 5, 4, 3, 3])),
         'PNAConv'),
    ],
    ids=['GCN', 'GCN-jk-cat', 'SAGE-jk-max', 'SAGE-jk-lstm-norm', 'SAGE-project', 'GATv2',
         'GAT-residual', 'EdgeCNN', 'PNA'],
)  # fmt: skip
def test_models_of_pyg_are_exact(make, conv):
    check(seeded(make), graph(), boundaries=layers(conv))


def test_batch_norm_with_running_statistics_is_exact_in_eval_mode():
    module = seeded(lambda: GIN(D, 8, 3, 3, norm='BatchNorm', dropout=0.5))
    for norm in (m for m in module.modules() if isinstance(m, torch.nn.BatchNorm1d)):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    check(module, graph(), boundaries=layers('GINConv'), train=False)


def test_dropout_of_a_model_is_off_in_eval_mode_and_noise_stays_out_of_histories():
    module = seeded(lambda: GCN(D, 8, 2, 3, dropout=0.9))
    gas = check(module, graph(), boundaries=["GCNConv 'convs.0'"], train=False)
    gas.refresh()
    gas.train()
    exact = gas.histories[0].emb.clone()
    for batch in gas.loader():
        gas(batch)
    torch.testing.assert_close(gas.histories[0].emb, exact)


@pytest.mark.parametrize('weights', ['edge_weight', 'edge_attr'])
def test_models_are_given_edge_weights_and_edge_attributes_of_the_data(weights):
    if weights == 'edge_weight':
        data = graph(weight=True)
        check(seeded(lambda: GCN(D, 8, 3, 3)), data,
              lambda m: m(data.x, data.edge_index, data.edge_weight))  # fmt: skip
    else:
        data = graph(attr=3)
        check(seeded(lambda: GAT(D, 8, 3, 3, edge_dim=3, heads=2)), data,
              lambda m: m(data.x, data.edge_index, edge_attr=data.edge_attr))  # fmt: skip


def test_light_convolutions_are_exact():
    class Light(Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = Linear(D, 6)
            self.convs = ModuleList([LGConv() for _ in range(3)])

        def forward(self, x, edge_index):
            x = self.lin(x)
            out = x / 4
            for conv in self.convs:
                x = conv(x, edge_index)
                out = out + x / 4
            return out

    check(seeded(Light), graph(), boundaries=layers('LGConv'))


# Operators that propagate several times ##########################################


@pytest.mark.parametrize(
    ('make', 'num_inside'),
    [
        (lambda: APPNP(K=3, alpha=0.1), 2),
        (lambda: SGConv(D, 3, K=3), 2),
        (lambda: SSGConv(D, 3, alpha=0.1, K=3), 2),
        (lambda: TAGConv(D, 3, K=3), 2),
        (lambda: ARMAConv(D, 3, num_stacks=2, num_layers=3, shared_weights=True), 2),
        (lambda: MixHopConv(D, 3, powers=[0, 1, 3]), 2),
        (lambda: GatedGraphConv(6, num_layers=3), 2),
    ],
    ids=['APPNP', 'SGConv', 'SSGConv', 'TAGConv', 'ARMAConv', 'MixHopConv', 'GatedGraphConv'],
)
def test_operators_that_propagate_several_times_are_cut_inside(make, num_inside):
    module = seeded(make)
    name = type(module).__name__
    expected = [f"propagation inside {name} '', call {k + 1}" for k in range(num_inside)]
    gas = check(module, graph(), boundaries=expected)
    assert len(gas.histories) == num_inside


def test_inner_propagations_and_layers_are_cut_one_after_the_other():
    module = seeded(
        lambda: Sequential('x, edge_index', [
            (TAGConv(D, 5, K=2), 'x, edge_index -> x'), ReLU(),
            (APPNP(K=2, alpha=0.1), 'x, edge_index -> x'),
        ])
    )  # fmt: skip
    check(module, graph(), boundaries=[
        "propagation inside TAGConv 'module_0', call 1",
        "TAGConv 'module_0'",
        "propagation inside APPNP 'module_2', call 1",
    ])  # fmt: skip


# Compositions ####################################################################


def test_sequential_answers_by_its_own_signature():
    module = seeded(
        lambda: Sequential('x, edge_index, edge_attr', [
            (NNConv(D, 6, Linear(2, D * 6)), 'x, edge_index, edge_attr -> h'),
            ReLU(),
            (GINEConv(Linear(6, 3), edge_dim=2), 'h, edge_index, edge_attr -> h'),
        ])
    )  # fmt: skip
    data = graph(attr=2)
    check(module, data, lambda m: m(data.x, data.edge_index, data.edge_attr),
          boundaries=["NNConv 'module_0'"])  # fmt: skip


class Loop(Module):
    """One operator, three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = GraphConv(D, D)

    def forward(self, x, edge_index):
        for _ in range(3):
            x = self.conv(x, edge_index).tanh()
        return x


def test_an_operator_called_in_a_loop_has_a_boundary_after_each_call_but_the_last():
    gas = check(seeded(Loop), graph(), boundaries=["GraphConv 'conv'", "GraphConv 'conv', call 2"])
    assert len({id(history) for history in gas.histories}) == 2


class Branches(Module):
    """Two operators side by side, joined, then a third."""

    def __init__(self, join: str) -> None:
        super().__init__()
        self.join = join
        self.one, self.other = SAGEConv(D, 6), GATConv(D, 6)
        self.last = GraphConv(12 if join == 'cat' else 6, 3)

    def forward(self, x, edge_index):
        one, other = self.one(x, edge_index), self.other(x, edge_index)
        h = torch.cat([one, other], dim=-1) if self.join == 'cat' else one + other
        return self.last(h.relu(), edge_index)


def test_branches_that_are_summed_share_one_history_of_the_width_of_the_sum():
    gas = check(seeded(lambda: Branches('sum')), graph())
    assert [history.embedding_dim for history in gas.histories] == [6]


def test_branches_that_are_concatenated_have_a_history_each():
    gas = check(seeded(lambda: Branches('cat')), graph(),
                boundaries=["SAGEConv 'one'", "GATConv 'other'"])  # fmt: skip
    assert [history.embedding_dim for history in gas.histories] == [6, 6]


class Jumping(Module):
    """Every layer's output reaches the end, the first one also the third layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = SAGEConv(D, 6), SAGEConv(6, 5)
        self.third, self.fourth = SAGEConv(11, 4), SAGEConv(4, 4)
        self.jump = JumpingKnowledge('cat')
        self.lin = Linear(D + 6 + 5 + 4 + 4, 3)

    def forward(self, x, edge_index):
        a = self.first(x, edge_index).relu()
        b = self.second(a, edge_index).relu()
        c = self.third(torch.cat([a, b], dim=-1), edge_index).relu()
        d = self.fourth(c, edge_index)
        return self.lin(self.jump([x, a, b, c, d]))


def test_jumps_of_any_reach_and_widths_that_differ_are_exact():
    gas = check(seeded(Jumping), graph())
    assert [history.embedding_dim for history in gas.histories] == [6, 5, 4]


class PropagatedJump(Module):
    """A propagation reads a concatenation of all layers before it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = GCNConv(D, 6), GCNConv(6, 5)
        self.last = APPNP(K=2, alpha=0.2)

    def forward(self, x, edge_index):
        a = self.first(x, edge_index).relu()
        b = self.second(a, edge_index).relu()
        return self.last(torch.cat([x, a, b], dim=-1), edge_index)


def test_a_propagation_may_read_every_layer_before_it():
    gas = check(seeded(PropagatedJump), graph())
    assert [history.embedding_dim for history in gas.histories] == [6, 5, D + 6 + 5]


class Initial(Module):
    """GCNII: the first embedding reaches every layer."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = Linear(D, 6), Linear(6, 3)
        self.convs = ModuleList(
            [GCN2Conv(6, 0.1, theta=0.5, layer=i + 1, shared_weights=False) for i in range(4)]
        )

    def forward(self, x, edge_index):
        x = x0 = self.before(x).relu()
        for conv in self.convs:
            x = conv(x, x0, edge_index).relu() + x
        return self.after(x)


def test_a_first_embedding_that_every_layer_reads_is_exact():
    check(seeded(Initial), graph())


def test_edge_types_are_given_and_one_boundary_serves_all_relations():
    data = graph()
    data.edge_type = torch.arange(data.num_edges) % 3

    def make() -> Module:
        return Sequential('x, edge_index, edge_type', [
            (RGCNConv(D, 6, 3, num_bases=2), 'x, edge_index, edge_type -> x'), ReLU(),
            (RGCNConv(6, 3, 3), 'x, edge_index, edge_type -> x'),
        ])  # fmt: skip

    check(seeded(make), data, lambda m: m(data.x, data.edge_index, data.edge_type),
          boundaries=["RGCNConv 'module_0'"])  # fmt: skip


class Extra(Module):
    """Returns attention of its last layer, or a penalty, next to rows of nodes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SuperGATConv(D, 6), GATv2Conv(6, 3)

    def forward(self, x, edge_index):
        h = self.first(x, edge_index).relu()
        return self.last(h, edge_index), h.square().mean()


def test_a_module_may_return_more_than_rows_and_inference_gives_the_rows():
    data = graph()
    gas = check(seeded(Extra), data, train=False)
    out, extra = gas(next(iter(gas.loader())))
    assert out.shape == (5, 3)
    assert extra.shape == ()
    assert gas.inference().shape == (20, 3)


class MeanAndDeviation(Module):
    """An encoder of a variational autoencoder; what else it returns is chosen by a test."""

    def __init__(self, more=lambda h, edge_index: ()) -> None:
        super().__init__()
        self.first, self.more = GATv2Conv(D, 6), more
        self.mean, self.deviation = ResGatedGraphConv(6, 3), ResGatedGraphConv(6, 3)

    def forward(self, x, edge_index):
        h = self.first(x, edge_index).relu()
        both = self.mean(h, edge_index), self.deviation(h, edge_index)
        return *both, *self.more(h, edge_index)


def test_every_tensor_of_rows_in_a_tuple_is_cut_to_the_batch():
    data = graph()
    module = seeded(MeanAndDeviation)
    gas = check(module, data)
    expected = module(data.x, data.edge_index)
    for batch in gas.loader():
        ids = batch.n_id[: batch.batch_size]
        for found, whole in zip(gas(batch), expected, strict=True):
            assert_close(found, whole[ids])
    assert_close(gas.inference(), expected[0])


def test_tensors_in_a_tuple_that_are_no_rows_stay_as_they_are():
    def more(h, edge_index):
        return edge_index, h.new_ones(20, 20), h.argmax(1), {'second': h}, None

    data = graph()
    data.edge_index = data.edge_index[:, :20]  # as many edges as nodes
    gas = convert(seeded(lambda: MeanAndDeviation(more)).eval(), data)
    batch = next(iter(gas.loader()))
    *rows, edge_index, square, best, more_rows, nothing = gas(batch)
    assert [len(out) for out in rows] == [5, 5]
    assert torch.equal(edge_index, batch.edge_index)
    assert square.shape == (20, 20)
    assert best.shape == (5,)
    assert more_rows['second'].shape == (5, 6)
    assert nothing is None


def test_rows_that_are_returned_in_training_only_are_cut_as_well():
    class Twice(MeanAndDeviation):
        def forward(self, x, edge_index):
            mean, deviation = super().forward(x, edge_index)
            return (mean, deviation) if self.training else mean

    gas = convert(seeded(Twice), graph())
    batch = next(iter(gas.loader()))
    assert [rows.shape for rows in gas.train()(batch)] == [(5, 3), (5, 3)]
    assert gas.eval()(batch).shape == (5, 3)


def test_rows_in_a_tuple_must_be_those_of_the_whole_graph():
    module = seeded(lambda: MeanAndDeviation(lambda h, edge_index: (h - h.mean(0),)))
    with pytest.raises(VerificationError, match='at the output'):
        convert(module, graph())


class Attention(Module):
    """Asks an operator for its attention weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = GATConv(D, 6), TransformerConv(6, 3)

    def forward(self, x, edge_index):
        h, (_, alpha) = self.first(x, edge_index, return_attention_weights=True)
        assert alpha.size(1) == 1
        return self.last(h.relu(), edge_index)


def test_an_operator_may_return_its_attention_weights_between_layers():
    check(seeded(Attention), graph(), boundaries=["GATConv 'first'"])


class Pairs(Module):
    """Calls bipartite operators with one tensor for sources and one for targets."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = SAGEConv((D, 3), 6), GATConv((6, D), 3, add_self_loops=False)

    def forward(self, x, edge_index):
        h = self.first((x, x[:, :3]), edge_index).relu()
        return self.second((h, x), edge_index)


def test_operators_may_be_called_with_a_pair():
    check(seeded(Pairs), graph(), boundaries=["SAGEConv 'first'"])


@pytest.mark.parametrize('make', [
    lambda: GraphSAGE(-1, 8, 3, 3),
    lambda: Sequential('x, edge_index', [
        (GATConv((-1, -1), 6, add_self_loops=False), 'x, edge_index -> x'), Linear(6, 6), ReLU(),
        (GCNConv(-1, 3), 'x, edge_index -> x'),
    ]),
], ids=['model', 'sequential'])  # fmt: skip
def test_lazy_parameters_get_their_shapes_from_the_data(make):
    check(seeded(make), graph())


class Rowwise(Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = ModuleList([GCNConv(D, 6), GCNConv(6, 6), GCNConv(6, 3)])
        self.norms = ModuleList([LayerNorm(6, mode='node'), torch.nn.LayerNorm(6)])

    def forward(self, x: Any, edge_index: Any) -> Any:
        for conv, norm in zip(self.convs, self.norms, strict=False):
            h = norm(conv(x, edge_index)).relu()
            x = h + x if h.shape == x.shape else h
        return self.convs[-1](x, edge_index)


def test_row_wise_norms_and_residuals_are_exact():
    check(seeded(Rowwise), graph(), boundaries=layers('GCNConv'))


def test_a_graph_with_as_many_edges_as_nodes_confuses_nobody():
    data = graph()
    ids = torch.arange(20)
    data.edge_index = torch.stack([ids, (ids + 1) % 20])
    check(seeded(lambda: GAT(D, 8, 2, 3, heads=2)), data, boundaries=["GATConv 'convs.0'"])
    check(seeded(Attention), data, boundaries=["GATConv 'first'"])


def test_a_single_layer_needs_no_history():
    gas = check(seeded(lambda: GCNConv(D, 3)), graph(), boundaries=[])
    assert len(gas.histories) == 0
