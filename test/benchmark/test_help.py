"""What a suite says of itself."""

import pytest

from torch_geometric_autoscale.benchmark import main
from torch_geometric_autoscale.benchmark.experiment import MODES

from .conftest import ROOT, SUITES


@pytest.mark.parametrize('name', ['small', 'large'])
@pytest.mark.parametrize('arguments', [['--help'], ['model=gat', '-h']])
def test_help_lists_pairs_modes_and_options_with_defaults(name, arguments, capsys):
    assert main(ROOT / f'{name}_benchmark', arguments) == 0
    out = capsys.readouterr().out
    lines = [' '.join(line.split()) for line in out.splitlines()]
    for model, datasets in SUITES[name].pairs.items():
        assert f'{model} {", ".join(datasets)}' in lines
        assert f'options of model={model}:' in lines
    for mode in MODES:
        assert any(line.startswith((f'{mode}: ', f'mode=gas {mode}: ')) for line in lines), mode
    assert 'lr=0.01 learning rate of Adam' in lines
    assert 'many; auto: random for naive and subgraph, else metis' in lines
    assert any(line.startswith('runs number of runs') for line in lines)
    assert any(line.startswith('history.tier=ram ') for line in lines)
    assert 'full.' not in out
    assert '${' not in out
