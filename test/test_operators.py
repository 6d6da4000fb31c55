"""What PyG's operators are taught about batches, and that whole graphs do not notice."""

import sys
import types
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import ModuleList
from torch_geometric.nn import (
    MLP,
    GATConv,
    GCNConv,
    GraphConv,
    Linear,
    MessagePassing,
    SAGEConv,
)
from torch_geometric.nn.conv import gcn_conv

from test.oracle import NODES, check_forward, check_gradients, error, nasty_graph, sweep_loader
from torch_geometric_autoscale import ScalableGNN
from torch_geometric_autoscale.graph import original_gcn_norm
from torch_geometric_autoscale.operators import teach_pyg

DATA = nasty_graph()

OWN_NORM = """
from torch_geometric.nn.conv.gcn_conv import gcn_norm as my_norm
from torch_geometric.nn import MessagePassing
from torch_geometric.utils import spmm

class OwnNorm(MessagePassing):
    def forward(self, x, adj_t, edge_weight=None):
        adj_t, weight = my_norm(adj_t, None, x.size(0), False, True, self.flow, x.dtype)
        return self.propagate(adj_t, x=x, edge_weight=weight)

    def message(self, x_j, edge_weight):
        return edge_weight.view(-1, 1) * x_j

    def message_and_aggregate(self, adj_t, x):
        return spmm(adj_t, x)
"""


class Two(ScalableGNN):
    def __init__(self, make: Any) -> None:
        super().__init__(NODES, 4, 2)
        torch.manual_seed(3)
        self.convs = ModuleList([make(), make()]).double()

    def forward(self, x, adj_t, batch_size=None, n_id=None):
        x = self.convs[0](x, adj_t).tanh()
        x = self.push_and_pull(self.histories[0], x, batch_size, n_id)
        return self.convs[1](x, adj_t)


@pytest.fixture
def untaught(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyG as it is before this library is first used."""
    teach_pyg()  # what is put back afterwards must be what was taught
    monkeypatch.setattr(gcn_conv, 'gcn_norm', original_gcn_norm)


@pytest.mark.usefixtures('untaught')
@pytest.mark.parametrize('before', [True, False])
def test_norm_imported_by_a_module_of_the_user_is_that_of_the_whole_graph(
    monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    module: Any = types.ModuleType('module_of_the_user')
    monkeypatch.setitem(sys.modules, module.__name__, module)
    if not before:
        teach_pyg()
    exec(OWN_NORM, module.__dict__)
    module.OwnNorm.__module__ = module.__name__
    model = Two(module.OwnNorm)
    for bipartite in (True, False):
        check_forward(model, DATA, sweep_loader(DATA, bipartite=bipartite))


def test_whole_graphs_run_as_pyg_wrote_it() -> None:
    norm = gcn_conv.gcn_norm(DATA.edge_index, num_nodes=NODES, dtype=torch.float64)
    expected = original_gcn_norm(DATA.edge_index, num_nodes=NODES, dtype=torch.float64)
    assert torch.equal(norm[0], expected[0])
    assert torch.equal(norm[1], expected[1])
    conv = GCNConv(4, 4, cached=True).double()
    assert torch.equal(conv(DATA.x, DATA.edge_index), conv(DATA.x, DATA.edge_index))


def test_teaching_twice_changes_nothing() -> None:
    teach_pyg()
    before = MessagePassing.__call__, gcn_conv.gcn_norm
    teach_pyg()
    assert (MessagePassing.__call__, gcn_conv.gcn_norm) == before


@pytest.mark.parametrize('bipartite', [True, False])
@pytest.mark.parametrize('widths', [(4, 3), (3, 4)])
def test_order_of_products_does_not_show(widths: tuple[int, int], bipartite: bool) -> None:
    """GCN aggregates first or last; watched operators run as PyG wrote them."""
    torch.manual_seed(0)
    conv = GCNConv(*widths).double()
    batch = next(iter(sweep_loader(DATA, bipartite=bipartite)))
    x = batch.x[:, : widths[0]]
    conv(x, batch.adj_t)  # the guarded call
    fast = conv(x, batch.adj_t)
    conv.register_forward_hook(lambda *_: None)
    torch.testing.assert_close(fast, conv(x, batch.adj_t))
    whole = conv(DATA.x[:, : widths[0]], DATA.edge_index)
    ids = batch.n_id[: batch.batch_size]
    torch.testing.assert_close(fast[: batch.batch_size], whole[ids])


def with_bias() -> torch.nn.Module:
    lin = Linear(4, 4, bias=True)
    torch.nn.init.normal_(lin.bias)
    return lin


def squaring() -> torch.nn.Module:
    lin = Linear(4, 4, bias=False)
    lin.forward = lambda x: x * x
    return lin


@pytest.mark.parametrize('bipartite', [True, False])
@pytest.mark.parametrize('lin', [with_bias, squaring, lambda: MLP([4, 4, 4], norm=None)])
@pytest.mark.parametrize('make', [GCNConv, SAGEConv])
def test_products_of_a_replaced_layer_keep_their_order(
    make: Any, lin: Any, bipartite: bool
) -> None:
    def replaced() -> MessagePassing:
        conv = make(4, 4)
        setattr(conv, 'lin' if make is GCNConv else 'lin_l', lin())
        return conv

    model, loader = Two(replaced), sweep_loader(DATA, bipartite=bipartite)
    check_forward(model, DATA, loader)
    check_gradients(model, DATA, loader)


@pytest.mark.parametrize('make', [SAGEConv, GATConv, GraphConv, GCNConv])
def test_one_x_on_a_rectangle_gives_batch_rows(make: Any) -> None:
    batch = next(iter(sweep_loader(DATA)))
    conv = make(4, 4).double()
    assert conv(batch.x, batch.adj_t).shape == (batch.batch_size, 4)
    assert conv(x=batch.x, edge_index=batch.adj_t).shape == (batch.batch_size, 4)
    square = next(iter(sweep_loader(DATA, bipartite=False)))
    assert conv(square.x, square.adj_t).shape == (square.num_nodes, 4)


@pytest.mark.parametrize('make', [SAGEConv, GATConv, GraphConv])
def test_a_pair_on_a_rectangle_is_left_alone(make: Any) -> None:
    torch.manual_seed(0)
    batch = next(iter(sweep_loader(DATA)))
    conv = make((4, 4) if make is not SAGEConv else 4, 4).double()
    B = batch.batch_size
    out = conv((batch.x, batch.x[:B]), batch.adj_t)
    pair = (DATA.x, DATA.x)
    torch.testing.assert_close(out, conv(pair, DATA.edge_index)[batch.n_id[:B]])


@pytest.mark.parametrize('bipartite', [True, False])
def test_gat_transforms_every_row_once(bipartite: bool) -> None:
    torch.manual_seed(0)
    conv = GATConv(4, 4, heads=2).double()
    batch = next(iter(sweep_loader(DATA, bipartite=bipartite)))
    seen: list[int] = []
    conv.lin.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].size(0)))
    out = conv(batch.x, batch.adj_t)
    assert out.size(0) == batch.adj_t.size(0)
    assert seen == [batch.num_nodes]


def test_attention_weights_come_back_with_the_rows() -> None:
    conv = GATConv(4, 4).double()
    batch = next(iter(sweep_loader(DATA)))
    out, (_, alpha) = conv(batch.x, batch.adj_t, return_attention_weights=True)
    assert out.shape == (batch.batch_size, 4)
    assert alpha.dim() == 2


def test_an_operator_shared_by_two_layers_is_exact() -> None:
    model = Two(lambda: SAGEConv(4, 4))
    model.convs[1] = model.convs[0]
    check_forward(model, DATA, sweep_loader(DATA))
    check_gradients(model, DATA, sweep_loader(DATA))


def test_x_may_change_in_place_between_operators() -> None:
    class Changes(Two):
        def forward(self, x, adj_t, batch_size=None, n_id=None):
            a = self.convs[0](x, adj_t)
            x = x.clone()
            self.convs[1](x, adj_t)
            x.mul_(2).add_(1)
            return a + self.convs[1](x, adj_t)

    class ChangesInput(Two):
        def forward(self, x, adj_t, batch_size=None, n_id=None):
            a = self.convs[0](x, adj_t)
            x.mul_(2).add_(1)
            b = self.convs[1](x, adj_t)
            x.sub_(1).div_(2)
            return a + b

    for kind in (Changes, ChangesInput):
        model = kind(lambda: GCNConv(4, 4)).eval()
        expected = model.forward(DATA.x.clone(), DATA.edge_index)
        for batch in sweep_loader(DATA):
            for _ in range(2):  # the second time, the first product is known
                out = model(batch)
                ids = batch.n_id[: batch.batch_size]
                assert error(out.detach(), expected[ids].detach()) < 1e-9


def test_cached_normalisation_of_the_whole_graph_is_not_used_on_batches() -> None:
    model = Two(lambda: GCNConv(4, 4, cached=True))
    model(DATA.x, DATA.edge_index)
    with pytest.raises(ValueError, match="'cached' must be False on batches"):
        model(next(iter(sweep_loader(DATA))))


def test_lstm_reads_sequences_as_long_as_on_the_whole_graph() -> None:
    edge_index = DATA.edge_index[:, DATA.edge_index[1].argsort(stable=True)]
    torch.manual_seed(0)
    conv = SAGEConv(4, 4, aggr='lstm').double()
    expected = conv(DATA.x, edge_index)
    data = nasty_graph()
    data.edge_index = edge_index
    for batch in sweep_loader(data):
        out: Tensor = conv(batch.x, batch.adj_t)
        torch.testing.assert_close(out, expected[batch.n_id[: batch.batch_size]])


def test_operators_outside_of_batches_can_still_be_scripted() -> None:
    teach_pyg()
    conv = GCNConv(4, 3)
    x, edge_index = torch.randn(5, 4), torch.tensor([[0, 1, 2, 4], [1, 2, 3, 0]])
    torch.testing.assert_close(torch.jit.script(conv)(x, edge_index), conv(x, edge_index))
