"""Tables of edges and nodes: what is read from them, and each way in which they are refused."""

import builtins

import numpy as np
import pytest
import torch

from torch_geometric_autoscale import convert

from .conftest import MASKS, ORDER, SOURCE, TARGET, WEIGHT, X, Y, check

NAMES = ['zoe', 'al', 'émile', 'bo', 'carla']
IN_ORDER = [1, 3, 4, 0, 2]  # al, bo, carla, zoe, émile


@pytest.fixture(autouse=True)
def pyarrow():
    return pytest.importorskip('pyarrow')


def table(*columns, between=',', header=None):
    lines = [between.join(map(str, row)) for row in zip(*columns, strict=True)]
    return '\n'.join(([header] if header else []) + lines) + '\n'


# Text files ##########################################################################


@pytest.mark.parametrize('name', ['edges.csv', 'edges.txt', 'edges.edges', 'edges.csv.gz'])
def test_a_text_file_is_a_table_of_edges(write, tmp_path, pieces, name):
    path = write(name, table(SOURCE, TARGET, WEIGHT))
    folder = convert(path, tmp_path / 'graph', weight_column=2, num_nodes=5)
    check(folder)
    assert folder['edge_weight'].dtype == np.float32
    assert folder.metadata == {'source': name}


@pytest.mark.parametrize(
    ('text', 'options'),
    [
        (table(SOURCE, TARGET, WEIGHT, between='\t'), {}),
        (table(SOURCE, TARGET, WEIGHT, between=';'), {}),
        (table(SOURCE, TARGET, WEIGHT, between=' '), {}),
        (table(SOURCE, TARGET, WEIGHT, between='|'), {'delimiter': '|'}),
        (table(SOURCE, TARGET, WEIGHT, between='\t'), {'delimiter': 'tab'}),
        (table(SOURCE, TARGET, WEIGHT).rstrip('\n'), {}),
        (table(SOURCE, TARGET, WEIGHT).replace('\n', '\r\n'), {}),
        (table(SOURCE, TARGET, WEIGHT).replace('\n', '\n\n'), {}),
        ('# a\n% b\n\n' + table(SOURCE, TARGET, WEIGHT), {}),
        ('\ufeff' + table(SOURCE, TARGET, WEIGHT), {}),
        (table([f'"{s}"' for s in SOURCE], TARGET, WEIGHT), {}),
        (table(SOURCE, TARGET, WEIGHT, header='a,b,c'), {'header': True}),
        ('\ufeff' + table(SOURCE, TARGET, WEIGHT, header='a,b,c'), {'header': True}),
    ],
)  # fmt: skip
def test_text_files_come_in_many_forms(write, tmp_path, pieces, text, options):
    path = write('edges.csv', text)
    check(convert(path, tmp_path / 'graph', weight_column=2, num_nodes=5, **options))


def test_columns_are_named_or_counted(write, tmp_path):
    path = write(
        'edges.csv', table(WEIGHT, TARGET, NAMES + NAMES[:2], SOURCE, header='w,to,n,from')
    )
    by_name = {'source_column': 'from', 'target_column': 'to', 'weight_column': 'w'}
    check(convert(path, tmp_path / 'named', num_nodes=5, **by_name))
    by_place = {'source_column': 3, 'target_column': '1', 'weight_column': 0, 'header': True}
    check(convert(path, tmp_path / 'counted', num_nodes=5, **by_place))


def test_several_files_are_read_one_after_the_other(write, tmp_path, pieces):
    (tmp_path / 'parts').mkdir()
    for i, part in enumerate((slice(3), slice(3, 7))):
        write(f'parts/{i}.csv', table(SOURCE[part], TARGET[part], WEIGHT[part]))
    write('parts/about.md', 'no table')
    options = {'weight_column': 2, 'num_nodes': 5}
    check(convert(tmp_path / 'parts', tmp_path / 'folder', **options))
    files = [tmp_path / 'parts' / f'{i}.csv' for i in (0, 1)]
    check(convert(files, tmp_path / 'list', **options))


def test_without_a_number_of_nodes_the_largest_id_is_the_last_node(edges_csv, tmp_path):
    folder = convert(edges_csv, tmp_path / 'graph')
    assert folder.num_nodes == 4
    assert folder['col'].tolist() == [1, 0, 2, 0, 3, 1, 3]


def test_tables_can_be_made_undirected(edges_csv, data, tmp_path, pieces):
    convert(data, tmp_path / 'memory', undirected=True)
    options = {'undirected': True, 'num_nodes': 5, 'weight_column': 2}
    convert(edges_csv, tmp_path / 'table', **options)
    for name in ('rowptr', 'col', 'edge_weight'):
        file = f'{name}.npy'
        assert (tmp_path / 'table' / file).read_bytes() == (tmp_path / 'memory' / file).read_bytes()


def test_a_table_may_be_without_edges(write, tmp_path):
    path = write('edges.csv', 'from,to\n')
    folder = convert(path, tmp_path / 'graph', header=True, num_nodes=3)
    assert folder['rowptr'].tolist() == [0, 0, 0, 0]
    assert folder.num_edges == 0


# Parquet #############################################################################


@pytest.mark.parametrize('kind', ['int8', 'uint16', 'int32', 'int64', 'uint64'])
def test_a_parquet_file_is_a_table_of_edges(write_parquet, tmp_path, pieces, kind):
    path = write_parquet(
        'edges.parquet', a=np.array(SOURCE, kind), w=np.array(WEIGHT), b=np.array(TARGET, kind)
    )
    options = {'source_column': 'a', 'target_column': 'b', 'weight_column': 'w', 'num_nodes': 5}
    check(convert(path, tmp_path / 'named', **options))
    options = {'source_column': 0, 'target_column': 2, 'weight_column': 1, 'num_nodes': 5}
    check(convert(path, tmp_path / 'counted', **options))


def test_names_in_a_parquet_file_may_be_encoded(write_parquet, tmp_path, pieces, pyarrow):
    def names(ids):
        return pyarrow.array([NAMES[i] for i in ids])

    plain = write_parquet('plain.parquet', a=names(SOURCE), b=names(TARGET))
    encoded = write_parquet(
        'encoded.parquet',
        a=names(SOURCE).dictionary_encode(),
        b=names(TARGET).cast(pyarrow.large_string()),
    )
    for path in (plain, encoded):
        folder = convert(path, tmp_path / path.stem, ids='any')
        assert folder['node_id'].tolist() == [NAMES[i].encode() for i in (1, 3, 0, 2)]


# Names of nodes ######################################################################


def named_csv(write, names):
    return write('edges.csv', table([names[i] for i in SOURCE], [names[i] for i in TARGET]))


@pytest.mark.parametrize('ids', ['any', 'text'])
def test_names_are_numbered_in_ascending_order(write, tmp_path, pieces, ids):
    folder = convert(named_csv(write, NAMES), tmp_path / 'graph', ids=ids)
    assert folder.level('node_id') == 'node'
    assert [name.decode() for name in folder['node_id']] == ['al', 'bo', 'zoe', 'émile']
    new = {0: 2, 1: 0, 2: 3, 3: 1}  # carla has no edge
    pairs = [(new[s], new[t]) for s, t in zip(SOURCE, TARGET, strict=True)]
    target = np.repeat(np.arange(4), np.diff(folder['rowptr']))
    assert list(zip(folder['col'], target, strict=True)) == sorted(pairs, key=lambda pair: pair[1])
    assert 'node_id' not in folder.to_data()


@pytest.mark.parametrize('ids', ['any', 'integer'])
def test_numbers_of_any_size_are_numbered_in_ascending_order(write, tmp_path, pieces, ids):
    folder = convert(named_csv(write, [10**17, -5, 7, 12, 1]), tmp_path / 'graph', ids=ids)
    assert folder['node_id'].tolist() == [-5, 7, 12, 10**17]
    assert folder['node_id'].dtype == np.int64
    assert folder['rowptr'].tolist() == [0, 3, 5, 6, 7]
    assert folder['col'].tolist() == [3, 1, 3, 2, 0, 2, 0]


def test_numbers_can_be_texts(write, tmp_path):
    folder = convert(named_csv(write, ['07', '7', '007', '70', '']), tmp_path / 'graph', ids='text')
    assert folder['node_id'].tolist() == [b'007', b'07', b'7', b'70']
    as_guessed = convert(tmp_path / 'edges.csv', tmp_path / 'guessed', ids='any')
    assert as_guessed['node_id'].tolist() == [b'007', b'07', b'7', b'70']  # 07 is not 7


def test_all_names_count_however_many_pieces_they_come_in(write, tmp_path, monkeypatch):
    from torch_geometric_autoscale.ingest import node_ids, text_lines

    monkeypatch.setattr(text_lines, 'BLOCK', 64)
    monkeypatch.setattr(node_ids, 'MERGE', 5)
    rng = np.random.default_rng(0)
    names = [f'n{i}' * (1 + i % 3) for i in range(60)]
    ends = rng.integers(0, 60, (2, 300))
    path = write('edges.csv', table(*([names[i] for i in row] for row in ends)))
    folder = convert(path, tmp_path / 'graph', ids='any')
    found = [name.decode() for name in folder['node_id']]
    assert found == sorted({names[i] for i in ends.ravel()})
    target = np.repeat(np.arange(len(found)), np.diff(folder['rowptr']))
    pairs = [(found[s], found[t]) for s, t in zip(folder['col'], target, strict=True)]
    assert sorted(pairs) == sorted((names[s], names[t]) for s, t in ends.T)


# Tables of nodes #####################################################################


def nodes_csv(write, order=range(5), ids=None):
    ids = list(range(5)) if ids is None else ids
    rows = [
        [X[i][0], *(int(MASKS[name][i]) for name in MASKS), Y[i], ids[i], X[i][1], NAMES[i]]
        for i in order
    ]
    return write(
        'nodes.csv', table(*zip(*rows, strict=True), header=f'a,{",".join(MASKS)},y,id,b,n')
    )


def check_nodes(folder, order=range(5)):
    assert folder['x'].tolist() == [X[i] for i in order]
    assert folder['x'].dtype == np.float32
    assert folder['y'].tolist() == [Y[i] for i in order]
    assert folder['y'].dtype == np.int64
    for name, mask in MASKS.items():
        assert folder[name].tolist() == [mask[i] for i in order]
        assert folder[name].dtype == bool


def test_a_table_of_nodes_brings_features_labels_and_masks(edges_csv, write, tmp_path, pieces):
    nodes = nodes_csv(write)
    folder = convert(
        edges_csv, tmp_path / 'graph', weight_column=2, nodes=nodes, features=['a', 'b']
    )
    check(folder)
    check_nodes(folder)


def test_columns_of_numbers_that_are_nothing_else_are_features(edges_csv, write, tmp_path):
    nodes = nodes_csv(write)
    check_nodes(convert(edges_csv, tmp_path / 'graph', nodes=nodes, node_column='id'))


def test_a_table_of_nodes_may_have_another_order(edges_csv, write, tmp_path, pieces):
    nodes = nodes_csv(write, order=[3, 0, 4, 1, 2])
    folder = convert(edges_csv, tmp_path / 'graph', nodes=nodes, node_column='id')
    check(folder, weighted=False)
    check_nodes(folder)
    assert 'node_id' not in folder
    undirected = convert(
        edges_csv, tmp_path / 'undirected', nodes=nodes, node_column='id', undirected=True
    )
    check_nodes(undirected)


def test_with_names_the_table_of_nodes_numbers_them(write, tmp_path, pieces):
    nodes = nodes_csv(write, ids=['e', 'd', 'c', 'b', 'a'])
    edges = named_csv(write, ['e', 'd', 'c', 'b', 'a'])
    folder = convert(edges, tmp_path / 'graph', ids='any', nodes=nodes, node_column='id')
    check(folder, weighted=False)
    check_nodes(folder)
    assert folder['node_id'].tolist() == [b'e', b'd', b'c', b'b', b'a']


def test_a_table_of_nodes_may_be_parquet(edges_csv, write_parquet, tmp_path, pieces):
    nodes = write_parquet(
        'nodes.parquet', id=np.arange(5)[::-1], label=np.array(Y[::-1], np.int8),
        a=np.array(X)[::-1, 0], b=np.array(X, float)[::-1, 1], name=NAMES,
        **{name: np.array(mask)[::-1] for name, mask in MASKS.items()},
    )  # fmt: skip
    folder = convert(
        edges_csv, tmp_path / 'graph', nodes=nodes, node_column='id', label_column='label'
    )
    check(folder, weighted=False)
    check_nodes(folder)


def test_values_come_in_the_place_of_columns(edges_csv, write, tmp_path):
    x = torch.rand(5, 3)
    folder = convert(edges_csv, tmp_path / 'graph', nodes=nodes_csv(write), x=x)
    assert folder.tensor('x').equal(x)
    assert folder['y'].tolist() == Y


# What is refused #####################################################################


@pytest.mark.parametrize(
    ('text', 'options', 'message'),
    [
        ('0,1\n1,x\n', {}, r"column 1 must hold whole numbers.*'x' in line 2 of 'e\.csv'.*ids=any"),
        ('0,1\n1.5,2\n', {}, r"column 0 must hold whole numbers.*'1\.5' in line 2"),
        ('0,1\n1e3,2\n', {}, r"'1e3' in line 2"),
        ('a,b\n0,1\n', {}, r"'a' in line 1 .*Pass header=true"),
        ('a,b\n0,1\n1,x\n', {'header': True}, r"column 'b' must hold .*'x' in line 3"),
        ('# c\n\n0,1\n\n-1,2\n', {}, r"'0' must not be negative \(got -1 in line 5 of 'e\.csv'\)"),
        ('0,1\n\n0,7\n', {'num_nodes': 5}, r'below the number of nodes, 5 \(got 7 in line 3'),
        ('0,1\n2147483648,0\n', {}, r'below 2\^31, .*got 2,147,483,648 in line 2.*ids=any'),
        (f'0,1\n0,{2**63}\n', {}, r"whole numbers below 2\^63 \(got '9223372036854775808' in"),
        ('0,1\n0,\n', {}, r"column '1' must have a value in every row \(got none in line 2"),
        ('0,1\n0,1,2\n', {}, r"must have 2 columns.*got 3 in line 2.*another 'delimiter'"),
        ('0,1\n0,1\n0', {}, r'must have 2 columns.*got 1 in line 3 .*cut short'),
        ('0,1,2\n0,1,x\n', {'weight_column': 2}, r"column 2 must hold numbers \(got 'x' in line 2"),
        ('0,1,inf\n', {'weight_column': 2}, r"must hold .*numbers.*inf.* in line 1"),
        ('0,1,nan\n', {'weight_column': 2}, r"column '2' must have a value.*line 1"),
        ('0,1\n', {'target_column': 2}, r"'target_column' must be a column of 'e\.csv': 0 to 1"),
        ('0,1\n', {'weight_column': 'w'}, r"'weight_column' must be a column of 'e\.csv': 0, 1 \("),
        ('a,b\n0,1\n', {'source_column': 'c'}, r"'source_column' must be .*: a, b \(got 'c'"),
        ('a,a\n0,1\n', {'header': True}, 'must have different names'),
        ('', {}, r"'e\.csv' must have a line \(got an empty file\)"),
        ('# only\n', {}, 'must have a line'),
        ('0,1\n', {'delimiter': '::'}, "'delimiter' must be one character"),
        ('0,1\n', {'ids': 'names'}, "'ids' must be one of dense, any, integer, text"),
        ('0,1\n2000000000,1\n', {}, r'numbered without large gaps \(got 2 edges .* 2,000,000,000'),
        ('0,1\n0,x\n', {'ids': 'integer'}, r"whole numbers.*'x' in line 2"),
        ('0,1.5\n', {'ids': 'any'}, 'ids of nodes must be whole numbers or texts'),
        ('a,\n', {'ids': 'any'}, r"must have 1 to 255 bytes \(got 0 in line 1"),
        (f'a,b\nb,{"c" * 256}\n', {'ids': 'text'}, r'must have 1 to 255 bytes \(got 256 in line 2'),
        ('a,b\n', {'ids': 'any', 'x': torch.ones(2, 1)}, 'need a table of nodes with ids=any'),
        ('a,b\n', {'ids': 'any', 'num_nodes': 3}, r'agree with the names in the edges, 2 \(got 3'),
        ('0,1\n', {'x': torch.ones(2, 1), 'num_nodes': 3}, r"'x' must have one row per node \(3\)"),
        ('0,2\n', {'x': torch.ones(2, 1)}, r'below the number of nodes, 2 \(got 2 in line 1'),
        ('0,2\n', {'features': ['a']}, "'features' goes with a table of nodes"),
    ],
)  # fmt: skip
def test_a_bad_table_is_refused_with_the_line(write, tmp_path, pieces, text, options, message):
    path = write('e.csv', text)
    with pytest.raises(ValueError, match=message):
        convert(path, tmp_path / 'graph', **options)
    assert [path.name for path in tmp_path.iterdir()] == ['e.csv']


def test_columns_that_are_no_ids_are_refused_by_their_type(write_parquet, tmp_path, pyarrow):
    path = write_parquet(
        'e.parquet', i=[0, 1, None], f=[0.5, 1, 2], t=['a', 'b', 'c'], b=[True] * 3, n=[0, -1, 2]
    )
    for column, message in {
        'f': r"column 'f' of 'e\.parquet' must hold whole numbers \(got double\)",
        't': r"column 't' .*\(got string\)\. Pass ids=any",
        'b': r"column 'b' .*\(got bool\)",
        'i': r"column 'i' must have a value in every row \(got none in row 2 \(from 0\)",
        'n': r"must not be negative \(got -1 in row 1 \(from 0\) of 'e\.parquet'",
        'z': r"'source_column' must be a column of 'e\.parquet': i, f, t, b, n \(got 'z'",
    }.items():
        with pytest.raises(ValueError, match=message):
            convert(path, tmp_path / 'graph', source_column=column, target_column='i')
    too_large = write_parquet('large.parquet', a=np.array([2**64 - 1], np.uint64), b=[0])
    with pytest.raises(ValueError, match='large'):
        convert(too_large, tmp_path / 'graph', ids='any')


@pytest.mark.parametrize('cut', [3, 0.5, 0.99])
def test_a_parquet_file_cut_short_is_refused(write_parquet, tmp_path, cut):
    path = write_parquet('e.parquet', a=np.arange(100), b=np.arange(100))
    text = path.read_bytes()
    path.write_bytes(text[: cut if isinstance(cut, int) else int(cut * len(text))])
    with pytest.raises(ValueError, match=r"'e\.parquet' must be a whole Parquet file"):
        convert(path, tmp_path / 'graph')


def test_a_packed_file_cut_short_is_refused(write, tmp_path):
    path = write('e.csv.gz', table(range(1000), range(1000)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"'e\.csv\.gz' must be a whole file packed by gzip"):
        convert(path, tmp_path / 'graph')


def test_a_file_without_lines_is_no_text(write, tmp_path, monkeypatch):
    from torch_geometric_autoscale.ingest import text_lines

    monkeypatch.setattr(text_lines, 'BLOCK', 10)
    monkeypatch.setattr(text_lines, 'LONGEST', 20)
    with pytest.raises(ValueError, match='must be shorter than 20 bytes'):
        convert(write('e.csv', '0' * 100), tmp_path / 'graph')


@pytest.mark.parametrize(
    ('nodes', 'options', 'message'),
    [
        ('id,a\n0,1\n0,2\n', {'node_column': 'id'}, r'every node once \(got 0 in rows 0 and 1'),
        ('id,a\n0,1\n2,2\n', {'node_column': 'id'}, r'must be those from 0 to 1 \(got 2\)'),
        ('id,a\n0,1\n-1,2\n', {'node_column': 'id'}, r'must not be negative \(got -1 in line 3'),
        ('id,a\n0,1\nx,2\n', {'node_column': 'id'}, r"'id' must hold whole .*'x' in line 3"),
        ('id,a\n0,1\n', {'node_column': 'id'}, r'below the number of nodes, 1 \(got 1 in line 1'),
        ('id,a\n0,1\n1,2\n', {'node_column': 'key'}, "'node_column' must be a column"),
        ('a,y\n1,0\n2,-2\n', {}, r"column 'y' must hold class ids .*got -2 in line 3"),
        ('a,y\n1,0\n2,x\n', {}, r"column 'y' must hold whole numbers.*'x' in line 3"),
        ('a,train_mask\n1,0\n2,2\n', {}, r"'train_mask' must hold true and false.*'2' in line 3"),
        ('a\n1\nx\n', {'features': ['a']}, r"column 'a' must hold numbers \(got 'x' in line 3"),
        ('a\n1\n2\n', {'features': ['b']}, "'features' must be a column"),
        ('a\n1\n2\n', {'label_column': 'b'}, "'label_column' must be a column"),
        ('a\n1\n2\n', {'num_nodes': 3}, r'agree with the rows of the table of nodes, 2 \(got 3'),
        ('a\n1\n2\n', {'ids': 'any'}, "must name them with ids=any"),
        ('a\n1\n', {}, r'below the number of nodes, 1 \(got 1 in line 1'),
        ('id,a\np,1\nq,2\n', {'node_column': 'id', 'ids': 'any'}, r"of the nodes \(got '0' in"),
        ('id,a\np,1\np,2\n', {'node_column': 'id', 'ids': 'any'}, r"\(got 'p' in rows 0 and 1"),
    ],
)  # fmt: skip
def test_a_bad_table_of_nodes_is_refused(write, tmp_path, pieces, nodes, options, message):
    edges, path = write('e.csv', '0,1\n'), write('n.csv', nodes)
    with pytest.raises(ValueError, match=message):
        convert(edges, tmp_path / 'graph', nodes=path, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['e.csv', 'n.csv']


def test_tables_of_different_kinds_are_refused(write, tmp_path):
    files = [write('a.csv', '0,1\n'), write('b.parquet', '')]
    with pytest.raises(ValueError, match=r'must be of one kind \(got a\.csv, b\.parquet\)'):
        convert(files, tmp_path / 'graph')
    with pytest.raises(ValueError, match='tables of edges must end in'):
        convert([write('a.md', '')], tmp_path / 'graph')


def test_a_table_of_nodes_needs_a_table_of_edges(data, write, tmp_path):
    with pytest.raises(ValueError, match='goes with a table of edges'):
        convert(data, tmp_path / 'graph', nodes=write('n.csv', 'a\n1\n'))


def test_without_pyarrow_the_extra_is_named(write, tmp_path, monkeypatch):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split('.')[0] == 'pyarrow':
            raise ImportError
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    for name in ('e.csv', 'e.parquet'):
        path = write(name, '0,1\n')
        with pytest.raises(ImportError, match=r'torch-geometric-autoscale\[convert\]'):
            convert(path, tmp_path / 'graph')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['e.csv', 'e.parquet']


def test_the_order_of_weights_is_that_of_the_file():
    assert [WEIGHT[i] for i in ORDER] == [3, 1, 2, 4, 6, 7, 5]
