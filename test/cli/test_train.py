import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from torch_geometric_autoscale.cli import main
from torch_geometric_autoscale.training import load_checkpoint

from ..training.killed import without_clock as without_clock_of
from ..training.tiny import tiny_data
from .conftest import printed_in, save_npz, without_epochs


def record_of(folder):
    return json.loads((folder / 'record.json').read_text())


def without_clock(record):
    runs = [{'settings': run['settings'], **without_clock_of(run)} for run in record['runs']]
    return {**record, 'runs': runs}


def test_a_job_prints_one_table_and_writes_a_run_folder(options, tmp_path, capsys):
    assert main(['train', *options]) == 0
    out = capsys.readouterr().out
    rows = [
        'test accuracy (best validation epoch)', 'seconds per epoch (median)',
        'peak memory of a training step', 'halo rows per batch node',
    ]  # fmt: skip
    for row in rows:
        (line,) = [line for line in out.splitlines() if line.startswith(row)]
        assert len(line[len(row) :].replace(' KiB', '').split()) == 2
    assert 'of edges cut' in out
    assert out.endswith(f'Run folder: {tmp_path / "run"}\n')
    names = {path.name for path in (tmp_path / 'run').iterdir()}
    assert names == {
        'settings.yaml', 'checkpoint.pt', 'record.json', 'accuracy.png', 'staleness.png', 'log.txt',
    }  # fmt: skip
    assert printed_in(tmp_path / 'run' / 'log.txt') == without_epochs(out)


def test_the_record_tells_settings_partition_and_both_runs(options, tmp_path):
    main(['train', *options])
    record = record_of(tmp_path / 'run')
    assert record['settings']['dataset']['name'] == 'rings.npz'
    assert record['partition']['num_parts'] == 4
    assert record['partition']['method'] == 'lp'
    assert {'edge_cut', 'halo_per_batch_node'} <= record['partition'].keys()
    assert [run['mode'] for run in record['runs']] == ['gas', 'full']
    assert str(tmp_path) not in json.dumps(record)


def test_same_seed_gives_the_same_record_to_the_bit(options, tmp_path):
    for name in ('a', 'b'):
        assert main(['train', *options, f'out={tmp_path / name}']) == 0
    assert without_clock(record_of(tmp_path / 'a')) == without_clock(record_of(tmp_path / 'b'))


def test_the_comparison_has_settings_of_its_own(options, tmp_path):
    main(['train', *options, 'full.lr=0.5', 'full.epochs=2', 'full.dropout=0.0'])
    gas, full = record_of(tmp_path / 'run')['runs']
    assert (gas['settings']['lr'], full['settings']['lr']) == (0.05, 0.5)
    assert (len(gas['epochs']), len(full['epochs'])) == (6, 2)


def test_the_comparison_gets_as_many_seconds_by_default(options, tmp_path):
    main(['train', *options, 'full.epochs=null', 'full.max_seconds=same', 'epochs=2'])
    gas, full = record_of(tmp_path / 'run')['runs']
    assert full['settings']['max_seconds'] == gas['seconds']
    assert full['seconds'] >= gas['seconds']


def test_batches_ahead_change_no_number_and_a_precision_does(options, tmp_path):
    changes = {'plain': [], 'ahead': ['prefetch=true'], 'narrow': ['precision=bfloat16']}
    losses, used = {}, {}
    for name, more in changes.items():
        assert main(['train', *options, 'epochs=2', *more, f'out={tmp_path / name}']) == 0
        runs = record_of(tmp_path / name)['runs']
        losses[name] = [[epoch['loss'] for epoch in run['epochs']] for run in runs]
        used[name] = [run['settings']['precision'] for run in runs]
    assert losses['ahead'] == losses['plain'] != losses['narrow']
    assert used == {'plain': ['float32'] * 2, 'ahead': ['float32'] * 2, 'narrow': ['bfloat16'] * 2}


def test_features_may_be_kept_sparse_in_every_step(options, tmp_path, capsys):
    run = tmp_path / 'sparse'
    assert main(['train', *options, 'features=sparse', f'out={run}']) == 0
    assert main(['evaluate', str(run)]) == 0
    assert main(['predict', str(run), '--to', str(tmp_path / 'labels.npz')]) == 0
    assert main(['train', *options, 'features=csr']) == 2
    assert "'features' must be dense or sparse (got 'csr')" in capsys.readouterr().err


def test_the_comparison_can_be_switched_off(options, tmp_path, capsys):
    assert main(['train', *options, 'full=false']) == 0
    assert [run['mode'] for run in record_of(tmp_path / 'run')['runs']] == ['gas']
    assert 'full batch' not in capsys.readouterr().out


def test_numbers_of_parts_are_chosen_for_an_unknown_graph(options, tmp_path):
    options = [o for o in options if not o.startswith(('num_parts', 'batch_size'))]
    main(['train', *options, 'full=false'])
    partition = record_of(tmp_path / 'run')['partition']
    assert (partition['num_parts'], partition['batch_size']) == (8, 1)


def test_the_run_folder_is_named_after_data_set_model_and_time(options, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = [o for o in options if not o.startswith('out=')]
    assert main(['train', *options, 'full=false']) == 0
    assert main(['train', *options, 'full=false']) == 0
    first, second = sorted((tmp_path / 'runs').iterdir())
    assert first.name.startswith('rings-gcn-2')
    assert second.name.startswith('rings-gcn-2')


def test_several_splits_go_by_the_seed_or_by_number(tmp_path, options, capsys):
    data = tiny_data()
    for name in ('train_mask', 'val_mask', 'test_mask'):
        data[name] = torch.stack([data[name], data[name].roll(1)], dim=1)
    save_npz(tmp_path / 'rings.npz', data)
    epochs = {}
    for name, more in (('a', ['seed=1']), ('b', ['seed=1', 'dataset.split=1'])):
        main(['train', *options, *more, f'out={tmp_path / name}', 'full=false'])
        epochs[name] = without_clock(record_of(tmp_path / name))['runs'][0]['epochs']
    assert epochs['a'] == epochs['b']
    capsys.readouterr()
    assert main(['train', *options, 'dataset.split=2']) == 2
    assert "'dataset.split' must lie in [0, 2) (got 2)" in capsys.readouterr().err


# What is refused #####################################################################


def test_a_folder_that_holds_something_is_refused(options, tmp_path, capsys):
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'notes.txt').write_text('mine')
    assert main(['train', *options]) == 2
    assert "'out' must be a new or an empty folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / 'run').iterdir()] == ['notes.txt']


def test_a_job_that_cannot_begin_leaves_no_folder(options, tmp_path, capsys):
    assert main(['train', *options, 'num_parts=25']) == 2
    assert '25' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


def test_a_missing_file_is_told(options, tmp_path, capsys):
    assert main(['train', *options, f'dataset={tmp_path / "none.npz"}']) == 2
    assert capsys.readouterr().err.startswith('pygas: get_data: the file must exist')


def test_a_data_set_without_files_says_which_go_where(options, tmp_path, capsys, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError('no network')

    monkeypatch.setattr('torch_geometric.datasets.Planetoid.download', offline)
    root = f'root={tmp_path / "root"}'
    assert main(['train', *options, 'dataset=cora', root]) == 2
    err = capsys.readouterr().err
    assert 'ind.cora.x' in err
    assert 'Traceback' not in err


# Ctrl-C ##############################################################################


def test_ctrl_c_leaves_a_checkpoint_a_marked_record_and_a_way_on(options, tmp_path):
    arguments = [*options, 'epochs=1000000', 'eval_every=2', 'measure_memory=false']
    code = (
        'import sys, torch; torch.set_num_threads(1); '
        'from torch_geometric_autoscale.cli import main; sys.exit(main())'
    )
    job = subprocess.Popen(
        [sys.executable, '-c', code, 'train', *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    log = tmp_path / 'run' / 'log.txt'
    while not (log.is_file() and 'per batch' in log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    os.kill(job.pid, signal.SIGINT)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 130
    assert 'Traceback' not in err
    assert "'pygas evaluate" in out
    assert f'Go on with:\n  pygas train resume={tmp_path / "run"}\n' in out
    assert list((tmp_path / 'run' / 'checkpoints' / 'gas').glob('state-*'))
    assert record_of(tmp_path / 'run')['status'] == 'interrupted'
    assert record_of(tmp_path / 'run')['runs'][0]['interrupted'] is True
    assert load_checkpoint(tmp_path / 'run' / 'checkpoint.pt').epoch > 0
    assert main(['evaluate', str(tmp_path / 'run')]) == 0


# evaluate and predict ################################################################


@pytest.fixture
def run(options, tmp_path):
    main(['train', *options, 'full=false', 'measure_memory=false', 'partition=random'])
    return tmp_path / 'run'


def test_evaluate_repeats_the_scores_of_the_training(run, capsys):
    capsys.readouterr()
    assert main(['evaluate', str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()
    test = record_of(run)['runs'][0]['test']
    assert lines[-1].split() == ['test', '9', f'{test:.2f}%', f'{test:.2f}%']


def test_predictions_come_in_the_users_order(run, capsys):
    data = tiny_data()
    assert main(['predict', str(run)]) == 0
    classes = np.load(run / 'classes.npy')
    assert classes.shape == (24,)
    right = (torch.from_numpy(classes) == data.y)[data.test_mask].float().mean().item()
    assert 100 * right == pytest.approx(record_of(run)['runs'][0]['test'], abs=1e-3)
    assert load_checkpoint(run / 'checkpoint.pt').perm.tolist() != list(range(24))
    assert main(['predict', str(run), '--what', 'logits', '--to', str(run / 'l.npz')]) == 0
    logits = np.load(run / 'l.npz')['logits']
    assert (logits.argmax(axis=1) == classes).all()


def test_embeddings_are_what_the_last_layer_reads(run):
    assert main(['predict', str(run), '--what', 'embeddings', '--to', str(run / 'e.csv')]) == 0
    lines = (run / 'e.csv').read_text().splitlines()
    assert lines[0] == 'node,' + ','.join(f'embeddings_{i}' for i in range(8))
    checkpoint = load_checkpoint(run / 'checkpoint.pt')
    table = checkpoint.model['histories.0._extra_state']['emb']
    node = int(checkpoint.perm[3])
    values = [float(value) for value in lines[1 + node].split(',')]
    assert values == pytest.approx([node, *table[3].tolist()], abs=1e-5)


def test_classes_go_to_csv_with_one_line_per_node(run):
    assert main(['predict', str(run), '--to', str(run / 'c.csv')]) == 0
    lines = (run / 'c.csv').read_text().splitlines()
    assert lines[0] == 'node,class'
    assert len(lines) == 25


def test_predictions_replace_a_file_only_if_told(run, capsys):
    target = run / 'c.npy'
    target.write_text('mine')
    assert main(['predict', str(run), '--to', str(target)]) == 2
    assert "'--to' must be a new file" in capsys.readouterr().err
    assert target.read_text() == 'mine'
    assert main(['predict', str(run), '--to', str(target), '--force']) == 0
    assert np.load(target).shape == (24,)


def test_predictions_need_a_known_format_and_a_folder(run, capsys):
    assert main(['predict', str(run), '--to', 'c.txt']) == 2
    assert "'--to' must end in .npy, .npz, .csv (got 'c.txt')" in capsys.readouterr().err
    assert main(['predict', str(run), '--to', str(run / 'none' / 'c.npy')]) == 2
    assert "the folder of '--to' must exist" in capsys.readouterr().err


def test_several_labels_per_node_are_predicted_as_rows(tmp_path, options):
    save_npz(tmp_path / 'rings.npz', tiny_data(labels=4))
    assert main(['train', *options, 'full=false']) == 0
    assert main(['predict', str(tmp_path / 'run')]) == 0
    classes = np.load(tmp_path / 'run' / 'classes.npy')
    assert classes.shape == (24, 4)
    assert set(np.unique(classes)) <= {0, 1}


def test_a_model_of_one_layer_has_no_embeddings(tmp_path, options, capsys):
    main(['train', *options, 'full=false', 'model.num_layers=1'])
    run = str(tmp_path / 'run')
    assert main(['predict', run, '--what', 'embeddings']) == 2
    assert 'must have two layers or more' in capsys.readouterr().err


def test_a_graph_that_has_moved_is_named(run, tmp_path):
    (tmp_path / 'rings.npz').rename(tmp_path / 'moved.npz')
    assert main(['evaluate', str(run)]) == 2
    assert main(['evaluate', str(run), '--dataset', str(tmp_path / 'moved.npz')]) == 0


def test_another_graph_than_the_runs_is_refused(run, tmp_path, capsys):
    data = tiny_data()
    data.edge_index = data.edge_index[:, 2:]
    save_npz(tmp_path / 'rings.npz', data)
    assert main(['evaluate', str(run)]) == 2
    assert 'the graph must be the one of the run (got one with other edges)' in (
        capsys.readouterr().err
    )


def test_a_damaged_checkpoint_is_told(run, capsys):
    path = run / 'checkpoint.pt'
    path.write_bytes(path.read_bytes()[:500])
    assert main(['predict', str(run)]) == 2
    assert 'must be a whole checkpoint of this library' in capsys.readouterr().err
