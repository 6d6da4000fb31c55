"""Data may change after the conversion: features, labels and masks are followed, edges are not."""

import pytest
import torch
from torch.nn import Module, ModuleList
from torch_geometric.nn import APPNP, GCN, GCNConv, SAGEConv

from test.oracle import assert_close

from .oracle import NODES, convert, graph, seeded, sweep, tables

D = 4


def model() -> Module:
    return seeded(lambda: GCN(D, 8, 2, 3)).eval()


def replace(data):
    data.x = data.x + 1


def write(data):
    data.x.add_(1)


def write_a_row(data):
    data.x[3] = 0


def grow(data):
    data.x = torch.cat([data.x, data.x], dim=1)


@pytest.mark.parametrize('change', [replace, write, write_a_row])
def test_changed_features_are_followed_in_batches_and_inference(change):
    data, module = graph(), model()
    gas = convert(module, data)
    loader = gas.loader()
    sweep(gas, loader)
    change(data)
    expected = module(data.x, data.edge_index).detach()
    assert_close(gas.inference(), expected)
    assert_close(gas.refresh(), expected)
    assert_close(sweep(gas, loader), expected)  # a loader made before
    for batch in loader:
        assert torch.equal(batch.x, data.x[batch.n_id])


def test_workers_that_live_on_follow_changes():
    data = graph()
    gas = convert(model(), data)
    loader = gas.loader(num_workers=1, persistent_workers=True)
    sweep(gas, loader)
    data.x = data.x + 1
    for batch in loader:
        assert torch.equal(batch.x, data.x[batch.n_id])


def test_a_known_first_propagation_is_computed_anew():
    data, module = graph(), model()
    gas = convert(module, data)
    for _ in range(3):
        sweep(gas)
    data.x[5] += 10
    gas.refresh()
    assert_close(sweep(gas), module(data.x, data.edge_index).detach())


def test_labels_masks_and_new_attributes_are_followed():
    data = graph()
    data.train_mask = torch.arange(NODES) % 2 == 0
    gas = convert(model(), data)
    loader = gas.loader()
    data.y = data.y + 5
    data.train_mask.logical_not_()
    data.year = torch.arange(NODES)
    for batch in loader:
        assert torch.equal(batch.y, data.y[batch.n_id])
        assert torch.equal(batch.train_mask, data.train_mask[batch.n_id])
        assert torch.equal(batch.year, batch.n_id)
    del data.year
    assert 'year' not in next(iter(loader))


def test_changed_edge_attributes_are_followed():
    class Weighted(Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = GCNConv(D, 6), GCNConv(6, 3)

        def forward(self, x, edge_index, edge_weight):
            return self.last(self.first(x, edge_index, edge_weight), edge_index, edge_weight)

    data, module = graph(weight=True), seeded(Weighted).eval()
    gas = convert(module, data)
    loader = gas.loader()
    sweep(gas, loader)
    data.edge_weight.mul_(torch.linspace(0.1, 2, data.num_edges))
    expected = module(data.x, data.edge_index, data.edge_weight).detach()
    assert_close(gas.refresh(), expected)
    assert_close(sweep(gas, loader), expected)


def test_features_must_keep_their_rows():
    data = graph()
    gas = convert(model(), data)
    data.x = data.x[:-1]
    with pytest.raises(ValueError, match=r'one row per node|nodes'):
        gas.inference()


def test_new_features_must_not_hold_nan():
    data = graph()
    gas = convert(model(), data)
    data.x = data.x.clone()
    data.x[0] = float('nan')
    with pytest.raises(ValueError, match='NaN'):
        next(iter(gas.loader()))


def test_features_of_another_width_fail_in_the_module_itself():
    data = graph()
    gas = convert(model(), data)
    grow(data)
    with pytest.raises(RuntimeError, match='shapes cannot be multiplied'):
        gas.inference()


# Edges ###########################################################################


def other_edges(data):
    data.edge_index = data.edge_index.flip(0)


def one_edge_less(data):
    data.edge_index = data.edge_index[:, 1:]
    data.y = data.y + 1


def write_edges(data):
    data.edge_index[0, 0] = (data.edge_index[0, 0] + 1) % NODES


def add_a_node(data):
    data.x = torch.cat([data.x, data.x[:1]])
    data.y = torch.cat([data.y, data.y[:1]])
    data.num_nodes = NODES + 1


def swap_edges_for_a_matrix(data):
    data.adj_t = torch.eye(NODES).to_sparse_csr()


CHANGES = [other_edges, one_edge_less, write_edges, add_a_node, swap_edges_for_a_matrix]


@pytest.mark.parametrize('change', CHANGES)
def test_changed_edges_are_refused_by_every_call_and_histories_stay(change):
    data = graph()
    gas = convert(model(), data)
    gas.refresh()
    before, loader = tables(gas), gas.loader()
    change(data)
    for call in (gas.loader, gas.inference, gas.refresh, lambda: next(iter(loader))):
        with pytest.raises(ValueError, match='must stay as they were at the conversion'):
            call()
    assert all(map(torch.equal, before, tables(gas)))


def test_edges_that_are_put_back_are_fine_again():
    data = graph()
    edges = data.edge_index
    gas = convert(model(), data)
    expected = gas.inference()
    other_edges(data)
    with pytest.raises(ValueError, match='must stay'):
        gas.inference()
    data.edge_index = edges
    assert_close(gas.inference(), expected)


def test_the_same_edges_in_another_tensor_are_fine():
    data = graph()
    gas = convert(model(), data)
    expected = gas.inference()
    data.edge_index = data.edge_index.clone()
    assert_close(gas.inference(), expected)


def test_the_same_edges_in_another_order_carry_their_attributes_along():
    class Weighted(Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = GCNConv(D, 6), SAGEConv(6, 3)

        def forward(self, x, edge_index, edge_weight):
            return self.last(self.first(x, edge_index, edge_weight), edge_index)

    data, module = graph(weight=True), seeded(Weighted).eval()
    gas = convert(module, data)
    order = torch.randperm(data.num_edges, generator=torch.Generator().manual_seed(1))
    data.edge_index, data.edge_weight = data.edge_index[:, order], data.edge_weight[order]
    expected = module(data.x, data.edge_index, data.edge_weight).detach()
    assert_close(gas.refresh(), expected)
    assert_close(sweep(gas), expected)


def test_dropout_left_in_training_mode_does_not_reach_inference():
    data = graph()
    module = seeded(lambda: GCN(D, 8, 2, 3, dropout=0.9))
    gas = convert(module, data).train()
    expected = module.eval()(data.x, data.edge_index).detach()
    gas.train()
    assert_close(gas.inference(), expected)
    assert gas.training


class Growing(Module):
    """Runs as many layers as it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = ModuleList(SAGEConv(D, D) for _ in range(4))
        self.layers = [0, 1]

    def forward(self, x, edge_index):
        for i in self.layers:
            x = self.convs[i](x, edge_index).tanh()
        return x


@pytest.mark.parametrize('training', [True, False])
def test_layers_that_join_after_the_conversion_are_refused(training):
    data, module = graph(), seeded(Growing).train(training)
    gas = convert(module, data)
    sweep(gas)
    module.layers = [0, 1, 2]
    for _ in range(2):
        with pytest.raises(ValueError, match=r"'convs.2': .*convert the module again"):
            sweep(gas)
    again = convert(module, data)
    again.refresh()
    assert_close(sweep(again.eval()), module.eval()(data.x, data.edge_index).detach())


def test_propagations_that_join_after_the_conversion_are_refused():
    data, module = graph(), APPNP(K=2, alpha=0.1).eval()
    gas = convert(module, data)
    sweep(gas)
    module.K = 3
    with pytest.raises(ValueError, match=r'APPNP: .* its own earlier propagation.*autoscale'):
        sweep(gas)


def test_another_last_layer_needs_no_other_boundaries():
    data, module = graph(), seeded(Growing).eval()
    gas = convert(module, data)
    sweep(gas)
    module.layers = [0, 3]
    gas.refresh()
    assert_close(sweep(gas), module(data.x, data.edge_index).detach())
