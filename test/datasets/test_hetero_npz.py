"""A graph with several node types from an ``.npz`` file, and each way in which one is refused."""

import json
import re

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from torch_geometric_autoscale.datasets import get_data, load_hetero_npz, load_npz

TYPES = {
    'node_types': [{'name': 'author'}, {'name': 'paper'}, {'name': 'venue'}],
    'edge_types': ['author->paper', 'paper->rev_writes->author', 'paper->venue'],
    'source': 'not looked at',
}


@pytest.fixture
def hetero() -> dict[str, np.ndarray]:
    """Nodes 0, 2 are authors, 1, 3, 4 papers, 5 a venue; two authors and no other have labels."""
    return {
        'node_type': np.array([0, 1, 0, 1, 1, 2], dtype=np.uint8),
        'edge_index': np.array([[0, 2, 2, 1, 4, 3], [1, 1, 4, 0, 2, 5]]),
        'edge_type': np.array([0, 0, 0, 1, 1, 2], dtype=np.uint8),
        'y': np.array([1, -1, 0, -1, -1, -1]),
        'train_mask': np.array([[1, 0], [0, 0], [0, 1], [0, 0], [0, 0], [0, 0]], dtype=bool),
        'val_mask': np.array([[0, 1], [0, 0], [1, 0], [0, 0], [0, 0], [0, 0]], dtype=bool),
        'test_mask': np.zeros((6, 2), dtype=bool),
        'x_author': np.array([[1, 2], [3, 4]], dtype=np.float32),
        'x_paper_data': np.array([1, 2, 3], dtype=np.float32),
        'x_paper_indices': np.array([0, 2, 2], dtype=np.int32),
        'x_paper_indptr': np.array([0, 1, 3, 3]),
        'x_paper_shape': np.array([3, 3]),
    }


@pytest.fixture
def save_hetero(save):
    """Writes arrays to ``graph.npz`` and the names of the types beside it."""

    def write(arrays, types=TYPES):
        path = save(arrays)
        text = types if isinstance(types, str) else json.dumps(types)
        path.with_suffix('.json').write_text(text)
        return path

    return write


def test_a_file_becomes_a_valid_graph_with_ids_by_type(hetero, save_hetero):
    data = load_hetero_npz(save_hetero(hetero))
    assert data.validate()
    assert data.node_types == ['author', 'paper', 'venue']
    assert {t: e.tolist() for t, e in data.edge_index_dict.items()} == {
        ('author', 'to', 'paper'): [[0, 1, 1], [0, 0, 2]],
        ('paper', 'rev_writes', 'author'): [[0, 2], [0, 1]],
        ('paper', 'to', 'venue'): [[1], [0]],
    }
    assert data['author'].x.tolist() == [[1, 2], [3, 4]]
    assert data['author'].y.tolist() == [1, 0]
    assert data['author'].train_mask.tolist() == [[True, False], [False, True]]
    assert data['author'].val_mask.tolist() == [[False, True], [True, False]]


def test_sparse_features_stay_sparse_and_entries_given_twice_add_up(hetero, save_hetero):
    x = load_hetero_npz(save_hetero(hetero))['paper'].x
    assert x.layout == torch.sparse_coo
    assert x.is_coalesced()
    assert x.to_dense().tolist() == [[1, 0, 0], [0, 0, 5], [0, 0, 0]]
    assert torch.nn.Linear(3, 2)(x).shape == (3, 2)


def test_a_type_without_features_has_a_number_of_nodes_only(hetero, save_hetero):
    data = load_hetero_npz(save_hetero(hetero))
    assert dict(data['venue'].items()) == {'num_nodes': 1}
    assert 'y' not in data['paper']


def test_get_data_tells_files_apart_and_gives_columns_by_type(hetero, save_hetero):
    path = save_hetero(hetero)
    data, in_channels, out_channels = get_data(path.parent, path.name)
    assert isinstance(data, HeteroData)
    assert in_channels == {'author': 2, 'paper': 3, 'venue': 0}
    assert out_channels == 2
    with pytest.raises(ValueError, match=r"key 'node_type'\). Read it with 'load_hetero_npz'"):
        load_npz(path)


def test_dblp_has_three_label_rates(copy_of_shared):
    copy_of_shared('dblp_hetero.json')
    data, in_channels, out_channels = get_data(copy_of_shared('dblp_hetero.npz'), 'dblp_hetero')
    assert in_channels == {'author': 334, 'paper': 4231, 'term': 50, 'conf': 0}
    assert out_channels == 4
    assert data['author'].train_mask.sum(dim=0).tolist() == [80, 160, 240]
    assert sum(store.edge_index.size(1) for store in data.edge_stores) == 239566


def test_dblp_says_which_files_are_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'dblp_hetero.npz and dblp_hetero.json \(got no'):
        get_data(tmp_path, 'dblp_hetero')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'node_type': np.zeros(6)}, "'node_type' must hold integers (got float64)"),
        ({'node_type': np.full(6, 3)}, "'node_type' must lie in [0, 3) (got 6 others, the first 3"),
        ({'node_type': np.zeros((6, 1), int)}, "'node_type' must have shape (N,) (got (6, 1))"),
        ({'edge_type': np.zeros(5, int)}, "'edge_type' must have shape (6,) (got (5,))"),
        ({'edge_type': np.full(6, -1)}, "'edge_type' must lie in [0, 3) (got 6 others"),
        ({'edge_index': np.full((2, 6), 6)}, "'edge_index' must lie in [0, 6) (got 12 others"),
        (
            {'edge_type': np.array([0, 0, 0, 1, 1, 1])},
            "edges 'paper->author' must join nodes of these types (got 1 that do not)",
        ),
        ({'y': np.zeros((6, 2), int)}, "'y' must have shape (6,) (got (6, 2))"),
        ({'y': np.zeros(5, int)}, "'y' must have shape (6,) or (6, C) (got (5,))"),
        (
            {'test_mask': np.ones((6, 2), bool)},
            "'test_mask' must select labelled nodes only (got 4 nodes with y == -1)",
        ),
        (
            {'x_author': np.ones((3, 2))},
            "type 'author': features must have shape (2, F) with F > 0 (got (3, 2))",
        ),
        ({'x_author': np.ones((2, 0))}, 'with F > 0 (got (2, 0))'),
        ({'x_author': np.full((2, 2), np.nan)}, "type 'author': 'x' must hold finite numbers"),
        ({'x_paper_indptr': np.array([0, 1, 3])}, "type 'paper': CSR parts must satisfy"),
        ({'x_paper_indices': np.array([0, 3, 0])}, "'x_indices' must lie in [0, 3) (got 1 others"),
        ({'x_paper': np.ones((3, 1))}, "type 'paper': features must be dense or CSR parts (got bo"),
        ({'x_venues': np.ones((1, 1))}, 'features of author, paper, venue (got x_venues). Rename'),
        ({'y': np.array([1, None] * 3)}, 'arrays must hold numbers (got Python objects)'),
    ],
)
def test_arrays_that_break_a_rule_are_refused(hetero, save_hetero, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_hetero_npz(save_hetero(hetero | change))


@pytest.mark.parametrize('key', ['edge_type', 'y', 'val_mask', 'x_paper_shape'])
def test_a_missing_key_is_named(hetero, save_hetero, key):
    del hetero[key]
    with pytest.raises(ValueError, match=rf'the file must have {key} \(got keys'):
        load_hetero_npz(save_hetero(hetero))


@pytest.mark.parametrize(
    'types',
    [
        '{',
        '[]',
        {'node_types': TYPES['node_types']},
        TYPES | {'node_types': ['author', 'paper', 'venue']},
        TYPES | {'node_types': TYPES['node_types'][:1] * 3},
        TYPES | {'edge_types': ['author->paper'] * 3},
        TYPES | {'edge_types': ['author->nobody']},
        TYPES | {'edge_types': ['author']},
    ],
    ids=str,
)
def test_a_damaged_list_of_types_is_refused(hetero, save_hetero, types):
    with pytest.raises(ValueError, match=r"'graph.json' must list 'node_types' and 'edge_types'"):
        load_hetero_npz(save_hetero(hetero, types))


def test_the_names_of_the_types_are_needed(hetero, save):
    with pytest.raises(FileNotFoundError, match=r"types must be in 'graph.json' beside it"):
        load_hetero_npz(save(hetero))


def test_a_file_cut_short_is_refused(hetero, save_hetero):
    path = save_hetero(hetero)
    path.write_bytes(path.read_bytes()[:-100])
    for load in (load_hetero_npz, lambda file: get_data(None, file)):
        with pytest.raises(ValueError, match='the file must be a complete NumPy archive'):
            load(path)
