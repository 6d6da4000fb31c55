"""Runs of an experiment: seeds, records, going on, modes, inductive data."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from torch_geometric_autoscale import ScalableGNN
from torch_geometric_autoscale.benchmark import main, run, subgraphs
from torch_geometric_autoscale.benchmark.arguments import experiments_of, spell_out
from torch_geometric_autoscale.benchmark.experiment import Experiment, _default_folder
from torch_geometric_autoscale.benchmark.graphs import cut, load
from torch_geometric_autoscale.benchmark.run import (
    Interrupted,
    mean_and_deviation,
    run_experiment,
)
from torch_geometric_autoscale.cli.job import build_model
from torch_geometric_autoscale.training import TrainSettings, train

from .conftest import ROOT


def record_of(folder: Path, seed: int = 0) -> Any:
    return json.loads((folder / 'run' / f'seed{seed}.json').read_text())


def test_a_script_ends_with_one_line_and_leaves_a_record_for_each_run(tmp_path):
    done = subprocess.run(
        [
            sys.executable, str(ROOT / 'small_benchmark' / 'main.py'), 'model=GCN',
            'dataset=coauthorcs', 'fake=true', 'epochs=2', 'seed=3', 'runs=2', 'device=cpu',
            'out=run',
        ],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith('test ')
    assert ' ± ' in done.stdout.splitlines()[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ['run']
    assert [path.name for path in sorted((tmp_path / 'run').iterdir())] == [
        'seed3.json', 'seed4.json',
    ]  # fmt: skip
    record = record_of(tmp_path, 4)
    assert (record['settings']['seed'], record['settings']['suite']) == (4, 'small')
    assert record['settings']['dataset']['name'] == 'coauthor-cs'
    assert str(tmp_path) not in json.dumps(record)


def test_a_sweep_runs_one_experiment_after_the_other(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ['-m', 'model=gcn,sage', 'dataset=wordnet', 'fake=true', 'epochs=1', 'device=cpu']
    assert main(ROOT / 'large_benchmark', arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith('test ') for line in lines) == 2
    folders = sorted(path.name for path in (tmp_path / 'runs' / 'large-fake').iterdir())
    assert folders == ['gcn-wordnet-gas', 'sage-wordnet-gas']


@pytest.mark.parametrize(
    ('sweep', 'message'),
    [
        (['model=gcn,pna', 'dataset=ppi,reddit'], '(got pna on reddit)'),
        (['dataset=wordnet', 'mode=gas,full', 'num_parts=4'], "'num_parts' has no effect with mod"),
        (['dataset=wordnet', 'seed=1,-1'], "'seed' must be a whole number from 0 on (got -1)"),
        (['model=gcn,gin'], '(got gin on wordnet)'),
        (
            ['model=gcn2,gcn', 'model.theta=1'],
            'model=gcn model.theta=1: Could not',
        ),
    ],
)
def test_a_sweep_with_a_wrong_experiment_runs_none(capsys, tmp_path, monkeypatch, sweep, message):
    monkeypatch.chdir(tmp_path)
    assert message in refused(capsys, 'large', '-m', 'fake=true', 'epochs=1', *sweep)
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_multiplies_lists_and_choices_but_not_values_that_are_lists(small):
    arguments = ['-m', 'model=gat,gcn', 'seed=[1,2]', 'epochs=choice(1,2)', '-cn', 'config', 'lr=1']
    assert experiments_of(small, spell_out(small, arguments)) == [
        [f'model={model}', 'seed=[1,2]', f'epochs={epochs}', 'lr=1']
        for model in ('gat', 'gcn') for epochs in (1, 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('scores', 'line'),
    [([71.0], '71.00 ± 0.00'), ([70.0, 72.0], '71.00 ± 1.41'), ([1.0, 2.0, 3.0], '2.00 ± 1.00')],
)
def test_the_deviation_is_that_of_a_sample(scores, line):
    assert mean_and_deviation(scores) == line


def test_runs_that_are_there_are_not_run_again(small, quick, capsys, monkeypatch, tmp_path):
    run_experiment(quick(small, 'runs=2'))
    before = (tmp_path / 'run' / 'seed1.json').read_bytes()
    seen: list[int] = []
    monkeypatch.setattr(run, 'train', lambda *a, **k: seen.append(a[3].seed) or train(*a, **k))
    capsys.readouterr()
    scores = run_experiment(quick(small, 'runs=3'))
    assert (seen, len(scores)) == ([2], 3)
    assert (tmp_path / 'run' / 'seed1.json').read_bytes() == before
    assert capsys.readouterr().out.startswith('2 of 3 runs are there')


def test_an_interrupted_run_leaves_no_record_and_goes_on_from_its_state(
    small, quick, monkeypatch, tmp_path
):
    def stopped(*args, **kwargs):
        done = train(*args, **kwargs)
        done.interrupted = True
        return done

    monkeypatch.setattr(run, 'train', stopped)
    experiment = quick(small)
    experiment.settings['fake'] = False  # stand-ins keep no state
    monkeypatch.setattr(run, 'load', lambda _: load(quick(small)))
    with pytest.raises(Interrupted):
        run_experiment(experiment)
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['seed0.partial']
    monkeypatch.setattr(run, 'train', train)
    run_experiment(experiment)
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['seed0.json']


def test_an_interrupted_run_does_not_go_on_with_another_edge_dropout(
    small, quick, monkeypatch, tmp_path
):
    def stopped(*args, **kwargs):
        done = train(*args, **kwargs)
        done.interrupted = True
        return done

    def experiment(p: float) -> Experiment:
        made = quick(small, f'edge_dropout={p}')
        made.settings['fake'] = False  # stand-ins keep no state
        return made

    monkeypatch.setattr(run, 'load', lambda _: load(quick(small)))
    monkeypatch.setattr(run, 'train', stopped)
    with pytest.raises(Interrupted):
        run_experiment(experiment(0.1))
    monkeypatch.setattr(run, 'train', train)
    for p, here in ((0.8, '0.8'), (0.0, 'none')):
        message = rf'the same model \(got edge_dropout 0.1, here {here}\)'
        with pytest.raises(ValueError, match=message):
            run_experiment(experiment(p))
    run_experiment(experiment(0.1))
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['seed0.json']


def test_a_folder_that_was_removed_meanwhile_costs_no_run(small, quick, monkeypatch, tmp_path):
    def removing(*args, **kwargs):
        done = train(*args, **kwargs)
        (tmp_path / 'run').rmdir()
        return done

    monkeypatch.setattr(run, 'train', removing)
    run_experiment(quick(small))
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['seed0.json']


def test_the_same_seed_gives_the_same_scores(small, quick, tmp_path):
    first = run_experiment(quick(small, 'model=gat', f'out={tmp_path / "a"}'))
    assert run_experiment(quick(small, 'model=gat', f'out={tmp_path / "b"}')) == first


# Modes ###########################################################################


@pytest.mark.parametrize(
    ('mode', 'partition', 'refresh', 'in_training'),
    [
        ('gas', 'metis', 'every evaluation', 'evaluation'),
        ('naive', 'random', 'never', 'never'),
        ('full', 'metis', 'every evaluation', 'evaluation'),
        ('subgraph', 'random', 'never', 'never'),
    ],
)
def test_a_mode_chooses_partition_and_refresh(
    large, quick, tmp_path, mode, partition, refresh, in_training
):
    experiment = quick(large, f'mode={mode}')
    chosen = experiment.settings
    assert (chosen['partition'], chosen['refresh']) == (partition, refresh)
    assert experiment.train_settings(0, 1).refresh == in_training
    run_experiment(experiment)
    record = record_of(tmp_path)
    expected = {'full': 'full', 'subgraph': 'subgraph'}.get(mode, 'gas')
    assert record['runs'][0]['mode'] == expected
    assert (record['partition']['num_parts'] == 1) == (mode == 'full')


@pytest.mark.parametrize(
    ('value', 'words', 'in_training'),
    [
        ('every epoch', 'every epoch', 1),
        ('1', 'every epoch', 1),
        ('Every  5 epochs', 'every 5 epochs', 5),
        ('7', 'every 7 epochs', 7),
        ('never', 'never', 'never'),
    ],
)
def test_refresh_is_said_in_words(large, quick, value, words, in_training):
    experiment = quick(large, f'refresh={value}')
    assert experiment.settings['refresh'] == words
    assert experiment.train_settings(0, 1).refresh == in_training


@pytest.mark.parametrize(
    ('more', 'name'),
    [
        ([], 'gas'),
        (['partition=metis', 'refresh=every evaluation'], 'gas'),
        (['partition=random'], 'gas-random'),
        (['refresh=every epoch'], 'gas-every-epoch'),
        (['refresh=1'], 'gas-every-epoch'),
        (['partition=lp', 'refresh=never'], 'gas-lp-never'),
        (['mode=naive'], 'naive'),
        (['mode=naive', 'partition=random', 'refresh=never'], 'naive'),
        (['mode=naive', 'partition=metis'], 'naive-metis'),
        (['mode=subgraph', 'partition=random'], 'subgraph'),
        (['mode=subgraph', 'partition=metis'], 'subgraph-metis'),
        (['mode=full'], 'full'),
        (['history.dtype=int8'], 'gas-int8'),
    ],
)
def test_a_folder_is_named_after_what_is_unusual_for_the_mode_however_it_is_said(small, more, name):
    from .conftest import experiment_of

    folder = experiment_of(small, *more).folder
    assert folder == small.folder / 'results' / 'records' / f'gcn-cora-{name}'


@pytest.mark.parametrize('name', ['small', 'large'])
def test_each_record_by_a_recipe_lies_where_its_own_settings_look_for_it(request, name):
    suite = request.getfixturevalue(name)
    for folder in sorted((suite.folder / 'results' / 'records').iterdir()):
        chosen = json.loads(next(folder.glob('seed*.json')).read_text())['settings']
        chosen.setdefault('history', {'dtype': 'auto'})
        if not chosen['changed']:
            assert _default_folder(suite, chosen) == folder


def test_random_parts_are_other_ones_for_each_seed(small, quick):
    experiment = quick(small, 'mode=naive', 'num_parts=4')
    loaded = load(experiment)
    first, second = (cut(experiment, loaded, seed).job.perm for seed in (0, 1))
    assert not torch.equal(first, second)


def test_a_run_takes_the_split_of_its_seed(small, quick):
    experiment = quick(small, 'dataset=amazon-photo')
    loaded = load(experiment)
    for seed in (0, 1, 21):
        job = cut(experiment, loaded, seed).job
        assert torch.equal(job.data.train_mask, loaded[0].train_mask[job.perm, seed % 20])


@pytest.mark.parametrize('partition', ['random', 'metis'])
def test_subgraphs_hold_each_node_once_and_the_edges_among_them(
    large, quick, monkeypatch, partition
):
    experiment = quick(large, 'mode=subgraph', f'partition={partition}', 'measure_memory=true')
    graph = cut(experiment, load(experiment), 0)
    seen = []
    whole = graph.job.data
    whole.node = torch.arange(whole.num_nodes)
    forward = subgraphs._SubgraphTraining._forward_backward

    def spied(self, model, data):
        if model is self.model:
            seen.append(data)
        return forward(self, model, data)

    monkeypatch.setattr(subgraphs._SubgraphTraining, '_forward_backward', spied)
    model = build_model(graph.settings, graph.job)
    settings = experiment.train_settings(0, 2)
    done = subgraphs.train_on_subgraphs(model, graph.job, settings, partition == 'random')
    first = seen[: len(seen) // 2]  # of the two epochs
    nodes = torch.cat([data.node for data in first])
    assert torch.equal(nodes.sort().values, torch.arange(whole.num_nodes))
    for data in first:
        inside = torch.isin(whole.edge_index, data.node).all(dim=0)
        assert data.num_edges == int(inside.sum())
    assert [epoch.steps for epoch in done.epochs] == [2, 2]
    assert done.step_peak_bytes > 0
    assert all(not history.pull().any() for history in model.histories)


def test_full_batch_has_its_own_recipe(large, tmp_path):
    from .conftest import experiment_of

    gas, full = (experiment_of(large, 'dataset=wordnet', f'mode={m}') for m in ('gas', 'full'))
    chosen = gas.settings['epochs'], gas.settings['lr'], gas.settings['model']['dropout']
    assert chosen == (100, 0.04, 0.4)
    own = full.settings['epochs'], full.settings['lr'], full.settings['model']['dropout']
    assert own == (300, 0.05, 0.2)
    assert gas.settings['changed'] == full.settings['changed'] == []


def test_what_is_given_wins_over_the_recipe_of_full_batch(large):
    from .conftest import experiment_of

    arguments = ['dataset=wordnet', 'mode=full', 'epochs=100', 'model.dropout=0.1']
    settings = experiment_of(large, *arguments).settings
    assert (settings['epochs'], settings['lr'], settings['model']['dropout']) == (100, 0.05, 0.1)
    assert sorted(settings['changed']) == ['epochs', 'model.dropout']


def test_a_script_takes_the_recipe_of_full_batch_too(tmp_path, capsys):
    arguments = ['fake=true', 'mode=full', 'epochs=1', 'measure_memory=false', 'device=cpu']
    assert main(ROOT / 'large_benchmark', [*arguments, f'out={tmp_path / "run"}']) == 0
    settings = record_of(tmp_path)['settings']
    assert (settings['epochs'], settings['lr']) == (1, 0.05)
    assert settings['changed'] == ['epochs']


def test_parts_between_graphs_are_the_graphs_in_as_many_batches(large, quick):
    experiment = quick(large, 'model=gin', 'dataset=cluster-sbm', 'partition=graphs')
    loaded = load(experiment)
    graph = cut(experiment, loaded, 0)
    assert graph.job.ptr.tolist() == [0, 24, 48]
    assert graph.job.quality is not None
    assert graph.job.quality.edge_cut == 0
    parts, batch_size = (experiment.settings[name] for name in ('num_parts', 'batch_size'))
    scaled = max(1, round(batch_size * 4 / parts))  # of a stand-in's four parts
    assert graph.settings['num_parts'] == 2
    assert graph.settings['batch_size'] == max(1, round(scaled * 2 / 4))


# Inductive #######################################################################


@pytest.mark.parametrize('mode', ['gas', 'full'])
def test_ppi_is_validated_on_graphs_that_histories_never_see(
    large, quick, monkeypatch, tmp_path, mode
):
    experiment = quick(large, 'dataset=ppi', f'mode={mode}')
    loaded = load(experiment)
    graph = cut(experiment, loaded, 0)
    whole, job = loaded[0], graph.job
    assert job.data.num_nodes == int(whole.train_mask.sum())
    assert job.data.y.shape[1] == 121
    model = build_model(graph.settings, job)
    assert all(history.num_embeddings == job.data.num_nodes for history in model.histories)
    calls: list[tuple[int, bool]] = []
    inference = ScalableGNN._inference

    def spied(self, loader, args, kwargs):
        before = [history.emb.clone() for history in self.histories]
        out = inference(self, loader, args, kwargs)
        same = all(torch.equal(a, h.emb) for a, h in zip(before, self.histories, strict=True))
        calls.append((loader.graph.num_nodes, same))
        return out

    monkeypatch.setattr(ScalableGNN, '_inference', spied)
    settings = TrainSettings(
        mode=mode if mode == 'full' else 'gas', epochs=1, batch_size=2, measure_memory=False
    )
    done = train(model, job.data, job.ptr, settings, evaluate=graph.evaluate, log=False)
    sizes = [int(mask.sum()) for mask in (whole.val_mask, whole.test_mask)]
    assert calls == [(size, True) for size in sizes]
    assert 0 <= done.test <= 100


# Refused #########################################################################


def refused(capsys: pytest.CaptureFixture[str], suite: str, *arguments: str) -> str:
    assert main(ROOT / f'{suite}_benchmark', arguments) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1
    return err


def test_an_unsupported_pair_lists_the_valid_ones(capsys):
    err = refused(capsys, 'large', 'model=pna_jk', 'dataset=products')
    assert '(got pna_jk on ogbn-products)' in err
    assert 'pna_jk on reddit, wordnet, linux_calls' in err
    err = refused(capsys, 'small', 'model=gcn', 'dataset=reddit')
    assert 'gcn on cora, citeseer, pubmed' in err


@pytest.mark.parametrize(
    ('argument', 'message'),
    [
        ('model=gtc', "'model' must be one of gcn, gat, appnp, gcn2 (got 'gtc')"),
        ('dataset=corra', "(got 'corra'). Did you mean 'cora'?"),
        ('epoch=3', "the option must exist (got 'epoch'). Did you mean epochs?"),
        ('alpha=0.5', 'Did you mean model.alpha?'),
        ('model.alhpa=0.5', 'Did you mean model.alpha or'),
        ('seed=[1,2,1]', "'seed' must list different seeds (got 1 more than once)"),
        ('seed=[]', "'seed' must list different seeds (got none)"),
        ('seed=-1', "'seed' must be a whole number from 0 on (got -1)"),
        ('runs=0', "'runs' must be a whole number from 1 on (got 0)"),
        ('mode=gsa', "'mode' must be one of gas, full, naive, subgraph (got 'gsa')"),
        ('partition=metiss', "'partition' must be one of auto, metis, kaminpar"),
        ('refresh=weekly', "'refresh' must be never, every epoch, every N epochs"),
        ('compensation=lmc', "'compensation' must be one of none (got 'lmc')"),
        ('fake=maybe', "'fake' must be one of True, False (got 'maybe')"),
        ('num_parts=foo', "'num_parts' must be a whole number from 1 on (got 'foo')"),
        ('num_parts=2.5', "'num_parts' must be a whole number from 1 on (got 2.5)"),
        ('num_parts=0', "'num_parts' must be a whole number from 1 on (got 0)"),
        ('batch_size=-1', "'batch_size' must be a whole number from 1 on (got -1)"),
        ('edge_dropout=1.5', "'edge_dropout' must lie in [0, 1] (got 1.5)"),
        ('dataset.split=1', "'dataset.split' must be one that cora has: one split (got 1)"),
        ('dataset.split=-1', "'dataset.split' must be a whole number from 0 on (got -1)"),
        ('dataset.split=x', "'dataset.split' must be a whole number from 0 on (got 'x')"),
        ('lr=fast', "'lr' must be a number (got 'fast'). Its default is 0.01"),
        ('lr=0', "'lr' must be a positive number (got 0)"),
        ('fake=1', "'fake' must be one of True, False (got 1)"),
        ('normalize=maybe', "'normalize' must be true or false (got 'maybe')"),
        ('self_loops=7', "'self_loops' must be true, false or same (got 7)"),
        ('model.dropout=x', "'model.dropout' must be a number (got 'x'). Its default is 0.5"),
        ('epochs', "options must be KEY=VALUE, of keys that exist (got 'epochs')"),
        ('+colour=red', "options must be KEY=VALUE, of keys that exist (got '+colour=red')"),
        ('~lr', "options must be KEY=VALUE, of keys that exist (got '~lr')"),
        ('seed=[1', "options must be KEY=VALUE in the grammar of Hydra (got 'seed=[1')"),
        ('lr=0.1,0.2', "an option must have one value (got 'lr=0.1,0.2'). Pass '-m'"),
        ('model=gcn,gat', "an option must have one value (got 'model=gcn,gat'). Pass '-m'"),
    ],
)
def test_a_wrong_argument_is_told_before_anything_is_loaded(capsys, argument, message):
    assert message in refused(capsys, 'small', argument)


def test_a_split_that_a_data_set_has_not_is_told_before_it_is_loaded(capsys):
    err = refused(capsys, 'small', 'dataset=amazon-photo', 'dataset.split=50')
    assert err.startswith("small_benchmark: 'dataset.split' must be one that amazon-photo has: spl")
    assert 'splits 0 to 19 (got 50)' in err


def test_a_split_and_automatic_parts_are_accepted(small, quick):
    made = quick(small, 'dataset=amazon-photo', 'dataset.split=19', 'num_parts=auto')
    assert made.settings['dataset']['split'] == 19
    quick(small, 'dataset.split=0', 'batch_size=auto', 'edge_dropout=1')


def test_parts_between_graphs_need_many_graphs_and_batches(capsys):
    out = 'out=nowhere'
    err = refused(capsys, 'small', 'partition=graphs', 'fake=true', out)
    assert "'partition' must not be graphs where a data set is one graph (got cora)" in err
    err = refused(capsys, 'large', 'model=gin', 'dataset=cluster', 'partition=graphs', 'mode=full')
    assert 'must not be graphs for mode=full, which has one part' in err


@pytest.mark.parametrize(
    ('arguments', 'reason'),
    [
        (['mode=full', 'partition=random'], 'mode=full, which is one part'),
        (['mode=full', 'num_parts=7'], 'mode=full, which is one part'),
        (['mode=full', 'batch_size=3'], 'mode=full, which is one part'),
        (['mode=full', 'max_steps=1'], 'mode=full, which takes one step an epoch'),
        (['mode=full', 'refresh=never'], 'mode=full, which reads no histories'),
        (['mode=full', 'measure_error=true'], 'mode=full, which reads no histories'),
        (['mode=full', 'history.dtype=int8'], 'mode=full, which reads no histories'),
        (['mode=subgraph', 'refresh=every epoch'], 'mode=subgraph, which has no histories'),
        (['mode=subgraph', 'measure_error=true'], 'mode=subgraph, which has no histories'),
        (['mode=subgraph', 'history.dtype=int8'], 'mode=subgraph, which has no histories'),
        (['mode=subgraph', 'loss_weighting=full'], 'mode=subgraph, which follows the mean loss'),
        (['mode=subgraph', 'drop_unlabelled=true'], 'mode=subgraph, which skips batches'),
        (['model=gat', 'edge_dropout=0.5'], 'model=gat, which reads no values of edges'),
    ],
)
def test_an_option_without_effect_is_refused_with_the_reason(capsys, arguments, reason):
    option = arguments[-1].partition('=')[0]
    err = refused(capsys, 'small', 'fake=true', *arguments)
    assert f"'{option}' has no effect with {reason}" in err


@pytest.mark.parametrize(
    'arguments',
    [
        ['mode=full', 'partition=metis', 'refresh=every evaluation', 'num_parts=40'],
        ['mode=full', 'history.tier=disk', 'num_workers=2', 'eval_batch_size=4'],
        ['mode=subgraph', 'partition=metis', 'max_steps=1', 'num_parts=8', 'batch_size=2'],
        ['mode=subgraph', 'refresh=never', 'measure_error=false', 'checkpoint_every=null'],
        ['mode=naive', 'refresh=every epoch', 'measure_error=true', 'history.dtype=int8'],
        ['model=gat', 'edge_dropout=0.0'],
    ],
)
def test_an_option_with_effect_or_as_it_is_anyway_is_accepted(small, quick, arguments):
    quick(small, *arguments)


def test_what_a_recipe_sets_is_no_business_of_the_mode(large, quick):
    settings = quick(large, 'model=pna', 'dataset=products', 'mode=full').settings
    assert settings['edge_dropout'] == 0.8
    assert settings['max_steps'] is not None


def test_listed_seeds_say_how_many_runs_there_are(small, quick):
    from .conftest import experiment_of

    assert experiment_of(small, 'seed=[3,5]').settings['runs'] == 2
    assert experiment_of(small, 'seed=[3,5]', 'runs=2').seeds == [3, 5]
    with pytest.raises(ValueError, match=r"'runs' must be left out where 'seed' lists 2.*got 5"):
        experiment_of(small, 'seed=[3,5]', 'runs=5')


def test_memory_that_does_not_suffice_is_told(capsys, monkeypatch):
    def too_large(_: object) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")

    monkeypatch.setitem(main.__globals__, 'run_experiment', too_large)
    err = refused(capsys, 'small', 'fake=true')
    assert err.startswith("small_benchmark: memory must suffice (got can't allocate memory: 9 by")
    assert 'batch_size=' in err


def test_an_error_of_another_kind_keeps_its_traceback(monkeypatch):
    def broken(_: object) -> None:
        raise RuntimeError('a bug')

    monkeypatch.setitem(main.__globals__, 'run_experiment', broken)
    monkeypatch.setenv('HYDRA_FULL_ERROR', '1')  # as Hydra does by itself while coverage traces
    with pytest.raises(RuntimeError, match='a bug'):
        main(ROOT / 'small_benchmark', ['fake=true'])


def test_weights_of_gcn2_may_be_as_strong_in_each_layer(small, quick):
    assert quick(small, 'model=gcn2', 'model.theta=null').settings['model']['theta'] is None


def test_a_folder_that_cannot_be_written_is_told(capsys, tmp_path):
    (tmp_path / 'file').write_text('')
    err = refused(capsys, 'small', 'fake=true', 'epochs=1', 'runs=1', f'out={tmp_path / "file"}')
    assert err.startswith("small_benchmark: 'out' must be a folder to write to (got '")


def test_a_folder_of_other_settings_is_refused(small, quick, tmp_path):
    run_experiment(quick(small))
    before = {path: path.read_bytes() for path in (tmp_path / 'run').iterdir()}
    message = r'must hold runs of the same settings \(got lr=0.01 there, 0.5 here\). Pass another'
    with pytest.raises(ValueError, match=message):
        run_experiment(quick(small, 'lr=0.5', 'runs=2'))
    assert {path: path.read_bytes() for path in (tmp_path / 'run').iterdir()} == before


def test_a_record_cut_short_is_refused(small, quick, tmp_path):
    run_experiment(quick(small))
    path = tmp_path / 'run' / 'seed0.json'
    path.write_text(path.read_text()[:-100])
    with pytest.raises(ValueError, match=r"seed0.json' must be a whole record .* is done again"):
        run_experiment(quick(small))


def test_a_data_set_without_files_says_what_goes_where(tmp_path, capsys, monkeypatch):
    def offline(self):
        raise OSError('no network')

    monkeypatch.setattr('torch_geometric.datasets.WikiCS.download', offline)
    err = refused(capsys, 'small', 'dataset=wikics', f'root={tmp_path}', f'out={tmp_path / "o"}')
    assert 'must hold data.json' in err
    assert list(tmp_path.iterdir()) == []
