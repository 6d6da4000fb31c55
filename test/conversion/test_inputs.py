"""What a module's ``forward`` is given of the data, and what a caller may say about it."""

import copy

import pytest
import torch
from torch.nn import Linear, Module
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCN, GATConv, GCNConv, SAGEConv, Sequential, global_mean_pool

from test.oracle import assert_close
from torch_geometric_autoscale import VerificationError, autoscale

from .oracle import check, convert, graph, seeded, sweep

D = 4


class Seen(Module):
    """Notes what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

    def forward(self, x, edge_index, edge_attr=None, pos=None, batch_size=None, scale=1.0):
        type(self).seen = {
            'edge_attr': edge_attr is not None,
            'pos': pos is not None,
            'batch_size': batch_size,
            'scale': scale,
        }
        h = self.first(x, edge_index).relu()
        return self.last(h, edge_index) * scale


def first_batch(gas):
    return next(iter(gas.loader()))


def test_optional_parameters_are_filled_in_if_the_data_has_them():
    data = graph(attr=2)
    gas = convert(seeded(Seen), data)
    gas(first_batch(gas))
    assert Seen.seen == {'edge_attr': True, 'pos': False, 'batch_size': None, 'scale': 1.0}


def test_batch_size_is_left_alone_though_a_batch_has_one():
    data = graph()
    data.batch_size = 3
    gas = convert(seeded(Seen), data)
    gas(first_batch(gas))
    assert Seen.seen['batch_size'] is None


def test_numbers_of_the_data_are_given_as_they_are():
    data = graph()
    data.scale = 2.0
    gas = convert(seeded(Seen), data)
    gas(first_batch(gas))
    assert Seen.seen['scale'] == 2.0
    twin = seeded(Seen)
    assert_close(gas.inference(), twin(data.x, data.edge_index, scale=2.0))


def test_inputs_narrow_what_is_filled_in():
    data = graph(attr=2)
    data.pos = torch.randn(20, 3)
    gas = convert(seeded(Seen), data, inputs=('x', 'edge_index', 'pos'))
    gas(first_batch(gas))
    assert Seen.seen['edge_attr'] is False
    assert Seen.seen['pos'] is True


def test_narrowed_inputs_leave_edge_weights_out():
    data = graph(weight=True)
    check(seeded(lambda: GCN(D, 8, 2, 3)), data, inputs=('x', 'edge_index'))


class Renamed(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = GCNConv(D, 6), GCNConv(6, 3)

    def forward(self, feats, edges, w=None):
        return self.last(self.first(feats, edges, w).relu(), edges, w)


def test_inputs_name_the_attribute_for_a_parameter():
    data = graph(weight=True)
    check(
        seeded(Renamed),
        data,
        lambda m: m(data.x, data.edge_index, data.edge_weight),
        inputs={'feats': 'x', 'edges': 'edge_index', 'w': 'edge_weight'},
    )


@pytest.mark.parametrize('name', ['adj_t', 'adj'])
def test_a_parameter_called_like_a_matrix_is_given_the_adjacency(name):
    def make() -> Module:
        return Sequential(f'x, {name}', [
            (SAGEConv(D, 6), f'x, {name} -> x'), (SAGEConv(6, 3), f'x, {name} -> x'),
        ])  # fmt: skip

    data = graph()
    check(seeded(make), data, lambda m: m(data.x, data.edge_index))


class AnyName(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = GATConv(D, 6, edge_dim=2), SAGEConv(6, 3)

    def forward(self, x, edge_index, **kwargs):
        return self.last(self.first(x, edge_index, **kwargs).relu(), edge_index)


def test_a_module_that_takes_any_name_is_given_the_names_in_inputs():
    data = graph(attr=2)
    check(seeded(AnyName), data, inputs=('x', 'edge_index'))
    check(
        seeded(AnyName),
        data,
        lambda m: m(data.x, data.edge_index, edge_attr=data.edge_attr),
        inputs=('x', 'edge_index', 'edge_attr'),
    )


def test_a_module_that_takes_any_name_is_given_no_edge_attribute_unasked():
    with pytest.warns(UserWarning, match='takes any argument and is given x, edge_index') as told:
        check(seeded(AnyName), graph(attr=2))
    assert "inputs=('x', 'edge_index', 'edge_attr'), or" in str(told[0].message)
    assert told[0].filename == convert.__code__.co_filename
    check(seeded(AnyName), graph())


class Positional(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

    def forward(self, *args):
        x, edge_index = args
        return self.last(self.first(x, edge_index).relu(), edge_index)


def test_a_forward_of_nothing_but_arguments_is_given_x_and_edge_index():
    check(seeded(Positional), graph())


class Wrap(Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = GCN(D, 8, 2, 3)

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


def test_a_forward_of_nothing_but_arguments_is_given_edge_weights_when_asked_for():
    data = graph(weight=True)
    with pytest.warns(UserWarning, match='data with edge_weight as well'):
        convert(seeded(Wrap), data)
    check(
        seeded(Wrap),
        data,
        lambda m: m(data.x, data.edge_index, data.edge_weight),
        inputs=('x', 'edge_index', 'edge_weight'),
    )


@pytest.mark.filterwarnings('ignore:The .grad attribute')  # dynamo's own
def test_a_compiled_module_is_given_what_the_module_takes():
    data = graph(weight=True)
    gcn = seeded(lambda: GCN(D, 8, 2, 3)).eval()
    gas = convert(torch.compile(gcn, backend='eager'), data)
    assert_close(gas.inference(), gcn(data.x, data.edge_index, data.edge_weight))


class SecondEdges(Positional):
    def forward(self, x, edge_index, edge_index2=None):
        h = self.first(x, edge_index).relu()
        return self.last(h, edge_index if edge_index2 is None else edge_index2)


def test_an_optional_parameter_that_batches_cannot_be_given_is_refused_unless_left_out():
    data = graph()
    data.edge_index2 = data.edge_index.flip(0)
    match = r"ids of nodes.*'edge_index2'.*Or leave it out: inputs=\('x', 'edge_index'\)"
    with pytest.raises(ValueError, match=match):
        convert(seeded(SecondEdges), data)
    check(seeded(SecondEdges), data, inputs=('x', 'edge_index'))


class OfGraphs(Positional):
    def __init__(self) -> None:
        super().__init__()
        self.of_graph = torch.nn.Embedding(5, 6)

    def forward(self, x, edge_index, batch=None):
        h = self.first(x, edge_index)
        return self.last(h if batch is None else h + self.of_graph(batch), edge_index)


def test_the_graph_of_each_node_is_cut_like_features():
    data = graph()
    data.batch = torch.arange(20) // 4
    check(seeded(OfGraphs), data, lambda m: m(data.x, data.edge_index, data.batch))
    joined = Batch.from_data_list([graph(), graph()])
    module = seeded(OfGraphs).eval()
    gas = autoscale(module, joined, num_parts=4)
    assert_close(gas.inference(), module(joined.x, joined.edge_index, joined.batch))


def test_a_readout_by_graph_is_refused():
    class Centred(OfGraphs):
        def forward(self, x, edge_index, batch=None):
            h = self.first(x, edge_index)
            return self.last(h - global_mean_pool(h, batch)[batch], edge_index)

    data = graph()
    data.batch = torch.arange(20) // 10
    with pytest.raises(VerificationError, match='on a batch it must compute'):
        convert(seeded(Centred), data)


def test_a_plain_node_level_attribute_is_cut_like_features():
    class Timed(Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin, self.first, self.last = Linear(1, D), SAGEConv(D, 6), SAGEConv(6, 3)

        def forward(self, x, edge_index, year):
            h = self.first(x + self.lin(year.double().view(-1, 1)), edge_index)
            return self.last(h.relu(), edge_index)

    data = graph()
    data.year = torch.arange(20) % 7
    check(seeded(Timed), data, lambda m: m(data.x, data.edge_index, data.year))


# Overrides #######################################################################


def test_overrides_replace_what_the_batch_has():
    data = graph()
    module = seeded(lambda: GCN(D, 8, 2, 3))
    gas = convert(module, data)
    other = torch.randn(20, D, dtype=torch.float64)
    with torch.no_grad():
        expected = module.eval()(other, data.edge_index)
        for _ in range(2):
            for batch in gas.eval().loader():
                out = gas(batch, x=other[batch.n_id])
                ids = batch.n_id[: batch.batch_size]
                last = (out, expected[ids])
        assert_close(*last)


def test_an_optional_parameter_without_attribute_can_be_given_by_override():
    data = graph()
    gas = convert(seeded(Seen), data)
    batch = first_batch(gas)
    gas(batch, scale=3.0)
    assert Seen.seen['scale'] == 3.0


def test_overriding_weights_leave_the_data_and_the_batch_alone():
    data = graph()
    module = seeded(Renamed).eval()
    gas = convert(module, data, inputs={'feats': 'x', 'edges': 'edge_index'})
    batch = first_batch(gas)
    with pytest.raises(ValueError, match='gcn_norm'):
        gas(batch, w=torch.rand(batch.num_edges, dtype=torch.float64))
    assert 'edge_weight' not in data


def test_an_override_of_a_name_that_forward_does_not_take_is_refused():
    gas = convert(seeded(Renamed), graph(), inputs={'feats': 'x', 'edges': 'edge_index'})
    batch = first_batch(gas)
    with pytest.raises(TypeError, match=r'forward takes feats, edges, w \(got x\)'):
        gas(batch, x=batch.x)


def test_an_override_must_have_the_rows_of_the_batch():
    data = graph()
    gas = convert(seeded(lambda: GCN(D, 8, 2, 3)), data)
    batch = first_batch(gas)
    before = [history.emb.clone() for history in gas.histories]
    with pytest.raises(ValueError, match=r"'x' must have one row for each of the \d+ nodes"):
        gas(batch, x=data.x)
    with pytest.raises(ValueError, match="'x' must have one row"):
        gas(batch, x=batch.x[: batch.batch_size])
    assert all(torch.equal(h.emb, b) for h, b in zip(gas.histories, before, strict=True))


def test_an_override_of_a_renamed_parameter_must_have_the_rows_of_the_batch():
    data = graph()
    gas = convert(seeded(Renamed), data, inputs={'feats': 'x', 'edges': 'edge_index'})
    batch = first_batch(gas)
    with pytest.raises(ValueError, match="'feats' must have one row"):
        gas(batch, feats=data.x)


# Refusals ########################################################################


def test_a_required_parameter_without_attribute_is_named_with_the_remedy():
    with pytest.raises(ValueError, match=r"no 'feats' among .*x.*inputs=\{'feats': 'x'"):
        convert(seeded(Renamed), graph())


def test_inputs_must_be_parameters():
    with pytest.raises(ValueError, match=r"'inputs' must name parameters of Renamed.forward"):
        convert(seeded(Renamed), graph(), inputs=('x', 'edge_index'))


def test_an_attribute_named_in_inputs_must_exist():
    with pytest.raises(ValueError, match=r"no 'weights' among .*Set data.weights"):
        convert(
            seeded(Renamed),
            graph(),
            inputs={'feats': 'x', 'edges': 'edge_index', 'w': 'weights'},
        )


# Batches #########################################################################


def test_batches_carry_what_neighbor_loaders_batches_carry():
    data = graph(attr=2)
    data.train_mask = torch.arange(20) % 3 == 0
    data.year = torch.arange(20)
    gas = convert(seeded(lambda: GCN(D, 8, 2, 3)), data, inputs=('x', 'edge_index'))
    covered = []
    for batch in gas.loader(batch_size=2):
        n_id = batch.n_id
        assert torch.equal(batch.x, data.x[n_id])
        assert torch.equal(batch.y, data.y[n_id])
        assert torch.equal(batch.train_mask, data.train_mask[n_id])
        assert torch.equal(batch.year, n_id)
        source, target = n_id[batch.edge_index]
        assert bool((batch.edge_index[1] < batch.batch_size).all())
        pairs = set(zip(source.tolist(), target.tolist(), strict=True))
        assert pairs <= set(map(tuple, data.edge_index.t().tolist()))
        assert batch.edge_attr.size(0) == batch.num_edges
        covered += n_id[: batch.batch_size].tolist()
    assert sorted(covered) == list(range(20))


@pytest.mark.parametrize('kind', ['mask', 'ids'])
def test_input_nodes_of_a_loader_are_the_callers_own(kind):
    data = graph()
    data.train_mask = torch.arange(20) % 3 == 0
    gas = convert(seeded(lambda: GCN(D, 8, 2, 3)), data)
    nodes = data.train_mask if kind == 'mask' else data.train_mask.nonzero().view(-1)
    seen = []
    for batch in gas.loader(input_nodes=nodes):
        assert torch.equal(batch.input_mask, batch.train_mask[: batch.batch_size])
        seen += batch.n_id[: batch.batch_size][batch.input_mask].tolist()
    assert sorted(seen) == data.train_mask.nonzero().view(-1).tolist()


def test_shuffled_batches_follow_the_seed():
    gas = convert(seeded(lambda: GCN(D, 8, 2, 3)), graph())

    def order() -> list[int]:
        torch.manual_seed(5)
        return [int(batch.n_id[0]) for batch in gas.loader(shuffle=True)]

    assert order() == order()


def test_worker_processes_give_the_same_batches():
    data = graph(attr=2)
    gas = convert(seeded(lambda: GCN(D, 8, 2, 3)), data, inputs=('x', 'edge_index')).eval()
    expected = gas.refresh()
    loader = gas.loader(num_workers=2)
    assert_close(sweep(gas, loader), expected)
    for one, other in zip(loader, gas.loader(), strict=True):
        for name in ('x', 'y', 'n_id', 'edge_index', 'edge_attr'):
            assert torch.equal(one[name], other[name])


@pytest.mark.parametrize(
    'change',
    [
        lambda batch: setattr(batch, 'x', batch.x * 2),
        lambda batch: batch.x.mul_(2),
        lambda batch: batch.update({'x': batch.x * 2}),
    ],
    ids=['replaced', 'in place', 'updated'],
)
def test_what_is_done_to_the_features_of_a_batch_counts(change):
    data = graph()
    module = seeded(lambda: GCN(D, 8, 2, 3)).eval()
    gas = convert(module, data)
    for _ in range(2):
        sweep(gas)  # by now the first propagation of data.x is known
    changed = []
    for _ in range(2):
        for batch in gas.loader():
            change(batch)
            changed.append((batch.n_id[: batch.batch_size], gas(batch).detach()))
    ids, rows = changed[-1]
    assert_close(rows, module(2 * data.x, data.edge_index).detach()[ids])


@pytest.mark.parametrize(
    'move',
    [lambda b: b.to('cpu'), lambda b: b.clone(), copy.copy, copy.deepcopy],
    ids=['to', 'clone', 'copy', 'deepcopy'],
)
def test_copies_of_a_batch_serve_as_well(move):
    data = graph()
    gas = convert(seeded(lambda: GCN(D, 8, 2, 3)), data).eval()
    expected = gas.refresh()
    assert_close(sweep(gas, map(move, gas.loader())), expected)


def test_the_data_stays_as_it_was():
    data = graph(weight=True, attr=2)
    before = {name: value.clone() for name, value in data.to_dict().items() if name != 'num_nodes'}
    gas = convert(seeded(lambda: GCN(D, 8, 2, 3)), data)
    sweep(gas)
    gas.refresh()
    assert isinstance(data, Data)
    assert data.to_dict().keys() == {*before, 'num_nodes'}
    assert all(torch.equal(data[name], value) for name, value in before.items())
