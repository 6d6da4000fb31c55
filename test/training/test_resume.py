"""A resumed training ends where an uninterrupted one does, to the bit."""

import errno
import itertools
import os
import random
import re
import shutil
import signal
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.nn import GATConv, SAGEConv

from torch_geometric_autoscale import History, models
from torch_geometric_autoscale.conversion.as_model import ConvertedGNN
from torch_geometric_autoscale.training import CheckpointFolder, CheckpointWarning, train
from torch_geometric_autoscale.training import loop as loop_module
from torch_geometric_autoscale.training.reporter import Reporter

from .killed import finish, kill_amid, start, start_server
from .killed import saved as states_in
from .test_loop import numbers
from .tiny import N, tiny_data, tiny_model, tiny_ptr, tiny_settings

EVERY_BATCH = {'checkpoint_every': '1batch', 'epochs': 2}


class Killed(Exception):
    pass


def same_model(model, other):
    state, expected = model.state_dict(), other.state_dict()
    assert list(state) == list(expected)
    for name, value in expected.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(state[name], value), name
        else:
            assert torch.equal(state[name]['emb'], value['emb']), name
            assert state[name]['graph'] == value['graph']


def interrupted_before(monkeypatch, step, work):
    """Run ``work`` until it is about to take its step number ``step``."""
    original, taken = loop_module._Trainer._forward_backward, itertools.count(1)

    def counted(self, *args, **kwargs):
        if next(taken) == step:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(loop_module._Trainer, '_forward_backward', counted)
        with pytest.raises(Killed):
            work()


@pytest.mark.parametrize('tier', ['ram', 'disk'])
@pytest.mark.parametrize('step', range(2, 6))
def test_a_run_may_end_after_any_batch(tmp_path, monkeypatch, tier, step):
    settings = tiny_settings(**EVERY_BATCH, history_tier=tier)
    model, data = tiny_model(batch_norm=True), tiny_data()
    expected = train(model, data, tiny_ptr(), tiny_settings(epochs=2), log=False)

    def again(model):
        return train(
            model, data, tiny_ptr(), settings, checkpoints=tmp_path, resume=True, log=False
        )

    interrupted_before(monkeypatch, step, lambda: again(tiny_model(batch_norm=True)))
    resumed = tiny_model(seed=1, batch_norm=True)
    run = again(resumed)
    assert numbers(run) == numbers(expected)
    assert run.best == run.epochs[run.best.epoch - 1]
    assert run.halo_per_batch_node == expected.halo_per_batch_node
    same_model(resumed, model)
    assert resumed.histories[0].tier == tier


def narrow_gcn():
    """A model whose first layer narrows: its features' product with the graph is kept."""
    torch.manual_seed(0)
    return models.GCN(N, 40, 4, 3, 3, dropout=0.3, drop_input=False, batch_norm=True)


def narrow_sage():
    torch.manual_seed(0)
    return models.SAGE(N, 40, 4, 3, 3, dropout=0.3, drop_input=False)


def gat():
    torch.manual_seed(0)
    return models.GAT(N, 40, 4, 3, hidden_heads=2, out_heads=1, num_layers=2, dropout=0.3)


@pytest.mark.parametrize('make', [narrow_gcn, narrow_sage, gat])
@pytest.mark.parametrize('step', [3, 6, 8])
def test_what_is_found_out_on_first_calls_changes_no_bit(tmp_path, monkeypatch, make, step):
    data = tiny_data()
    data.x = torch.randn(N, 40, generator=torch.Generator().manual_seed(0))
    settings = tiny_settings(epochs=4, eval_every=2, checkpoint_every='1batch')
    model, resumed = make(), make()
    expected = train(model, data, tiny_ptr(), settings, log=False)
    go = partial(
        train, resumed, data, tiny_ptr(), settings, checkpoints=tmp_path, resume=True, log=False
    )
    interrupted_before(monkeypatch, step, go)
    resumed = make()  # a new process knows nothing of first calls
    go = partial(
        train, resumed, data, tiny_ptr(), settings, checkpoints=tmp_path, resume=True, log=False
    )
    assert numbers(go()) == numbers(expected)
    same_model(resumed, model)


@pytest.mark.parametrize(
    'changes',
    [
        {'mode': 'full', 'epochs': 5}, {'schedule': 'onecycle', 'eval_every': 2, 'epochs': 3},
        {'max_steps': 2, 'batch_size': 1}, {'drop_unlabelled': True, 'grad_norm': 0.1},
        {'num_workers': 2}, {'reg_weight_decay': 0.1, 'loss_weighting': 'full'},
        {'measure_memory': True},
    ],
    ids=str,
)  # fmt: skip
def test_settings_of_every_kind_are_resumed(tmp_path, monkeypatch, changes):
    settings = tiny_settings(**{**EVERY_BATCH, **changes})
    model, data = tiny_model(dropout=0.0), tiny_data()
    expected = train(model, data, tiny_ptr(), settings, log=False)
    resumed = tiny_model(dropout=0.0)
    arguments = (resumed, data, tiny_ptr(), settings)
    options = {'checkpoints': tmp_path, 'resume': True, 'log': False}
    # The memory of a step is measured with steps of its own.
    step = 4 + 3 * settings.measure_memory
    interrupted_before(monkeypatch, step, lambda: train(*arguments, **options))
    run = train(*arguments, **options)
    assert numbers(run) == numbers(expected)
    assert run.step_peak_bytes == expected.step_peak_bytes
    same_model(resumed, model)


def test_a_checkpoint_at_the_end_of_an_epoch_does_not_repeat_it(tmp_path, monkeypatch):
    data, settings = tiny_data(), tiny_settings(**EVERY_BATCH, max_steps=2, batch_size=1)
    expected = train(tiny_model(), data, tiny_ptr(3), settings, log=False)
    arguments = (tiny_model(), data, tiny_ptr(3), settings)
    options = {'checkpoints': tmp_path, 'resume': True, 'log': False}
    with monkeypatch.context() as patch:

        def end(*args):
            raise Killed

        patch.setattr(loop_module._Trainer, '_end_epoch', end)
        with pytest.raises(Killed):
            train(*arguments, **options)
    assert numbers(train(*arguments, **options)) == numbers(expected)


def test_what_changes_no_number_may_change(tmp_path, monkeypatch):
    model, data = tiny_model(), tiny_data()
    expected = train(model, data, tiny_ptr(), tiny_settings(epochs=2), log=False)
    resumed = tiny_model()
    options = {'checkpoints': tmp_path, 'resume': True, 'log': False}
    for step, changes in [(2, {'history_tier': 'disk'}), (2, {'num_workers': 2}), (None, {})]:
        settings = tiny_settings(**EVERY_BATCH, **changes)
        go = partial(train, resumed, data, tiny_ptr(), settings, **options)
        run = go() if step is None else interrupted_before(monkeypatch, step, go)
    assert numbers(run) == numbers(expected)
    same_model(resumed, model)


def test_random_states_of_python_and_numpy_are_resumed(tmp_path, monkeypatch):
    drawn: dict[bool, list] = {True: [], False: []}

    def drawing(into):
        def loss(out, y):
            into.append((random.random(), float(np.random.rand()), np.random.randn()))
            return torch.nn.functional.cross_entropy(out, y)

        return loss

    data, settings = tiny_data(), tiny_settings(**EVERY_BATCH)
    random.seed(0), np.random.seed(0)
    train(tiny_model(), data, tiny_ptr(), settings, log=False, loss_fn=drawing(drawn[True]))
    random.seed(0), np.random.seed(0)
    go = partial(
        train, tiny_model(), data, tiny_ptr(), settings, checkpoints=tmp_path, resume=True,
        log=False, loss_fn=drawing(drawn[False]),
    )  # fmt: skip
    interrupted_before(monkeypatch, 4, go)
    random.seed(1), np.random.seed(1)
    go()
    assert drawn[False] == drawn[True]


def test_the_three_lines_of_the_readme_start_and_resume(tmp_path, monkeypatch):
    readme = (Path(__file__).parents[2] / 'README.md').read_text('utf-8')
    (code,) = re.findall(r'```py\n(.*?)```', readme, re.DOTALL)
    code = code.replace('epochs=40', 'epochs=3').replace('5min', '1batch')
    names = {'model': tiny_model(), 'data': tiny_data(), 'ptr': tiny_ptr()}
    monkeypatch.chdir(tmp_path)
    interrupted_before(monkeypatch, 3, lambda: exec(code, names))
    exec(code, names)
    assert len(names['run'].epochs) == 3
    assert list((tmp_path / 'runs' / 'mine').glob('state-*'))


def test_a_finished_training_is_brought_back_as_it_ended(tmp_path):
    model, data, settings = tiny_model(), tiny_data(), tiny_settings()
    run = train(model, data, tiny_ptr(), settings, checkpoints=tmp_path, log=False)
    files = sorted(tmp_path.iterdir())
    again = tiny_model(seed=1)
    repeated = train(
        again, data, tiny_ptr(), settings, checkpoints=tmp_path, resume=True, log=False
    )
    assert numbers(repeated) == numbers(run)
    assert repeated.seconds == run.seconds
    same_model(again, model)
    assert sorted(tmp_path.iterdir()) == files


def test_where_a_run_is_resumed_is_printed(tmp_path, monkeypatch, capsys):
    settings = tiny_settings(**EVERY_BATCH)
    go = partial(
        train, tiny_model(), tiny_data(), tiny_ptr(), settings, checkpoints=tmp_path, resume=True
    )
    interrupted_before(monkeypatch, 3, go)
    capsys.readouterr()
    go()
    line = capsys.readouterr().out.splitlines()[0]
    assert line == 'Histories: resumed from state-000003.pygas, at epoch 1, 3 of its batches done'


# Ctrl-C ##########################################################################


def pressing(monkeypatch, step, times):
    original, taken = loop_module._Trainer._forward_backward, itertools.count(1)

    def press(self, *args, **kwargs):
        if next(taken) == step:
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(loop_module._Trainer, '_forward_backward', press)


@pytest.mark.parametrize('step', [1, 2, 4])
@pytest.mark.parametrize('num_workers', [0, 2])
def test_ctrl_c_saves_after_the_batch_at_hand(tmp_path, monkeypatch, step, num_workers):
    model, data = tiny_model(), tiny_data()
    settings = tiny_settings(num_workers=num_workers)
    expected = train(model, data, tiny_ptr(), settings, log=False)
    resumed = tiny_model()
    go = partial(train, resumed, data, tiny_ptr(), settings, checkpoints=tmp_path, log=False)
    with monkeypatch.context() as patch:
        pressing(patch, step, times=1)
        run = go()
    assert run.interrupted
    assert run.test is not None
    run = go(resume=True)
    assert not run.interrupted
    assert numbers(run) == numbers(expected)
    same_model(resumed, model)


def test_a_second_ctrl_c_leaves_the_last_checkpoint_whole(tmp_path, monkeypatch):
    model, data, settings = tiny_model(), tiny_data(), tiny_settings(**EVERY_BATCH)
    expected = train(model, data, tiny_ptr(), settings, log=False)
    go = partial(train, tiny_model(), data, tiny_ptr(), settings, checkpoints=tmp_path, log=False)
    with monkeypatch.context() as patch:
        pressing(patch, 3, times=2)
        with pytest.raises(KeyboardInterrupt):
            go()
    assert numbers(go(resume=True)) == numbers(expected)


# What is refused #################################################################


@pytest.fixture
def saved(tmp_path):
    train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), checkpoints=tmp_path, log=False)
    return tmp_path


def with_dtype(dtype):
    model = tiny_model()
    model.histories[0] = History(N, 8, dtype=dtype)
    return model


def other_edges():
    data = tiny_data()
    data.edge_index = data.edge_index[:, 1:]
    return data


def other_features():
    data = tiny_data()
    data.x = data.x.clone()
    data.x[3, 2] += 1
    return data


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'model': lambda: tiny_model(batch_norm=True)},
            'model .*got batch_norm False, here True',
        ),
        ({'model': lambda: tiny_model().double()}, r'model .*float32 .*, here float64'),
        ({'data': other_edges}, 'graph .*got fingerprint [0-9a-f]+, here .*Load the graph'),
        ({'data': other_features}, r'data .*got x \(24, 5\) .*Pass the features'),
        ({'ptr': lambda: tiny_ptr(3)}, r"partition .*got parts 6, here 3\). Pass the 'ptr'"),
        ({'settings': lambda: tiny_settings(lr=0.5)}, r'settings .*got lr 0.01, here 0.5'),
        ({'settings': lambda: tiny_settings(epochs=9)}, r'settings .*got epochs 3, here 9'),
        ({'model': lambda: tiny_model(dropout=0.5)}, r'model .*got dropout 0.3, here 0.5'),
        ({'model': lambda: tiny_model(residual=True)}, r'model .*got residual False, here True'),
    ],
)
def test_a_checkpoint_of_another_run_is_refused_and_nothing_changes(saved, changes, message):
    made = {'model': tiny_model, 'data': tiny_data, 'ptr': tiny_ptr, 'settings': tiny_settings}
    model, data, ptr, settings = (changes.get(name, made[name])() for name in made)
    before = {path: path.read_bytes() for path in saved.iterdir()}
    weights = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(ValueError, match=f'must be a checkpoint of the same {message}'):
        train(model, data, ptr, settings, checkpoints=saved, resume=True, log=False)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), weights, strict=True))
    assert {path: path.read_bytes() for path in saved.iterdir()} == before


@pytest.mark.parametrize(
    ('there', 'here', 'got'),
    [
        (torch.bfloat16, None, 'bfloat16, as chosen, here float32, the default'),
        (torch.float64, None, 'float64, as chosen, here float32, the default'),
        (torch.float64, torch.float32, 'float64, as chosen, here float32, as chosen'),
        (None, torch.bfloat16, 'float32, the default, here bfloat16, as chosen'),
    ],
)
def test_a_table_of_another_type_is_refused_and_stays(tmp_path, there, here, got):
    arguments = (tiny_data(), tiny_ptr(), tiny_settings(epochs=1))
    train(with_dtype(there), *arguments, checkpoints=tmp_path, log=False)
    model = with_dtype(here)
    with pytest.raises(ValueError, match=rf"same type \(got table 0 of {got}\). .*'dtype' of th"):
        train(model, *arguments, checkpoints=tmp_path, resume=True, log=False)
    assert model.histories[0].dtype == (here or torch.float32)
    assert not model.histories[0].emb.any()


def test_a_table_that_its_rows_have_widened_is_taken(tmp_path, monkeypatch):
    data, settings = tiny_data(), tiny_settings(**EVERY_BATCH)
    data.x = data.x.double()
    model, resumed = tiny_model().double(), tiny_model().double()
    expected = train(model, data, tiny_ptr(), settings, log=False)
    go = partial(
        train, data=data, ptr=tiny_ptr(), settings=settings, checkpoints=tmp_path, resume=True,
        log=False,
    )  # fmt: skip
    interrupted_before(monkeypatch, 3, lambda: go(tiny_model().double()))
    assert numbers(go(resumed)) == numbers(expected)
    same_model(resumed, model)


class Plain(torch.nn.Module):
    """Two operators whose options change no tensor's shape."""

    def __init__(self, heads=2, aggr='mean', act=torch.relu, norm=torch.nn.ReLU):
        super().__init__()
        self.first = GATConv(5, 8 // heads, heads=heads)
        self.second = SAGEConv(8, 3, aggr=aggr)
        self.act, self.norm = act, norm()

    def forward(self, x, edge_index):
        return self.second(self.norm(self.act(self.first(x, edge_index))), edge_index)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'aggr': 'max'}, "got module.second.aggr 'mean', here 'max'"),
        ({'act': torch.tanh}, 'got module.act .*relu, here .*tanh'),
        ({'norm': torch.nn.Tanh}, 'got class of module.norm .*ReLU, here .*Tanh'),
        ({'heads': 4}, r'got module.first.att_src float32 \(1, 2, 4\), here'),
    ],
)
def test_a_converted_module_with_other_options_is_refused(tmp_path, changes, message):
    def go(**options):
        torch.manual_seed(0)
        model = ConvertedGNN(Plain(**options), tiny_data(), tiny_ptr())
        return train(
            model, tiny_data(), tiny_ptr(), tiny_settings(epochs=1), checkpoints=tmp_path,
            resume=True, log=False,
        )  # fmt: skip

    run = go()
    assert numbers(go()) == numbers(run)
    with pytest.raises(ValueError, match=f'of the same model .*{message}'):
        go(**changes)


def doubled_loss(out, y):
    return 2 * torch.nn.functional.cross_entropy(out, y)


@pytest.mark.parametrize(
    'loss_fn', [doubled_loss, torch.nn.CrossEntropyLoss(label_smoothing=0.1)], ids=['own', 'module']
)
def test_another_loss_is_refused(saved, loss_fn):
    with pytest.raises(ValueError, match=r'same functions .*got loss_fn .*classification_loss, he'):
        train(
            tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), checkpoints=saved, resume=True,
            log=False, loss_fn=loss_fn,
        )  # fmt: skip


def test_another_number_of_threads_is_told(saved, monkeypatch):
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, 'get_num_threads', lambda: threads + 1)
    told = f'with {threads} threads, here it goes on with {threads + 1}: the last bits'
    with pytest.warns(CheckpointWarning, match=told):
        train(
            tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), checkpoints=saved, resume=True,
            log=False,
        )  # fmt: skip


def with_seconds(tmp_path, max_seconds):
    data = tiny_data(train=(0, 4, 8, 12, 16, 20))  # three batches with a step per epoch
    settings = tiny_settings(
        epochs=4, checkpoint_every='1batch', max_seconds=max_seconds, eval_every=9
    )
    return train(
        tiny_model(), data, tiny_ptr(), settings, checkpoints=tmp_path, resume=True, log=False
    )


@pytest.mark.parametrize(('step', 'epochs'), [(2, 1), (4, 1), (5, 2)])
def test_the_seconds_may_be_others_and_an_epoch_is_finished(tmp_path, monkeypatch, step, epochs):
    interrupted_before(monkeypatch, step, lambda: with_seconds(tmp_path, 500.0))
    run = with_seconds(tmp_path, 1e-9)
    assert len(run.epochs) == epochs
    assert run.epochs[-1].val is not None
    assert numbers(with_seconds(tmp_path, 1e-9)) == numbers(run)


def test_a_run_that_other_seconds_have_ended_is_evaluated(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Reporter, 'epoch', lambda *_: os.kill(os.getpid(), signal.SIGINT))
        assert with_seconds(tmp_path, 500.0).interrupted
    run = with_seconds(tmp_path, 1e-9)
    assert (run.interrupted, len(run.epochs)) == (False, 1)
    assert run.best is run.epochs[0]
    assert numbers(with_seconds(tmp_path, 1e-9)) == numbers(run)


def test_checkpoints_are_not_overwritten_unasked(saved):
    with pytest.raises(ValueError, match=r'holds some\). Pass resume=True to go on from them'):
        train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), checkpoints=saved, log=False)


def test_a_resume_needs_a_folder():
    with pytest.raises(ValueError, match=r"'resume' needs the folder of the checkpoints"):
        train(tiny_model(), tiny_data(), tiny_ptr(), tiny_settings(), resume=True, log=False)


def test_a_damaged_checkpoint_costs_one_interval(tmp_path, monkeypatch):
    model, data, settings = tiny_model(), tiny_data(), tiny_settings(**EVERY_BATCH)
    expected = train(model, data, tiny_ptr(), settings, log=False)
    resumed = tiny_model()
    go = partial(
        train, resumed, data, tiny_ptr(), settings, checkpoints=tmp_path, resume=True, log=False
    )
    interrupted_before(monkeypatch, 5, go)
    newest = max(tmp_path.glob('state-*'))
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(CheckpointWarning, match='a file cut short'):
        run = go()
    assert numbers(run) == numbers(expected)
    same_model(resumed, model)


# A disk that is full #############################################################


def test_a_full_disk_is_told_and_the_training_goes_on(tmp_path, monkeypatch):
    model, data, settings = tiny_model(), tiny_data(), tiny_settings(**EVERY_BATCH)
    expected = train(tiny_model(), data, tiny_ptr(), settings, log=False)
    original, saves = CheckpointFolder.save, itertools.count(1)

    def save(self, state):
        if next(saves) in (1, 3):
            raise OSError(errno.ENOSPC, 'No space left on device')
        return original(self, state)

    monkeypatch.setattr(CheckpointFolder, 'save', save)
    with pytest.warns(CheckpointWarning) as told:
        run = train(model, data, tiny_ptr(), settings, checkpoints=tmp_path, log=False)
    assert numbers(run) == numbers(expected)
    first, second = (str(warning.message) for warning in told)
    assert 'could not be written' in first
    assert '(No space left on device); there is none so far. The training goes on' in first
    assert "the last one is 'state-000001.pygas'" in second
    assert [path.name for path in sorted(tmp_path.glob('state-*'))][-1] > 'state-000002.pygas'


# SIGKILL #########################################################################


def ends_as_if_nothing_had_been(folder, kills, *arguments):
    """Kill a training amid its states, resuming it each time, until its end is reached."""
    start_server()
    expected = finish(folder / 'uninterrupted', *arguments)
    moments, found = random.Random(os.urandom(8)), folder / 'killed'
    found.mkdir()
    after: list[int] = []
    while len(after) < kills:
        process = start(found, *arguments)
        if kill_amid(process, found, moments) and not (found / 'end').exists():
            after.append(states_in(found))
        elif (found / 'end').exists():  # too early: begin another
            assert (found / 'end').read_bytes() == expected
            shutil.rmtree(found)
            found.mkdir()
    print(f'killed after states {after} of {states_in(folder / "uninterrupted")}')
    assert min(after) > 0
    return finish(found, *arguments) == expected


@pytest.mark.parametrize('tier', ['ram', 'disk'])
@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_run_killed_at_random_moments_ends_as_if_nothing_had_been(tmp_path, tier, num_workers):
    assert ends_as_if_nothing_had_been(tmp_path, 3, 6, tier, num_workers)


@pytest.mark.slow
@pytest.mark.parametrize('tier', ['ram', 'disk'])
@pytest.mark.parametrize('num_workers', [0, 2])
def test_a_run_killed_twenty_times_ends_as_if_nothing_had_been(tmp_path, tier, num_workers):
    assert ends_as_if_nothing_had_been(tmp_path, 20, 20, tier, num_workers)
