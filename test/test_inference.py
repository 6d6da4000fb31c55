"""Layer-wise inference from the model's own forward: exact, once per operator, few tables."""

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import BatchNorm1d, Embedding, Linear, ModuleList, Parameter
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCN2Conv, GCNConv, JumpingKnowledge, SAGEConv, SuperGATConv

from test.oracle import (
    NODES,
    PTR,
    assert_close,
    check_inference,
    nasty_graph,
    plain,
    sweep_loader,
    tables,
    with_edges,
)
from torch_geometric_autoscale import ScalableGNN, SubgraphLoader
from torch_geometric_autoscale.step_tables import StepTables

DATA = nasty_graph()


class Model(ScalableGNN):
    """``layers`` convolutions of width 4; ``body`` is its forward."""

    def __init__(self, body: Callable, layers: int = 3, conv: Any = GCNConv, **parts: Any) -> None:
        super().__init__(NODES, 4, layers)
        torch.manual_seed(6)
        self.convs = ModuleList(conv(4, 4) for _ in range(layers))
        for name, part in parts.items():
            setattr(self, name, part)
        self.body = body
        self.double()
        for module in self.modules():
            if isinstance(module, BatchNorm1d):
                torch.nn.init.uniform_(module.running_mean, -0.5, 0.5)
                torch.nn.init.uniform_(module.running_var, 0.5, 2)

    def forward(self, x, adj_t, batch_size=None, n_id=None):
        def boundary(i: int, x: Tensor) -> Tensor:
            return self.push_and_pull(self.histories[i], x, batch_size, n_id)

        return self.body(self, x, adj_t, boundary, n_id)


def skip_to_first(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    first = h = boundary(0, m.convs[0](x, adj_t).tanh())
    for i in (1, 2):
        h = m.convs[i](h, adj_t)
        h = (h + first[: h.size(0)] + x[: h.size(0)]).tanh()
        h = boundary(i, h)
    return m.convs[3](h, adj_t) + first[: m.convs[3](h, adj_t).size(0)]


def dense_skips(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    rows = [x]
    for i, conv in enumerate(m.convs[:-1]):
        rows.append(boundary(i, conv(sum(rows) / len(rows), adj_t).tanh()))
    return m.convs[-1](torch.stack(rows).prod(0).tanh(), adj_t)


def batch_norm(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    for i, conv in enumerate(m.convs[:-1]):
        x = boundary(i, m.norms[2 * i](conv(x, adj_t)))
        x = m.norms[2 * i + 1](x).relu()
    return m.convs[-1](x, adj_t)


def jumping(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    xs = []
    for i, conv in enumerate(m.convs[:-1]):
        x = boundary(i, conv(x, adj_t).tanh())
        xs.append(x)
    last = m.convs[-1](x, adj_t)
    return m.lin(m.jump([*(h[: last.size(0)] for h in xs), last]))


def shared(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    for i in range(2):
        x = boundary(i, m.convs[0](m.lin(x), adj_t).tanh())
    return m.convs[0](m.lin(x), adj_t)


def functional(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    h = m.convs[0](x @ m.weight, adj_t).tanh()
    h = boundary(0, h)
    h = boundary(1, torch.nn.functional.linear(m.convs[1](h, adj_t), m.weight).tanh())
    return m.convs[2](h * m.weight[0].softmax(0), adj_t)


def embedded(m: Model, x: Tensor, adj_t: Any, boundary: Any, n_id: Tensor | None) -> Tensor:
    own = m.embedding.weight if n_id is None else m.embedding(n_id)
    h = boundary(0, m.convs[0](x + own, adj_t).tanh())
    h = boundary(1, m.convs[1](h * own, adj_t).tanh())
    return m.convs[2](h + own, adj_t)


def tuples(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    h, (state, cell) = m.lstm(x.unsqueeze(0).transpose(0, 1))
    h = boundary(0, m.convs[0](h.squeeze(1), adj_t).tanh())
    h = boundary(1, m.convs[1](h + cell.squeeze(0), adj_t).tanh())
    return m.convs[2](h * state.squeeze(0), adj_t)


def detached(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    first = boundary(0, m.convs[0](x, adj_t).tanh())
    copy = first.detach().clone().t().contiguous().t()
    h = boundary(1, m.convs[1](first, adj_t).tanh())
    return m.convs[2](h + copy.data, adj_t)


def through_numpy(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    first = boundary(0, m.convs[0](x, adj_t).tanh())
    copy = torch.from_numpy(np.sin(first.detach().numpy()))
    h = boundary(1, m.convs[1](first, adj_t).tanh())
    return m.convs[2](h + copy, adj_t)


def through_a_numpy_sign(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    first = boundary(0, m.convs[0](x, adj_t).tanh())
    positive = torch.from_numpy((first.detach().numpy() > 0).astype(np.float64))
    h = boundary(1, m.convs[1](first, adj_t).tanh())
    return m.convs[2](h + positive, adj_t)


def masked(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    first = boundary(0, m.convs[0](x, adj_t).tanh())
    sign = first > 0
    h = boundary(1, m.convs[1](first, adj_t).tanh())
    return m.convs[2](torch.where(sign, h, -h), adj_t)


def in_place(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    x = x.clone().mul_(2)
    first = m.convs[0](x, adj_t)
    kept = first.clone()
    first.tanh_().add_(0.1)
    h = boundary(0, first)
    h[:, 0] = 0.5
    h += x
    h = boundary(1, m.convs[1](h, adj_t).relu_())
    h = m.convs[2](h.mul_(3), adj_t)
    h[:, 1:] += kept[: h.size(0), 1:]
    return h


def in_place_on_features(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    x.mul_(2)
    h = boundary(0, m.convs[0](x, adj_t).tanh())
    h = boundary(1, m.convs[1](h + x, adj_t).tanh())
    out = m.convs[2](h + x, adj_t)
    x.div_(2)
    return out


def lin_on_a_parameter(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    """The same module makes weights first and rows later."""
    weight = m.lin(m.weight)
    h = boundary(0, m.convs[0](m.lin(x), adj_t).tanh())
    h = boundary(1, m.convs[1](h @ weight, adj_t).tanh())
    return m.convs[2](m.lin(h) @ weight, adj_t)


def keeps_activations(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    h = boundary(0, m.convs[0](x, adj_t).tanh())
    h = boundary(1, m.convs[1](h, adj_t).tanh())
    m.last = h  # for a look from outside
    return m.convs[2](h, adj_t)


def attention_of_a_layer(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    h, _alpha = m.convs[0](x, adj_t, return_attention_weights=True)
    h = boundary(0, h.tanh())
    h = boundary(1, m.convs[1](h, adj_t).tanh())
    return m.convs[2](h, adj_t)


def norms() -> ModuleList:
    return ModuleList(BatchNorm1d(4) for _ in range(4))


BODIES: dict[str, Callable[[], Model]] = {
    'skips to the first layer': lambda: Model(skip_to_first, 4),
    'dense skips': lambda: Model(dense_skips, 5),
    'batch norm': lambda: Model(batch_norm, norms=norms()),
    'jumping cat': lambda: Model(jumping, jump=JumpingKnowledge('cat'), lin=Linear(12, 2)),
    'jumping max': lambda: Model(jumping, jump=JumpingKnowledge('max'), lin=Linear(4, 2)),
    'jumping lstm': lambda: Model(jumping, jump=JumpingKnowledge('lstm', 4, 3), lin=Linear(4, 2)),
    'shared operator': lambda: Model(shared, lin=Linear(4, 4)),
    'functional weights': lambda: Model(functional, weight=Parameter(torch.randn(4, 4))),
    'embeddings by node': lambda: Model(embedded, embedding=Embedding(NODES, 4)),
    'modules with tuples': lambda: Model(tuples, lstm=torch.nn.LSTM(4, 4, batch_first=True)),
    'detached': lambda: Model(detached),
    'through numpy': lambda: Model(through_numpy),
    'through a numpy sign': lambda: Model(through_a_numpy_sign),
    'masks': lambda: Model(masked),
    'in place': lambda: Model(in_place),
    'in place on features': lambda: Model(in_place_on_features),
    'module on a parameter': lambda: Model(
        lin_on_a_parameter, lin=Linear(4, 4), weight=Parameter(torch.randn(4, 4))
    ),
    'kept activations': lambda: Model(keeps_activations),
    'attention of a layer': lambda: Model(attention_of_a_layer, conv=GATConv),
}


@pytest.mark.parametrize('bipartite', [True, False])
@pytest.mark.parametrize('name', BODIES)
def test_any_forward_is_inferred_exactly(name: str, bipartite: bool) -> None:
    check_inference(BODIES[name](), DATA, sweep_loader(DATA, bipartite=bipartite))


@pytest.mark.parametrize('name', ['kept activations', 'attention of a layer'])
def test_inference_works_after_training(name: str) -> None:
    model = BODIES[name]()
    for batch in sweep_loader(DATA):
        model(batch).sum().backward()
    check_inference(model, DATA, sweep_loader(DATA))


def test_operator_that_keeps_activations_is_inferred_after_training() -> None:
    model = Model(BODIES['kept activations']().body, conv=SuperGATConv)
    for batch in sweep_loader(DATA):
        model(batch).sum().backward()
    check_inference(model, DATA, sweep_loader(DATA))


@pytest.mark.parametrize('size', [1, 2, 3, 4])
def test_batch_size_of_inference_does_not_show(size: int) -> None:
    check_inference(BODIES['dense skips'](), DATA, sweep_loader(DATA, batch_size=size))


def test_shuffled_loader_is_swept_in_order() -> None:
    torch.manual_seed(0)
    loader = SubgraphLoader(DATA, PTR, batch_size=2, shuffle=True, log=False)
    check_inference(BODIES['dense skips'](), DATA, loader)


def ring(size: int = 12) -> Data:
    """Every batch of three nodes has five rows, as many as the parameter below."""
    ids = torch.arange(size)
    there = torch.stack([ids, (ids + 1) % size])
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(size, 4, generator=rng, dtype=torch.float64)
    return Data(x=x, edge_index=torch.cat([there, there.flip(0)], 1))


class OnRing(ScalableGNN):
    """A module's output has as many rows as a batch, but no row belongs to a node."""

    def __init__(self, rows: int) -> None:
        super().__init__(12, 4, 2)
        torch.manual_seed(0)
        self.conv, self.last = SAGEConv(4, 4), SAGEConv(4, 4)
        self.lin, self.keys = Linear(4, 4), Parameter(torch.randn(rows, 4))
        self.double()

    def forward(self, x, adj_t, batch_size=None, n_id=None):
        keys = self.lin(self.keys)
        x = self.push_and_pull(self.histories[0], self.conv(x, adj_t).tanh(), batch_size, n_id)
        return self.last((x @ keys.t()).softmax(-1) @ keys, adj_t)


@pytest.mark.parametrize('rows', [3, 5, 7])
def test_rows_that_are_no_nodes_are_not_mistaken_for_them(rows: int) -> None:
    data, model = ring(), OnRing(rows)
    check_inference(model, data, sweep_loader(data, torch.arange(0, 13, 3)))


def test_first_batches_without_a_halo_do_not_mislead() -> None:
    data = ring()
    data.edge_index = data.edge_index[:, (data.edge_index >= 6).all(0)]
    check_inference(OnRing(7), data, sweep_loader(data, torch.tensor([0, 3, 6, 9, 12])))


def test_no_batch_with_a_halo_needs_one_phase() -> None:
    data = ring()
    data.edge_index = data.edge_index[:, ((data.edge_index // 6).diff(dim=0) == 0).view(-1)]
    check_inference(OnRing(7), data, sweep_loader(data, torch.tensor([0, 6, 12])))


class Attributes(ScalableGNN):
    """Reads other attributes of nodes and edges in late layers, the edges' in place."""

    def __init__(self, in_place: bool) -> None:
        super().__init__(NODES, 4, 3)
        torch.manual_seed(0)
        self.in_place = in_place
        self.convs = ModuleList(GATConv(4, 4, edge_dim=3) for _ in range(3)).double()

    def forward(self, x, edge_index, batch_size=None, n_id=None, pos=None, edge_attr=None):
        edge_attr = edge_attr.mul_(2) if self.in_place else edge_attr * 2
        for conv, history in zip(self.convs, self.histories, strict=False):
            x = conv(x, edge_index, edge_attr).tanh()
            x = self.push_and_pull(history, x, batch_size, n_id) * pos
        return self.convs[-1](x, edge_index, edge_attr)


@pytest.mark.parametrize('in_place', [False, True])
def test_other_attributes_are_read_in_every_layer(in_place: bool) -> None:
    data = with_edges(DATA, attr=3)
    data.pos = data.x.cos()
    model = Attributes(False)
    expected = plain(model, data).detach()
    model.in_place = in_place
    assert_close(model(loader=sweep_loader(data)), expected)


# Once per batch, and few tables ##################################################


def test_each_operator_runs_once_per_batch() -> None:
    calls: Counter = Counter()

    class Counting(GCNConv):
        def forward(self, *args: Any, **kwargs: Any) -> Tensor:
            calls[id(self)] += 1
            return super().forward(*args, **kwargs)

    model = Model(dense_skips, 6, Counting)
    hooked: Counter = Counter()
    for conv in model.convs:
        conv.register_forward_hook(lambda conv, *_: hooked.update([id(conv)]))
    loader = sweep_loader(DATA)
    for run in (model.refresh, lambda loader: model(loader=loader)):
        calls.clear()
        hooked.clear()
        assert_close(run(loader), plain_without_counting(model, calls, hooked))
        assert [hooked[id(conv)] for conv in model.convs] == [4] * 6
        # The trace runs every operator once more, on a copy and on one batch.
        assert [calls[id(conv)] for conv in model.convs] == [4] * 6


def plain_without_counting(model: Model, *counters: Counter) -> Tensor:
    kept = [dict(counter) for counter in counters]
    out = plain(model, DATA).detach()
    for counter, values in zip(counters, kept, strict=True):
        counter.clear()
        counter.update(values)
    return out


class Live:
    """Counts how many tables of the whole graph are alive at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.alive: weakref.WeakSet = weakref.WeakSet()
        self.most = self.made = 0
        new_table = StepTables.new_table

        def counted(this: Any, rows: Tensor) -> Tensor:
            table = new_table(this, rows)
            self.alive.add(table)
            self.made += 1
            self.most = max(self.most, len(self.alive))
            return table

        monkeypatch.setattr(StepTables, 'new_table', counted)


def stack(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
    for i, conv in enumerate(m.convs[:-1]):
        x = boundary(i, conv(x, adj_t).tanh())
    return m.convs[-1](x, adj_t)


def test_a_stack_keeps_two_tables_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, live = Model(stack, 12), Live(monkeypatch)
    model(loader=sweep_loader(DATA))
    assert live.made == 12  # one for each boundary, and the output
    assert live.most == 2


def test_a_refresh_reads_histories_instead_of_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model(stack, 12)
    model.refresh(sweep_loader(DATA))  # histories have widened to float64
    live = Live(monkeypatch)
    model.refresh(sweep_loader(DATA))
    assert live.made == 1  # the output


class GCN2(ScalableGNN):
    """The first embedding is read by every layer (Chen et al. 2020)."""

    def __init__(self, layers: int) -> None:
        super().__init__(NODES, 4, layers)
        torch.manual_seed(0)
        self.encoder = Linear(4, 4)
        self.convs = ModuleList(GCN2Conv(4, 0.1, 0.5, i + 1) for i in range(layers))
        self.double()

    def forward(self, x, adj_t, batch_size=None, n_id=None):
        x = x_0 = self.encoder(x).relu()
        for conv, history in zip(self.convs, self.histories, strict=False):
            x = self.push_and_pull(history, conv(x, x_0, adj_t).relu(), batch_size, n_id)
        return self.convs[-1](x, x_0, adj_t)


def test_64_layers_keep_the_first_embedding_and_two_more(monkeypatch: pytest.MonkeyPatch) -> None:
    model, live = GCN2(64), Live(monkeypatch)
    out = model(loader=sweep_loader(DATA))
    assert_close(out, plain(model, DATA).detach())
    assert live.most == 3
    assert live.made == 65


def test_tables_are_gone_after_their_last_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    model, live = Model(dense_skips, 5), Live(monkeypatch)
    out = model(loader=sweep_loader(DATA))
    gc.collect()
    assert len(live.alive) == 1
    assert next(iter(live.alive)) is out


# Refusals ########################################################################


def test_output_must_have_a_row_for_each_node() -> None:
    def pooled(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
        return stack(m, x, adj_t, boundary, _).mean(0)

    model = Model(pooled)
    before = tables(model)
    with pytest.raises(ValueError, match='forward must return one row per batch node'):
        model(loader=sweep_loader(DATA))
    assert all(map(torch.equal, before, tables(model)))


def test_steps_must_not_depend_on_the_batch() -> None:
    def moody(m: Model, x: Tensor, adj_t: Any, boundary: Any, n_id: Tensor) -> Tensor:
        first, second = (0, 1) if n_id[0] == 0 else (1, 0)
        h = boundary(0, m.convs[first](x, adj_t))
        return m.convs[2](boundary(1, m.convs[second](h, adj_t)), adj_t)

    with pytest.raises(ValueError, match='forward must take the same steps on every batch'):
        Model(moody)(loader=sweep_loader(DATA))


def test_nan_of_the_model_stays_nan() -> None:
    def root(m: Model, x: Tensor, adj_t: Any, boundary: Any, _: Any) -> Tensor:
        return stack(m, x, adj_t, boundary, _).sqrt()

    model = Model(root)
    out, expected = model(loader=sweep_loader(DATA)), plain(model, DATA).detach()
    assert expected.isnan().any()
    assert torch.equal(out.isnan(), expected.isnan())
    torch.testing.assert_close(out, expected, equal_nan=True)
