"""Every pair of both suites composes to the settings of the table and runs."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from torch_geometric_autoscale.benchmark.run import run_experiment
from torch_geometric_autoscale.benchmark.stand_in import SHAPES

from .conftest import SUITES, experiment_of

TABLE = list(
    csv.DictReader((Path(__file__).parent / 'settings_of_the_paper.csv').read_text().splitlines())
)
PAIRS = [(s, m, d) for s in SUITES for m, sets in SUITES[s].pairs.items() for d in sets]
OF_OUR_OWN = {
    *((f'{m}-{d}') for m in ('gcn', 'gcn2', 'pna', 'pna_jk', 'sage') for d in
      ('wordnet', 'linux_calls')),
    'gat-amazon-computers', 'gat-amazon-photo', 'gin-cluster', 'gin-cluster-sbm',
}  # fmt: skip
TOP = (
    'num_parts', 'batch_size', 'epochs', 'lr', 'reg_weight_decay', 'nonreg_weight_decay',
    'grad_norm', 'max_steps', 'edge_dropout',
)  # fmt: skip
OF_THE_MODEL = (
    'num_layers', 'hidden_channels', 'alpha', 'dropout', 'hidden_heads', 'out_heads', 'theta',
    'drop_input', 'batch_norm', 'residual', 'linear', 'shared_weights', 'aggregators', 'scalers',
)  # fmt: skip
LISTS = ('aggregators', 'scalers')


def value_of(cell: str, name: str) -> Any:
    if name in LISTS:
        return cell.split('|')
    return {'True': True, 'False': False}[cell] if cell in ('True', 'False') else float(cell)


def row_of(suite: str, model: str, dataset: str) -> dict[str, str] | None:
    rows = [
        row for row in TABLE
        if (row['benchmark'], row['model'].lower(), row['dataset']) == (suite, model, dataset)
    ]  # fmt: skip
    return rows[0] if rows else None


def check_settings(row: dict[str, str], settings: dict[str, Any]) -> None:
    for names, there in ((TOP, settings), (OF_THE_MODEL, settings['model'])):
        for name in names:
            if row[name]:
                assert there[name] == value_of(row[name], name), name
    for name in ('grad_norm', 'max_steps'):
        if not row[name]:
            assert settings[name] is None
    norm, loop = row['norm'] == 'True', row['loop'] == 'True'
    # The small suite's normalisation adds self-loops, the large one's adds none of its own.
    loops = (norm or loop) if row['benchmark'] == 'small' else loop
    assert (settings['normalize'], settings['self_loops']) == (norm, loops)


def test_the_suites_have_every_pair_of_the_table_and_some_of_our_own() -> None:
    in_table = {
        (row['benchmark'], row['model'].lower(), row['dataset']) for row in TABLE
    }  # fmt: skip
    assert len(in_table) == len(TABLE) == 48
    assert in_table <= set(PAIRS)
    assert {f'{m}-{d}' for _, m, d in set(PAIRS) - in_table} == OF_OUR_OWN
    assert {dataset for _, _, dataset in PAIRS} == set(SHAPES)


@pytest.mark.parametrize(('suite', 'model', 'dataset'), PAIRS)
def test_a_pair_runs_on_a_stand_in_with_the_settings_of_the_table(
    suite: str, model: str, dataset: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = experiment_of(
        SUITES[suite], f'model={model}', f'dataset={dataset}', 'fake=true', 'measure_memory=false',
        f'out={tmp_path}', 'device=cpu',
    )  # fmt: skip
    row = row_of(suite, model, dataset)
    if row is not None:
        check_settings(row, experiment.settings)
        assert len(experiment.seeds) == int(row['runs'] or 1)
    epochs = experiment.settings['epochs']
    experiment.settings['epochs'] = 2
    run_experiment(type(experiment)(SUITES[suite], experiment.settings, [0], experiment.folder))
    assert capsys.readouterr().out.splitlines()[-1].startswith('test ')
    record = json.loads((tmp_path / 'seed0.json').read_text())
    (run,) = record['runs']
    assert len(run['epochs']) == 2
    assert all(math.isfinite(epoch['loss']) for epoch in run['epochs'])
    assert math.isfinite(run['test'])
    if row is not None:
        check_settings(row, {**record['settings'], 'epochs': epochs})
    assert record['fake']['num_nodes'] <= SHAPES[dataset].nodes
    assert record['settings']['fake'] is True
