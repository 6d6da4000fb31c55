"""``pygas train model=pyg``: an unmodified module on the command line."""

import json

import pytest

from torch_geometric_autoscale.cli import main

GIN = 'model.module=torch_geometric.nn.GIN'


def without_model(options):
    return [option for option in options if not option.startswith('model')]


@pytest.mark.parametrize('module', ['torch_geometric.nn.GraphSAGE', 'torch_geometric.nn.GAT'])
def test_an_unmodified_model_is_trained_and_evaluated(options, tmp_path, capsys, module):
    chosen = [*without_model(options), 'model=pyg', f'model.module={module}', 'model.num_layers=2']
    assert main(['train', *chosen, 'model.args={norm: BatchNorm}']) == 0
    record = json.loads((tmp_path / 'run' / 'record.json').read_text())
    assert record['settings']['model']['module'] == module
    assert [run['mode'] for run in record['runs']] == ['gas', 'full']
    capsys.readouterr()
    assert main(['evaluate', str(tmp_path / 'run')]) == 0
    test_score = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith('test')
    )
    run = record['runs'][0]
    best = next(e for e in run['epochs'] if e['epoch'] == run['best_epoch'])
    assert f'{best["test"]:.2f}%' in test_score
    assert main(['predict', str(tmp_path / 'run'), '--to', str(tmp_path / 'classes.npy')]) == 0


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.module=torch_geometric.nn.NoSuchModel', 'must name a class that can be imported'),
        ('model.module=os.path.join', 'must name a torch.nn.Module'),
        ('model.args={no_such_argument: 1}', 'must accept its arguments'),
        ('model.module=torch.nn.Identity', 'must pass messages along edges'),
        ('model.args={norm: GraphNorm}', 'GraphNorm'),
    ],
)
def test_what_cannot_be_converted_is_told_without_a_traceback(
    options, tmp_path, capsys, option, message
):
    assert main(['train', *without_model(options), 'model=pyg', option]) != 0
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()
