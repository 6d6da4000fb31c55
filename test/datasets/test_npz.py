"""A graph from an ``.npz`` file: what is read, and each way in which a file is refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from torch_geometric_autoscale.datasets import load_npz

CSR = {
    'x_data': np.array([1, 2, 3], dtype=np.float32),
    'x_indices': np.array([0, 1, 0], dtype=np.int32),
    'x_indptr': np.array([0, 1, 2, 3], dtype=np.int64),
    'x_shape': np.array([3, 2], dtype=np.int64),
}


def without(arrays, *keys):
    return {key: value for key, value in arrays.items() if key not in keys}


def test_a_file_becomes_a_valid_graph(arrays, save):
    data = load_npz(save(arrays))
    assert data.validate()
    assert data.x.tolist() == [[1, 0], [0, 2], [3, 0]]
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert data.y.tolist() == [0, 1, -1]
    assert data.train_mask.tolist() == [True, False, False]
    assert data.val_mask.tolist() == data.test_mask.tolist() == [False, True, False]
    assert data.x.dtype == torch.float32
    assert data.edge_index.dtype == data.y.dtype == torch.int64


def test_sparse_features_equal_dense_ones(arrays, save):
    dense = load_npz(save(arrays)).x
    sparse = load_npz(save(without(arrays, 'x') | CSR)).x
    assert torch.equal(dense, sparse)


def test_an_entry_given_twice_in_sparse_features_adds_up(arrays, save):
    twice = CSR | {'x_indices': np.array([0, 0, 0]), 'x_indptr': np.array([0, 0, 2, 3])}
    assert load_npz(save(without(arrays, 'x') | twice)).x.tolist() == [[0, 0], [3, 0], [3, 0]]


def test_narrow_and_foreign_number_types_are_converted(arrays, save):
    arrays['x'] = arrays['x'].astype('>f8')
    arrays['y'] = arrays['y'].astype(np.int8)
    arrays['edge_index'] = np.asfortranarray(arrays['edge_index'].astype(np.uint16))
    data = load_npz(save(arrays))
    assert data.x.dtype == torch.float32
    assert data.y.dtype == data.edge_index.dtype == torch.int64
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]


def test_masks_may_hold_several_splits(arrays, save):
    split = np.array([[True, False], [False, True], [False, False]])
    arrays |= {'train_mask': split, 'val_mask': ~split & [[1], [1], [0]] == 1}
    assert load_npz(save(arrays)).train_mask.tolist() == split.tolist()


def test_nodes_may_have_several_labels(arrays, save):
    arrays['y'] = np.array([[0, 1], [1, 1], [0, 0]], dtype=np.uint8)
    data = load_npz(save(arrays))
    assert data.y.tolist() == [[0, 1], [1, 1], [0, 0]]
    assert data.y.dtype == torch.float32


def test_edges_may_carry_types_weights_and_attributes(arrays, save):
    arrays['edge_type'] = np.array([0, 1, 0, 1], dtype=np.uint8)
    arrays['edge_weight'] = np.array([0.5, 0.5, 1, 1])
    arrays['edge_attr'] = np.array([[1], [2], [3], [4]])
    data = load_npz(save(arrays))
    assert data.edge_type.tolist() == [0, 1, 0, 1]
    assert data.edge_type.dtype == torch.int64
    assert data.edge_weight.tolist() == [0.5, 0.5, 1, 1]
    assert data.edge_attr.tolist() == [[1], [2], [3], [4]]


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'x': np.array([[1, np.nan], [np.nan, 2], [np.inf, 0]])},
            "'x' must hold finite numbers (got 2 NaN and 1 infinite values). Replace them",
        ),
        ({'x': np.full((3, 2), 1e300)}, "'x' must hold finite numbers (got 0 NaN and 6 infinite"),
        ({'x': np.ones(3)}, "'x' must have shape (N, F) (got (3,))"),
        ({'x': np.array([['a', 'b']] * 3)}, "'x' must hold numbers (got <U1)"),
        ({'x': np.ones((0, 2))}, 'must have a node and a feature (got features of shape (0, 2))'),
        ({'edge_index': np.zeros((3, 2), int)}, "'edge_index' must have shape (2, E) (got (3, 2))"),
        ({'edge_index': np.zeros((2, 4))}, "'edge_index' must hold integers (got float64)"),
        (
            {'edge_index': np.array([[0, 5, -1], [3, 0, 0]])},
            "'edge_index' must lie in [0, 3) (got 3 others, the first 5)",
        ),
        ({'y': np.array([0, 1])}, "'y' must have shape (3,) or (3, C) (got (2,))"),
        ({'y': np.array([0.0, 1.0, 1.0])}, "'y' must hold integers (got float64)"),
        ({'y': np.array([0, 1, -2])}, 'or -1 for an unlabelled node (got -2)'),
        ({'y': np.array([[0], [1], [2]])}, 'must hold 0 and 1 (got 1 other values)'),
        ({'train_mask': np.array([1, 0, 0])}, "'train_mask' must be boolean (got int64)"),
        (
            {'val_mask': np.array([True, False])},
            "'val_mask' must have shape (3,) or (3, splits) (got (2,))",
        ),
        (
            {'test_mask': np.array([False, False, True])},
            "'test_mask' must select labelled nodes only (got 1 nodes with y == -1)",
        ),
        ({'edge_type': np.array([0, 1])}, "'edge_type' must have shape (4,) (got (2,))"),
        ({'edge_attr': np.ones(4)}, "'edge_attr' must have shape (4, D) (got (4,))"),
        ({'edge_weight': np.array([1, 1, 1, np.nan])}, "'edge_weight' must hold finite numbers"),
        ({'node_type': np.zeros(3)}, 'the file must hold one type of nodes'),
        ({'edge_weights': np.ones(4)}, '(got edge_weights). Rename or remove the others'),
        ({'y': np.array([0, None, 1])}, 'arrays must hold numbers (got Python objects)'),
    ],
)
def test_arrays_that_break_a_rule_are_refused(arrays, save, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_npz(save(arrays | change))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'x_indptr': np.array([0, 1, 2])}, 'CSR parts must satisfy'),
        ({'x_indptr': np.array([0, 2, 1, 3])}, 'CSR parts must satisfy'),
        ({'x_indices': np.array([0, 1])}, 'CSR parts must satisfy'),
        ({'x_indices': np.array([0, 2, 0])}, "'x_indices' must lie in [0, 2) (got 1 others"),
        ({'x_shape': np.array([3])}, "'x_shape' must have shape (2,) (got (1,))"),
        ({'x_data': np.array([1, np.nan, np.nan])}, "'x_data' must hold finite numbers (got 2 NaN"),
    ],
)
def test_sparse_features_that_break_a_rule_are_refused(arrays, save, change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_npz(save(without(arrays, 'x') | CSR | change))


@pytest.mark.parametrize(
    ('key', 'message'),
    [
        ('x', "features are needed, under 'x' or as x_data, x_indices, x_indptr, x_shape"),
        ('y', 'the file must have y (got keys edge_index, test_mask'),
        ('edge_index', 'the file must have edge_index (got keys'),
        ('val_mask', 'the file must have val_mask (got keys edge_index, test_mask, train_mask, x'),
    ],
)
def test_a_missing_key_is_named(arrays, save, key, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_npz(save(without(arrays, key)))


def test_a_file_cut_short_is_refused(arrays, save):
    path = save(arrays)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"load_npz\('graph.npz'\): the file must be a complete"):
        load_npz(path)


def test_a_file_with_flipped_bytes_is_refused(arrays, save):
    path = save(arrays)
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(ValueError, match='must be a complete NumPy archive'):
        load_npz(path)


def test_a_file_of_another_format_is_refused(tmp_path):
    (tmp_path / 'graph.npz').write_text('0 1\n')
    with pytest.raises(ValueError, match='another format, or a file cut short'):
        load_npz(tmp_path / 'graph.npz')


def test_a_file_that_does_not_exist_is_named():
    with pytest.raises(FileNotFoundError, match=r"'path' must name a file \(got nowhere.npz\)"):
        load_npz(Path('nowhere.npz'))


def test_the_shared_heterophilous_graph_has_ten_splits(copy_of_shared):
    data = load_npz(copy_of_shared('chameleon_filtered.npz') / 'chameleon_filtered.npz')
    assert data.num_nodes == 890
    assert data.num_edges == 17708
    assert data.train_mask.shape == (890, 10)
    assert [int(data[f'{part}_mask'][:, 0].sum()) for part in ('train', 'val', 'test')] == [
        409,
        287,
        194,
    ]
