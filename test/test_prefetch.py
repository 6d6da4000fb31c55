"""Batches that are assembled ahead are the same batches, and train the same model."""

import threading
import time

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import Sampler
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv, GraphConv

from test.oracle import PTR, nasty_graph, with_edges
from test.test_loader import content
from torch_geometric_autoscale import (
    AsyncIOPool,
    History,
    ScalableGNN,
    SubgraphLoader,
    autoscale,
    models,
)
from torch_geometric_autoscale.models import GCN
from torch_geometric_autoscale.prefetch import DevicePrefetcher, _Copies
from torch_geometric_autoscale.prepared import _family, _kept, _parts, prepare, uses_of
from torch_geometric_autoscale.tags import is_copy
from torch_geometric_autoscale.transfer.simulated import SimulatedRuntime


def data(weight: bool = False) -> Data:
    graph = with_edges(nasty_graph(torch.float32), weight=weight, attr=2)
    graph.y = graph.y % 3
    return graph


def loader(graph: Data | None = None, **kwargs) -> SubgraphLoader:
    return SubgraphLoader(data() if graph is None else graph, PTR, log=False, **kwargs)


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith('prefetch')]


@pytest.mark.parametrize('num_workers', [0, 1])
@pytest.mark.parametrize('direction', ['in', 'both'])
def test_batches_are_the_same_in_the_same_order(direction, num_workers):
    def batches(prefetch):
        torch.manual_seed(3)
        return [
            content(batch)
            for batch in loader(
                shuffle=True, direction=direction, num_workers=num_workers, prefetch=prefetch,
                batch_size=2,
            )
        ]  # fmt: skip

    assert batches(True) == batches(False)
    assert not prefetch_threads()


def test_the_random_numbers_between_batches_are_the_same():
    def draws(prefetch):
        torch.manual_seed(0)
        out = []
        for _ in range(2):
            for batch in loader(shuffle=True, prefetch=prefetch):
                out.append((batch.n_id.tolist(), torch.rand(2).tolist()))
        return out

    assert draws(True) == draws(False)


def trained(make, prefetch, epochs=3, **kwargs):
    torch.manual_seed(0)
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    batches = loader(shuffle=True, prefetch=prefetch, **kwargs)
    for _ in range(epochs):
        for batch in batches:
            optimizer.zero_grad()
            out = model(batch)
            loss = torch.nn.functional.cross_entropy(out, batch.y[: batch.batch_size])
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    tables = [history.emb.clone() for history in model.histories]
    return losses, [p.detach().clone() for p in model.parameters()], tables


class Attention(ScalableGNN):
    """Reads ``edge_index`` and ``edge_attr``, which are cut when asked for."""

    def __init__(self):
        super().__init__(20, 8, 2)
        self.first = GATConv(4, 8, edge_dim=2, add_self_loops=False)
        self.second = GraphConv(8, 3, aggr='mean')

    def forward(self, x, edge_index, edge_attr, batch_size, n_id, offset, count):
        x = torch.relu(self.first(x, edge_index, edge_attr))
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id, offset, count)
        x = torch.nn.functional.dropout(x, 0.3, self.training)
        return self.second(x, edge_index)[:batch_size]


@pytest.mark.parametrize('bipartite', [False, True])
@pytest.mark.parametrize('make', [lambda: GCN(20, 4, 8, 3, 3, dropout=0.5), Attention])
def test_training_is_the_same_to_the_bit(make, bipartite):
    plain, ahead = (trained(make, prefetch, bipartite=bipartite) for prefetch in (False, True))
    assert ahead[0] == plain[0]
    for a, b in zip(ahead[1] + ahead[2], plain[1] + plain[2], strict=True):
        assert torch.equal(a, b)


def test_a_converted_module_trains_the_same_to_the_bit():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = GCNConv(4, 8), GCNConv(8, 3)

        def forward(self, x, edge_index):
            return self.second(self.first(x, edge_index).relu(), edge_index)

    def run(prefetch):
        torch.manual_seed(0)
        gas = autoscale(Two(), data(), num_parts=3, verify=False)
        out = []
        for batch in gas.loader(shuffle=True, prefetch=prefetch):
            out.append(gas(batch))
        return torch.cat([rows.flatten() for rows in out])

    assert torch.equal(run(True), run(False))


def test_what_the_last_batch_was_asked_for_is_prepared_for_the_next_but_one():
    model = GCN(20, 4, 8, 3, 3)
    computed_by = []  # names, for each batch
    for batch in loader(prefetch=True, keep_first_propagation=False):
        prepared = dict(batch.adj_t._prepared)
        for value in batch.adj_t._cache.values():
            prepared.update(value._prepared)
        computed_by.append({name if isinstance(name, str) else name[0] for name in prepared})
        model(batch).sum().backward()
    assert computed_by[:2] == [set(), set()]
    assert all(names >= {'arrays', 'values', 'transpose'} for names in computed_by[2:])
    assert len(computed_by) == 4


def test_what_is_prepared_is_what_would_have_been_computed():
    model = GCN(20, 4, 8, 3, 3)
    one, two = (next(iter(loader(keep_first_propagation=False))) for _ in range(2))
    model(one).sum().backward()
    uses = uses_of(one)
    prepare(two, uses)
    model(two).sum().backward()
    again = uses_of(two)
    assert again.forms.keys() <= uses.forms.keys()
    assert all(names <= uses.forms[path] for path, names in again.forms.items())
    expected = dict(_family(one.adj_t))
    for path, form in _family(two.adj_t):
        for name, value in _kept(form).items():
            kept = expected[path]._cache[name]
            pairs = zip(kept, value, strict=True) if isinstance(kept, tuple) else [(kept, value)]
            for a, b in pairs:
                assert a.shape == b.shape
                assert torch.equal(a.to_dense(), b.to_dense())


def test_an_error_while_assembling_reaches_the_caller():
    class OutOfRange(Sampler):
        def __iter__(self):
            yield from (0, 99)

        def __len__(self):
            return 2

    ahead = iter(loader(sampler=OutOfRange(), prefetch=True))
    next(ahead)
    with pytest.raises(IndexError):
        next(ahead)
    assert not prefetch_threads()


def test_two_iterations_and_a_sweep_at_a_time_do_not_disturb_each_other():
    batches = loader(prefetch=True)
    expected = [content(batch) for batch in loader()]
    first, second = iter(batches), iter(batches)
    got = []
    for a, b, c in zip(first, second, batches.sweep(), strict=True):
        got.append((content(a), content(b), content(c)))
    assert got == [(item, item, item) for item in expected]


# On a device #####################################################################


class LateDevice(SimulatedRuntime):
    """A device whose streams are late: what nobody waited for is not there."""

    def __init__(self, pause):
        super().__init__()
        self.pause, self.streams = pause, []

    def delay(self):
        time.sleep(self.pause)

    def stream(self):
        self.streams.append(super().stream())
        return self.streams[-1]


@pytest.fixture
def device():
    runtime = LateDevice(pause=2e-3)
    yield runtime
    assert len(runtime.streams) == 1
    for stream in runtime.streams:
        stream.close()


def test_batches_on_a_device_are_the_same_in_the_same_order(device):
    def drawn(batches):
        torch.manual_seed(3)
        return [content(batch) for batch in batches]

    batches = loader(shuffle=True, batch_size=2)
    on_device = DevicePrefetcher(batches, 'cpu', device)
    assert drawn(on_device) == drawn(batches)
    assert len(on_device) == len(batches) == 2
    assert not prefetch_threads()


@pytest.mark.parametrize('make', [lambda: GCN(20, 4, 8, 3, 3, dropout=0.5), Attention])
def test_training_on_a_device_is_the_same_to_the_bit(make, device):
    def run(wrap):
        torch.manual_seed(0)
        model = make()
        batches = wrap(loader(shuffle=True, keep_first_propagation=False))
        for _ in range(3):
            for batch in batches:
                model(batch).square().sum().backward()
        return [p.grad for p in model.parameters()] + [h.emb for h in model.histories]

    plain = run(lambda batches: batches)
    ahead = run(lambda batches: DevicePrefetcher(batches, 'cpu', device))
    for a, b in zip(ahead, plain, strict=True):
        assert torch.equal(a, b)


def test_a_batch_that_is_not_waited_for_is_not_there_yet(device):
    device.pause = 0.2
    copies = _Copies(device)
    batch = next(iter(loader()))
    there = batch.x.clone()
    moved = copies.begin(batch, uses_of(batch))
    assert moved is batch
    assert not torch.equal(moved.x, there)
    copies.await_them(moved)
    assert torch.equal(moved.x, there)


def test_what_the_adjacency_will_be_asked_for_arrives_with_the_batch(device):
    model = GCN(20, 4, 8, 3, 3)
    one, two, three = (next(iter(loader(keep_first_propagation=False))) for _ in range(3))
    model(one).sum().backward()
    uses = uses_of(one)
    prepare(two, uses)
    before = dict(two.adj_t._prepared)
    assert before
    copies = _Copies(device)
    copies.await_them(copies.begin(two, uses))
    model(three)
    for name, value in two.adj_t._prepared.items():
        assert value is not before[name]
        for a, b in zip(_parts(value), _parts(before[name]), strict=True):
            assert a.dtype == b.dtype
            assert torch.equal(a, b)


def test_a_write_to_one_tensor_of_a_batch_is_no_write_to_another(device):
    batch = next(iter(DevicePrefetcher(loader(), 'cpu', device)))
    versions = batch.y._version, batch.n_id._version
    batch.x.zero_()
    assert (batch.y._version, batch.n_id._version) == versions
    assert batch.y.tolist() == data().y[batch.n_id].tolist()


def test_nodes_of_a_moved_batch_are_known_without_a_look(device):
    batch = next(iter(DevicePrefetcher(loader(), 'cpu', device)))
    nodes = batch.adj_t.edges.nodes
    assert batch.n_id is not nodes.n_id
    for name in ('n_id', 'offset', 'count'):
        assert is_copy(batch[name], getattr(nodes, name))
    batch.n_id.add_(1)
    assert not is_copy(batch.n_id, nodes.n_id)
    with pytest.raises(ValueError, match='must describe the same batch'):
        GCN(20, 4, 8, 3, 2)(batch)


def test_edges_of_a_moved_batch_can_be_cut_afterwards(device):
    for moved, plain in zip(DevicePrefetcher(loader(), 'cpu', device), loader(), strict=True):
        assert torch.equal(moved.edge_index, plain.edge_index)
        assert torch.equal(moved.edge_attr, plain.edge_attr)


def test_only_loaders_of_this_library_are_prefetched():
    with pytest.raises(TypeError, match=r"DevicePrefetcher: 'loader' must be a SubgraphLoader"):
        DevicePrefetcher([1, 2], 'cpu')
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="'device' must be there \\(got no 'cuda'\\)"):
            DevicePrefetcher(loader(), 'cuda')


def test_on_the_cpu_batches_are_only_assembled_ahead():
    assert [content(b) for b in DevicePrefetcher(loader(), 'cpu')] == [content(b) for b in loader()]


@pytest.mark.gpu
def test_a_device_gets_the_batches_of_the_loader():
    for moved, plain in zip(DevicePrefetcher(loader(), 'cuda'), loader(), strict=True):
        assert moved.x.is_cuda
        assert content(moved.to('cpu')) == content(plain)


# Waits ###########################################################################

# What would make the host wait for a device that its operands lie on.
ASKING = {
    '_local_scalar_dense', 'nonzero', 'equal', 'masked_select', '_unique2', 'bincount',
    'repeat_interleave',
}  # fmt: skip


class Asked(TorchDispatchMode):
    """Collects operations whose result the host has to know."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.__name__.split('.')[0]
        by_mask = name.startswith('index') and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if isinstance(args[1], (list, tuple)) else ())
        )
        if name in ASKING or by_mask:
            self.found.append((name, *(arg.shape for arg in args[:1])))
        return func(*args, **(kwargs or {}))


def converted():
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = GCNConv(4, 8), GraphConv(8, 3)

        def forward(self, x, edge_index):
            return self.second(self.first(x, edge_index).relu(), edge_index)

    return autoscale(Two(), data(), num_parts=4)


STEPPED = {
    'GCN': lambda: models.GCN(20, 4, 8, 3, 3, dropout=0.3, batch_norm=True, residual=True),
    'GAT': lambda: models.GAT(20, 4, 8, 3, 3, dropout=0.3),
    'GIN': lambda: models.GIN(20, 4, 8, 3, 3),
    'edge attributes': Attention,
    'converted': converted,
}


@pytest.mark.parametrize('name', STEPPED)
def test_a_step_asks_the_device_for_nothing(name, device, monkeypatch):
    monkeypatch.setattr(History, 'check_ids', lambda *_: None)  # those of the host
    model = STEPPED[name]()
    mask = torch.arange(20) % 2 == 0
    if isinstance(model, ScalableGNN):
        batches = loader(input_nodes=mask, keep_first_propagation=False)
    else:
        batches = model.loader(input_nodes=mask, keep_first_propagation=False)
    batches = DevicePrefetcher(batches, 'cpu', device)

    def step(batch):
        out = model(batch)
        out = out[0] if isinstance(out, tuple) else out
        rows = batch.input_rows
        cross_entropy(out.index_select(0, rows), batch.y.index_select(0, rows)).backward()

    with AsyncIOPool(way='host', runtime=SimulatedRuntime()):
        for batch in batches:  # the first is checked
            step(batch)
        asked = Asked()
        for i, batch in enumerate(batches):
            if i < 2:  # nothing was prepared for them
                step(batch)
                continue
            with asked:
                step(batch)
    assert asked.found == []
