"""The WordNet graph that ships inside the package."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import InMemoryDataset

import torch_geometric_autoscale.datasets.embedded as embedded
from torch_geometric_autoscale.datasets import WordNet

FOLDER = Path(embedded.__file__).parent / 'wordnet'


@pytest.fixture(scope='module')
def dataset():
    return WordNet()


def test_the_graph_has_the_promised_size(dataset):
    data = dataset[0]
    assert isinstance(dataset, InMemoryDataset)
    assert len(dataset) == 1
    assert data.validate()
    assert data.x.shape == (117659, 512)
    assert data.edge_index.shape == (2, 367578)
    assert data.edge_type.shape == (367578,)
    assert dataset.num_features == 512
    assert dataset.num_classes == 45


def test_its_tensors_have_the_types_that_models_need(dataset):
    data = dataset[0]
    assert data.x.dtype == torch.float32
    assert data.edge_index.dtype == data.edge_type.dtype == data.y.dtype == torch.int64
    assert data.train_mask.dtype == data.val_mask.dtype == data.test_mask.dtype == torch.bool


def test_its_edges_run_both_ways_once_and_never_to_themselves(dataset):
    data = dataset[0]
    assert data.is_undirected()
    assert not data.has_self_loops()
    assert data.is_coalesced()


def test_its_split_covers_every_node_once(dataset):
    data = dataset[0]
    total = data.train_mask.int() + data.val_mask.int() + data.test_mask.int()
    assert total.eq(1).all()
    assert int(data.train_mask.sum()) == 58829
    assert int(data.val_mask.sum()) == 29415


def test_numbers_have_names(dataset):
    data = dataset[0]
    assert len(dataset.class_names) == 45
    assert len(dataset.word_names) == 512
    assert len(dataset.edge_type_names) == 52
    # The first synset is "entity"; its gloss has "existence ... known or inferred ... living".
    assert dataset.class_names[data.y[0]] == 'noun.Tops'
    words = [dataset.word_names[column] for column in data.x[0].nonzero().view(-1)]
    assert words == ['living']
    # It points down to "physical entity", which points up to it.
    types = {
        (int(u), int(v)): dataset.edge_type_names[t]
        for (u, v), t in zip(data.edge_index.t()[:4], data.edge_type[:4], strict=True)
    }
    assert types[0, 1] == 'hyponym'
    assert types[1, 0] == 'hypernym'


def test_it_shows_its_size(dataset):
    assert repr(dataset) == (
        'WordNet(num_nodes=117659, num_edges=367578, num_features=512, num_classes=45)'
    )


def test_its_licence_travels_with_it(dataset):
    assert 'WordNet 3.0 Copyright 2006 by Princeton University' in dataset.licence


def test_it_takes_at_most_two_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 2_000_000


def test_it_writes_nothing_anywhere(tmp_path):
    before = sorted(FOLDER.rglob('*'))
    WordNet(tmp_path / 'root')
    assert sorted(FOLDER.rglob('*')) == before
    assert list(tmp_path.iterdir()) == []


def test_transforms_apply_once_or_at_every_access():
    calls = []

    def note(name):
        return lambda data: calls.append(name) or data

    dataset = WordNet(transform=note('access'), pre_transform=note('load'))
    assert calls == ['load']
    dataset[0]
    dataset[0]
    assert calls == ['load', 'access', 'access']


def test_its_file_equals_the_shared_one(copy_of_shared):
    path = copy_of_shared('wordnet.npz') / 'wordnet.npz'
    with np.load(FOLDER / 'wordnet.npz') as ours, np.load(path) as target:
        assert ours.files == target.files
        for key in ours.files:
            assert ours[key].dtype == target[key].dtype
            np.testing.assert_array_equal(ours[key], target[key])
