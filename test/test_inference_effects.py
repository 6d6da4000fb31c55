"""Layer-wise inference of forwards that do more than hand values from call to call."""

import pytest
import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleList, Parameter, ReLU
from torch_geometric.data import Data
from torch_geometric.nn import GINEConv, GraphSAGE, MessagePassing, SAGEConv

from torch_geometric_autoscale import autoscale


def random_graph(num_nodes: int = 40, num_edges: int = 160) -> Data:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(num_nodes, 6, generator=rng, dtype=torch.float64)
    return Data(x=x, edge_index=torch.randint(num_nodes, (2, num_edges), generator=rng))


def check(model: Module, data: Data, *inputs: Tensor, **options: object) -> None:
    """Inference equals the forward on the whole graph, before and after the histories are set."""
    model = model.double().eval()
    with torch.no_grad():
        expected = model(data.x, data.edge_index, *inputs)
    gas = autoscale(model, data, **options)
    torch.testing.assert_close(gas.inference(), expected)
    gas.refresh()
    for batch in gas.loader():
        torch.testing.assert_close(gas(batch).detach(), expected[batch.n_id[: batch.batch_size]])


# Units that change what they are given ############################################


class WritesToInput(MessagePassing):
    def __init__(self, by_module: bool) -> None:
        super().__init__(aggr='mean')
        self.lin = Linear(6, 6)
        self.act = ReLU(inplace=True) if by_module else torch.relu_

    def forward(self, x, edge_index):
        return self.lin(self.propagate(edge_index, x=self.act(x)))


class Residual(Module):
    """Adds what an operator has written to."""

    def __init__(self, by_module: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enc = Linear(6, 6)
        self.convs = ModuleList(WritesToInput(by_module) for _ in range(3))

    def forward(self, x, edge_index):
        x = self.enc(x)
        for conv in self.convs:
            x = x + conv(x, edge_index)
        return x


@pytest.mark.parametrize('by_module', [False, True])
def test_an_operator_may_write_to_its_input(by_module: bool) -> None:
    check(Residual(by_module), random_graph(), num_parts=4)


# Units that leave something on themselves #########################################


class Gate(Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = Parameter(torch.randn(6))

    def forward(self, x):
        self.last = torch.sigmoid(x @ self.weight)[:, None]
        return x * self.last


class KeepsScores(SAGEConv):
    def message(self, x_j):
        return x_j

    def forward(self, x, edge_index):
        self.scores = torch.sigmoid(x.sum(-1, keepdim=True))
        return super().forward(x, edge_index)


class ReadsLeavings(Module):
    """A late layer reads what the first unit has left."""

    def __init__(self, of_operator: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.of_operator = of_operator
        self.gate = Gate()
        self.convs = ModuleList([KeepsScores(6, 6), SAGEConv(6, 6), SAGEConv(6, 6)])

    def forward(self, x, edge_index):
        x = self.convs[0](self.gate(x), edge_index)
        x = self.convs[1](x.relu(), edge_index).relu()
        x = x * (self.convs[0].scores if self.of_operator else self.gate.last)
        return self.convs[2](x, edge_index)


@pytest.mark.parametrize('of_operator', [False, True])
@pytest.mark.parametrize('num_edges', [160, 4000])  # all batches with as many rows, or not
def test_what_a_unit_leaves_on_itself_is_that_of_the_batch(of_operator, num_edges) -> None:
    check(ReadsLeavings(of_operator), random_graph(num_edges=num_edges), num_parts=4)


class Counted(KeepsScores):
    calls = 0

    def forward(self, x, edge_index):
        type(self).calls += 1
        return super().forward(x, edge_index)


def test_what_nobody_reads_makes_no_unit_run_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    model = GraphSAGE(6, 6, 3, 6).double().eval()
    model.convs[0] = Counted(6, 6).double()
    gas = autoscale(model, random_graph(), num_parts=4)
    monkeypatch.setattr(Counted, 'calls', 0)
    gas.inference()
    assert Counted.calls == 4 + 1  # batches, and the trace


# Hooks ############################################################################


def test_a_skip_connection_by_hooks_is_exact() -> None:
    model, kept = GraphSAGE(6, 6, 3, 6), {}
    model.convs[0].register_forward_hook(lambda _, __, out: kept.update(out=out))
    model.convs[2].register_forward_hook(lambda _, __, out: out + kept['out'][: out.size(0)])
    data = random_graph()
    model = model.double().eval()
    with torch.no_grad():
        expected = model(data.x, data.edge_index)
    for verify in (True, False):
        gas = autoscale(model, data, num_parts=4, verify=verify)
        torch.testing.assert_close(gas.inference(), expected)


def test_a_hook_that_writes_to_an_output_is_noticed() -> None:
    model, kept = GraphSAGE(6, 6, 3, 6), {}

    def add(_, __, out):
        out += kept['out'][: out.size(0)]

    model.convs[0].register_forward_hook(lambda _, __, out: kept.update(out=out))
    model.convs[2].register_forward_hook(add)
    check(model, random_graph(num_edges=4000), num_parts=4)


# State of the model ###############################################################


class Averages(Module):
    """Keeps a running mean of a middle layer, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convs = ModuleList(SAGEConv(6, 6) for _ in range(3))
        self.register_buffer('mean', torch.zeros(6))

    def forward(self, x, edge_index):
        x = self.convs[0](x, edge_index).relu()
        self.mean.mul_(0.9).add_(0.1 * x.detach().mean(0))
        for conv in self.convs[1:]:
            x = conv(x, edge_index).relu()
        return x


def test_a_buffer_takes_no_placeholders() -> None:
    model = Averages()
    check(model, random_graph(), num_parts=4)
    assert bool((model.mean > 0).any())
    assert bool(model.mean.isfinite().all())


# Rows of edges, and rows of nothing ###############################################


class EncodesEdges(Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enc, self.keys = Linear(4, 6), Parameter(torch.randn(4, 6))
        self.lin = Linear(6, 6)
        self.convs = ModuleList(GINEConv(Linear(6, 6)) for _ in range(3))

    def forward(self, x, edge_index, edge_attr):
        edges, keys = self.enc(edge_attr), self.lin(self.keys)
        for conv in self.convs:
            x = conv(x, edge_index, edges).relu()
            x = x + (x @ keys.t()).softmax(-1) @ keys
        return x


def ring_both_ways(n: int = 40) -> tuple[Data, Tensor]:
    """Batches of two neighbours have four nodes, four edges, and there are four keys."""
    ids = torch.arange(n)
    there = torch.stack([ids, (ids + 1) % n])
    return Data(edge_index=torch.cat([there, there.flip(0)], 1)), ids // 2


def tree(n: int = 40) -> tuple[Data, Tensor]:
    """Every node but the root has one edge in: in most batches, as many edges as batch nodes."""
    rng = torch.Generator().manual_seed(0)
    parents = torch.cat([torch.randint(i, (1,), generator=rng) for i in range(1, n)])
    ids = torch.arange(n)
    return Data(edge_index=torch.stack([parents, ids[1:]])), (n - 1 - ids) // 8


@pytest.mark.parametrize('shape', [ring_both_ways, tree])
def test_edges_are_not_mistaken_for_nodes(shape) -> None:
    data, partition = shape()
    rng = torch.Generator().manual_seed(0)
    data.x = torch.randn(40, 6, generator=rng, dtype=torch.float64)
    data.edge_attr = torch.randn(data.num_edges, 4, generator=rng, dtype=torch.float64)
    check(EncodesEdges(), data, data.edge_attr, partition=partition)
