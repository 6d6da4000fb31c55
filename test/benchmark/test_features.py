"""Bag-of-words features of the suites are kept sparse."""

import json

import pytest
import torch

from torch_geometric_autoscale import SparseRows
from torch_geometric_autoscale.benchmark.graphs import cut, load
from torch_geometric_autoscale.benchmark.run import run_experiment
from torch_geometric_autoscale.cli.job import with_features


@pytest.mark.parametrize('mode', ['gas', 'full', 'naive', 'subgraph'])
@pytest.mark.parametrize('dataset', ['coauthor-cs', 'coauthor-physics'])
def test_recipes_of_the_coauthor_graphs_keep_features_sparse(quick, small, dataset, mode, tmp_path):
    experiment = quick(small, 'model=gcn', f'dataset={dataset}', f'mode={mode}')
    graph = cut(experiment, load(experiment), 0)
    assert isinstance(graph.job.data.x, SparseRows)
    (score,) = run_experiment(experiment)
    assert 0 <= score <= 100
    record = json.loads((tmp_path / 'run' / 'seed0.json').read_text())
    assert record['settings']['features'] == 'sparse'
    assert 'features' not in record['settings']['changed']


def test_the_form_of_features_makes_no_other_experiment(quick, small):
    run_experiment(quick(small, 'model=gcn', 'dataset=coauthor-cs'))
    dense = quick(small, 'model=gcn', 'dataset=coauthor-cs', 'features=dense')
    assert 'features' not in dense.settings['changed']
    assert isinstance(load(dense)[0].x, torch.Tensor)
    assert not isinstance(load(dense)[0].x, SparseRows)
    run_experiment(dense)  # the record that is there is its own


def test_other_graphs_keep_theirs_dense_unless_asked(quick, small):
    assert not isinstance(load(quick(small, 'model=gcn', 'dataset=cora'))[0].x, SparseRows)
    sparse = quick(small, 'model=gcn', 'dataset=cora', 'features=sparse')
    assert isinstance(load(sparse)[0].x, SparseRows)


def test_graphs_apart_keep_features_sparse(quick, large):
    experiment = quick(large, 'model=gcn', 'dataset=ppi', 'features=sparse')
    assert isinstance(cut(experiment, load(experiment), 0).job.data.x, SparseRows)
    run_experiment(experiment)


def test_another_form_is_refused(quick, small):
    with pytest.raises(ValueError, match=r"'features' must be one of dense, sparse \(got 'csr'"):
        quick(small, 'model=gcn', 'dataset=cora', 'features=csr')
    with pytest.raises(ValueError, match=r"pygas: 'features' must be dense or sparse \(got 'csr'"):
        with_features(None, 'csr')
