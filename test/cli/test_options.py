import sys

import pytest
from omegaconf import OmegaConf

from torch_geometric_autoscale.cli import main
from torch_geometric_autoscale.cli.options import CONF, choices, compose
from torch_geometric_autoscale.datasets import available


def refused(capsys, *arguments):
    assert main(['train', *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err.count('\n') == 1
    return err


def test_defaults_are_the_main_job():
    settings = compose([])
    assert settings['dataset']['name'] == 'wordnet'
    assert settings['model']['name'] == 'gcn'
    assert (settings['num_parts'], settings['batch_size']) == (64, 8)
    assert settings['full']['run'] is True


def test_cora_has_the_settings_of_the_paper():
    settings = compose(['dataset=cora'])
    assert settings['model']['hidden_channels'] == 16
    assert (settings['num_parts'], settings['batch_size'], settings['epochs']) == (40, 10, 200)
    assert (settings['lr'], settings['grad_norm']) == (0.01, 1.0)


def test_what_is_said_wins_over_the_settings_of_a_data_set():
    settings = compose(['epochs=7', 'dataset=cora', 'model.dropout=0.25'])
    assert (settings['epochs'], settings['model']['dropout']) == (7, 0.25)


@pytest.mark.parametrize('name', ['coauthorcs', 'Coauthor_CS', 'coauthor-cs'])
def test_data_sets_go_by_any_spelling(name):
    assert compose([f'dataset={name}'])['dataset']['name'] == 'coauthor-cs'


def test_every_data_set_has_a_configuration():
    hetero = 'dblp_hetero'  # for 'autoscale', not for 'pygas train'
    assert [*choices('dataset'), hetero] == available()


def test_every_recipe_belongs_to_a_model_and_a_data_set():
    pairs = {f'{m}-{d}' for m in choices('model') for d in choices('dataset')}
    assert {path.stem for path in (CONF / 'recipe').glob('*.yaml')} <= pairs


@pytest.mark.parametrize('path', sorted((CONF / 'recipe').glob('*.yaml')), ids=lambda p: p.stem)
def test_every_recipe_sets_options_that_exist(path):
    recipe, options = OmegaConf.load(path), OmegaConf.load(CONF / 'train.yaml')
    model = OmegaConf.load(CONF / 'model' / f'{path.stem.partition("-")[0]}.yaml')
    assert recipe.keys() <= options.keys() | {'model'}
    assert recipe.get('full', {}).keys() <= options.full.keys()
    assert recipe.model.keys() <= model.keys()


@pytest.mark.parametrize('pair', ['gat-cora', 'pna_jk-reddit'])
def test_a_recipe_changes_values_only(pair):
    model, _, dataset = pair.partition('-')
    settings = compose([f'model={model}', f'dataset={dataset}'])
    assert settings.keys() == compose([]).keys()
    assert settings['model'].keys() == OmegaConf.load(CONF / 'model' / f'{model}.yaml').keys()


def test_a_file_is_a_data_set():
    settings = compose(["dataset=/some folder/it's=mine.npz"])
    assert settings['dataset'] == {'name': "/some folder/it's=mine.npz", 'split': None}
    assert settings['num_parts'] == 'auto'


@pytest.mark.parametrize(('value', 'run'), [('false', False), ('on', True), ('0', False)])
def test_the_comparison_is_switched_by_its_name(value, run):
    assert compose([f'full={value}'])['full']['run'] is run


def test_folders_may_look_like_numbers():
    assert compose(['out=2026', "root='a b'"])['out'] == '2026'


# Wrong use ###########################################################################


def test_an_option_that_does_not_exist_names_near_ones(capsys):
    assert refused(capsys, 'epoch=3') == (
        "pygas train: the option must exist (got 'epoch'). Did you mean epochs or full.epochs?\n"
    )
    assert 'model.dropout' in refused(capsys, 'dropout=0.1')


def test_an_option_like_no_other_lists_all(capsys):
    err = refused(capsys, 'qqq=3')
    assert 'Options are model, dataset, full, model.name, ' in err


def test_an_unknown_data_set_names_near_ones(capsys):
    err = refused(capsys, 'dataset=wordnett')
    assert "(got 'wordnett'). Did you mean 'wordnet'?" in err


def test_an_unknown_model_lists_the_known_ones(capsys):
    names = ', '.join(choices('model'))
    assert f"'model' must be one of {names} (got 'xyz')" in refused(capsys, 'model=xyz')


@pytest.mark.parametrize('argument', ['epochs', '--epochs=3', '+epochs=3', '~epochs', '=3'])
def test_arguments_must_be_key_value(capsys, argument):
    err = refused(capsys, argument)
    assert f"options must be KEY=VALUE (got '{argument}'). See 'pygas train --help'." in err


def test_several_values_are_refused(capsys):
    assert 'in the grammar of Hydra' in refused(capsys, 'lr=0.1,0.2')


@pytest.mark.parametrize(
    ('argument', 'rule'),
    [
        ('seed=abc', "'seed' must be a whole number (got 'abc'). Its default is 0."),
        ('lr=fast', "'lr' must be a number (got 'fast'). Its default is 0.04."),
        ('normalize=3', "'normalize' must be true or false (got 3). Its default is True."),
        ('full=maybe', "'full' must be true or false (got 'maybe')."),
        ('epochs=0', "'epochs' must be a whole number from 1 on (got 0)."),
        ('epochs=null', "'epochs' and 'max_seconds' must end the training"),
        ('device=tpu', "'device' must be auto, cpu, cuda or the number of a GPU (got 'tpu')."),
        ('device=99', "'device' must be one that this machine has"),
    ],
)
def test_a_value_of_another_kind_is_told(capsys, argument, rule):
    more = ['max_seconds=null'] if argument == 'epochs=null' else []
    assert rule in refused(capsys, argument, *more)


def test_without_hydra_the_extra_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, 'hydra', None)
    err = refused(capsys)
    assert "the package 'hydra-core' is needed" in err
    assert 'pip install "torch-geometric-autoscale[full]"' in err


def test_help_lists_models_data_sets_and_options_with_defaults(capsys):
    assert main(['train', '--help']) == 0
    out = capsys.readouterr().out
    assert all(f'\n  {name} ' in out for name in choices('dataset'))
    assert '\n  gcn\n' in out
    assert '  lr=0.01  ' in out
    assert '  full.lr=same  ' in out
    assert '  model.num_layers=2  ' in out
