"""Opening a graph folder: what it gives without reading it, and each way it is refused."""

import json
import pickle
import re
import shutil

import numpy as np
import pytest
import torch

from torch_geometric_autoscale import get_data, load_graph
from torch_geometric_autoscale.graph_folder import GraphFolder, is_graph_folder


def edit(folder, **changes):
    """Change entries of the header; a callable changes the value in place."""
    path = folder / 'graph.json'
    header = json.loads(path.read_text())
    for key, value in changes.items():
        if callable(value):
            value(header[key])
        else:
            header[key] = value
    path.write_text(json.dumps(header))


# What it gives #######################################################################


def test_a_folder_is_a_graph_of_mapped_arrays(folder):
    graph = GraphFolder.open(folder)
    assert (graph.num_nodes, graph.num_edges, graph.num_classes) == (3, 4, 3)
    assert graph.metadata == {'source': 'by hand'}
    assert graph.names('node') == ['x', 'y', 'train_mask', 'node_id']
    assert graph.names('edge') == ['edge_weight', 'edge_attr']
    assert graph.names('structure') == ['rowptr', 'col']
    assert graph.level('ptr') == 'graph'
    assert 'x' in graph
    assert 'z' not in graph
    assert isinstance(graph['x'], np.memmap)
    assert graph['x'].tolist() == [[1, 2], [3, 4], [5, 6]]
    assert graph['node_id'].tolist() == [b'a', b'bc', b'd']
    assert graph['rowptr'].dtype == graph['col'].dtype == np.int32
    with pytest.raises(ValueError, match='read-only'):
        graph['x'][0] = 7


def test_its_data_are_the_mapped_arrays_themselves(folder):
    graph = GraphFolder.open(folder)
    data = graph.to_data()
    assert data.num_nodes == 3
    assert sorted(data.keys()) == ['adj_t', 'edge_attr', 'num_nodes', 'train_mask', 'x', 'y']
    assert data.adj_t.to_dense().tolist() == [[0, 1, 2], [3, 4, 0], [0, 0, 0]]
    assert data.adj_t.crow_indices().dtype == torch.int32
    for tensor, name in (
        (data.x, 'x'),
        (data.adj_t.crow_indices(), 'rowptr'),
        (data.adj_t.col_indices(), 'col'),
        (data.adj_t.values(), 'edge_weight'),
    ):
        assert tensor.data_ptr() == graph[name].ctypes.data, name


def test_without_weights_one_number_stands_for_all_edges(make):
    adj_t = load_graph(make()).adj_t
    assert adj_t.values().tolist() == [1, 1, 1, 1]
    assert adj_t.values().untyped_storage().nbytes() == 4


def test_a_pickled_folder_is_opened_anew(folder):
    graph = pickle.loads(pickle.dumps(GraphFolder(folder)))
    assert graph['x'].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_get_data_opens_a_folder_without_counting_anything(folder, monkeypatch):
    edit(folder, num_classes=47)  # so that it cannot have been counted
    data, in_channels, out_channels = get_data(None, folder)
    assert (in_channels, out_channels) == (2, 47)
    assert data.x.data_ptr() != 0
    assert get_data(folder.parent, 'graph')[1:] == (2, 47)
    monkeypatch.chdir(folder.parent)
    assert get_data(None, 'graph')[1:] == (2, 47)


def test_a_name_of_a_data_set_wins_over_a_folder_unless_it_is_a_path(make, monkeypatch):
    path = make('wordnet', x=(np.ones((3, 1)), 'node'), y=(np.array([0, 0, 1]), 'node'))
    monkeypatch.chdir(path.parent)
    assert get_data(None, './wordnet')[0].num_nodes == 3
    assert get_data(None, 'wordnet')[0].num_nodes == 117659


def test_get_data_needs_features_and_labels(make):
    with pytest.raises(ValueError, match=r"must hold features 'x' and class ids 'y' \(got .*col"):
        get_data(None, make())


def test_get_data_says_what_is_wrong_with_a_folder_given_by_path(tmp_path):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(FileNotFoundError, match=r'must hold graph\.json'):
        get_data(None, f'{tmp_path}/empty')
    (tmp_path / 'late.part').mkdir()
    with pytest.raises(FileNotFoundError, match=r"'late\.part' beside it .* not finished"):
        get_data(None, f'{tmp_path}/late')


def test_an_array_that_is_not_there_is_named(folder):
    with pytest.raises(ValueError, match=r"must be one of rowptr, col, x, .* \(got 'z'\)"):
        GraphFolder(folder)['z']


def test_texts_are_no_tensor(folder):
    with pytest.raises(TypeError, match="'node_id', which holds texts"):
        GraphFolder(folder).tensor('node_id')


# What is refused #####################################################################


def test_a_folder_must_be_there_and_be_one(tmp_path):
    assert not is_graph_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match='the graph folder must exist'):
        GraphFolder(tmp_path / 'nothing')
    with pytest.raises(FileNotFoundError, match=r'must hold graph\.json'):
        GraphFolder(tmp_path)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{', r'must be as it was written \(got .*no JSON'),
        ('[]', 'must say that it is'),
        ('{"format": "other"}', 'must say that it is'),
    ],
)
def test_a_header_of_another_kind_is_refused(folder, text, message):
    (folder / 'graph.json').write_text(text)
    with pytest.raises(ValueError, match=message):
        GraphFolder(folder)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'version': 2}, r'must be 1 \(got 2 .*Install a later version'),
        ({'version': 'x'}, r"must be 1 \(got 'x' .*Make the folder anew"),
        ({'num_nodes': -1}, r'-1 for a number of things'),
        ({'num_nodes': 4}, r"'rowptr' must have shape \(5,\) \(got shape \(4,\)\)"),
        ({'num_edges': 5}, r"'col' must have shape \(5,\)"),
        ({'arrays': lambda a: a.pop('col')}, "none called 'col'"),
        ({'arrays': lambda a: a['x'].pop('dtype')}, "'dtype' is missing"),
        ({'arrays': lambda a: a['x'].update(file='../x.npy')}, r"'x' in the file '\.\./x\.npy'"),
        ({'arrays': lambda a: a['x'].update(level='nodes')}, r"the level of 'x' .*'nodes'"),
        ({'arrays': lambda a: a['x'].update(dtype='object')}, r"the type of 'x' .*got object"),
        ({'arrays': lambda a: a['col'].update(dtype='float32')}, r"'col' must be one of int32"),
        ({'arrays': lambda a: a['x'].update(shape=[2, 2])}, r"'x' must have one row per node"),
        ({'arrays': lambda a: a['y'].update(dtype='int32')}, r"'y\.npy' must hold int32"),
        ({'arrays': lambda a: a['x'].update(shape=[3, 3])}, r"'x\.npy' must hold .*\(3, 3\)"),
        ({'arrays': lambda a: a.update({'a b': a['ptr']})}, r"in the file 'ptr\.npy'"),
    ],
)  # fmt: skip
def test_a_header_that_cannot_be_true_is_refused(folder, changes, message):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=message):
        GraphFolder(folder)


def test_a_lost_file_is_named(folder):
    (folder / 'y.npy').unlink()
    with pytest.raises(FileNotFoundError, match=r"must hold 'y\.npy'"):
        GraphFolder(folder)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda b: b[:-1], r"'x\.npy' must have 152 bytes \(got 151: the file is cut short\)"),
        (lambda b: b + b'0', r'must have 152 bytes \(got 153\)'),
        (lambda b: b[:5], r"'x\.npy' must be a \.npy file"),
        (lambda b: b'\x89NUMPY' + b[6:], r"'x\.npy' must be a \.npy file"),
        (lambda b: b[:6] + b'\x03' + b[7:], r'must be a \.npy file .*version \(3, 0\)'),
    ],
)
def test_a_damaged_file_is_refused(folder, change, message):
    path = folder / 'x.npy'
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        GraphFolder(folder)


def test_objects_are_never_unpickled(folder):
    np.save(folder / 'x.npy', np.array([[{}] * 2] * 3, dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"'x\.npy' must hold float32 .*got object"):
        GraphFolder(folder)


def test_columns_before_rows_are_refused(folder):
    np.save(folder / 'x.npy', np.asfortranarray(np.zeros((3, 2), np.float32)))
    with pytest.raises(ValueError, match=r'float32 of shape \(3, 2\) by columns'):
        GraphFolder(folder)


def test_files_that_numpy_saved_will_do(folder):
    np.save(folder / 'x.npy', np.full((3, 2), 7, np.float32))
    assert load_graph(folder).x.tolist() == [[7, 7]] * 3


@pytest.mark.parametrize(
    ('name', 'values', 'message'),
    [
        ('rowptr', [0, 2, 3, 3], r"'rowptr' must rise from 0 to 4 edges \(got 0 to 3\)"),
        ('rowptr', [1, 2, 4, 4], r'got 1 to 4'),
    ],
)
def test_bounds_that_do_not_cover_the_edges_are_refused(folder, name, values, message):
    np.save(folder / f'{name}.npy', np.array(values, np.int32))
    with pytest.raises(ValueError, match=message):
        GraphFolder(folder)


@pytest.mark.parametrize(
    ('name', 'values', 'message'),
    [
        ('rowptr', [0, 3, 2, 4], r"'rowptr' must not fall \(got node 1\)"),
        ('col', [1, 2, 3, 0], r"'col' must lie in \[0, 3\) \(got 3 at edge 2\)"),
        ('col', [1, -2, 1, 0], r'got -2 at edge 1'),
    ],
)
@pytest.mark.parametrize('chunk', [1, 2, 100])
def test_what_takes_a_pass_over_the_edges_is_checked_when_asked(
    folder, name, values, message, chunk
):
    GraphFolder(folder).validate(chunk)
    np.save(folder / f'{name}.npy', np.array(values, np.int32))
    with pytest.raises(ValueError, match=message):
        GraphFolder(folder).validate(chunk)


def test_a_moved_folder_opens(folder, tmp_path):
    shutil.move(folder, tmp_path / 'elsewhere')
    assert re.match(r".*elsewhere', num_nodes=3", repr(GraphFolder(tmp_path / 'elsewhere')))
