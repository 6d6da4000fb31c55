"""``pygas convert`` and ``pygas generate``: what they read from the command line and print."""

import numpy as np
import pytest

from torch_geometric_autoscale import GraphFolder
from torch_geometric_autoscale.cli import main
from torch_geometric_autoscale.cli.convert import OPTIONS
from torch_geometric_autoscale.ingest import job


@pytest.fixture
def edges(tmp_path):
    pytest.importorskip('pyarrow')
    path = tmp_path / 'edges.csv'
    path.write_text('from,to,w\n0,1,2\n1,2,3\n')
    return path


def test_a_table_becomes_a_graph_that_can_be_trained_on(graph, tmp_path, capsys):
    target = tmp_path / 'folder'
    assert main(['convert', str(graph), str(target)]) == 0
    first, _, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith(f"Converted 24 nodes and 52 edges to '{target}'... ")
    assert [line.split()[:3] for line in lines if line.startswith('x ')] == [
        ['x', 'node', 'float32']
    ]
    options = [
        f'dataset={target}', f'out={tmp_path / "run"}', 'num_parts=4', 'epochs=2', 'partition=lp',
        'full=false', 'model.hidden_channels=8', 'device=cpu', 'measure_memory=false',
    ]  # fmt: skip
    assert main(['train', *options]) == 0


def test_options_reach_the_conversion(edges, tmp_path, capsys):
    arguments = [
        'undirected=true', 'num_nodes=1_000', 'source_column=from', 'target_column=1',
        'weight_column=w', 'x=null', 'header=null',
    ]  # fmt: skip
    assert main(['convert', str(edges), str(tmp_path / 'graph'), *arguments]) == 0
    folder = GraphFolder(tmp_path / 'graph')
    assert folder.num_nodes == 1000
    assert folder['col'].tolist() == [1, 0, 2, 1]
    assert folder['edge_weight'].tolist() == [2, 2, 3, 3]


def test_features_are_a_list_of_columns(edges, tmp_path):
    (tmp_path / 'nodes.csv').write_text('a,b,c\n1,2,3\n4,5,6\n7,8,9\n')
    arguments = ['header=yes', f'nodes={tmp_path}/nodes.csv', 'features=c, a']
    assert main(['convert', str(edges), str(tmp_path / 'graph'), *arguments]) == 0
    assert GraphFolder(tmp_path / 'graph')['x'].tolist() == [[3, 1], [6, 4], [9, 7]]


def test_every_option_is_one_of_the_function():
    from inspect import signature

    from torch_geometric_autoscale import convert, generate_graph
    from torch_geometric_autoscale.cli.generate import OPTIONS as OF_GENERATE

    python = {'source', 'target', 'log'}
    parameters = signature(convert).parameters
    assert set(OPTIONS) == set(parameters) - python
    assert set(OF_GENERATE) == set(signature(generate_graph).parameters) - {'path', 'log'}
    for name, word in OF_GENERATE.items():
        default = signature(generate_graph).parameters[name].default
        assert word.default == '???' or word.read(word.default) == default, name


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['convert'], 'a source and a target must come first (got nothing)'),
        (['convert', 'a.csv', 'x=1'], 'a source and a target must come first (got a.csv x=1)'),
        (['convert', 'a.csv', 'b', 'c'], "options must be KEY=VALUE (got 'c')"),
        (['convert', 'a.csv', 'b', 'udirected=1'], "(got 'udirected'). Did you mean undirected?"),
        (['convert', 'a.csv', 'b', 'zzz=1'], "(got 'zzz'). Options are undirected, num_nodes"),
        (['convert', 'a.csv', 'b', 'num_nodes=a'], "'num_nodes' must be a whole number (got 'a')"),
        (['convert', 'a.csv', 'b', 'header=a'], "'header' must be true or false (got 'a')"),
        (['convert', 'a.csv', 'b', 'features=a,,b'], "'features' must be names with commas"),
        (['convert', 'a.csv', 'b', 'x=a', 'x=b'], "can be given once (got 'x' twice)"),
        (['convert', 'no.csv', 'b'], "convert: the file must exist (got 'no.csv')"),
        (['generate'], 'a target must come first (got nothing)'),
        (['generate', 'a'], "'num_nodes' must be given"),
        (['generate', 'a', 'num_nodes=10'], "'num_nodes' must be at least 128 (got 10)"),
        (['generate', 'a', 'signal=x'], "'signal' must be a number (got 'x'). Its default is 0.15"),
    ],
)  # fmt: skip
def test_wrong_use_is_told_in_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    pytest.importorskip('pyarrow')
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith('pygas')
    assert message in error
    assert error.count('\n') == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('command', ['convert', 'generate'])
def test_help_lists_every_option(capsys, command):
    assert main([command, '--help']) == 0
    out = capsys.readouterr().out
    assert out.startswith(f'usage: pygas {command} ')
    assert '  overwrite=false ' in out


def test_an_interrupted_conversion_says_how_it_goes_on(edges, tmp_path, monkeypatch, capsys):
    class Interrupted:
        def __init__(self, *args, **kwargs):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, 'progress', Interrupted)
        assert main(['convert', str(edges), str(tmp_path / 'graph'), 'header=true']) == 130
    assert capsys.readouterr().err == (
        f"pygas: '{tmp_path / 'graph.part'}' keeps what is done; the same command goes on.\n"
        'pygas: interrupted.\n'
    )
    assert main(['convert', str(edges), str(tmp_path / 'graph'), 'header=true', '--quiet']) == 0
    assert capsys.readouterr().out == f"'{tmp_path / 'graph'}': 3 nodes, 2 edges\n"


def test_a_graph_is_generated(tmp_path, capsys):
    arguments = ['num_nodes=1_000', 'num_features=3', 'seed=1', 'avg_degree=5']
    assert main(['generate', str(tmp_path / 'graph'), *arguments]) == 0
    assert capsys.readouterr().out.startswith('Generated 1,000 nodes and ')
    assert GraphFolder(tmp_path / 'graph')['x'].shape == (1000, 3)
    assert 4 < np.diff(GraphFolder(tmp_path / 'graph')['rowptr']).mean() < 6
