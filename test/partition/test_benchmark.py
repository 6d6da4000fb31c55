"""The benchmark's graph is what it claims, and its table has a row per partitioner."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / 'benchmarks'


@pytest.fixture
def load(monkeypatch):
    """Import a benchmark by name, as a script would."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str):
        module = importlib.import_module(name)
        monkeypatch.delitem(sys.modules, name)
        return module

    return load


def test_the_clustered_graph_keeps_its_promises(load):
    clustered_graph = load('graphs').clustered_graph
    data = clustered_graph(500, 4000, 7, intra=0.8, num_features=3, num_classes=4, seed=1)
    assert data.edge_index.shape == (2, 4000)
    assert data.x.shape == (500, 3)
    assert set(data.y.tolist()) == {0, 1, 2, 3}
    assert data.validate()
    assert data.is_undirected()
    assert not data.has_self_loops()
    assert data.is_coalesced() or data.edge_index.unique(dim=1).shape == (2, 4000)
    inside = data.cluster[data.edge_index[0]] == data.cluster[data.edge_index[1]]
    assert 0.75 < inside.float().mean() < 0.87
    assert data.cluster.tolist() != sorted(data.cluster.tolist())
    again = clustered_graph(500, 4000, 7, intra=0.8, num_features=3, num_classes=4, seed=1)
    assert again.edge_index.equal(data.edge_index)
    assert again.x.equal(data.x)


def test_the_table_has_a_row_per_partitioner(load, monkeypatch, capsys):
    benchmark = load('partitioning')
    arguments = '--num-nodes 200 --num-edges 2000 --num-clusters 4 --num-parts 4 --runs 1'
    monkeypatch.setattr(sys, 'argv', ['partitioning.py', *arguments.split()])
    monkeypatch.setattr(benchmark, 'available_methods', lambda: ['lp', 'ldg', 'random'])
    benchmark.main()
    rows = capsys.readouterr().out.splitlines()[-5:]
    assert [row.split()[4] for row in rows] == ['metis', 'kaminpar', 'lp', 'ldg', 'random']
    assert [row.endswith('not installed') for row in rows] == [True, True, False, False, False]
