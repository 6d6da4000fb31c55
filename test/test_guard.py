"""The first call refuses a propagation that reads what no boundary has made right."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import ModuleList
from torch_geometric.data import Data
from torch_geometric.nn import (
    GCNConv,
    GraphConv,
    JumpingKnowledge,
    MessagePassing,
    SAGEConv,
    TAGConv,
)
from torch_geometric.utils import add_self_loops, degree, scatter, softmax

from test.oracle import (
    NODES,
    check_forward,
    check_oracle,
    nasty_graph,
    scramble,
    sweep_loader,
    tables,
)
from torch_geometric_autoscale import History, ScalableGNN, guard, ways

DATA = nasty_graph()


class Three(ScalableGNN):
    """Runs ``body(model, x, adj_t, boundary)`` as its forward."""

    def __init__(self, body: Any, conv: Any = SAGEConv) -> None:
        super().__init__(NODES, 4, 3)
        torch.manual_seed(2)
        self.convs = ModuleList(conv(4, 4) for _ in range(3))
        self.body = body
        self.double()

    def forward(self, x, adj_t, batch_size, n_id):
        def boundary(i: int, x: Tensor) -> Tensor:
            return self.push_and_pull(self.histories[i], x, batch_size, n_id)

        return self.body(self, x, adj_t, boundary)


def missing(model: Three, x: Tensor, adj_t: Any, boundary: Any) -> Tensor:
    x = boundary(0, model.convs[0](x, adj_t).relu())
    return model.convs[2](model.convs[1](x, adj_t).relu(), adj_t)


def through_views(model: Three, x: Tensor, adj_t: Any, boundary: Any) -> Tensor:
    h = model.convs[0](x, adj_t)
    buffer = torch.zeros(x.size(0), 4, dtype=x.dtype)
    buffer[: h.size(0)].copy_(h)
    return model.convs[1](buffer.t().t(), adj_t)


def beside_a_right_one(model: Three, x: Tensor, adj_t: Any, boundary: Any) -> Tensor:
    h = model.convs[0](x, adj_t)
    right = boundary(0, h)
    return model.convs[1](right + torch.cat([h, right[h.size(0) :]]), adj_t)


def in_eval_only(model: Three, x: Tensor, adj_t: Any, boundary: Any) -> Tensor:
    h = model.convs[0](x, adj_t)
    return model.convs[1](boundary(0, h) if model.training else h, adj_t)


def correct(model: Three, x: Tensor, adj_t: Any, boundary: Any) -> Tensor:
    x = boundary(0, model.convs[0](x, adj_t).relu())
    x = boundary(1, model.convs[1](x, adj_t).relu())
    return model.convs[2](x, adj_t)


def correct_with_jumps(model: Three, x: Tensor, adj_t: Any, boundary: Any) -> Tensor:
    xs = [x]
    for i in range(2):
        xs.append(boundary(i, model.convs[i](xs[-1], adj_t).relu()))
    return model.convs[2](JumpingKnowledge('max')(xs), adj_t)


@pytest.mark.parametrize('body', [missing, through_views, beside_a_right_one])
@pytest.mark.parametrize('training', [True, False])
def test_missing_boundary_is_refused_with_both_operators(body: Any, training: bool) -> None:
    loader = sweep_loader(DATA, bipartite=False)
    model = Three(body).train(training)
    message = r"SAGEConv 'convs.\d': .* passed a layer boundary .*the output of SAGEConv 'convs.\d'"
    for _ in range(2):  # a refused call leaves the guard in place
        with pytest.raises(ValueError, match=message):
            model(next(iter(loader)))
    with pytest.raises(ValueError, match='Call push_and_pull between the two layers'):
        model(loader=loader)


def test_boundary_that_is_missing_in_eval_only_is_refused_there() -> None:
    batch = next(iter(sweep_loader(DATA, bipartite=False)))
    model = Three(in_eval_only)
    model(batch)
    with pytest.raises(ValueError, match='passed a layer boundary'):
        model.eval()(batch)


@pytest.mark.parametrize('body', [correct, correct_with_jumps])
def test_boundaries_in_place_are_accepted(body: Any) -> None:
    check_oracle(Three(body), DATA, sweep_loader(DATA))


# What a model computes itself, without an operator


class ByHand(ScalableGNN):
    """Runs ``body(model, x, edges, boundary)``; ``edges`` are ids or a matrix."""

    def __init__(self, body: Any) -> None:
        super().__init__(NODES, 4, 2)
        torch.manual_seed(2)
        self.conv, self.body = GraphConv(4, 4), body
        self.double()

    def boundary(self, x: Tensor, batch_size: Any, n_id: Any) -> Tensor:
        return self.push_and_pull(self.histories[0], x, batch_size, n_id)


class AlongIds(ByHand):
    def forward(self, x, edge_index, batch_size=None, n_id=None):
        return self.body(self, x, edge_index, lambda x: self.boundary(x, batch_size, n_id))


class WithMatrix(ByHand):
    def forward(self, x, adj_t, batch_size=None, n_id=None):
        return self.body(self, x, adj_t, lambda x: self.boundary(x, batch_size, n_id))


def summed(x: Tensor, edges: Tensor) -> Tensor:
    return scatter(x[edges[0]], edges[1], 0, x.size(0))


def attended(x: Tensor, edges: Tensor) -> Tensor:
    """Reads sums at targets: all batch nodes have theirs in full."""
    edges, _ = add_self_loops(edges, num_nodes=x.size(0))
    score = x[edges].sum((0, 2))
    weight = softmax(score, edges[1], num_nodes=x.size(0))
    return torch.zeros_like(x).index_add(0, edges[1], weight.view(-1, 1) * x[edges[0]])


def in_degree(x: Tensor, edges: Tensor) -> Tensor:
    return degree(edges[1], x.size(0), x.dtype).clamp(min=1).view(-1, 1)


WRONG_BY_HAND = {
    'scatter twice': lambda m, x, e, _: summed(summed(x, e).relu(), e),
    'attention twice': lambda m, x, e, _: attended(attended(x, e).tanh(), e),
    'some edges': lambda m, x, e, _: summed(summed(x, e), e[:, e[0] != e[1]]),
    'some messages': lambda m, x, e, _: scatter(
        summed(x, e)[e[0]][e[0] != 3], e[1][e[0] != 3], 0, x.size(0)
    ),
    'before an operator': lambda m, x, e, _: m.conv(summed(x, e), e),
    'behind an operator': lambda m, x, e, _: summed(m.conv(x, e), e),
    'degrees of sources': lambda m, x, e, _: summed(x / in_degree(x, e), e),
    'counts of sources': lambda m, x, e, _: summed(
        x * torch.bincount(e[1], minlength=x.size(0)).view(-1, 1), e
    ),
    'degrees as edge weights': lambda m, x, e, _: m.conv(x, e, (1 / in_degree(x, e))[e[0], 0]),
}


def pooled_channels(m: Any, x: Tensor, e: Tensor, boundary: Any) -> Tensor:
    """Scatters and gathers that have to do with no edges."""
    pairs = torch.tensor([0, 1, 0, 1])
    h = summed(x, e)
    h = boundary(h + scatter(h, pairs, 1, 2)[:, pairs])
    order = h.sum(1).argsort()
    return summed(torch.zeros_like(h).index_add(0, order, h[order]), e)


RIGHT_BY_HAND = {
    'scatter': lambda m, x, e, boundary: summed(boundary(summed(x, e).tanh()), e),
    'attention': lambda m, x, e, boundary: attended(boundary(attended(x, e)).tanh(), e),
    'mean': lambda m, x, e, boundary: summed(boundary(summed(x, e) / in_degree(x, e)), e),
    'degrees of targets': lambda m, x, e, _: m.conv(x, e, (1 / in_degree(x, e))[e[1], 0]),
    'an operator': lambda m, x, e, boundary: m.conv(boundary(summed(x, e)), e),
    'residual in place': lambda m, x, e, boundary: summed(
        boundary(x.clone().index_add_(0, e[1], x[e[0]])), e
    ),
    'no edges': pooled_channels,
}


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('name', WRONG_BY_HAND)
def test_missing_boundary_between_own_propagations_is_refused(name: str, training: bool) -> None:
    model, loader = AlongIds(WRONG_BY_HAND[name]).train(training), sweep_loader(DATA)
    message = 'passed a layer boundary .*the output of .*Call push_and_pull between the two'
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            model(next(iter(loader)))
    with pytest.raises(ValueError, match=message):
        model(loader=loader)
    assert model(DATA.x, DATA.edge_index).shape == (NODES, 4)  # the whole graph lacks nothing


@pytest.mark.parametrize('name', RIGHT_BY_HAND)
def test_own_propagations_with_boundaries_are_exact(name: str) -> None:
    loader = sweep_loader(DATA)
    check_forward(AlongIds(RIGHT_BY_HAND[name]), DATA, loader)
    model = AlongIds(RIGHT_BY_HAND[name]).eval()
    torch.testing.assert_close(model(loader=loader), model(DATA.x, DATA.edge_index))


def test_products_with_the_adjacency_need_a_boundary_in_between() -> None:
    batch = next(iter(sweep_loader(DATA, bipartite=False)))
    message = r"a product with the edges \('matmul'\): .* the output of a product with the edges"
    with pytest.raises(ValueError, match=message):
        WithMatrix(lambda m, x, a, _: a @ (a @ x).relu())(batch)
    model = WithMatrix(lambda m, x, a, boundary: a @ boundary(a @ x).relu())
    assert model(batch).shape == (batch.batch_size, 4)


def test_batch_without_a_halo_does_not_end_the_watch() -> None:
    """Two triangles and an edge between two more partitions."""
    edge_index = torch.tensor([[0, 1, 2, 3, 4, 5], [1, 2, 0, 4, 3, 4]])
    data = Data(x=torch.ones(6, 4, dtype=torch.float64), edge_index=edge_index)
    model = AlongIds(WRONG_BY_HAND['scatter twice'])
    model.histories = ModuleList([History(6, 4)])
    model.num_nodes = 6
    first, second, _ = sweep_loader(data, torch.tensor([0, 3, 4, 6]))
    model(first)
    with pytest.raises(ValueError, match='passed a layer boundary'):
        model(second)


class AtTargets(MessagePassing):
    def forward(self, x, edge_index, degree):
        return self.propagate(edge_index, x=x, degree=degree)

    def message(self, x_j, degree_i):
        return x_j / degree_i


class AtSources(AtTargets):
    def message(self, x_j, degree_j):
        return x_j / degree_j


def test_operator_may_read_own_degrees_at_targets() -> None:
    model = AlongIds(lambda m, x, e, _: m.conv(x, e, in_degree(x, e)))
    model.conv = AtTargets()
    check_forward(model, DATA, sweep_loader(DATA))
    model = AlongIds(model.body)
    model.conv = AtSources()
    with pytest.raises(
        ValueError, match=r"AtSources 'conv': .* the output of a scatter along edges"
    ):
        model(next(iter(sweep_loader(DATA))))


def test_operator_that_propagates_twice_is_refused() -> None:
    batch = next(iter(sweep_loader(DATA)))
    model = Three(correct, lambda a, b: TAGConv(a, b, K=2))
    scramble(model)
    before = tables(model)
    with pytest.raises(ValueError, match=r"TAGConv 'convs.0': .*unroll it into single steps"):
        model(batch)
    assert all(map(torch.equal, before, tables(model)))


def test_operator_alone_is_guarded_too() -> None:
    batch = next(iter(sweep_loader(DATA)))
    with pytest.raises(ValueError, match=r'TAGConv: .* its own earlier propagation'):
        TAGConv(4, 4, K=2).double()(batch.x, batch.adj_t)


def test_whole_graph_calls_are_not_guarded() -> None:
    assert Three(missing)(DATA.x, DATA.edge_index).shape == (NODES, 4)


def test_only_the_first_call_of_a_mode_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = []
    watching = guard.Guard.watching

    def counted(self: guard.Guard, owner: torch.nn.Module) -> Any:
        watched.append(owner)
        return watching(self, owner)

    monkeypatch.setattr(guard.Guard, 'watching', counted)
    model = Three(correct, GCNConv)
    for _ in range(2):
        for batch in sweep_loader(DATA):
            model(batch)
    assert watched.count(model) == 1
    hooks = [hooks for conv in model.convs for hooks in vars(conv).values() if hooks == {}]
    assert len(hooks) >= 30  # nothing stays registered
    before = len(watched)
    for batch in sweep_loader(DATA):
        model.eval()(batch)
    assert len([owner for owner in watched[before:] if owner is model]) == 1


# A forward that goes another way than before


class Growing(Three):
    """Runs as many layers as it is told, with the boundaries between two of them."""

    def __init__(self) -> None:
        super().__init__(None)
        self.layers = [0, 1]

    def forward(self, x, adj_t, batch_size=None, n_id=None):
        for k, i in enumerate(self.layers):
            x = self.convs[i](x, adj_t).tanh()
            if k == 0:
                x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return x


@pytest.mark.parametrize('training', [True, False])
def test_layer_that_joins_later_is_guarded_when_it_first_runs(training: bool) -> None:
    loader = sweep_loader(DATA, bipartite=False)
    model = Growing().train(training)
    for batch in loader:
        model(batch)
    model.layers = [0, 1, 2]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"'convs.2': .* the output of SAGEConv 'convs.1'"):
            model(next(iter(loader)))
    model.layers = [0, 1]
    model(next(iter(loader)))


def test_layers_that_change_rightly_are_guarded_once_for_each_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched = []
    watching = guard.Guard.watching

    def counted(self: guard.Guard, owner: torch.nn.Module) -> Any:
        watched.append(owner)
        return watching(self, owner)

    monkeypatch.setattr(guard.Guard, 'watching', counted)
    model, loader = Growing(), sweep_loader(DATA)
    for number, layers in enumerate([[0, 1], [0, 2], [0], [1, 2], [0, 2], [1]], start=1):
        model.layers = layers
        check_forward(model, DATA, loader)
        # One layer alone goes a part of a way that is known.
        assert len(watched) == [1, 2, 2, 3, 3, 3][number - 1]


def test_what_was_pushed_before_a_new_step_is_pushed_again() -> None:
    batch = next(iter(sweep_loader(DATA)))
    model, fresh = Growing().eval(), Growing().eval()
    model(batch)
    model.layers = fresh.layers = [0, 2]
    model.reset_parameters()
    torch.testing.assert_close(model(batch), fresh(batch))
    assert all(map(torch.equal, tables(model), tables(fresh)))


def test_model_whose_way_is_drawn_is_not_guarded_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, 'MOST_WAYS', 2)
    batch, model = next(iter(sweep_loader(DATA))), Growing()
    for layers in ([0, 1], [0, 2]):
        model.layers = layers
        model(batch)
    monkeypatch.setattr(guard.Guard, 'watching', None)
    model.layers = [1, 2]
    model(batch)
