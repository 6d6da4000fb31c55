"""Recipes of full batch say what differs from the pair's recipe, and nothing else."""

import pytest
from omegaconf import OmegaConf

from torch_geometric_autoscale.benchmark.suite import recipe_of
from torch_geometric_autoscale.cli.options import CONF, flatten

FULL = sorted((CONF / 'recipe' / 'full').glob('*.yaml'))


@pytest.mark.parametrize('path', FULL, ids=lambda path: path.stem)
def test_a_recipe_of_full_batch_changes_options_that_exist(path):
    model, _, dataset = path.stem.partition('-')
    usual = dict(flatten(recipe_of(model, dataset)))
    own = dict(flatten(OmegaConf.to_container(OmegaConf.load(path))))
    assert own.keys() <= usual.keys()
    assert {name for name in own if own[name] == usual[name]} == set()


def test_other_modes_leave_it_alone():
    assert recipe_of('gcn', 'wordnet', 'naive') == recipe_of('gcn', 'wordnet')
    assert recipe_of('gcn', 'wordnet', 'full')['epochs'] != recipe_of('gcn', 'wordnet')['epochs']
