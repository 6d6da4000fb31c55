"""The larger data sets, through PyG's and OGB's classes, on files that fit a hand."""

import builtins
import gzip
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch_geometric.data import Data
from torch_geometric.datasets import PPI, Flickr, GNNBenchmarkDataset, Reddit2, WikiCS, Yelp

from torch_geometric_autoscale.datasets import canonical, generate_cluster, get_data, split_graphs
from torch_geometric_autoscale.datasets.large import OGB_FILES, standardise

FEATURES = np.array([[1, 5], [3, 5], [5, 5], [7, 5]], dtype=np.float32)
EDGES = np.array([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])


def write_saint(raw: Path, labels: list[Any]) -> None:
    raw.mkdir(parents=True)
    adj = scipy.sparse.csr_matrix((np.ones(6), EDGES), (4, 4))
    np.savez(
        raw / 'adj_full.npz', data=adj.data, indices=adj.indices, indptr=adj.indptr, shape=(4, 4)
    )
    np.save(raw / 'feats.npy', FEATURES)
    (raw / 'class_map.json').write_text(json.dumps({str(i): y for i, y in enumerate(labels)}))
    (raw / 'role.json').write_text(json.dumps({'tr': [0, 1], 'va': [2], 'te': [3]}))


@pytest.mark.parametrize(('name', 'folder'), [('reddit', 'Reddit2'), ('flickr', 'Flickr')])
def test_reddit_and_flickr_are_read_with_their_split(tmp_path, name, folder):
    write_saint(tmp_path / folder / 'raw', [0, 2, 1, 1])
    data, *channels = get_data(tmp_path, name)
    assert channels == [2, 3]
    assert data.edge_index.tolist() == EDGES.tolist()
    assert data.train_mask.tolist() == [True, True, False, False]
    assert data.val_mask.tolist() == [False, False, True, False]
    assert data.test_mask.tolist() == [False, False, False, True]
    expected = FEATURES if name == 'flickr' else standardise(torch.from_numpy(FEATURES))
    torch.testing.assert_close(data.x, torch.as_tensor(expected))


def test_yelp_has_several_labels_and_standard_features(tmp_path):
    write_saint(tmp_path / 'Yelp' / 'raw', [[0, 1], [1, 1], [0, 0], [1, 0]])
    data, *channels = get_data(tmp_path, 'Yelp')
    assert channels == [2, 2]
    assert data.y.dtype == torch.float
    torch.testing.assert_close(data.x[:, 0].std(), torch.tensor(1.0))


def test_constant_columns_are_standardised_to_zero():
    x = standardise(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    torch.testing.assert_close(x, torch.tensor([[-(0.5**0.5), 0.0], [0.5**0.5, 0.0]]))


def test_wikics_is_undirected_and_validates_on_its_stopping_masks(tmp_path):
    raw = tmp_path / 'WikiCS' / 'raw'
    raw.mkdir(parents=True)
    one, other, last = [True, False, False], [False, True, False], [False, False, True]
    content = {
        'features': [[1.0], [2.0], [3.0]], 'labels': [0, 1, 0], 'links': [[1], [2], []],
        'train_masks': [one] * 20, 'val_masks': [last] * 20, 'stopping_masks': [other] * 20,
        'test_mask': last,
    }  # fmt: skip
    (raw / 'data.json').write_text(json.dumps(content))
    data, *channels = get_data(tmp_path, 'WikiCS')
    assert channels == [1, 2]
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert (data.train_mask.shape, data.test_mask.shape) == ((3, 20), (3,))
    assert data.val_mask[:, 0].tolist() == other


# Many graphs #####################################################################


def small_graph(offset: int) -> Data:
    x = torch.tensor([[offset + 0.0], [offset + 1.0]])
    return Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]]), y=torch.tensor([0, 1]))


def test_ppi_is_one_graph_whose_masks_take_it_apart(tmp_path, monkeypatch):
    def process(self):
        for i, (count, path) in enumerate(zip((2, 1, 1), self.processed_paths, strict=True)):
            self.save([small_graph(10 * i + j) for j in range(count)], path)

    monkeypatch.setattr(PPI, 'download', lambda self: None)
    monkeypatch.setattr(PPI, 'process', process)
    data, *channels = get_data(tmp_path, 'ppi')
    assert channels == [1, 2]
    assert data.graph_id.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert data.edge_index.tolist() == [[0, 1, 2, 3, 4, 5, 6, 7], [1, 0, 3, 2, 5, 4, 7, 6]]
    train, val, test = split_graphs(data)
    assert [graph.x.view(-1).tolist() for graph in (train, val, test)] == [
        [0, 1, 1, 2], [10, 11], [20, 21],
    ]  # fmt: skip
    assert test.edge_index.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize('name', ['cluster', 'pattern'])
def test_cluster_and_pattern_are_one_graph_with_masks_by_graph(tmp_path, name):
    raw = tmp_path / name.upper() / 'raw'
    raw.mkdir(parents=True)
    splits = [[small_graph(0).to_dict()] * count for count in (3, 1, 2)]
    torch.save(splits, raw / f'{name.upper()}_v2.pt')
    data, *channels = get_data(tmp_path, name)
    assert channels == [1, 2]
    masks = (data.train_mask, data.val_mask, data.test_mask)
    assert [int(mask.sum()) for mask in masks] == [6, 2, 4]


def test_stand_in_for_cluster_follows_the_recipe():
    state = torch.get_rng_state()
    data = generate_cluster(60, 2, 2, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert [int(data.graph_id[m].unique().numel()) for m in (data.train_mask, data.val_mask)] == [
        60, 2,
    ]  # fmt: skip
    community = data.graph_id * 6 + data.y
    sizes = torch.bincount(community)
    assert sizes.numel() == 64 * 6
    assert int(sizes.min()) >= 5
    assert int(sizes.max()) <= 35
    shown = data.x[:, 1:].sum(dim=1) == 1
    assert torch.equal(torch.bincount(community[shown]), torch.ones(64 * 6, dtype=torch.long))
    assert torch.equal(data.x[shown, 1:].argmax(dim=1), data.y[shown])
    assert bool((data.x.sum(dim=1) == 1).all())
    source, target = data.edge_index
    assert torch.equal(data.graph_id[source], data.graph_id[target])
    assert not bool((source == target).any())
    same = community[source] == community[target]
    possible = (sizes * (sizes - 1)).sum()
    assert abs(float(same.sum() / possible) - 0.55) < 0.01
    everything = torch.bincount(data.graph_id)
    others = (everything**2).sum() - (sizes**2).sum()
    assert abs(float((~same).sum() / others) - 0.25) < 0.01
    assert data.is_undirected()
    assert torch.equal(generate_cluster(60, 2, 2, seed=1).edge_index, data.edge_index)


# OGB #############################################################################


@pytest.fixture
def ogb(monkeypatch):
    """A stand-in for the package: reads edges and splits from files where OGB has them."""

    class PygNodePropPredDataset:
        def __init__(self, name: str, root: str) -> None:
            self.root = Path(root) / name.replace('-', '_')
            for file in OGB_FILES:
                if not (self.root / 'raw' / file).is_file():
                    if input('This will download 1.38GB. Will you proceed? (y/N)\n') != 'y':
                        raise AssertionError('asked')
                    raise OSError('no network')

        def __getitem__(self, index: int) -> Data:
            with gzip.open(self.root / 'raw' / 'edge.csv.gz', 'rt') as file:
                edges = torch.tensor([[int(i) for i in line.split(',')] for line in file])
            return Data(x=torch.ones(3, 2), edge_index=edges.t(), y=torch.tensor([[0], [1], [4]]))

        def get_idx_split(self) -> dict[str, torch.Tensor]:
            return {key: torch.tensor([i]) for i, key in enumerate(('train', 'valid', 'test'))}

    package, module = ModuleType('ogb'), ModuleType('ogb.nodeproppred')
    module.PygNodePropPredDataset = PygNodePropPredDataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, 'ogb', package)
    monkeypatch.setitem(sys.modules, 'ogb.nodeproppred', module)


@pytest.mark.parametrize('name', ['arxiv', 'ogbn-arxiv', 'OGBN_arxiv'])
def test_ogb_graphs_are_made_undirected(tmp_path, ogb, name):
    raw = tmp_path / 'ogbn_arxiv' / 'raw'
    raw.mkdir(parents=True)
    for file in OGB_FILES:
        with gzip.open(raw / file, 'wt') as out:
            out.write('0,1\n1,2\n')
    data, *channels = get_data(tmp_path, name)
    assert channels == [2, 5]
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert data.y.tolist() == [0, 1, 4]
    assert data.val_mask.tolist() == [False, True, False]


def test_ogb_asks_nobody_and_says_what_goes_where(tmp_path, ogb):
    ask = builtins.input
    message = re.escape(f"get_data: '{tmp_path / 'ogbn_products' / 'raw'}' must hold edge.csv.gz")
    with pytest.raises(FileNotFoundError, match=message):
        get_data(tmp_path, 'products')
    assert builtins.input is ask
    assert list(tmp_path.iterdir()) == []


def test_without_ogb_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ogb', None)
    monkeypatch.setitem(sys.modules, 'ogb.nodeproppred', None)
    with pytest.raises(ImportError, match=r'is needed .*autoscale\[ogb\]'):
        get_data(tmp_path, 'ogbn-products')


# Without files ###################################################################


@pytest.mark.parametrize(
    ('name', 'cls', 'folder', 'files'),
    [
        ('wikics', WikiCS, 'WikiCS/raw', 'data.json'),
        ('cluster', GNNBenchmarkDataset, 'CLUSTER/raw', 'CLUSTER_v2.pt'),
        ('pattern', GNNBenchmarkDataset, 'PATTERN/raw', 'PATTERN_v2.pt'),
        ('reddit', Reddit2, 'Reddit2/raw', 'adj_full.npz, feats.npy, class_map.json, role.json'),
        ('flickr', Flickr, 'Flickr/raw', 'adj_full.npz, feats.npy'),
        ('yelp', Yelp, 'Yelp/raw', 'adj_full.npz, feats.npy'),
        ('ppi', PPI, 'PPI/raw', 'train_feats.npy, train_graph_id.npy, train_graph.json'),
    ],
)
def test_missing_files_are_named_with_their_folder(tmp_path, monkeypatch, name, cls, folder, files):
    def offline(self):
        raise OSError('no network')

    monkeypatch.setattr(cls, 'download', offline)
    with pytest.raises(FileNotFoundError, match=re.escape(f"'{tmp_path / folder}' must hold ")):
        get_data(tmp_path, name)
    with pytest.raises(FileNotFoundError, match=files):
        get_data(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_linux_calls_is_a_file_in_the_root(tmp_path, arrays, save):
    with pytest.raises(FileNotFoundError, match=r'must hold linux_calls.npz'):
        get_data(tmp_path, 'linux-calls')
    save(arrays).rename(tmp_path / 'linux_calls.npz')
    assert get_data(tmp_path, 'linux-calls')[0].num_nodes == 3


def test_a_file_cut_short_is_reported(tmp_path):
    write_saint(tmp_path / 'Flickr' / 'raw', [0, 1, 1, 0])
    path = tmp_path / 'Flickr' / 'raw' / 'adj_full.npz'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'must be complete .*adj_full.npz is cut'):
        get_data(tmp_path, 'flickr')


def test_a_name_has_one_canonical_form():
    assert [canonical(name) for name in ('arxiv', 'Coauthor_CS', 'linux-calls')] == [
        'ogbn-arxiv', 'coauthor-cs', 'linux_calls',
    ]  # fmt: skip
