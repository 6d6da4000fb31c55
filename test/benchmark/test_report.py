"""Tables and pictures come from records, and from nothing else."""

import json
from pathlib import Path
from typing import Any

import pytest

from torch_geometric_autoscale.benchmark import pictures
from torch_geometric_autoscale.benchmark.history_error import history_errors
from torch_geometric_autoscale.benchmark.run import run_experiment
from torch_geometric_autoscale.benchmark.suite import Suite
from torch_geometric_autoscale.cli import main

from .conftest import ROOT, experiment_of

TABLES = """\
- title: Accuracy
  text: Percent.
  value: test
  rows:
    - - Cora: {dataset.name: cora}
      - PubMed: {dataset.name: pubmed}
    - - full batch: {mode: full}
      - GAS: {mode: gas, refresh: every evaluation}
  columns:
    - - GCN: {model.name: gcn}
      - GAT: {model.name: gat}
"""


def record(seed: int, test: float, epochs: int = 3, **settings: Any) -> dict[str, Any]:
    run = {
        'mode': 'gas', 'seed': seed, 'test': test, 'val': 50.0, 'seconds': 60.0,
        'seconds_per_epoch': 0.5, 'step_peak_bytes': 2**20 * (seed + 1),
        'epochs': [
            {'epoch': i + 1, 'val': 20.0 * (i + 1) + seed, 'elapsed': float(i)}
            for i in range(epochs)
        ],
    }  # fmt: skip
    return {
        'record_version': 1,
        'status': 'finished',
        'settings': {
            'suite': 'small', 'changed': [], 'mode': 'gas', 'refresh': 'every evaluation',
            'partition': 'metis', 'fake': False, 'seed': seed, 'model': {'name': 'gcn'},
            'dataset': {'name': 'cora'}, **settings,
        },
        'versions': {'torch': '9.9', 'torch_geometric': '8.8'},
        'machine': {'cpu': 'A Processor', 'cores': 2, 'device': 'cpu'},
        'runs': [run],
    }  # fmt: skip


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A suite of its own with one table."""
    (tmp_path / 'conf').mkdir()
    config = (ROOT / 'small_benchmark' / 'conf' / 'config.yaml').read_text()
    (tmp_path / 'conf' / 'config.yaml').write_text(config)
    (tmp_path / 'tables.yaml').write_text(TABLES)
    return tmp_path


def write(suite: Path, name: str, *records: dict[str, Any]) -> Path:
    folder = suite / 'results' / 'records' / name
    folder.mkdir(parents=True, exist_ok=True)
    for content in records:
        (folder / f'seed{content["settings"]["seed"]}.json').write_text(json.dumps(content))
    return folder


def page_of(suite: Path) -> str:
    assert main(['report', str(suite)]) == 0
    return (suite / 'results' / 'README.md').read_text()


def test_each_cell_is_linked_to_its_records_and_the_others_are_not_run(suite):
    write(suite, 'mine', record(0, 80.0), record(1, 82.0))
    write(suite, 'one', record(4, 70.0, model={'name': 'gat'}, mode='full'))
    page = page_of(suite)
    table = page[page.index('|  |  | GCN') : page.index('\n\n## Runs')]
    assert table.splitlines() == [
        '|  |  | GCN | GAT |',
        '| --- | --- | ---: | ---: |',
        '| Cora | full batch | not run | [70.00 (1)](records/one/seed4.json) |',
        '|  | GAS | [81.00 ± 1.41 (2)](records/mine) | not run |',
        '| PubMed | full batch | not run | not run |',
        '|  | GAS | not run | not run |',
    ]
    assert '| [mine](records/mine) | 2 | 1.0 | 2 cores, A Processor | 9.9 | 8.8 |' in page
    for link in ('records/mine', 'records/one/seed4.json'):
        assert (suite / 'results' / link).exists()


def test_every_pair_gets_a_picture(suite):
    write(suite, 'a', record(0, 80.0), record(1, 82.0, epochs=2))
    write(suite, 'b', record(0, 60.0, mode='naive', partition='random', refresh='never'))
    write(suite, 'c', record(0, 60.0, dataset={'name': 'pubmed'}))
    page = page_of(suite)
    for name in ('convergence-gcn-cora.png', 'convergence-gcn-pubmed.png'):
        assert f'({name})' in page
        assert (suite / 'results' / name).read_bytes().startswith(b'\x89PNG')


def test_a_page_is_the_same_again_and_an_old_one_is_told(suite, capsys):
    write(suite, 'a', record(0, 80.0))
    assert page_of(suite) == page_of(suite)
    assert main(['report', '--check', str(suite)]) == 0
    write(suite, 'a', record(1, 10.0))
    assert main(['report', '--check', str(suite)]) == 1
    assert "run 'pygas report'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('value', 'cell'),
    [
        ('step_memory', '1.5'),
        ('epoch_seconds', '0.500'),
        ('seconds_to_full', '1.5'),  # 99% of 35: at epoch 2 with seed 0 (40), seed 1: epoch 2 (41)
    ],
)
def test_a_table_shows_other_numbers_too(suite, value, cell):
    (suite / 'tables.yaml').write_text(TABLES.replace('value: test', f'value: {value}'))
    write(suite, 'a', record(0, 80.0), record(1, 82.0))
    reference = record(0, 80.0, mode='full')
    reference['runs'][0]['val'] = 41.0
    write(suite, 'full', reference)
    assert f'[{cell}](records/a)' in page_of(suite)


def test_a_score_that_is_never_reached_is_told(suite):
    (suite / 'tables.yaml').write_text(TABLES.replace('value: test', 'value: seconds_to_full'))
    write(suite, 'a', record(0, 80.0, model={'name': 'gat'}))
    write(suite, 'b', record(0, 80.0))
    reference = record(0, 80.0, mode='full')
    reference['runs'][0]['val'] = 99.0
    write(suite, 'full', reference)
    page = page_of(suite)
    assert '[not reached](records/b/seed0.json)' in page
    assert '[no full batch](records/a/seed0.json)' in page


def test_a_record_of_its_own_becomes_a_table_or_is_not_run(suite):
    (suite / 'tables.yaml').write_text('- {title: Apart, text: Pairs., record: apart.json}')
    assert '## Apart\n\nPairs.\n\nNot run.\n' in page_of(suite)
    entry = {
        'pair': 'A and B', 'num_nodes': 8, 'rounds': 2, 'layers': 2, 'partition': 'random',
        'difference': 0.02, 'sweeps': 2, 'told_apart': True,
    }  # fmt: skip
    content = {'kind': 'expressiveness', 'record_version': 1, 'measured': [entry]}
    (suite / 'results' / 'apart.json').write_text(json.dumps(content))
    page = page_of(suite)
    assert '| A and B | 8 | 2 | 2 | random | yes (1 of 1) | 2e-02 | 2 |' in page
    assert '[Record](apart.json).' in page


BARS = """\
- title: Bars
  gas: {mode: gas}
  full: {mode: full}
  below_full: 0.7
  bars:
    - GCN: {model.name: gcn, published: [82.5, 0.5]}
    - GAT: {model.name: gat}
"""


def test_bars_are_held_against_published_figures_and_full_batch(suite):
    (suite / 'tables.yaml').write_text(BARS)
    write(suite, 'a', record(0, 80.0), record(1, 82.0))
    write(suite, 'b', record(1, 82.5, mode='full'), record(0, 81.5, mode='full'))
    write(suite, 'c', record(0, 70.0, model={'name': 'gat'}))
    page = page_of(suite)
    gcn, gat = page[page.index('| GCN') : page.index('\n\n## Runs')].splitlines()
    assert gcn == (
        '| GCN | 82.50 ± 0.50 | [81.00 ± 1.41 (2)](records/a) | [82.00 ± 0.71 (2)](records/b) | '
        '-1.00 ± 0.50 (2) | missed by 1.00 | missed by 0.30 |'
    )
    assert gat == '| GAT |  | [70.00 (1)](records/c/seed0.json) | not run |  |  |  |'
    write(suite, 'd', record(0, 70.7, mode='full', model={'name': 'gat'}))
    assert '| -0.70 ± ? (1) |  | reached |' in page_of(suite)


@pytest.mark.parametrize(
    'wrong', ['gas: 0}', 'published: [82.5]}', 'published: 82.5}', 'published: [a, b]}']
)
def test_bars_that_are_laid_out_wrongly_are_refused(suite, wrong, capsys):
    text = BARS.replace('  below_full: 0.7\n', '') if wrong == 'gas: 0}' else BARS
    (suite / 'tables.yaml').write_text(text.replace('published: [82.5, 0.5]}', wrong))
    assert main(['report', str(suite)]) == 2
    assert (
        'a table of bars must have bars, below_full, full, gas, title, and its bars be entries'
        in (capsys.readouterr().err)
    )


AGAIN = """\
- title: Twice
  again:
    - GCN: mine
    - GAT: other
"""


def test_a_second_run_is_held_against_the_first_seed_by_seed(suite):
    (suite / 'tables.yaml').write_text(AGAIN)
    write(suite, 'mine', record(0, 80.0), record(1, 82.0), record(2, 82.0))
    write(suite, '../again/mine', record(1, 82.5), record(2, 82.0), record(7, 0.0))
    page = page_of(suite)
    gcn, gat = page[page.index('| GCN') : page.index('\n\n## Runs')].splitlines()
    scores = '[82.00 ± 0.00](records/mine) | [82.25 ± 0.35](again/mine)'
    assert gcn == f'| GCN | 2 | {scores} | +0.25 | 0.50 | 1 |'
    assert gat == '| GAT | not run | | | | | |'


def test_a_second_run_with_other_settings_or_seeds_is_refused(suite, capsys):
    (suite / 'tables.yaml').write_text(AGAIN)
    write(suite, 'mine', record(0, 80.0))
    folder = write(suite, '../again/mine', record(0, 80.0, lr=0.1, changed=['lr']))
    assert 'again (got other lr)' in refused(capsys, suite)
    (folder / 'seed0.json').unlink()
    write(suite, '../again/mine', record(1, 80.0))
    assert 'again (got no seed in common)' in refused(capsys, suite)


@pytest.mark.parametrize('entry', ['3', '[mine]', '[{a: x, b: y}]'])
def test_repetitions_that_are_laid_out_wrongly_are_refused(suite, entry, capsys):
    (suite / 'tables.yaml').write_text(f'- {{title: T, again: {entry}}}')
    assert 'a table of repetitions must have title, again' in refused(capsys, suite)


def test_minutes_of_runs_are_those_of_one_on_a_machine_that_was_not_busy(suite):
    slow = record(2, 82.0)
    slow['runs'][0]['seconds'] = 6000.0
    write(suite, 'mine', record(0, 80.0), record(1, 82.0), slow)
    page = page_of(suite)
    assert '| [mine](records/mine) | 3 | 1.0 |' in page
    assert 'Other work ran on the machines' in page


def test_runs_tell_the_number_of_threads(suite):
    content = record(0, 80.0)
    content['machine']['threads'] = 1
    write(suite, 'mine', content)
    assert '| 2 cores, A Processor, 1 thread |' in page_of(suite)


def with_errors(seed: int, layers: int, **settings: Any) -> dict[str, Any]:
    content = record(seed, 80.0, **settings)
    content['runs'][0]['history_error'] = [
        {'epoch': epoch, 'errors': [0.1 * epoch * (layer + 1) for layer in range(layers)]}
        for epoch in (1, 2, 3)
    ]
    return content


def texts(figure: Any) -> dict[str, Any]:
    return {
        axis.get_title(): [text.get_text() for text in axis.get_legend().get_texts()]
        if axis.get_legend() else None
        for axis in figure.axes
    }  # fmt: skip


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every figure that is drawn."""
    drawn: list[Any] = []
    make = pictures._figure

    def spied(width: float, height: float) -> Any:
        figure, save = make(width, height)
        drawn.append(figure)
        return figure, save

    monkeypatch.setattr(pictures, '_figure', spied)
    return drawn


def test_a_curve_is_the_mean_and_the_range_over_seeds(suite, figures):
    write(suite, 'a', record(0, 80.0), record(2, 82.0), record(4, 82.0, epochs=2))
    page_of(suite)
    (axis,) = figures[0].axes
    (line,) = axis.lines
    assert line.get_xydata().tolist() == [[1, 22], [2, 42]]  # the epochs that every run has
    (band,) = axis.collections
    assert band.get_datalim(axis.transData).intervaly.tolist() == [20, 44]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ('epoch', 'validation score (%)')


def test_settings_besides_the_recipe_have_a_picture_of_their_own(suite, figures):
    write(suite, 'a', record(0, 80.0), record(1, 80.0))
    write(suite, 'b', record(0, 80.0, mode='full'))
    write(suite, 'c', record(0, 80.0, mode='naive', partition='metis', refresh='never'))
    write(suite, 'd', record(0, 80.0, lr=0.1, changed=['lr']))
    write(suite, 'e', record(0, 80.0, mode='naive', partition='random', refresh='never'))
    write(suite, 'f', record(0, 80.0, mode='subgraph', partition='random', refresh='never'))
    (suite / 'tables.yaml').write_text('[]')
    page = page_of(suite)
    assert [texts(figure) for figure in figures] == [
        {'GCN on cora': ['GAS (2)', 'full batch (1)', 'naive histories (1)', 'subgraphs (1)']},
        {'GCN on cora, variants': [
            'GAS (2)', 'GAS, lr 0.1 (1)', 'naive histories, metis parts (1)',
        ]},
    ]  # fmt: skip
    assert '(convergence-gcn-cora-variants.png)' in page
    for figure in figures:
        lines = figure.axes[0].lines
        assert len({line.get_color() for line in lines}) == len(lines)
        assert lines[0].get_zorder() > max(line.get_zorder() for line in lines[1:])


def test_batches_of_whole_graphs_are_told_from_full_batch(suite, figures):
    write(suite, 'a', record(0, 80.0))
    write(suite, 'b', record(0, 80.0, mode='full'))
    write(suite, 'c', record(0, 80.0, partition='graphs'))
    (suite / 'tables.yaml').write_text('[]')
    page_of(suite)
    (figure,) = figures
    assert texts(figure) == {'GCN on cora': [
        'GAS (1)', 'whole graphs in each batch (1)', 'full batch, one step per epoch (1)',
    ]}  # fmt: skip


def test_long_curves_are_means_over_several_epochs(suite, figures):
    write(suite, 'a', record(0, 80.0, epochs=101), record(1, 80.0, epochs=101))
    page_of(suite)
    (axis,) = figures[0].axes
    points = axis.lines[0].get_xydata().tolist()
    assert len(points) == 34
    assert points[:2] == [[3, 40.5], [6, 100.5]]  # of epochs 1 to 3: 20, 40, 60, and 1 more
    assert axis.get_ylabel() == 'validation score (%), means over 3 epochs'


def test_a_legend_of_many_long_names_leaves_the_axes_their_width(suite, figures):
    for i in range(7):
        changed = {'lr': 0.1 + i, 'grad_norm': 1000 + i}
        write(suite, str(i), record(0, 80.0, changed=list(changed), refresh='never', **changed))
    (suite / 'tables.yaml').write_text('[]')
    page_of(suite)
    (axis,) = figures[0].axes
    legend = axis.get_legend().get_window_extent()
    assert legend.x0 >= 0
    assert legend.x1 <= figures[0].bbox.width
    assert axis.get_position().width > 0.8
    assert axis.get_position().height > 0.4


def test_errors_of_one_pair_stand_side_by_side_on_the_same_axes(suite, figures):
    write(suite, 'a', with_errors(0, 2))
    write(suite, 'b', with_errors(0, 2, mode='naive', partition='random', refresh='never'))
    write(suite, 'c', record(0, 80.0, mode='full'))  # not measured
    assert '(error-gcn-cora.png)' in page_of(suite)
    gas, naive = figures[1].axes
    assert texts(figures[1]) == {'GAS (1)': None, 'naive histories (1)': ['layer 1', 'layer 2']}
    assert gas.get_ylim() == naive.get_ylim()
    assert gas.get_ylabel() == 'relative error of the history'


def test_of_many_layers_a_few_are_named(suite, figures):
    write(suite, 'a', with_errors(0, 63))
    page_of(suite)
    (names,) = texts(figures[1]).values()
    assert names == [f'layer {layer}' for layer in (1, 12, 23, 34, 45, 56, 63)]
    assert len(figures[1].axes[0].lines) == 63


def test_an_experiment_of_the_suite_becomes_a_cell(small, tmp_path):
    """From training to the table, with the suite's own tables; the stand-in passes as real."""
    own = Suite(tmp_path, small.name, small.pairs)
    (tmp_path / 'conf').mkdir()
    (tmp_path / 'conf' / 'config.yaml').write_text((small.folder / 'conf/config.yaml').read_text())
    (tmp_path / 'tables.yaml').write_text((small.folder / 'tables.yaml').read_text())
    folder = tmp_path / 'results' / 'records' / 'gcn-cora-naive'
    arguments = ['fake=true', 'runs=2', 'epochs=3', 'mode=naive', 'measure_error=true']
    experiment = experiment_of(small, *arguments, f'out={folder}', 'device=cpu')
    run_experiment(type(experiment)(own, experiment.settings, experiment.seeds, folder))
    for path in folder.glob('*.json'):
        content = json.loads(path.read_text())
        assert content['settings']['changed'] == ['epochs']
        errors = history_errors(content['runs'][0])
        assert [entry['epoch'] for entry in errors] == [1, 2, 3]
        assert all(len(entry['errors']) == 1 and entry['errors'][0] > 0 for entry in errors)
        content['settings'].update(fake=False, changed=[], epochs=200)  # the recipe's
        path.write_text(json.dumps(content))
    page = page_of(tmp_path)
    assert '](records/gcn-cora-naive) |' in page
    assert '(error-gcn-cora.png)' in page


def test_the_pages_in_the_repository_are_what_the_records_give():
    suites = [str(ROOT / f'{name}_benchmark') for name in ('small', 'large')]
    assert main(['report', '--check', *suites]) == 0


# Refused #########################################################################


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(['report', *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_a_folder_that_is_no_suite_is_refused(tmp_path, capsys):
    assert 'must be the folder of a benchmark suite' in refused(capsys, tmp_path)


def test_a_folder_that_mixes_settings_is_refused(suite, capsys):
    folder = write(suite, 'a', record(0, 80.0), record(1, 80.0, lr=0.1))
    assert f"'{folder}' must hold runs of the same settings (got several of lr)" in refused(
        capsys, suite
    )
    assert not (suite / 'results' / 'README.md').exists()


def test_a_seed_twice_is_refused(suite, capsys):
    folder = write(suite, 'a', record(0, 80.0))
    (folder / 'seed1.json').write_text(json.dumps(record(0, 81.0)))
    assert "seed1.json' must be a whole record (got one of seed0). Name it 'seed0.json', or" in (
        refused(capsys, suite)
    )


def test_stand_ins_have_no_place_in_a_table(suite, capsys):
    write(suite, 'a', record(0, 80.0, fake=True))
    assert 'runs on a stand-in, fake=true' in refused(capsys, suite)


def test_a_run_by_a_recipe_that_was_edited_since_is_told(suite, capsys):
    write(suite, 'a', record(0, 80.0, lr=0.01), record(1, 80.0, lr=0.01))
    assert '[80.00 ± 0.00 (2)](records/a)' in page_of(suite)  # the recipe's
    write(suite, 'a', record(0, 80.0, lr=0.03, grad_norm=None, changed=['lr', 'grad_norm']))
    write(suite, 'a', record(1, 80.0, lr=0.03, grad_norm=None))
    err = refused(capsys, suite)
    assert "a/seed1.json' must have its recipe's settings, as it has changed none" in err
    assert '(got lr=0.03 there, 0.01 in the recipe; grad_norm=None there, 1.0 in the' in err


def test_a_run_that_says_what_it_changed_is_welcome(suite):
    write(suite, 'a', record(0, 80.0, lr=0.03, changed=['lr']))
    assert '[80.00 (1)](records/a/seed0.json)' in page_of(suite)


def test_full_batch_is_held_against_its_own_recipe(suite, capsys):
    about = {'model': {'name': 'gcn'}, 'dataset': {'name': 'wordnet'}, 'mode': 'full'}
    write(suite, 'a', record(0, 80.0, lr=0.05, **about))
    page_of(suite)
    write(suite, 'a', record(0, 80.0, lr=0.04, **about))  # with histories
    assert '(got lr=0.04 there, 0.05 in the recipe)' in refused(capsys, suite)


def test_runs_of_a_pair_without_a_recipe_are_welcome(suite):
    write(suite, 'a', record(0, 80.0, lr=0.7, model={'name': 'gcn'}, dataset={'name': 'mine'}))
    assert '| [a](records/a) | 1 |' in page_of(suite)


def test_a_damaged_record_is_told(suite, capsys):
    folder = write(suite, 'a', record(0, 80.0))
    (folder / 'seed1.json').write_text('{"record_version": 1,')
    assert "seed1.json' must be a whole record" in refused(capsys, suite)
    (folder / 'seed1.json').write_text('[1]')
    assert 'another kind of file' in refused(capsys, suite)
    (folder / 'seed1.json').write_text(json.dumps({'record_version': 9, 'of': 'later'}))
    assert 'must be of version 1 (got 9)' in refused(capsys, suite)


def test_two_experiments_for_one_cell_are_told(suite, capsys):
    write(suite, 'a', record(0, 80.0))
    write(suite, 'b', record(0, 80.0, lr=0.1, changed=['lr']))
    err = refused(capsys, suite)
    assert 'one experiment must fit the cell of dataset.name=cora, mode=gas' in err
    assert "(got 'a' and 'b')" in err


@pytest.mark.parametrize(
    ('change', 'problem'),
    [
        (lambda c: c.pop('settings'), "one without 'settings.suite'"),
        (lambda c: c['settings'].pop('model'), "one without 'settings.model.name'"),
        (lambda c: c.update(runs=[]), "one without 'runs.epochs'"),
        (lambda c: c['runs'][0].pop('test'), "one without 'runs.test'"),
        (lambda c: c['settings'].update(mode='other'), "one of mode 'other'"),
        (lambda c: c.update(machine={}), "one without 'machine.device'"),
        (lambda c: c['machine'].pop('cores'), "one without 'machine.cores'"),
        (lambda c: c['settings'].update(seed='0'), "one whose 'settings.seed' is '0', not a whole"),
        (lambda c: c['settings'].update(changed='lr'), "one whose 'settings.changed' is 'lr', not"),
        (lambda c: c['runs'][0].update(test='abc'), "one whose 'runs.test' is 'abc', not a number"),
        (lambda c: c['runs'][0].update(test=float('nan')), "one whose 'runs.test' is nan, not a"),
        (lambda c: c['runs'][0].update(val=[1.0]), "one whose 'runs.val' is [1.0], not a number"),
        (lambda c: c['runs'][0].update(step_peak_bytes='2MB'), "one whose 'runs.step_peak_bytes'"),
        (lambda c: c['runs'][0].update(epochs={}), "one whose 'runs.epochs' is {}, not a list"),
        (lambda c: c['runs'][0].update(epochs=[]), 'one of no epochs'),
        (lambda c: c['runs'][0].update(epochs=[3]), "one without 'epochs.epoch'"),
        (lambda c: c['runs'][0]['epochs'][1].pop('val'), "one without 'epochs.val'"),
        (lambda c: c['runs'][0]['epochs'][1].pop('elapsed'), "one without 'epochs.elapsed'"),
        (lambda c: c['runs'][0]['epochs'][2].update(val='9'), "one whose 'epochs.val' is '9', not"),
        (lambda c: c.update(status='interrupted'), "one of status 'interrupted'"),
    ],
)
def test_a_record_that_lacks_something_is_told(suite, capsys, change, problem):
    content = record(0, 80.0)
    change(content)
    folder = write(suite, 'a', record(1, 80.0))
    (folder / 'seed0.json').write_text(json.dumps(content))
    told = refused(capsys, suite)
    assert f"seed0.json' must be a whole record (got {problem}" in told
    assert told.endswith('Delete it, and its run is done again.\n')


def test_an_epoch_may_have_no_score_and_a_run_no_memory(suite):
    content = record(0, 80.0)
    content['runs'][0]['epochs'][0]['val'] = None
    content['runs'][0].update(step_peak_bytes=None)
    write(suite, 'a', content)
    assert '[80.00 (1)](records/a/seed0.json)' in page_of(suite)


def test_a_record_under_the_name_of_another_seed_is_told(suite, capsys):
    folder = write(suite, 'a', record(0, 80.0))
    (folder / 'seed0.json').rename(folder / 'seed7.json')
    assert "seed7.json' must be a whole record (got one of seed0). Name it 'seed0.json', or" in (
        refused(capsys, suite)
    )
    write(suite, 'a', record(7, 80.0))
    (folder / 'seed7.json').rename(folder / 'other')
    write(suite, 'a', record(0, 80.0))
    (folder / 'seed0.json').rename(folder / 'seed7.json')
    (folder / 'other').rename(folder / 'seed0.json')  # two that have changed places
    assert 'must be a whole record (got one of seed' in refused(capsys, suite)


@pytest.mark.parametrize(
    ('text', 'problem'),
    [('a: [1', 'while parsing'), ('a: 1', 'dict'), (None, 'no such file')],
)
def test_tables_that_cannot_be_read_are_told(suite, capsys, text, problem):
    (suite / 'tables.yaml').unlink()
    if text is not None:
        (suite / 'tables.yaml').write_text(text)
    assert f"tables.yaml' must be a list of tables (got {problem}" in refused(capsys, suite)


@pytest.mark.parametrize('text', ['a: [', 'a: 1'])
def test_a_suite_that_is_laid_out_wrongly_is_told(suite, capsys, text):
    (suite / 'conf' / 'config.yaml').write_text(text)
    assert 'must have a suite with its name and pairs' in refused(capsys, suite)


@pytest.mark.parametrize('rows', ['3', '[[A]]', '[[{A: {x: 1}, B: {}}]]', '[[{}]]'])
def test_axes_that_are_laid_out_wrongly_are_told(suite, capsys, rows):
    (suite / 'tables.yaml').write_text(
        f'- {{title: Mine, value: test, rows: {rows}, columns: [[A: {{}}]]}}'
    )
    assert "must be lists of axes, each a list of entries LABEL: {SETTING: VALUE} (got 'Mine')" in (
        refused(capsys, suite)
    )


def test_a_table_of_a_record_has_nothing_else(suite, capsys):
    (suite / 'tables.yaml').write_text('- {title: A, record: a.json, rows: []}')
    assert 'must have title, record, and perhaps text' in refused(capsys, suite)


@pytest.mark.parametrize('spec', ['- {title: A}', '- [1]', TABLES.replace('test', 'tests')])
def test_a_table_that_is_laid_out_wrongly_is_told(suite, capsys, spec):
    (suite / 'tables.yaml').write_text(spec)
    assert 'a table must have columns, rows, title, value' in refused(capsys, suite)
