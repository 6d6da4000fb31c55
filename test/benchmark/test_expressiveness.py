"""The record of what GIN with histories tells apart, and its table."""

import json
import runpy
import sys

import pytest

from torch_geometric_autoscale.benchmark.expressiveness import (
    measure_expressiveness,
    measure_pair,
    render_expressiveness,
    write_expressiveness,
)
from torch_geometric_autoscale.benchmark.graph_pairs import PAIRS, GraphPair, wl_rounds

from .conftest import ROOT

ROUNDS = {
    'path and star': 1,
    'paths of 2 and 6, of 4 and 4': 2,
    'paths of 4 and 8, of 6 and 6': 3,
    'paths of 6 and 10, of 8 and 8': 4,
    'a ring of 6, two of 3': None,
    'decalin and bicyclopentyl': None,
    'ladder and crossed ladder': None,
    'rings of 11 with skip links of 2, of 3': None,
}


def test_the_rounds_are_those_of_the_weisfeiler_leman_test():
    assert {name: wl_rounds(pair) for name, pair in PAIRS.items()} == ROUNDS


def test_a_graph_and_itself_numbered_otherwise_are_never_told_apart():
    one = [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4)]  # a triangle with a tail
    other = [(4, 3), (3, 0), (0, 4), (0, 2), (2, 1)]
    assert wl_rounds(GraphPair(one, other, 5)) is None


def test_the_two_graphs_of_a_pair_become_one_without_edges_between_them():
    data = GraphPair([(0, 1)], [(1, 2)], 3).to_data()
    assert data.edge_index.tolist() == [[0, 4, 1, 5], [1, 5, 0, 4]]
    assert data.y.tolist() == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize('method', ['random', 'metis'])
def test_trained_and_frozen_gin_needs_as_many_layers_as_the_test_takes_rounds(method):
    pair = PAIRS['paths of 2 and 6, of 4 and 4']
    found = measure_pair(pair, layers=2, method=method, seed=0, epochs=2)
    assert (found['told_apart'], found['sweeps'] <= 2) == (True, True)
    assert found['edge_cut'] > 0
    assert measure_pair(pair, layers=1, method=method, seed=0, epochs=2)['told_apart'] is False


def test_a_pair_that_the_test_does_not_tell_apart_is_not_told_apart():
    found = measure_pair(PAIRS['decalin and bicyclopentyl'], 4, 'random', seed=0, epochs=2)
    assert found['told_apart'] is False
    assert found['difference'] < 1e-12


def test_a_record_holds_what_was_measured_and_how(tmp_path, monkeypatch):
    monkeypatch.setattr(
        'torch_geometric_autoscale.benchmark.expressiveness.measure_expressiveness',
        lambda log: measure_expressiveness(
            {name: PAIRS[name] for name in ('path and star', 'a ring of 6, two of 3')}, [0], 1
        ),
    )
    write_expressiveness(tmp_path / 'record.json', log=False)
    record = json.loads((tmp_path / 'record.json').read_text())
    assert record['kind'] == 'expressiveness'
    assert {'settings', 'versions', 'machine'} <= record.keys()
    assert [(m['pair'], m['layers'], m['partition']) for m in record['measured']] == [
        ('path and star', 1, 'random'), ('path and star', 1, 'metis'),
        ('a ring of 6, two of 3', 4, 'random'), ('a ring of 6, two of 3', 4, 'metis'),
    ]  # fmt: skip


def entry(**changes: object) -> dict[str, object]:
    return {
        'pair': 'A and B', 'num_nodes': 8, 'rounds': 2, 'layers': 2, 'partition': 'random',
        'difference': 0.02, 'sweeps': 2, 'told_apart': True, **changes,
    }  # fmt: skip


def test_the_table_has_a_row_for_each_pair_depth_and_method():
    measured = [
        entry(layers=1, difference=0.0, sweeps=1, told_apart=False),
        entry(), entry(difference=0.04, sweeps=1),
        entry(partition='metis'), entry(partition='metis', told_apart=False, sweeps=None),
        entry(pair='C and D', rounds=None, layers=4, told_apart=False),
    ]  # fmt: skip
    table = render_expressiveness(
        {'kind': 'expressiveness', 'record_version': 1, 'measured': measured}
    )
    assert table.splitlines()[2:] == [
        '| A and B | 8 | 2 | 1 | random | no (0 of 1) | 0 | 1 |',
        '|  |  |  | 2 | random | yes (2 of 2) | 3e-02 | 1 to 2 |',
        '|  |  |  |  | METIS | partly (1 of 2) | 2e-02 | never |',
        '| C and D | 8 | never | 4 | random | no (0 of 1) | 2e-02 | 2 |',
    ]


def test_another_kind_of_record_is_refused():
    with pytest.raises(ValueError, match=r"kind 'expressiveness' and version 1 \(got None, 1\)"):
        render_expressiveness({'record_version': 1})


@pytest.fixture
def written(monkeypatch):
    """Runs the script with arguments; gives the paths it would have written to."""
    paths = []
    monkeypatch.setattr(
        'torch_geometric_autoscale.benchmark.expressiveness.write_expressiveness', paths.append
    )

    def run(*arguments):
        script = str(ROOT / 'large_benchmark' / 'expressiveness.py')
        monkeypatch.setattr(sys, 'argv', [script, *map(str, arguments)])
        runpy.run_path(script, run_name='__main__')
        return paths

    run.paths = paths
    return run


@pytest.mark.parametrize(('arguments', 'code'), [(['--help'], 0), (['fast'], 2), (['--fast'], 2)])
def test_the_script_measures_nothing_for_help_or_unknown_arguments(written, arguments, code):
    with pytest.raises(SystemExit) as ended:
        written(*arguments)
    assert (ended.value.code, written.paths) == (code, [])


def test_the_script_writes_where_it_is_told(written, tmp_path):
    assert written('--out', tmp_path / 'new' / 'mine.json') == [tmp_path / 'new' / 'mine.json']
    assert (tmp_path / 'new').is_dir()
    assert written()[-1] == ROOT / 'large_benchmark' / 'results' / 'expressiveness.json'
