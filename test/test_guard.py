"""The first call refuses a propagation that reads what no boundary has made right."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import ModuleList
from torch_geometric.nn import GCNConv, JumpingKnowledge, SAGEConv, TAGConv

from test.oracle import NODES, check_oracle, nasty_graph, scramble, sweep_loader, tables
from torch_geometric_autoscale import ScalableGNN, guard

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
