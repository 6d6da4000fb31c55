"""Induced subgraphs that are normalised are so by themselves, as PyG's operators would do it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import to_dense_adj

from torch_geometric_autoscale.benchmark import subgraphs
from torch_geometric_autoscale.benchmark.experiment import Experiment
from torch_geometric_autoscale.benchmark.graphs import Loaded, load
from torch_geometric_autoscale.benchmark.run import run_experiment
from torch_geometric_autoscale.loader import EvalSubgraphLoader
from torch_geometric_autoscale.normalize import gcn_normalize


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Data, list[Data]]]:
    """Trains on a graph; gives that graph, and the subgraphs of the two epochs."""

    def run(experiment: Experiment, **attributes: torch.Tensor) -> tuple[Data, list[Data]]:
        whole, *rest = load(experiment)
        whole.node = torch.arange(whole.num_nodes)
        for name, value in attributes.items():
            whole[name] = value
        loaded: Loaded = (whole, rest[0], rest[1])
        seen: list[Data] = []
        forward = subgraphs._SubgraphTraining._forward_backward

        def spied(self: Any, model: torch.nn.Module, data: Data) -> torch.Tensor:
            seen.append(data)
            return forward(self, model, data)

        monkeypatch.setattr(subgraphs._SubgraphTraining, '_forward_backward', spied)
        monkeypatch.setattr(
            'torch_geometric_autoscale.benchmark.run.load', lambda _: (loaded[0].clone(), *rest)
        )
        run_experiment(experiment)
        return whole, seen

    return run


def dense(data: Data) -> torch.Tensor:
    return to_dense_adj(
        data.edge_index, edge_attr=data.get('edge_weight'), max_num_nodes=data.num_nodes
    )


@pytest.mark.parametrize('loops', [True, False])
@pytest.mark.parametrize('weighted', [True, False])
@pytest.mark.parametrize('partition', ['random', 'metis'])
def test_a_subgraph_is_normalised_as_gcn_norm_does_it(
    large, quick, trained_on, partition, weighted, loops
):
    experiment = quick(
        large, 'mode=subgraph', f'partition={partition}', f'self_loops={str(loops).lower()}'
    )
    num_edges = load(experiment)[0].num_edges
    weights = {'edge_weight': torch.rand(num_edges) + 0.5} if weighted else {}
    whole, seen = trained_on(experiment, **weights)
    assert len(seen) > 2
    for data in seen:
        induced = whole.subgraph(data.node)
        induced.edge_index, induced.edge_weight = gcn_norm(
            induced.edge_index, induced.get('edge_weight'), data.num_nodes, add_self_loops=loops
        )
        assert torch.allclose(dense(data), dense(induced))


def test_a_subgraph_without_edges_has_only_its_self_loops(large, quick, trained_on):
    experiment = quick(large, 'mode=subgraph')
    none = torch.empty(2, 0, dtype=torch.long)
    _, seen = trained_on(experiment, edge_index=none)
    for data in seen:
        assert torch.equal(dense(data)[0], torch.eye(data.num_nodes))


def test_what_is_not_normalised_keeps_its_weights_in_subgraphs(large, quick, trained_on):
    experiment = quick(large, 'mode=subgraph', 'model=sage')
    num_edges = load(experiment)[0].num_edges
    whole, seen = trained_on(experiment, edge_weight=torch.rand(num_edges))
    for data in seen:
        assert torch.equal(dense(data), dense(whole.subgraph(data.node)))


def test_training_on_subgraphs_is_evaluated_by_the_degrees_of_the_whole_graph(
    large, quick, trained_on, monkeypatch
):
    loaders = []
    init = EvalSubgraphLoader.__init__

    def spied(self: Any, data: Data, *args: Any, **kwargs: Any) -> None:
        loaders.append(data)
        init(self, data, *args, **kwargs)

    monkeypatch.setattr(EvalSubgraphLoader, '__init__', spied)
    whole, _ = trained_on(quick(large, 'mode=subgraph'))
    expected = dense(gcn_normalize(whole))[0]
    for data in loaders:
        assert torch.allclose(dense(data)[0], expected[data.node][:, data.node])
