import json

import pytest

from torch_geometric_autoscale.cli import main, plan, planned_job
from torch_geometric_autoscale.cli.options import compose, keys_of
from torch_geometric_autoscale.cli.planned_job import follow, wishes_of
from torch_geometric_autoscale.planner.choice import Choice
from torch_geometric_autoscale.planner.wishes import Wishes

from ..planner.made import made_plan

PARTS = ('num_parts=', 'batch_size=')


@pytest.fixture
def free(options):
    """The options of a job, with parts and batches left to the plan."""
    return [option for option in options if not option.startswith(PARTS)]


@pytest.fixture
def planned(monkeypatch):
    """What the planner gives, without its work, and what it was asked."""
    asked = []

    def plan_for(graph, settings, keys, memory, device, who, channels=None):
        asked.append((settings, keys, memory, who, channels))
        graph.cut(6)
        return made_plan(memory, choice=Choice(6, 2, 'disk', 'int8'))

    monkeypatch.setattr(plan, 'plan_for', plan_for)
    monkeypatch.setattr(planned_job, 'plan_for', plan_for)
    return asked


def wishes(*arguments):
    return wishes_of(compose(arguments), keys_of(arguments))


# pygas plan ######################################################################


def test_a_plan_is_printed_for_a_real_graph(free, tmp_path, capsys):
    assert main(['plan', *free, 'memory=4GB']) == 0
    out = capsys.readouterr().out
    for name in ('num_parts', 'history.tier', 'total', 'peak of a training step', 'all histories',
                 'pulled from histories', 'seconds per epoch'):  # fmt: skip
        assert name in out
    assert not (tmp_path / 'run').exists()


def test_a_quiet_plan_is_one_line_of_options(planned, free, capsys):
    assert main(['plan', *free, 'memory=4GB', '--quiet']) == 0
    wanted = 'num_parts=6 batch_size=2 history.tier=disk history.dtype=int8\n'
    assert capsys.readouterr().out == wanted


def test_without_a_size_all_that_there_is_counts(planned, free, monkeypatch):
    monkeypatch.setattr(plan, 'available_bytes', lambda: 10**12)
    assert main(['plan', *free]) == 0
    assert planned[0][2] > 10**12


def test_a_system_that_does_not_tell_its_memory_needs_a_size(planned, free, monkeypatch, capsys):
    monkeypatch.setattr(plan, 'available_bytes', lambda: None)
    assert main(['plan', *free]) == 2
    assert 'Pass it, e.g. memory=8GB.' in capsys.readouterr().err


def test_a_plan_that_does_not_fit_is_printed_and_told(planned, free, capsys):
    assert main(['plan', *free, 'memory=1MB']) == 2
    shown = capsys.readouterr()
    assert '1.10 MB of 1.00 MB' in shown.out
    assert shown.err.startswith("pygas plan: 'memory' must be 1.10 MB at least for the leanest")


def test_a_shape_stands_for_a_graph(planned):
    shape = ['num_nodes=1_000', 'num_edges=5000', 'num_features=7', 'num_classes=3', 'halo=0.5']
    assert main(['plan', *shape, 'mapped=true', 'memory=4GB', 'device=cpu']) == 0
    ((settings, _, _, _, channels),) = planned
    assert channels == (7, 3)
    assert (settings['num_parts'], settings['batch_size']) == ('auto', 'auto')


@pytest.mark.parametrize(('arguments', 'text'), [
    (['num_nodes=5'], 'the shape of a graph needs num_nodes, num_edges, num_features'),
    (['num_nodes=x', 'num_edges=5', 'num_features=5'], "'num_nodes' must be a whole number"),
    (['num_nodes=5', 'num_nodes=5'], "an option can be given once (got 'num_nodes' twice)"),
    (['num_nodes=5', 'num_edges=5', 'num_features=5', 'dataset=cora'], 'and no data set'),
    (['num_nodes=0', 'num_edges=5', 'num_features=5'], "'num_nodes' must be a whole number from 1"),
    (['num_nodes=5', 'num_edges=5', 'num_features=5', 'halo=-1'], "'halo' must be a number of"),
    (['memory=8QB'], "'memory' must be a number of bytes"),
    (['memory=-5'], "'memory' must be a number of bytes"),
    (['resume=runs/x'], 'a plan is for a new training'),
    (['num_part=5'], 'Did you mean num_parts'),
    (['device=tpu'], "'device' must be auto, cpu, cuda"),
    (['nonsense'], 'options must be KEY=VALUE'),
    (['partition=best', 'memory=4GB', 'device=cpu'], "'partition' must be auto or one installed"),
    (['num_parts=99', 'memory=4GB', 'device=cpu'], "'num_parts' must be at most 24"),
    (['memory=1MB', 'device=cpu'], "'memory' must be more than this process takes already"),
])  # fmt: skip
def test_wrong_arguments_are_told(arguments, text, graph, capsys):
    is_shape = arguments[0].startswith('num_nodes')
    assert main(['plan', *([] if is_shape else [f'dataset={graph}']), *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert error.startswith('pygas')


def test_the_help_lists_what_a_shape_consists_of(capsys):
    assert main(['plan', '--help']) == 0
    out = capsys.readouterr().out
    assert 'num_features=???' in out
    assert 'mapped=false' in out


# pygas train memory= #############################################################


def test_a_training_follows_its_plan(planned, free, tmp_path, capsys):
    assert main(['train', *free, 'memory=4GB', 'full=false']) == 0
    record = json.loads((tmp_path / 'run' / 'record.json').read_text())
    assert record['settings']['num_parts'] == 6
    assert record['partition']['batch_size'] == 2
    assert (
        record['settings']['history'] | {'tier': 'disk', 'dtype': 'int8'}
        == (record['settings']['history'])
    )
    (run,) = record['runs']
    assert run['settings']['history_tier'] == 'disk'
    assert 'history.tier                   disk' in capsys.readouterr().out


def test_a_training_whose_plan_does_not_fit_leaves_nothing(planned, free, tmp_path, capsys):
    assert main(['train', *free, 'memory=1MB', 'full=false']) == 2
    assert capsys.readouterr().err.startswith("pygas train: 'memory' must be 1.10 MB at least")
    assert not (tmp_path / 'run').exists()


def test_what_was_given_by_name_is_a_wish():
    found = wishes('num_parts=9', 'batch_size=3', 'history.tier=disk', 'history.dtype=int8')
    assert (found.num_parts, found.batch_size) == (9, 3)
    assert (found.history_tier, found.history_dtype) == ('disk', 'int8')
    assert wishes('history.cache=2kB').history_cache == 2000
    assert wishes('full=true').full_batch is True
    assert wishes('measure_memory=false').measure_memory is False


def test_what_a_recipe_says_is_where_a_plan_starts():
    found = wishes()  # of GCN on WordNet
    assert found == Wishes(
        usual_num_parts=64, usual_batch_size=8, measure_memory=None, full_batch=None
    )


def test_settings_follow_a_choice():
    settings = compose(['history.cache=1MB'])
    followed = follow(settings, Choice(6, 2, 'disk', 'int8', full_batch=False), 'float32')
    assert (followed['num_parts'], followed['batch_size']) == (6, 2)
    assert followed['history'] == {**settings['history'], 'tier': 'disk', 'dtype': 'int8'}
    assert followed['full']['run'] is False
    assert follow(settings, Choice(6, 2), 'float32')['history']['dtype'] == 'auto'
