"""Graphs that are one already: what a folder holds is what they hold, sorted by target."""

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import to_torch_coo_tensor, to_torch_csr_tensor

from torch_geometric_autoscale import GraphFolder, convert, get_data, load_graph
from torch_geometric_autoscale.datasets import load_npz

from .conftest import MASKS, ORDER, SOURCE, TARGET, WEIGHT, X, Y, check, contents


def test_edges_are_sorted_by_target_and_keep_their_order(data, tmp_path, pieces):
    folder = convert(data, tmp_path / 'graph')
    check(folder)
    assert folder['x'].tolist() == X
    assert folder['x'].dtype == np.float32
    assert folder['y'].tolist() == Y
    assert folder['y'].dtype == np.int64
    for name, mask in MASKS.items():
        assert folder[name].tolist() == mask
    assert folder.num_classes == 3
    assert [path.name for path in tmp_path.iterdir()] == ['graph']


def test_get_data_gives_back_what_was_converted(data, tmp_path):
    convert(data, tmp_path / 'graph')
    mapped, in_channels, out_channels = get_data(None, tmp_path / 'graph')
    assert (in_channels, out_channels) == (2, 3)
    dense = torch.zeros(5, 5).index_put_((data.edge_index[1], data.edge_index[0]),
                                         data.edge_weight, accumulate=True)  # fmt: skip
    assert torch.equal(mapped.adj_t.to_dense(), dense)
    assert torch.equal(mapped.x, data.x)


def test_edge_attributes_follow_the_edges(data, tmp_path, pieces):
    data.edge_attr = torch.arange(14.0, dtype=torch.double).view(7, 2)
    data.edge_type = torch.tensor(SOURCE)
    del data.edge_weight
    folder = convert(data, tmp_path / 'graph')
    assert folder['edge_attr'].tolist() == data.edge_attr[ORDER].tolist()
    assert folder['edge_attr'].dtype == np.float64
    assert folder['edge_type'].tolist() == data.edge_type[ORDER].tolist()
    assert folder.names('edge') == ['edge_attr', 'edge_type']


@pytest.mark.parametrize('layout', ['csr', 'coo', 'csc', 'mapped'])
def test_a_matrix_is_converted_whatever_its_layout(data, tmp_path, pieces, layout):
    flipped = data.edge_index.flip(0)
    if layout == 'coo':
        adj_t = torch.sparse_coo_tensor(flipped, data.edge_weight, (5, 5))  # keeps the duplicate
    else:
        folder = convert(data, tmp_path / 'first')
        adj_t = folder.adj_t()
        if layout == 'csr':
            adj_t = adj_t.clone()
        if layout == 'csc':  # one of transposed edges
            adj_t = torch.sparse_csc_tensor(
                torch.tensor([0, 2, 4, 5, 7, 7]), torch.tensor([1, 1, 0, 2, 1, 3, 2]),
                torch.tensor([1.0, 4, 3, 7, 2, 5, 6]), (5, 5),
            )  # fmt: skip
    data = Data(x=data.x, adj_t=adj_t)
    folder = convert(data, tmp_path / 'graph')
    if layout == 'csc':
        assert folder.adj_t().to_dense().tolist() == adj_t.to_dense().tolist()
    else:
        check(folder)


def test_a_matrix_without_weights_stays_one(data, tmp_path):
    del data.edge_weight
    folder = convert(data, tmp_path / 'first')
    again = convert(folder.to_data(), tmp_path / 'second')
    assert 'edge_weight' not in again
    assert contents(tmp_path / 'first') == contents(tmp_path / 'second')


def test_pyg_matrices_agree(data, tmp_path):
    edge_index, weight = data.edge_index[:, 1:], data.edge_weight[1:]  # without the duplicate
    for make in (to_torch_csr_tensor, to_torch_coo_tensor):
        adj_t = make(edge_index.flip(0), weight, (5, 5))
        folder = convert(Data(adj_t=adj_t, num_nodes=5), tmp_path / make.__name__)
        assert folder.adj_t().to_dense().tolist() == adj_t.to_dense().tolist()


def test_other_attributes_are_kept_at_their_level(data, tmp_path):
    data.pos = torch.rand(5, 3)
    data.half = torch.rand(5, 2).bfloat16()
    data.ptr = torch.tensor([0, 3, 5])
    data.edge_label_index = torch.tensor([[0, 1], [1, 2]])
    data.title, data.year = 'by hand', 2021
    folder = convert(data, tmp_path / 'graph')
    assert folder.level('pos') == folder.level('half') == 'node'
    assert folder.tensor('half').equal(data.half.float())
    assert folder.level('ptr') == folder.level('edge_label_index') == 'graph'
    assert folder['edge_label_index'].tolist() == [[0, 1], [1, 2]]
    assert folder.metadata == {'title': 'by hand', 'year': '2021'}


def test_an_undirected_graph_has_every_edge_both_ways_once(data, tmp_path, pieces):
    data.kind = torch.arange(7)  # as many as edges: of edge level
    folder = convert(data, tmp_path / 'graph', undirected=True)
    folder.validate()
    dense = folder.adj_t().to_dense()
    assert dense.tolist() == [
        [0, 8, 0, 0, 0], [8, 0, 9, 0, 0], [0, 9, 0, 6, 0], [0, 0, 6, 5, 0], [0, 0, 0, 0, 0],
    ]  # fmt: skip
    assert folder['rowptr'].tolist() == [0, 1, 3, 5, 7, 7]
    assert folder['col'].tolist() == [1, 0, 2, 1, 3, 2, 3]
    assert folder['kind'].tolist() == [0, 0, 1, 1, 5, 5, 4]  # of the first of equal edges


def test_values_given_beside_the_graph_come_in_its_place(data, tmp_path, pieces):
    np.save(tmp_path / 'y.npy', np.arange(5, dtype=np.int32))
    folder = convert(data, tmp_path / 'graph', x=data.x * 2, y=tmp_path / 'y.npy')
    assert folder['x'].tolist() == [[2 * a for a in row] for row in X]
    assert folder['y'].tolist() == [0, 1, 2, 3, 4]
    assert folder['y'].dtype == np.int32


def test_the_source_is_left_alone(data, tmp_path):
    before = {key: value.clone() for key, value in data.to_dict().items()}
    convert(data, tmp_path / 'graph')
    assert data.to_dict().keys() == before.keys()
    assert all(torch.equal(data[key], value) for key, value in before.items())


def test_a_data_set_is_converted_by_name(tmp_path, capsys):
    folder = convert('wordnet', tmp_path / 'graph')
    data = get_data(None, 'wordnet')[0]
    order = torch.argsort(data.edge_index[1], stable=True)
    assert torch.equal(folder.tensor('col').long(), data.edge_index[0][order])
    assert torch.equal(folder.tensor('edge_type'), data.edge_type[order])
    assert torch.equal(folder.tensor('x'), data.x)
    assert capsys.readouterr().out.startswith(
        f"Converted 117,659 nodes and 367,578 edges to '{tmp_path / 'graph'}'... "
    )
    convert('wordnet', tmp_path / 'silent', log=False)
    assert capsys.readouterr().out == ''


# .npz ################################################################################


@pytest.fixture
def arrays():
    return {
        'x': np.array(X, np.float64), 'y': np.array(Y, np.int8),
        'edge_index': np.array([SOURCE, TARGET], np.uint16),
        'edge_weight': np.array(WEIGHT), 'edge_type': np.array(SOURCE),
        'edge_attr': np.arange(14).reshape(7, 2),
        **{name: np.array(mask) for name, mask in MASKS.items()},
    }  # fmt: skip


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_an_npz_file_is_converted_as_it_is_loaded(arrays, tmp_path, pieces, save):
    save(tmp_path / 'graph.npz', **arrays)
    check(convert(tmp_path / 'graph.npz', tmp_path / 'streamed'))
    convert(load_npz(tmp_path / 'graph.npz'), tmp_path / 'loaded')
    streamed, loaded = GraphFolder(tmp_path / 'streamed'), GraphFolder(tmp_path / 'loaded')
    assert sorted(streamed) == sorted(loaded)
    for name in loaded:
        assert streamed[name].dtype == loaded[name].dtype, name
        assert streamed[name].tolist() == loaded[name].tolist(), name
    assert streamed.metadata == {'source': 'graph.npz'}


def test_sparse_features_of_an_npz_file_become_dense(arrays, tmp_path, pieces):
    del arrays['x']
    arrays |= {
        'x_data': np.array([1, 2, 3, 4, 5], np.int8), 'x_indices': np.array([1, 0, 2, 2, 1]),
        'x_indptr': np.array([0, 1, 1, 4, 4, 5]), 'x_shape': np.array([5, 3]),
    }  # fmt: skip
    np.savez_compressed(tmp_path / 'graph.npz', **arrays)
    folder = convert(tmp_path / 'graph.npz', tmp_path / 'graph')
    assert folder['x'].tolist() == [[0, 1, 0], [0, 0, 0], [2, 0, 7], [0, 0, 0], [0, 5, 0]]
    assert folder.tensor('x').equal(load_npz(tmp_path / 'graph.npz').x)


def test_arrays_that_are_stored_by_columns_are_read_too(arrays, tmp_path, pieces):
    arrays['x'] = np.asfortranarray(arrays['x'])
    arrays['edge_index'] = np.asfortranarray(arrays['edge_index'])
    np.savez_compressed(tmp_path / 'graph.npz', **arrays)
    folder = convert(tmp_path / 'graph.npz', tmp_path / 'graph')
    check(folder)
    assert folder['x'].tolist() == X


def test_an_npz_file_is_found_in_the_root(arrays, tmp_path, monkeypatch):
    np.savez(tmp_path / 'graph.npz', **arrays)
    monkeypatch.chdir(tmp_path)
    check(convert('graph.npz', 'here'))
    check(convert('graph.npz', 'there', root=tmp_path))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'x': None}, "features are needed, under 'x'"),
        ({'y': None}, 'the file must have y'),
        ({'colour': np.zeros(3)}, r'keys must be among .*got colour'),
        ({'x': np.zeros(5)}, r"'x' must have shape \(N, F\)"),
        ({'y': np.zeros(4, int)}, r"'y' must have shape \(5,\) or \(5, C\)"),
        ({'y': np.array([0, 1, -2, 0, 0])}, r'must be a class id from 0 on.*got -2'),
        ({'y': np.array([[0.5]] * 5)}, 'must hold 0 and 1'),
        ({'train_mask': np.ones(5)}, "'train_mask' must be boolean"),
        ({'train_mask': np.ones(5, bool)}, "'train_mask' must select labelled nodes only"),
        ({'val_mask': np.ones(4, bool)}, "'val_mask' must have shape"),
        ({'edge_index': np.zeros((3, 7), int)}, r"'edge_index' must have shape \(2, E\)"),
        ({'edge_index': np.zeros((2, 7))}, "'edge_index' must hold integers"),
        ({'edge_index': np.full((2, 7), 5)}, r'must lie in \[0, 5\) \(got 5 at edge 0\)'),
        ({'edge_index': np.full((2, 7), -1)}, r'must lie in \[0, 5\) \(got -1 at edge 0\)'),
        ({'edge_weight': np.zeros(6)}, r"'edge_weight' must have shape \(7,\)"),
        ({'edge_weight': np.full(7, np.nan)}, "'edge_weight' must hold finite numbers"),
        ({'edge_attr': np.zeros(7)}, r"'edge_attr' must have shape \(7, D\)"),
        ({'x': np.full((5, 2), np.inf)}, "'x' must hold finite numbers"),
        ({'node_type': np.zeros(5)}, 'must hold one type of nodes'),
    ],
)
def test_what_load_npz_refuses_is_refused(arrays, tmp_path, pieces, change, message):
    arrays = {k: v for k, v in (arrays | change).items() if v is not None}
    np.savez_compressed(tmp_path / 'graph.npz', **arrays)
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / 'graph.npz', tmp_path / 'graph')
    assert [path.name for path in tmp_path.iterdir()] == ['graph.npz']


def test_python_objects_are_never_unpickled(arrays, tmp_path):
    arrays['x'] = np.array([{}] * 5, dtype=object)
    np.savez(tmp_path / 'graph.npz', **arrays)
    with pytest.raises(ValueError, match="Python objects in 'x'"):
        convert(tmp_path / 'graph.npz', tmp_path / 'graph')


@pytest.mark.parametrize('cut', [0.2, 0.7, 0.99])
def test_an_npz_file_cut_short_is_refused(arrays, tmp_path, cut):
    np.savez_compressed(tmp_path / 'graph.npz', **arrays)
    text = (tmp_path / 'graph.npz').read_bytes()
    (tmp_path / 'graph.npz').write_bytes(text[: int(cut * len(text))])
    with pytest.raises(ValueError, match=r"'graph\.npz' must be a complete NumPy archive"):
        convert(tmp_path / 'graph.npz', tmp_path / 'graph')


# What is refused #####################################################################


@pytest.mark.parametrize(
    ('source', 'error', 'message'),
    [
        (HeteroData(), TypeError, "'source' must be a Data, a path, or the name of a data set"),
        (7, TypeError, 'got int'),
        ('no_such_set', ValueError, "'name' must be a data set or the path"),
        ('no_such_file.npz', FileNotFoundError, 'the file must exist'),
        ('no_such_file.csv', FileNotFoundError, 'the file must exist'),
        ('no_such_file.parquet', FileNotFoundError, 'the file must exist'),
        (Data(x=torch.ones(2, 1)), ValueError, "must have 'adj_t' or 'edge_index'"),
    ],
)
def test_a_source_must_be_one(tmp_path, source, error, message):
    pytest.importorskip('pyarrow')
    with pytest.raises(error, match=message):
        convert(source, tmp_path / 'graph')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('name', 'value', 'error', 'message'),
    [
        ('x', torch.ones(4, 2), ValueError, r"'data.x' must have one row per node \(5\)"),
        ('x', torch.full((5, 2), torch.nan), ValueError, r"'x' must not hold NaN .*row 0"),
        ('x', torch.ones(5), ValueError, r"'x' must be numbers of shape \(N, F\)"),
        ('train_mask', torch.ones(5), ValueError, "'train_mask' must be boolean"),
        ('edge_attr', torch.ones(6, 1), ValueError, r'one row per edge \(7\)'),
        ('names', ['a', 'b'], TypeError, r"'data.names' must be a dense tensor.*got list"),
        ('z', torch.eye(5).to_sparse(), TypeError, "'data.z' must be a dense tensor"),
        ('z', torch.ones(5, dtype=torch.cfloat), ValueError, "type of 'z' must be one of"),
        ('edge_index', torch.full((2, 7), 5), ValueError, r'node ids must lie in \[0, 5\)'),
    ],
)
def test_an_attribute_that_does_not_fit_is_refused(data, tmp_path, name, value, error, message):
    data[name] = value
    data.num_nodes = 5
    with pytest.raises(error, match=message):
        convert(data, tmp_path / 'graph')
    assert list(tmp_path.iterdir()) == []


def test_two_orders_of_edges_are_refused(data, tmp_path):
    data.adj_t = to_torch_csr_tensor(data.edge_index.flip(0), None, (5, 5))
    data.edge_attr = torch.ones(7, 1)
    with pytest.raises(ValueError, match=r"'data\.adj_t' wins over 'data\.edge_index'"):
        convert(data, tmp_path / 'graph')


def test_a_number_of_nodes_must_agree(data, tmp_path):
    check(convert(data, tmp_path / 'five', num_nodes=5))
    with pytest.raises(ValueError, match=r"'num_nodes' must agree with the graph, 5 \(got 6\)"):
        convert(data, tmp_path / 'six', num_nodes=6)
    with pytest.raises(TypeError, match="'num_nodes' must be a whole number"):
        convert(data, tmp_path / 'six', num_nodes=6.0)
    with pytest.raises(ValueError, match="'num_nodes' must not be negative"):
        convert(data, tmp_path / 'six', num_nodes=-1)


@pytest.mark.parametrize('option', [{'ids': 'any'}, {'source_column': 'a'}, {'delimiter': ';'}])
def test_options_of_tables_go_with_tables(data, tmp_path, option):
    with pytest.raises(ValueError, match=f"'{next(iter(option))}' goes with a source that is a"):
        convert(data, tmp_path / 'graph', **option)


def test_an_existing_folder_stays(data, tmp_path):
    convert(data, tmp_path / 'graph')
    before = contents(tmp_path / 'graph')
    with pytest.raises(FileExistsError, match='the target must be a new folder'):
        convert(data, tmp_path / 'graph', undirected=True)
    assert contents(tmp_path / 'graph') == before
    convert(data, tmp_path / 'graph', undirected=True, overwrite=True)
    assert load_graph(tmp_path / 'graph').num_edges == 7
    assert contents(tmp_path / 'graph') != before
    assert [path.name for path in tmp_path.iterdir()] == ['graph']
