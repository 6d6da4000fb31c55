"""A trace is kept between inferences for as long as it is that of the model."""

import copy
import gc
import pickle
import sys
import types
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import Linear, ModuleList
from torch_geometric import nn as pyg
from torch_geometric.nn import GCNConv

from test.oracle import (
    NODES,
    PTR,
    assert_close,
    check_inference,
    nasty_graph,
    plain,
    sweep_loader,
    with_edges,
)
from torch_geometric_autoscale import ScalableGNN, autoscale, models
from torch_geometric_autoscale.trace import Tracer
from torch_geometric_autoscale.trace_memory import TraceMemory

DATA = nasty_graph()
SWITCH = False


def turned(first: Tensor, h: Tensor) -> Tensor:
    """Reads ``first`` in a way that shows no NaN: with a placeholder the numbers look fine."""
    return torch.where(first > 0, h, -h)


def left(first: Tensor, h: Tensor) -> Tensor:
    return h


class Turning(ScalableGNN):
    """Whether the last layer reads the first one's output depends on what a test changes."""

    switch = False

    def __init__(self, layers: int = 3) -> None:
        super().__init__(NODES, 4, layers)
        torch.manual_seed(6)
        self.convs = ModuleList(GCNConv(4, 4) for _ in range(layers))
        self.options = {'turn': False}
        self.space = types.SimpleNamespace(turn=[False])
        self.last = left
        self.register_buffer('flag', torch.tensor(False))
        self.double()

    def forward(self, x, adj_t, batch_size=None, n_id=None):
        x = first = self.push_and_pull(
            self.histories[0], self.convs[0](x, adj_t).tanh(), batch_size, n_id
        )
        for conv, history in zip(self.convs[1:-1], self.histories[1:], strict=True):
            x = self.push_and_pull(history, conv(x, adj_t).tanh(), batch_size, n_id)
        if self.switch or SWITCH or self.options['turn'] or self.space.turn[0]:
            x = turned(first, x)
        return self.convs[-1](self.last(first, x), adj_t)


class Flagged(Turning):
    """Decides by a tensor's content."""

    def forward(self, x, adj_t, batch_size=None, n_id=None):
        self.switch = bool(self.flag)
        return super().forward(x, adj_t, batch_size, n_id)


@pytest.fixture
def traces(monkeypatch) -> list[Any]:
    """What is traced, from here on."""
    found: list[Any] = []
    trace = Tracer.trace

    def noted(self: Tracer, batch: Any) -> Any:
        found.append(self.model)
        return trace(self, batch)

    monkeypatch.setattr(Tracer, 'trace', noted)
    return found


def check(model: ScalableGNN, data: Any = DATA, **options: Any) -> None:
    """Inference and refresh are those of the plain definition."""
    loader = sweep_loader(data, **options)
    with torch.no_grad():
        expected = plain(model, data)
        assert_close(model(loader=loader), expected)
        assert_close(model.refresh(loader), expected)


def test_a_model_is_traced_once(traces):
    model = Turning()
    for _ in range(3):
        check(model)
    assert len(traces) == 1
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    model.train()
    model.register_forward_hook(lambda *_: None)
    check(model)
    assert len(traces) == 1


READY = {
    'gcn': lambda: models.GCN(NODES, 4, 6, 3, 3, batch_norm=True),
    'gat': lambda: models.GAT(NODES, 4, 2, 3, 3, hidden_heads=2),
    'appnp': lambda: models.APPNP(NODES, 4, 6, 3, 3),
    'gcn2': lambda: models.GCN2(NODES, 4, 6, 3, 4),
    'gin': lambda: models.GIN(NODES, 4, 6, 3, 3, perturbation=1.0),
    'sage': lambda: models.SAGE(NODES, 4, 6, 3, 3),
}


@pytest.mark.parametrize('name', READY)
def test_ready_models_are_traced_once(name, traces):
    model = READY[name]().double()
    for _ in range(2):
        check_inference(model, DATA, sweep_loader(DATA))
        for batch in sweep_loader(DATA):
            rows = model.train()(batch)
            (rows[0] if isinstance(rows, tuple) else rows).sum().backward()
        torch.optim.SGD(model.parameters(), 0.01).step()
    assert len(traces) == 1


class Wider(GCNConv):
    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return turned(x, super().forward(x, *args, **kwargs))


def another_forward(self, x, adj_t, batch_size=None, n_id=None):
    self.last = turned
    try:
        return Turning.__dict__['usual'](self, x, adj_t, batch_size, n_id)
    finally:
        self.last = left


def negative(self, x, adj_t, batch_size=None, n_id=None):
    return -Turning.forward(self, x, adj_t, batch_size, n_id)


CHANGES = {
    'an attribute': lambda m, p: setattr(m, 'switch', True),
    'a class attribute': lambda m, p: p.setattr(Turning, 'switch', True),
    'a global': lambda m, p: p.setattr(sys.modules[__name__], 'SWITCH', True),
    'an option in a dictionary': lambda m, p: m.options.update(turn=True),
    'an option in an object': lambda m, p: m.space.turn.__setitem__(0, True),
    'a function': lambda m, p: setattr(m, 'last', turned),
    'a function by its name': lambda m, p: p.setattr(sys.modules[__name__], 'left', turned),
    'a module': lambda m, p: m.convs.__setitem__(2, GCNConv(4, 4).double()),
    'an operator of another class': lambda m, p: m.convs.__setitem__(1, Wider(4, 4).double()),
    'an option of an operator': lambda m, p: setattr(m.convs[1], 'improved', True),
    'the width of a layer': lambda m, p: m.convs.__setitem__(3, GCNConv(4, 7).double()),
    'a replaced history': lambda m, p: m.histories.__setitem__(1, copy.deepcopy(m.histories[1])),
    'another type': lambda m, p: m.float(),
}


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_what_has_changed_is_noticed(change, monkeypatch, traces):
    model = Turning(4)
    check(model)
    change(model, monkeypatch)
    data = copy.copy(DATA)
    data.x = DATA.x.to(next(model.parameters()).dtype)
    check(model, data)
    assert len(traces) > 1


def test_a_forward_of_the_class_is_noticed(monkeypatch, traces):
    model = Turning()
    check(model)
    monkeypatch.setattr(Turning, 'usual', Turning.forward, raising=False)
    monkeypatch.setattr(Turning, 'forward', another_forward)
    check(model)


def test_a_forward_of_its_own_is_noticed(traces):
    model = Turning()
    before = model(loader=sweep_loader(DATA))
    model.forward = types.MethodType(negative, model)
    assert_close(model(loader=sweep_loader(DATA)), -before)
    assert len(traces) == 2


def test_a_way_that_depends_on_the_content_of_a_tensor_is_traced_each_time(traces):
    model = Flagged()
    check(model)
    assert len(traces) == 2
    model.flag.fill_(True)
    check(model)
    assert len(traces) == 4


def test_what_cannot_be_told_is_traced_each_time(traces):
    model = Turning()
    model.bytes = bytearray(b'1')
    check(model)
    assert len(traces) == 2


def test_loaders_that_make_other_batches_have_traces_of_their_own(traces):
    model = models.GCN(NODES, 4, 6, 3, 3).double()
    check(model)
    check(model, bipartite=False)
    check(model, with_edges(DATA, weight=True))
    assert len(traces) == 3
    check(model, batch_size=2)
    check(model, ptr=torch.tensor([0, 9, 20]))
    assert len(traces) == 3


def test_only_the_last_few_are_kept(traces):
    model = models.GCN(NODES, 4, 6, 3, 3).double()
    for seed in range(6):
        check(model, nasty_graph(seed=seed)) if seed else check(model)
        model.reset_parameters()
    assert len(vars(model)['_traces']._traces) == 4


def test_a_trace_that_does_not_fit_is_replaced(monkeypatch, traces):
    model, other = Turning(4), Turning(3)
    check(model)
    check(other)
    (wrong,) = vars(other)['_traces']._traces.values()
    memory = vars(model)['_traces']
    for key in memory._traces:
        memory._traces[key] = wrong
    check(model)
    assert [traced is model for traced in traces] == [True, False, True]


def test_a_failure_of_the_model_is_its_own():
    model = Turning()
    check(model)
    model.last = lambda first, h: h.no_such_method()
    with pytest.raises(AttributeError, match='no_such_method'):
        model(loader=sweep_loader(DATA))


def test_copies_and_files_hold_no_traces():
    model = Turning()
    check(model)
    model.last = turned
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert vars(twin)['_traces']._traces == {}
        check(twin)
    twin = copy.copy(model)  # shares the memory, not the model
    twin.switch = True
    check(twin)
    check(model)


def test_a_model_with_traces_is_let_go():
    model = Turning()
    check(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_kept_trace_keeps_no_rows():
    model = models.GCN2(NODES, 4, 6, 3, 4).double()
    check(model)
    for trace in vars(model)['_traces']._traces.values():
        assert all(step.table is None for step in trace.steps)


def test_a_converted_module_is_traced_once(traces):
    torch.manual_seed(0)
    module = pyg.GCN(4, 8, 3, 3).double().eval()
    gas = autoscale(module, DATA, partition=(torch.arange(NODES), PTR))
    traces.clear()
    for _ in range(2):
        expected = module(DATA.x, DATA.edge_index).detach()
        assert_close(gas.inference(), expected)
        assert_close(gas.refresh(), expected)
    assert len(traces) == 1
    module.act = torch.nn.Tanh()
    assert_close(gas.refresh(), module(DATA.x, DATA.edge_index).detach())
    assert len(traces) == 2


def test_a_memory_without_a_key_remembers_nothing():
    memory = TraceMemory()
    memory.put(None, object())
    assert memory.get(None) is None


def test_linear_layers_may_be_lazy():
    class Lazy(ScalableGNN):
        def __init__(self):
            super().__init__(NODES, 4, 2)
            self.first, self.conv, self.last = Linear(4, 4), GCNConv(-1, 4), GCNConv(-1, 3)

        def forward(self, x, adj_t, batch_size=None, n_id=None):
            h = self.conv(self.first(x), adj_t)
            return self.last(self.push_and_pull(self.histories[0], h, batch_size, n_id), adj_t)

    model = Lazy().double()
    model(DATA.x, DATA.edge_index)
    check(model)
