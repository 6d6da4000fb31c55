"""A training is told in one option how its histories are kept."""

import functools
import importlib
import json
from argparse import ArgumentParser
from functools import partial

import numpy as np
import pytest
import torch

from torch_geometric_autoscale import EvalSubgraphLoader, History
from torch_geometric_autoscale.cli import main
from torch_geometric_autoscale.cli.finished import add_run_arguments, load_run
from torch_geometric_autoscale.conversion.as_model import ConvertedGNN
from torch_geometric_autoscale.history import DTYPES, TIERS
from torch_geometric_autoscale.training import TrainSettings, train

from ..benchmark.conftest import SUITES, experiment_of
from ..cli.conftest import graph, options  # noqa: F401
from ..training.test_loop import numbers
from ..training.test_resume import interrupted_before
from ..training.tiny import N, tiny_data, tiny_model, tiny_ptr, tiny_settings
from .test_move import two_layers


@pytest.fixture(autouse=True)
def _no_picture(monkeypatch):
    """Drawing takes longer than these trainings."""
    module = importlib.import_module('torch_geometric_autoscale.cli.train')
    monkeypatch.setattr(module, 'plot_accuracy', lambda path, *_: path.touch())


@functools.cache
def trained(**changes):
    model = tiny_model(num_layers=3, batch_norm=True)
    settings = tiny_settings(**changes)
    return train(model, tiny_data(), tiny_ptr(), settings, log=False), model


def tables(model) -> list[torch.Tensor]:
    return [history.pull() for history in model.histories]


@pytest.mark.parametrize('cache', [None, '2kB'])
@pytest.mark.parametrize('tier', TIERS)
def test_medium_and_cache_change_no_bit_of_a_training(tier, cache):
    expected, model = trained()
    run, other = trained(history_tier=tier, history_cache=cache)
    assert numbers(run) == numbers(expected)
    assert all(map(torch.equal, tables(other), tables(model)))
    assert [history.tier for history in other.histories] == [tier] * 2
    if cache:
        assert min(history.cache_hit_rate for history in other.histories) > 0


@pytest.mark.parametrize('dtype', DTYPES)
def test_a_training_keeps_its_histories_in_a_type(dtype):
    run, model = trained(history_dtype=dtype)
    expected, _ = trained()
    assert [history.dtype for history in model.histories] == [DTYPES[dtype]] * 2
    losses = [(a.loss, b.loss) for a, b in zip(run.epochs, expected.epochs, strict=True)]
    if dtype in ('float32', 'float64'):
        assert numbers(run) == numbers(expected)
    else:  # rounding shows in the losses, but barely
        assert 0 < max(abs(a - b) for a, b in losses) < 0.05
    # Outputs are exact, and so is what is evaluated.
    model.eval()
    loader = EvalSubgraphLoader(tiny_data(), tiny_ptr(), log=False)
    whole = model(
        tiny_data().x, next(iter(EvalSubgraphLoader(tiny_data(), tiny_ptr(1), log=False))).adj_t
    )
    torch.testing.assert_close(model(loader=loader), whole)
    torch.testing.assert_close(model.refresh(loader), whole)


@pytest.mark.parametrize('step', [2, 5])
@pytest.mark.parametrize('tier', ['ram', 'disk'])
@pytest.mark.parametrize('dtype', ['int8', 'bfloat16'])
def test_an_interrupted_training_goes_on_to_the_bit(tmp_path, monkeypatch, dtype, tier, step):
    changes = {
        'history_tier': tier, 'history_dtype': dtype, 'history_cache': '2kB', 'epochs': 2,
        'checkpoint_every': '1batch', 'eval_every': 2,
    }  # fmt: skip
    expected, model = trained(**changes)
    resumed = tiny_model(num_layers=3, batch_norm=True)
    go = partial(
        train, resumed, tiny_data(), tiny_ptr(), tiny_settings(**changes), checkpoints=tmp_path,
        resume=True, log=False,
    )  # fmt: skip
    interrupted_before(monkeypatch, step, go)
    assert numbers(go()) == numbers(expected)
    assert all(map(torch.equal, tables(resumed), tables(model)))
    assert [history.dtype for history in resumed.histories] == [DTYPES[dtype]] * 2


@pytest.mark.parametrize(
    ('there', 'here', 'message'),
    [
        ('int8', 'auto', 'table 0 of int8, as chosen, here float32, the default'),
        ('int8', 'bfloat16', 'table 0 of int8, as chosen, here bfloat16, as chosen'),
        ('auto', 'int8', 'table 0 of float32, the default, here int8, as chosen'),
    ],
)
def test_checkpoints_of_histories_of_another_type_are_refused(tmp_path, there, here, message):
    go = partial(train, data=tiny_data(), ptr=tiny_ptr(), checkpoints=tmp_path, log=False)
    go(tiny_model(), settings=tiny_settings(epochs=1, history_dtype=there))
    with pytest.raises(ValueError, match=rf'of histories of the same type \(got {message}\)'):
        go(tiny_model(), settings=tiny_settings(epochs=1, history_dtype=here), resume=True)
    moved = tiny_settings(epochs=1, history_dtype=there, history_tier='disk', history_cache='1kB')
    go(tiny_model(), settings=moved, resume=True)


def test_histories_stay_as_a_model_has_them():
    model = tiny_model()
    model.histories[0] = History(N, 8, dtype='int8', tier='disk', cache_size_in_bytes='1kB')
    train(model, tiny_data(), tiny_ptr(), tiny_settings(epochs=1), log=False)
    assert repr(model.histories[0]).endswith('torch.int8, tier=disk, cache_size_in_bytes=1000)')


def test_a_number_that_does_not_fit_ends_a_training_with_a_message():
    data = tiny_data()
    data.x = 1e8 * data.x
    with pytest.raises(ValueError, match=r"must fit the type .*float16: at most 65504 .*bfloat16'"):
        train(tiny_model(), data, tiny_ptr(), tiny_settings(history_dtype='float16'), log=False)


def test_a_converted_module_is_told_the_same():
    model = ConvertedGNN(two_layers(), tiny_data(), tiny_ptr())
    settings = tiny_settings(history_tier='disk', history_dtype='int8', history_cache='1kB')
    train(model, tiny_data(), tiny_ptr(), settings, log=False)
    (history,) = model.gas.histories
    assert (history.tier, history.dtype) == ('disk', torch.int8)
    assert history.emb.any()


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('history_tier', 'tape', r"'history_tier' must be one of ram, .*, disk \(got 'tape'\)"),
        ('history_dtype', 'int4', r"'history_dtype' must be one of auto, .*, int8 \(got 'int4'\)"),
        ('history_dtype', torch.int8, r"'history_dtype' must be one of .* \(got torch.int8\)"),
        ('history_cache', 'big', r"'history_cache' must be a number of bytes from 1 on .* 'big'"),
        ('history_cache', -1, r"'history_cache' must be a number of bytes from 1 on \(got -1\)"),
    ],
)
def test_settings_refuse_what_no_history_can_be(name, value, message):
    with pytest.raises(ValueError, match=f'TrainSettings: {message}'):
        TrainSettings(**{name: value})


# Command line ####################################################################

NARROW = ['history.tier=disk', 'history.dtype=int8', 'history.cache=4kB', 'measure_memory=false']


def test_a_job_keeps_its_histories_as_it_is_told(options, tmp_path, capsys):  # noqa: F811
    assert main(['train', *options, *NARROW, 'full.epochs=1']) == 0
    record = json.loads((tmp_path / 'run' / 'record.json').read_text())
    for run in record['runs']:
        settings = run['settings']
        assert (settings['history_tier'], settings['history_dtype']) == ('disk', 'int8')
        assert settings['history_cache'] == '4kB'
    kept = record['runs'][0]['histories']
    # Codes of eight channels and a scale for each of 24 nodes.
    assert (kept['tables'], kept['tiers'], kept['bytes']) == (1, ['disk'], 24 * (8 + 4))
    assert (kept['dtypes'], kept['cache_bytes']) == (['int8'], 4000)
    share = f'rows of histories found in the cache {100 * kept["cache_hit_rate"]:.1f}% -'
    assert share in ' '.join(capsys.readouterr().out.split())
    parser = add_arguments()
    finished = load_run(parser.parse_args([str(tmp_path / 'run')]))
    (history,) = finished.model.histories
    assert (history.tier, history.dtype) == ('disk', torch.int8)
    assert history.emb.any()
    assert main(['evaluate', str(tmp_path / 'run')]) == 0
    test = record['runs'][0]['test']
    assert f'{test:.2f}%' in capsys.readouterr().out


def add_arguments():
    parser = ArgumentParser()
    add_run_arguments(parser)
    return parser


def test_predicted_embeddings_are_exact(options, tmp_path):  # noqa: F811
    assert main(['train', *options, *NARROW, 'full=false']) == 0
    assert main(['predict', str(tmp_path / 'run'), '--what', 'embeddings']) == 0
    found = torch.from_numpy(np.load(tmp_path / 'run' / 'embeddings.npy'))
    finished = load_run(add_arguments().parse_args([str(tmp_path / 'run')]))
    finished.model.histories[0].move_to(dtype='float64')
    finished.model.refresh(finished.loader)
    expected = torch.empty_like(found)
    expected[finished.job.perm] = finished.model.histories[0].pull().float()
    assert torch.equal(found, expected)


def test_the_medium_may_be_another_when_a_job_goes_on(options, tmp_path, monkeypatch):  # noqa: F811
    begin = ['train', *options, *NARROW, 'full=false', 'checkpoint.every=1batch']
    interrupted_before(monkeypatch, 5, lambda: main(begin))
    resume = ['train', f'resume={tmp_path / "run"}']
    assert main([*resume, 'history.dtype=auto']) == 2
    assert main([*resume, 'history.tier=ram', 'history.cache=null']) == 0
    assert main([*begin, f'out={tmp_path / "other"}']) == 0
    runs = [
        json.loads((tmp_path / name / 'record.json').read_text())['runs'][0]
        for name in ('run', 'other')
    ]
    assert [epoch['loss'] for epoch in runs[0]['epochs']] == [
        epoch['loss'] for epoch in runs[1]['epochs']
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a device to pin memory for')
def test_pinned_memory_without_a_device_is_told_before_anything_is_loaded(
    options, tmp_path, monkeypatch, capsys  # noqa: F811
):  # fmt: skip
    def no_device(*args, pin_memory=False, **kwargs):
        raise RuntimeError('no accelerator')

    monkeypatch.setattr(torch, 'empty', no_device)
    assert main(['train', *options, 'history.tier=pinned']) == 2
    message = "pygas train: memory is 'pinned' for an accelerator (got a machine without one)."
    assert capsys.readouterr().err.startswith(message)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('history.dtype=int4', "'history_dtype' must be one of auto, float64, float32, bfloat16, "),
        ('history.cache=big', "'history_cache' must be a number of bytes from 1 on (got 'big')"),
        ('history.size=3', "the option must exist (got 'history.size')"),
    ],
)
def test_wrong_options_are_told(options, tmp_path, capsys, option, message):  # noqa: F811
    assert main(['train', *options, option]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


# Benchmark suites ################################################################


def test_a_suite_tells_types_of_histories_apart_but_not_media():
    plain, moved, narrow = (
        experiment_of(SUITES['small'], 'model=gcn', 'dataset=cora', *more)
        for more in (
            [],
            ['history.tier=disk', 'history.cache=1MB'],
            ['history.dtype=int8'],
        )
    )
    assert moved.settings['changed'] == []
    assert moved.folder == plain.folder
    assert narrow.settings['changed'] == ['history.dtype']
    assert narrow.folder.name == 'gcn-cora-gas-int8'
    settings = narrow.train_settings(0, 10)
    assert (settings.history_tier, settings.history_dtype) == ('ram', 'int8')
    assert moved.train_settings(0, 10).history_cache == '1MB'
