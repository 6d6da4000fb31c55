"""Operators and modules that users write themselves, without knowing of batches."""

from typing import Optional

import pytest
import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Embedding, Linear, Module, ModuleList, Parameter
from torch_geometric.nn import GCNConv, GINConv, GraphConv, MessagePassing, SAGEConv
from torch_geometric.typing import OptTensor
from torch_geometric.utils import scatter, softmax

from test.oracle import loss_of

from .oracle import assert_close, check, convert, graph, seeded, sweep, tables

D = 4  # channels of x


class EdgeAttention(MessagePassing):
    """Attention over each node's edges, edge features, its own update."""

    def __init__(self, i: int, o: int, e: int = 2) -> None:
        super().__init__(aggr='sum')
        self.lin, self.edge = Linear(i, o), Linear(e, o)
        self.score, self.mix = Linear(3 * o, 1), Linear(2 * o, o)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        return self.propagate(edge_index, x=self.lin(x), edge_attr=self.edge(edge_attr))

    def message(
        self,
        x_i: Tensor,
        x_j: Tensor,
        edge_attr: Tensor,
        index: Tensor,
        ptr: OptTensor,
        size_i: Optional[int],  # noqa: UP045 - PyG reads the annotation
    ) -> Tensor:
        score = self.score(torch.cat([x_i, x_j, edge_attr], dim=-1)).tanh()
        return softmax(score, index, ptr, size_i) * (x_j + edge_attr)

    def update(self, aggregated: Tensor, x: Tensor) -> Tensor:
        return self.mix(torch.cat([aggregated, x], dim=-1))


class Attentive(Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = ModuleList([EdgeAttention(D, 6), EdgeAttention(6, 5), EdgeAttention(5, 3)])

    def forward(self, x, edge_index, edge_attr):
        for conv in self.convs[:-1]:
            x = conv(x, edge_index, edge_attr).relu()
        return self.convs[-1](x, edge_index, edge_attr)


def test_an_operator_with_attention_edge_features_and_update_is_exact():
    data = graph(attr=2)
    check(
        seeded(Attentive),
        data,
        lambda m: m(data.x, data.edge_index, data.edge_attr),
        boundaries=["EdgeAttention 'convs.0'", "EdgeAttention 'convs.1'"],
    )


class Outer(MessagePassing):
    """An operator with operators inside, one of which runs before its own propagation."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(aggr='mean')
        self.inner, self.other = SAGEConv(i, o), GINConv(Linear(o, o))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.inner(x, edge_index).tanh()
        h = self.propagate(edge_index, x=h)
        return self.other(h, edge_index)

    def message(self, x_j: Tensor) -> Tensor:
        return x_j.tanh()


class Nested(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Outer(D, 6), GCNConv(6, 3)

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index), edge_index)


def test_operators_inside_an_operator_are_cut_after_each_propagation():
    # Constants on a part are the propagations' rows here, not the inner operators'.
    gas = check(seeded(Nested), graph(), part_gradients=False)
    assert [b.width for b in gas.boundaries] == [4, 6, 6]
    assert str(gas.boundaries[-1]) == "Outer 'first'"


class Heads(MessagePassing):
    """Three-dimensional messages."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(aggr='sum', node_dim=0)
        self.lin, self.score = Linear(i, 2 * o), Linear(o, 1)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.lin(x).view(x.size(0), 2, -1)
        return self.propagate(edge_index, x=x, score=self.score(x))

    def message(self, x_j: Tensor, score_i: Tensor, score_j: Tensor) -> Tensor:
        return (score_i + score_j).sigmoid() * x_j


class ThreeDimensional(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = Heads(D, 3), Heads(6, 2)

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index).flatten(1), edge_index)


def test_rows_of_any_shape_are_kept_in_a_flat_history():
    gas = check(seeded(ThreeDimensional), graph(), boundaries=["Heads 'first'"])
    assert gas.boundaries[0].tail == (2, 3)
    assert gas.histories[0].embedding_dim == 6
    assert gas.inference().shape == (20, 2, 2)


class Scatters(Module):
    """No operator at all: gathers and scatters by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.lins = ModuleList([Linear(D, 6), Linear(6, 6), Linear(6, 3)])

    def forward(self, x, edge_index):
        source, target = edge_index
        for lin in self.lins:
            x = lin(scatter(x[source], target, dim_size=x.size(0), reduce='mean') + x).tanh()
        return x


class Products(Module):
    """Multiplies by the adjacency itself."""

    def __init__(self) -> None:
        super().__init__()
        self.lins = ModuleList([Linear(D, 6), Linear(6, 5), Linear(5, 3)])

    def forward(self, x, adj_t):
        for lin in self.lins:
            x = (adj_t @ lin(x)).tanh()
        return x


class IndexAdds(Module):
    def __init__(self) -> None:
        super().__init__()
        self.lins = ModuleList([Linear(D, 6), Linear(6, 3)])

    def forward(self, x, edge_index):
        for lin in self.lins:
            x = lin(x)
            x = x + torch.zeros_like(x).index_add(0, edge_index[1], x[edge_index[0]].relu())
        return x


@pytest.mark.parametrize(('make', 'name', 'count'), [
    (Scatters, 'div', 2), (Products, 'matmul', 2), (IndexAdds, 'index_add', 1),
])  # fmt: skip
def test_modules_that_aggregate_by_hand_are_cut_at_functions(make, name, count):
    data = graph()
    adj_t = torch.zeros(20, 20, dtype=torch.float64)
    adj_t.index_put_((data.edge_index[1], data.edge_index[0]), torch.tensor(1.0).double(), True)
    second = adj_t if make is Products else data.edge_index
    gas = check(seeded(make), data, lambda m: m(data.x, second), part_gradients=False)
    assert len(gas.boundaries) == count
    assert all(name in str(b) for b in gas.boundaries)


class OwnEmbeddings(Module):
    """Learned vectors for nodes without features."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = Embedding(20, D)
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

    def forward(self, n_id, edge_index):
        return self.last(self.first(self.emb(n_id), edge_index).relu(), edge_index)


def test_node_embeddings_are_looked_up_by_n_id_in_the_order_of_the_callers_data():
    data = graph()
    del data.x
    check(seeded(OwnEmbeddings), data, lambda m: m(torch.arange(20), data.edge_index))


def test_sparse_gradients_of_embeddings_are_those_of_a_batch():
    data = graph()
    module = seeded(OwnEmbeddings)
    module.emb.sparse = True
    gas = convert(module, data)
    batch = next(iter(gas.loader()))
    loss_of(gas(batch)).backward()
    assert module.emb.weight.grad.is_sparse


def test_only_the_embeddings_of_a_batch_and_its_halo_learn():
    data = graph()
    module = seeded(OwnEmbeddings)
    gas = convert(module, data)
    batch = next(iter(gas.loader()))
    loss_of(gas(batch)).backward()
    touched = module.emb.weight.grad.abs().sum(dim=1).nonzero().view(-1)
    assert set(touched.tolist()) <= set(batch.n_id.tolist())


class RowPerNode(Module):
    """Keeps a parameter with a row for each node and never asks which nodes it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = Parameter(torch.randn(20, D))
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

    def forward(self, x, edge_index):
        return self.last(self.first(x + self.emb, edge_index).relu(), edge_index)


def test_a_parameter_with_a_row_for_each_node_is_cut_to_the_batch():
    check(seeded(RowPerNode), graph())


class Normed(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)
        self.norm = BatchNorm1d(6)

    def forward(self, x, edge_index):
        return self.last(self.norm(self.first(x, edge_index)).relu(), edge_index)


def test_batch_norm_takes_its_statistics_from_batch_rows_in_training():
    data = graph()
    module = seeded(Normed)
    gas = convert(module, data)
    gas.refresh()
    gas.train()
    for batch in gas.loader():
        ids = batch.n_id[: batch.batch_size]
        mean, var = module.norm.running_mean.clone(), module.norm.running_var.clone()
        with torch.no_grad():
            h = module.first(data.x, data.edge_index)
            rows = h[ids]
            scale = (rows.var(0, unbiased=False) + 1e-5).rsqrt()
            h = ((h - rows.mean(0)) * scale * module.norm.weight + module.norm.bias).relu()
            expected = module.last(h, data.edge_index)[ids]
            assert_close(gas(batch), expected)
        torch.testing.assert_close(module.norm.running_mean, 0.9 * mean + 0.1 * rows.mean(0))
        torch.testing.assert_close(module.norm.running_var, 0.9 * var + 0.1 * rows.var(0))


class DropoutFirst(Module):
    """Drops inside of the layer that follows, which is none of the history's business."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

    def forward(self, x, edge_index):
        h = self.first(x, edge_index).relu()
        h = torch.nn.functional.dropout(h, 0.8, self.training)
        return self.last(h, edge_index)


def test_dropout_after_an_operator_stays_out_of_the_histories():
    gas = convert(seeded(DropoutFirst), graph())
    gas.refresh()
    exact = tables(gas)
    gas.train()
    sweep(gas)
    for table, wanted in zip(tables(gas), exact, strict=True):
        assert_close(table, wanted)


class OnlyInTraining(Module):
    """Takes an extra layer in training."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.extra, self.last = SAGEConv(D, 6), SAGEConv(6, 6), SAGEConv(6, 3)

    def forward(self, x, edge_index):
        h = self.first(x, edge_index).relu()
        if self.training:
            h = self.extra(h, edge_index).relu()
        return self.last(h, edge_index)


def test_a_module_whose_layers_differ_between_the_modes_is_refused_by_the_check():
    with pytest.raises(ValueError, match='must have passed a layer boundary'):
        convert(seeded(OnlyInTraining), graph())


class ByName(Module):
    """Calls operators with arguments by name and in another order."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = GCNConv(D, 6), SAGEConv(6, 3)

    def forward(self, edge_index, x, *, edge_weight=None):
        h = self.first(edge_index=edge_index, x=x, edge_weight=edge_weight).relu()
        return self.last(edge_index=edge_index, x=h)


def test_arguments_may_come_in_any_order_and_by_name():
    data = graph(weight=True)
    check(
        seeded(ByName),
        data,
        lambda m: m(data.edge_index, data.x, edge_weight=data.edge_weight),
        boundaries=["GCNConv 'first'"],
    )


class InPlace(Module):
    """Writes into what an operator gave."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

    def forward(self, x, edge_index):
        h = self.first(x, edge_index)
        h += 1
        h[:, 0] = 0
        return self.last(h, edge_index)


def test_a_forward_may_write_into_what_an_operator_gave():
    check(seeded(InPlace), graph(), boundaries=["SAGEConv 'first'"])


class Chunks(Module):
    """Splits channels, aggregates one half, stacks the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = SAGEConv(D, 6), SAGEConv(3, 3), SAGEConv(6, 3)

    def forward(self, x, edge_index):
        a, b = self.first(x, edge_index).chunk(2, dim=-1)
        a = self.second(a, edge_index)
        return self.last(torch.cat([b, a], dim=-1).relu(), edge_index)


def test_parts_of_an_operators_channels_may_go_separate_ways():
    gas = check(seeded(Chunks), graph(), boundaries=["SAGEConv 'first'", "SAGEConv 'second'"])
    assert [history.embedding_dim for history in gas.histories] == [6, 3]


class ByType(Module):
    """An operator for each type of edge, summed."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ModuleList([SAGEConv(D, 6) for _ in range(3)])
        self.last = ModuleList([SAGEConv(6, 3) for _ in range(3)])

    def forward(self, x, edge_index, edge_type):
        for convs in (self.first, self.last):
            edges = [edge_index[:, edge_type == k] for k in range(3)]
            x = sum(conv(x, e) for conv, e in zip(convs, edges, strict=True)).tanh()
        return x


def test_edges_may_be_picked_by_their_type():
    data = graph()
    data.edge_type = torch.arange(data.num_edges) % 3
    gas = check(seeded(ByType), data, lambda m: m(data.x, data.edge_index, data.edge_type))
    assert [history.embedding_dim for history in gas.histories] == [6]


class LearnedWeights(Module):
    def __init__(self) -> None:
        super().__init__()
        self.weigh, self.first, self.last = Linear(2, 1), GraphConv(D, 6), GraphConv(6, 3)

    def forward(self, x, edge_index, edge_attr):
        weight = self.weigh(edge_attr).sigmoid().view(-1)
        return self.last(self.first(x, edge_index, weight).relu(), edge_index, weight)


def test_edge_weights_may_be_learned_where_no_degree_depends_on_them():
    data = graph(attr=2)
    check(seeded(LearnedWeights), data, lambda m: m(data.x, data.edge_index, data.edge_attr))


class Lists(InPlace):
    def forward(self, x, edge_index):
        return [super().forward(x, edge_index), x]


def test_a_list_of_outputs_is_taken_like_a_tuple():
    gas = check(seeded(Lists), graph())
    assert isinstance(gas(next(iter(gas.loader()))), list)
