"""Generated graphs: the same whenever they are drawn, and what they promise."""

import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch

from torch_geometric_autoscale import (
    GraphFolder,
    generate_graph,
    get_data,
    metis,
    partition_quality,
)
from torch_geometric_autoscale.ingest import job_state
from torch_geometric_autoscale.synthetic import matching, nodes
from torch_geometric_autoscale.synthetic.blocks import draw_communities, nested, truncated_pareto
from torch_geometric_autoscale.synthetic.matching import Matching, random_numbers

from ..ingest.conftest import contents, unsynced  # noqa: F401
from ..ingest.test_resume import at_every_step


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('synthetic') / 'graph'
    return generate_graph(path, 20_000, num_features=16, num_classes=4, seed=1, log=False)


def ends_of(folder):
    target = np.repeat(np.arange(folder.num_nodes), np.diff(folder['rowptr']))
    return np.asarray(folder['col']), target


# The same graph ######################################################################


def test_equal_seeds_give_equal_bytes_and_others_other_graphs(tmp_path):
    for name, seed in {'a': 3, 'b': 3, 'c': 4}.items():
        generate_graph(tmp_path / name, 2000, num_features=4, seed=seed, log=False)
    a, b, c = (contents(tmp_path / name) for name in 'abc')
    assert a == b
    assert all(a[file] != c[file] for file in ('x.npy', 'y.npy', 'col.npy', 'train_mask.npy'))


def test_global_generators_are_left_alone(tmp_path):
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    generate_graph(tmp_path / 'graph', 500, num_features=2, log=False)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_from_every_moment_the_drawing_goes_on_to_the_same_end(tmp_path, monkeypatch):
    monkeypatch.setattr(job_state, 'SAVE_EVERY', 0)
    monkeypatch.setattr(matching, 'STUBS', 3000)
    monkeypatch.setattr(nodes, 'NODES', 1000)
    moments = []

    def keep():
        moments.append(tmp_path / f'moment{len(moments)}')
        shutil.copytree(tmp_path / 'whole.part', moments[-1])

    def draw(name):
        generate_graph(tmp_path / name, 2000, num_features=2, log=False)

    at_every_step(monkeypatch, keep)
    draw('whole')
    at_every_step(monkeypatch, lambda: None)
    assert len(moments) > 10
    for moment in moments:
        moment.rename(tmp_path / 'graph.part')
        draw('graph')
        assert contents(tmp_path / 'graph') == contents(tmp_path / 'whole')
        shutil.rmtree(tmp_path / 'graph')


def test_other_numbers_than_those_begun_with_are_refused(tmp_path, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        at_every_step(patch, stop)
        with pytest.raises(KeyboardInterrupt):
            generate_graph(tmp_path / 'graph', 500, num_features=2)
    with pytest.raises(ValueError, match=r'begun with \(got seed: 0, now 1\)'):
        generate_graph(tmp_path / 'graph', 500, num_features=2, seed=1)
    assert generate_graph(tmp_path / 'graph', 500, num_features=2, seed=1, restart=True)['x'].size


# What it promises ####################################################################


def test_the_graph_is_simple_and_undirected(folder):
    folder.validate()
    col, target = ends_of(folder)
    assert (col != target).all()
    keys = target * 20_000 + col
    assert (np.diff(keys) > 0).all()  # sorted, none twice
    assert np.array_equal(np.sort(col.astype(np.int64) * 20_000 + target), keys)


def test_degrees_follow_a_power_law_about_the_wanted_mean(folder):
    degree = np.diff(folder['rowptr'])
    assert 9 < degree.mean() < 10  # equal edges and loops are gone
    tail = degree[degree >= 15]
    exponent = 1 + len(tail) / np.log(tail / 14.5).sum()  # Clauset et al. 2009, eq. 3.7
    assert 2.3 < exponent < 2.8
    assert 200 < degree.max() <= np.sqrt(200_000)
    assert (degree > 0).mean() > 0.99


def test_communities_are_planted_and_ids_do_not_tell_them(folder):
    col, target = ends_of(folder)
    community = folder['community']
    assert 0.55 < (community[col] == community[target]).mean() < 0.75
    shuffled = np.random.default_rng(0).permutation(community)
    assert (shuffled[col] == shuffled[target]).mean() < 0.05
    sizes = np.bincount(community)
    assert sizes[:-1].min() >= 64
    assert sizes.max() <= 1024 + 64
    by_id = np.corrcoef(np.arange(20_000), community)[0, 1]
    assert abs(by_id) < 0.02


def test_a_partitioner_finds_what_random_parts_do_not(folder):
    data = folder.to_data()
    found = partition_quality(data, *metis(data, 8, log=False))
    perm = torch.randperm(20_000, generator=torch.Generator().manual_seed(0))
    at_random = partition_quality(data, perm, torch.arange(0, 20_001, 2500))
    assert found.edge_cut < 0.3 < 0.8 < at_random.edge_cut


def test_features_and_neighbours_tell_the_class(folder):
    x, y = folder['x'], folder['y']
    col, target = ends_of(folder)
    assert (y[col] == y[target]).mean() > 0.5
    means = np.stack([x[y == k].mean(axis=0) for k in range(4)])
    nearest = ((x[:, None] - means) ** 2).sum(-1).argmin(1)
    alone = (nearest == y).mean()
    total = np.zeros_like(x)
    np.add.at(total, target, x[col])
    smooth = (x + total) / (1 + np.diff(folder['rowptr'])[:, None])
    means = np.stack([smooth[y == k].mean(axis=0) for k in range(4)])
    together = (((smooth[:, None] - means) ** 2).sum(-1).argmin(1) == y).mean()
    assert 0.3 < alone < together - 0.1
    assert np.bincount(y).min() > 2000


def test_every_node_is_in_one_split(folder):
    splits = np.stack([folder[f'{name}_mask'] for name in ('train', 'val', 'test')])
    assert (splits.sum(axis=0) == 1).all()
    assert np.abs(splits.mean(axis=1) - [0.5, 0.25, 0.25]).max() < 0.02


def test_a_generated_graph_is_a_data_set(folder, tmp_path, capsys):
    data, in_channels, out_channels = get_data(None, folder.path)
    assert (data.num_nodes, in_channels, out_channels) == (20_000, 16, 4)
    assert folder.metadata['seed'] == '1'
    generate_graph(tmp_path / 'graph', 500, num_features=2)
    edges = GraphFolder(tmp_path / 'graph').num_edges
    told = f"Generated 500 nodes and {edges:,} edges in '{tmp_path / 'graph'}'... "
    assert capsys.readouterr().out.startswith(told)


# Its parts ###########################################################################


@pytest.mark.parametrize('num_nodes', [128, 1000, 30_000])
def test_communities_cover_all_nodes(num_nodes):
    bounds = draw_communities(num_nodes, np.random.default_rng(0))
    assert bounds[0] == 0
    assert bounds[-1] == num_nodes
    assert np.diff(bounds).min() >= 64
    levels = nested(bounds)
    assert levels[-1].tolist() == [0, num_nodes]
    for below, above in pairwise(levels):
        assert set(above) <= set(below)
        assert len(above) - 1 == -(-(len(below) - 1) // 16)


def test_the_power_law_is_the_textbooks():
    draws = truncated_pareto(np.random.default_rng(0).random(200_000), 2, 50, 2.5)
    assert draws.min() >= 2
    assert draws.max() <= 50
    for bound in (3, 10, 30):  # P(X > x)
        expected = (bound**-1.5 - 50**-1.5) / (2**-1.5 - 50**-1.5)
        assert abs((draws > bound).mean() - expected) < 0.005


@pytest.mark.parametrize('stubs', [1, 10, 10**6])
def test_every_stub_is_matched_within_its_block_but_odd_ones(monkeypatch, stubs):
    monkeypatch.setattr(matching, 'STUBS', stubs)
    degrees = np.array([3, 1, 0, 2, 5, 4, 1, 1], np.int32)
    levels = [np.array([0, 3, 8])]
    for seed in range(20):
        pairs = list(Matching(degrees, levels, seed).pairs())
        first, second = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
        assert sum(pair[2] for pair in pairs) == 17
        assert ((first < 3) == (second < 3)).all()
        assert (first != second).all()
        used = np.bincount(np.concatenate([first, second]), minlength=8)
        lost = degrees - used  # an odd one, and two of each loop
        assert (lost >= 0).all()
        assert lost.sum() % 2 == 1  # the block of 13 has an odd one


def test_hubs_leave_small_blocks():
    degrees = np.array([1000] + [1] * 99 + [2] * 900, np.int32)
    matched = Matching(degrees, [np.array([0, 100, 1000]), np.array([0, 1000])], 0)
    within = matched._stay(degrees, 0)
    assert within[0] == 100 // 8
    assert within[1:100].max() <= 1
    assert 0.7 < within[1:].sum() / degrees[1:].sum() < 0.8


def test_random_numbers_of_one_purpose_do_not_depend_on_others():
    draws = [
        random_numbers(0, *purpose).random() for purpose in (('a',), ('a', 0), ('a', 1), ('b',))
    ]
    assert len(set(draws)) == 4
    assert random_numbers(0, 'a', 1).random() == draws[2]


# What is refused #####################################################################


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        ({'num_nodes': 127}, ValueError, r"'num_nodes' must be at least 128 \(got 127\)"),
        ({'num_nodes': 1e4}, TypeError, "'num_nodes' must be a whole number"),
        ({'num_nodes': 2**31}, ValueError, r"'num_nodes' must be below 2\^31"),
        ({'num_classes': 1}, ValueError, "'num_classes' must be at least 2"),
        ({'num_features': 0}, ValueError, "'num_features' must be at least 1"),
        ({'seed': -1}, ValueError, "'seed' must be at least 0"),
        ({'avg_degree': 0.5}, ValueError, "'avg_degree' must lie between 1 and 32"),
        ({'exponent': 2}, ValueError, "'exponent' must lie between 2 and 10"),
        ({'label_noise': 1.5}, ValueError, "'label_noise' must lie between 0 and 1"),
        ({'train': 0.6, 'val': 0.5}, ValueError, r"'val' must lie between 0 and 0\.4"),
        ({'signal': float('nan')}, ValueError, "'signal' must lie between 0 and 100"),
    ],
)
def test_impossible_numbers_are_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        generate_graph(tmp_path / 'graph', **{'num_nodes': 1000, **options})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_replaced(tmp_path):
    generate_graph(tmp_path / 'graph', 500, num_features=2, log=False)
    with pytest.raises(FileExistsError, match='generate_graph: the target must be a new folder'):
        generate_graph(tmp_path / 'graph', 500, num_features=2)
