"""Mistakes are refused with the rule, what came and what to do, and leave everything as it was."""

import pytest
import torch
from torch.nn import Linear, Module, ReLU
from torch_geometric.data import Data
from torch_geometric.loader.cluster import Partition
from torch_geometric.nn import GCN, GCNConv, SAGEConv, Sequential, global_add_pool

from test.oracle import assert_close
from torch_geometric_autoscale import ScalableGNN, SubgraphLoader, autoscale, metis, permute

from .oracle import NODES, PART, convert, graph, seeded, tables

D = 4


def model() -> Module:
    return seeded(lambda: GCN(D, 8, 2, 3))


class Between(Module):
    """Two layers, and what a test makes of their output."""

    def __init__(self, end) -> None:
        super().__init__()
        self.first, self.last, self.end = SAGEConv(D, 6), SAGEConv(6, 3), end

    def forward(self, x, edge_index):
        h = self.last(self.first(x, edge_index).relu(), edge_index)
        return self.end(h, edge_index)


# Modules #########################################################################


@pytest.mark.parametrize(
    'make',
    [
        lambda: Sequential('x', [(Linear(D, 3), 'x -> x'), ReLU()]),
        lambda: Linear(D, 3),
        lambda: torch.nn.Sequential(Linear(D, 3), ReLU()),
    ],
    ids=['PyG Sequential', 'Linear', 'torch Sequential'],
)
def test_a_module_without_message_passing_is_refused(make):
    with pytest.raises(ValueError, match='the module must pass messages along edges'):
        convert(seeded(make), graph())


def test_operators_that_are_never_called_are_no_message_passing():
    class Unused(Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.lin = GCNConv(D, 3), Linear(D, 3)

        def forward(self, x, edge_index):
            return self.lin(x)

    with pytest.raises(ValueError, match='the module must pass messages along edges'):
        convert(seeded(Unused), graph())


@pytest.mark.parametrize(
    'end',
    [
        lambda h, _: global_add_pool(h, torch.zeros(h.size(0), dtype=torch.long)),
        lambda h, _: h.mean(dim=0),
        lambda h, _: h.sum(),
        lambda h, edge_index: h[edge_index[0]] * h[edge_index[1]],
        lambda h, _: h.t(),
        lambda h, _: {'out': h.sum()},
        lambda h, _: None,
    ],
    ids=['pooled', 'mean', 'scalar', 'pairs', 'transposed', 'dict', 'nothing'],
)
@pytest.mark.parametrize('verify', [True, False])
def test_an_output_that_is_not_per_node_is_refused(end, verify):
    with pytest.raises(ValueError, match='one row per node'):
        convert(seeded(lambda: Between(end)), graph(), verify=verify)


def test_pooling_broadcast_back_is_refused():
    with pytest.raises(ValueError, match='whole graph'):
        convert(seeded(lambda: Between(lambda h, _: h + h.max(dim=0)[0])), graph())


def test_a_class_is_no_module():
    with pytest.raises(TypeError, match=r"'module' must be a torch.nn.Module \(got type\)"):
        autoscale(GCN, graph())


def test_a_function_is_no_module():
    with pytest.raises(TypeError, match=r"'module' must be a torch.nn.Module"):
        autoscale(lambda x, edge_index: x, graph())


class Own(ScalableGNN):
    def __init__(self) -> None:
        super().__init__(NODES, 6, 2)
        self.first, self.last = GCNConv(D, 6), GCNConv(6, 3)

    def forward(self, x, adj_t, *args):
        x = self.push_and_pull(self.histories[0], self.first(x, adj_t), *args)
        return self.last(x, adj_t)


@pytest.mark.parametrize('make', [Own, lambda: convert(model(), graph())])
def test_what_has_histories_already_is_refused(make):
    with pytest.raises(TypeError, match='It has histories already'):
        convert(make(), graph())


def test_a_module_that_fails_on_the_whole_graph_is_named_with_its_error():
    with pytest.raises(ValueError, match=r'GCN: forward must run on a piece .* mend it first'):
        convert(seeded(lambda: GCN(D + 1, 8, 2, 3)), graph())


def test_a_module_that_checks_its_number_of_rows_is_refused_in_words():
    def end(h, _):
        assert h.size(0) == NODES
        return h

    with pytest.raises(ValueError, match='Between'):
        convert(seeded(lambda: Between(end)), graph())


# Data ############################################################################


@pytest.mark.parametrize('data', [None, torch.zeros(3, D), {'x': 1}, [graph()]], ids=type)
def test_data_must_be_data(data):
    with pytest.raises(TypeError, match="'data' must be"):
        autoscale(model(), data)


def test_features_must_match_the_graph():
    data = graph()
    data.x = data.x[:-1]
    with pytest.raises(ValueError, match=r'x.*must have one row per node \(20\)'):
        convert(model(), data)


def test_edge_weights_must_match_the_edges():
    data = graph(weight=True)
    data.edge_weight = data.edge_weight[:-1]
    with pytest.raises(ValueError, match='edge_weight'):
        convert(model(), data)


def test_features_must_not_hold_nan():
    data = graph()
    data.x[3, 1] = float('nan')
    with pytest.raises(ValueError, match=r"'data.x' must not hold NaN \(got 1 NaN values\)"):
        convert(model(), data)


def test_features_that_are_learned_must_be_parameters_of_the_model():
    data = graph()
    data.x = torch.nn.Parameter(data.x)
    match = r"'data.x' must not require a gradient.* torch.nn.Embedding .* looks up by n_id"
    with pytest.raises(ValueError, match=match):
        convert(model(), data)
    assert data.x.requires_grad
    data.x.requires_grad_(False)
    convert(model(), data)
    data.other = torch.nn.Parameter(data.x)  # not given to the model
    convert(model(), data)


@pytest.mark.parametrize('ids', [[[0, 25], [1, 2]], [[0, -1], [1, 2]]])
def test_edges_must_lie_inside_of_the_graph(ids):
    data = graph()
    data.edge_index = torch.tensor(ids)
    with pytest.raises(ValueError, match=r'edge_index|node'):
        convert(model(), data)


def test_data_without_edges_or_without_features_is_refused_by_name():
    data = graph()
    with pytest.raises(ValueError, match='edge_index'):
        convert(model(), Data(x=data.x))
    with pytest.raises(ValueError, match="no 'x' among"):
        convert(model(), Data(edge_index=data.edge_index, num_nodes=NODES))


def test_an_empty_graph_is_refused_in_words():
    data = Data(x=torch.zeros(0, D), edge_index=torch.zeros(2, 0, dtype=torch.long))
    with pytest.raises(ValueError, match=r'.'):
        autoscale(model().float(), data)


# Partitions ######################################################################


def test_num_parts_and_its_method_are_those_of_the_partitioner():
    data = graph()
    gas = autoscale(model(), data, num_parts=3)
    assert gas.ptr.numel() == 4
    assert sorted(gas.perm.tolist()) == list(range(NODES))
    assert autoscale(model(), data, num_parts=3, partition='random').ptr.numel() == 4
    assert autoscale(model(), data).ptr.tolist() == [0, NODES]


def test_a_seed_gives_one_partition():
    data = graph()
    one, other = (autoscale(model(), data, 4, 'random', seed=3) for _ in range(2))
    assert torch.equal(one.perm, other.perm)


@pytest.mark.parametrize('kind', ['ids', 'pair', 'PyG'])
def test_partitions_come_in_every_form(kind):
    data = graph()
    perm, ptr = metis(data, 3, log=False)
    part = torch.empty(NODES, dtype=torch.long)
    part[perm] = torch.repeat_interleave(torch.arange(3), ptr[1:] - ptr[:-1])
    permuted = permute(data, perm, log=False)
    given = {
        'ids': part,
        'pair': (perm, ptr),
        'PyG': Partition(
            indptr=torch.zeros(NODES + 1, dtype=torch.long), index=permuted.edge_index[0],
            partptr=ptr, node_perm=perm, edge_perm=torch.arange(data.num_edges),
            sparse_format='csr',
        ),
    }[kind]  # fmt: skip
    module = model().eval()
    gas = autoscale(module, data, partition=given)
    assert torch.equal(gas.ptr, ptr)
    assert_close(gas.inference(), module(data.x, data.edge_index).detach())
    for k, batch in enumerate(gas.loader()):
        assert bool((part[batch.n_id[: batch.batch_size]] == k).all())


@pytest.mark.parametrize(
    ('partition', 'match'),
    [
        (PART[:-1], r"part ids in 'partition' must be integers of shape \(20,\)"),
        (PART.float(), 'must be integers'),
        (PART > 1, 'must be integers'),
        (PART.view(4, 5), r'shape \(20,\)'),
        (PART - 1, 'must not be negative'),
        ('nonsense', 'nonsense'),
        ((torch.arange(NODES), torch.tensor([0, 5, 19])), "'ptr' must rise from 0 to the 20"),
        ((torch.arange(NODES), torch.tensor([0, 12, 5, 20])), "'ptr' must rise"),
        ((torch.zeros(NODES, dtype=torch.long), torch.tensor([0, 20])), 'perm'),
        ((torch.arange(NODES - 1), torch.tensor([0, 20])), 'perm'),
    ],
)
def test_partitions_that_do_not_fit_are_refused(partition, match):
    with pytest.raises(ValueError, match=match):
        autoscale(model(), graph(), partition=partition)


@pytest.mark.parametrize('partition', [None, 3, [0] * NODES, (1, 2, 3), {'a': 1}])
def test_partitions_of_a_wrong_kind_are_refused(partition):
    with pytest.raises((TypeError, ValueError), match='partition'):
        autoscale(model(), graph(), partition=partition)


def test_the_number_of_parts_must_agree_with_the_partition():
    with pytest.raises(ValueError, match=r"'num_parts' must agree .* \(got 5, and .* 4 parts\)"):
        autoscale(model(), graph(), num_parts=5, partition=PART)
    assert autoscale(model(), graph(), num_parts=4, partition=PART).ptr.numel() == 5


@pytest.mark.parametrize('num_parts', [0, -1, NODES + 1, 2.5])
def test_a_number_of_parts_that_cannot_be_is_refused(num_parts):
    with pytest.raises((ValueError, TypeError), match='num_parts'):
        autoscale(model(), graph(), num_parts=num_parts)


# Batches #########################################################################


def other_batch(kind: str):
    data = graph()
    if kind == 'other edges':
        data.edge_index = data.edge_index[:, 1:]
        return next(iter(convert(model(), data).loader()))
    if kind == 'other order':
        return next(iter(convert(model(), data, partition=PART.flip(0)).loader()))
    if kind == 'other loader':
        return next(iter(SubgraphLoader(data, torch.tensor([0, 20]), log=False)))
    return data if kind == 'data' else data.x


@pytest.mark.parametrize(('kind', 'error', 'match'), [
    ('other edges', ValueError, 'must come from the graph'),
    ('other order', ValueError, 'must come from the graph'),
    ('other loader', ValueError, 'must come from the graph'),
    ('data', TypeError, r'it runs on batches of its own loader \(got Data\).*gas.module'),
    ('tensor', TypeError, r'it runs on batches of its own loader \(got Tensor\)'),
])  # fmt: skip
def test_what_is_no_batch_of_this_graph_is_refused_and_nothing_is_written(kind, error, match):
    gas = convert(model(), graph())
    gas.refresh()
    before = tables(gas)
    with pytest.raises(error, match=match):
        gas(other_batch(kind))
    assert all(map(torch.equal, before, tables(gas)))


def test_another_conversion_of_the_same_graph_gives_the_same_batches():
    gas = convert(model(), graph())
    gas(next(iter(convert(model(), graph()).loader())))


def test_a_plain_loader_over_the_permuted_data_serves_as_well():
    gas = convert(model(), graph()).eval()
    expected = gas.refresh()
    permuted = permute(graph(), gas.perm, log=False)
    for batch in SubgraphLoader(permuted, gas.ptr, log=False):
        ids = gas.perm[batch.n_id[: batch.batch_size]]
        assert_close(gas(batch), expected[ids])


@pytest.mark.parametrize('batch_size', [0, -1, 1.5, '2'])
def test_a_batch_size_that_cannot_be_is_refused(batch_size):
    gas = convert(model(), graph())
    for call in (gas.loader, gas.inference, gas.refresh):
        with pytest.raises(ValueError, match="'batch_size' must be a positive number"):
            call(batch_size)


def test_input_nodes_must_be_nodes_of_the_data():
    gas = convert(model(), graph())
    for nodes in (torch.tensor([0, 20]), torch.tensor([-1]), torch.ones(19, dtype=torch.bool)):
        with pytest.raises(ValueError, match='input_nodes'):
            gas.loader(input_nodes=nodes)


def test_a_failing_batch_leaves_the_histories_as_they_were():
    gas = convert(model(), graph())
    gas.refresh()
    before = tables(gas)
    batch = next(iter(gas.loader()))
    with pytest.raises(ValueError, match='must have one row'):
        gas(batch, x=batch.x[:3])
    assert all(map(torch.equal, before, tables(gas)))


@pytest.mark.parametrize('device', ['nowhere', 'cuda:x', 3.5])
def test_a_device_that_is_none_is_refused(device):
    with pytest.raises((ValueError, TypeError, RuntimeError), match='device'):
        convert(model(), graph(), device=device)


def test_histories_hold_floating_point_numbers():
    with pytest.raises(ValueError, match="'dtype' must be one of auto, float64, float32"):
        convert(model(), graph(), dtype=torch.int64)
