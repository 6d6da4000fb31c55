"""The model class of the first PyGAS's README, as it stands there, passes the oracle."""
# ruff: noqa: B905, UP008 (the class is a quotation)

import pytest
import torch
from torch.nn import ModuleList
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from test import oracle
from test.oracle import PTR, check_oracle, nasty_graph, sweep_loader, with_edges
from torch_geometric_autoscale import ScalableGNN, SubgraphLoader, gcn_normalize, metis, permute


class GNN(ScalableGNN):
    def __init__(self, num_nodes, in_channels, hidden_channels, out_channels, num_layers):
        super(GNN, self).__init__(num_nodes, hidden_channels, num_layers)

        self.convs = ModuleList()
        self.convs.append(GCNConv(in_channels, hidden_channels))
        for _ in range(num_layers - 2):
            self.convs.append(GCNConv(hidden_channels, hidden_channels))
        self.convs.append(GCNConv(hidden_channels, out_channels))

    def forward(self, x, adj_t, batch_size, n_id):
        for conv, history in zip(self.convs[:-1], self.histories):
            x = conv(x, adj_t).relu_()
            x = self.push_and_pull(history, x, batch_size, n_id)
        return self.convs[-1](x, adj_t)


class Prenormalised(GNN):
    """The same on an adjacency that holds the normalisation already."""

    def __init__(self, *args):
        super().__init__(*args)
        for conv in self.convs:
            conv.normalize = False


def seed_model(kind: type = GNN, layers: int = 3, dtype: torch.dtype = torch.float64) -> GNN:
    torch.manual_seed(12)
    model = kind(oracle.NODES, 4, 8, 3, layers).to(dtype)
    for conv in model.convs:
        torch.nn.init.uniform_(conv.bias, -0.5, 0.5)
    return model


def plain_gcn(model: GNN, data: Data) -> torch.Tensor:
    """Its definition once more, from PyG's own modules alone."""
    x, weight = data.x, data.get('edge_weight')
    with torch.no_grad():
        for i, conv in enumerate(model.convs):
            plain = GCNConv(conv.in_channels, conv.out_channels, normalize=conv.normalize)
            plain.load_state_dict(conv.state_dict())
            x = plain.to(x.dtype)(x, data.edge_index, weight)
            x = x.relu() if i < len(model.convs) - 1 else x
    return x


@pytest.mark.parametrize('bipartite', [True, False])
@pytest.mark.parametrize('dtype', [torch.float64, torch.float32])
def test_default_normalisation_passes_the_oracle(dtype: torch.dtype, bipartite: bool) -> None:
    data = nasty_graph(dtype)
    check_oracle(seed_model(dtype=dtype), data, sweep_loader(data, bipartite=bipartite))


@pytest.mark.parametrize('bipartite', [True, False])
def test_prenormalised_graph_passes_the_oracle(bipartite: bool) -> None:
    data = gcn_normalize(nasty_graph())
    model = seed_model(Prenormalised)
    check_oracle(model, data, sweep_loader(data, bipartite=bipartite))


@pytest.mark.parametrize('bipartite', [True, False])
def test_edge_weights_take_part_in_the_normalisation(bipartite: bool) -> None:
    data = with_edges(nasty_graph(), weight=True)
    check_oracle(seed_model(), data, sweep_loader(data, bipartite=bipartite))


def test_reference_of_the_oracle_is_plain_pyg() -> None:
    for data in (nasty_graph(), with_edges(nasty_graph(), weight=True)):
        model = seed_model()
        torch.testing.assert_close(oracle.plain(model, data), plain_gcn(model, data))


@pytest.mark.parametrize('layers', [1, 2, 5])
def test_any_depth_passes_the_oracle(layers: int) -> None:
    data = nasty_graph()
    model = kind_of_depth(layers)
    check_oracle(model, data, sweep_loader(data, batch_size=2), vacuous=layers == 1)


def kind_of_depth(layers: int) -> GNN:
    if layers > 1:
        return seed_model(layers=layers)
    model = seed_model(layers=2)
    model.num_layers, model.convs = 1, model.convs[:1]
    model.histories = ModuleList()
    return model


def test_batches_are_shuffled_and_joined_at_random() -> None:
    data = nasty_graph()
    loader = SubgraphLoader(data, PTR, batch_size=2, shuffle=True, log=False)
    torch.manual_seed(0)
    check_oracle(seed_model(), data, loader)


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_batches_may_come_from_worker_processes(context: str) -> None:
    data = nasty_graph()
    loader = sweep_loader(
        data, num_workers=2, multiprocessing_context=context, persistent_workers=True
    )
    model = seed_model()
    oracle.check_forward(model, data, loader)
    oracle.check_gradients(model, data, loader)
    oracle.check_inference(model, data, loader)


def test_metis_partitions_pass_the_oracle() -> None:
    data = nasty_graph()
    perm, ptr = metis(data, 4, log=False)
    data = permute(data, perm, log=False)
    check_oracle(seed_model(), data, sweep_loader(data, ptr, batch_size=2))


@pytest.mark.parametrize('edges', [torch.empty(2, 0, dtype=torch.long), torch.tensor([[1], [7]])])
def test_graphs_with_hardly_any_edge_are_exact(edges: torch.Tensor) -> None:
    data = nasty_graph()
    data.edge_index = edges
    model = seed_model()
    oracle.check_forward(model, data, sweep_loader(data))
    oracle.check_gradients(model, data, sweep_loader(data))
    oracle.check_inference(model, data, sweep_loader(data))


def test_training_lowers_the_loss_and_refresh_agrees_with_full_batch() -> None:
    data = nasty_graph(torch.float32)
    model = seed_model(layers=2, dtype=torch.float32)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    loader = SubgraphLoader(data, PTR, batch_size=2, shuffle=True, log=False)
    torch.manual_seed(0)

    def epoch() -> float:
        total = 0.0
        for batch, batch_size, n_id, _, _ in loader:
            optimizer.zero_grad()
            out = model(batch.x, batch.adj_t, batch_size, n_id)
            loss = torch.nn.functional.cross_entropy(out, batch.y[:batch_size])
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * batch_size / data.num_nodes
        return total

    first, *_, last = [epoch() for _ in range(40)]
    assert last < 0.6 * first
    out = model.refresh(loader)
    oracle.assert_close(out, plain_gcn(model, data))
