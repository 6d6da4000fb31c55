import json

import pytest

from torch_geometric_autoscale.partition import PartitionQuality
from torch_geometric_autoscale.training import build_record, train, write_record
from torch_geometric_autoscale.training import machine as machine_module
from torch_geometric_autoscale.training.plots import plot_accuracy

from .tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings


@pytest.fixture(scope='module')
def runs():
    return [
        train(
            tiny_model(), tiny_data(), tiny_ptr(),
            tiny_settings(mode=mode, measure_memory=True), log=False,
        )
        for mode in ('gas', 'full')
    ]  # fmt: skip


def test_a_record_has_the_promised_keys(tmp_path, runs):
    quality = PartitionQuality(0.25, 0.5, 1.0)
    write_record(tmp_path / 'record.json', build_record({'seed': 0}, runs, quality))
    record = json.loads((tmp_path / 'record.json').read_text())
    assert set(record) >= {'settings', 'versions', 'machine', 'partition', 'runs'}
    assert record['status'] == 'finished'
    assert record['partition'] == {'edge_cut': 0.25, 'halo_per_batch_node': 0.5, 'balance': 1.0}
    assert [run['mode'] for run in record['runs']] == ['gas', 'full']
    for run in record['runs']:
        assert set(run) >= {
            'mode', 'seed', 'test', 'val', 'seconds_per_epoch', 'step_peak_bytes', 'epochs',
        }  # fmt: skip
        assert 0 <= run['test'] <= 100
        assert run['step_peak_bytes'] > 0
        assert len(run['epochs']) == 3
        assert set(run['epochs'][0]) == {
            'epoch', 'loss', 'steps', 'skipped', 'seconds', 'eval_seconds', 'checkpoint_seconds',
            'elapsed', 'train', 'val', 'test', 'ages', 'errors',
        }  # fmt: skip


def test_a_record_names_no_folder(runs):
    settings = {
        'root': '/home/me/data',
        'out': '/home/me/runs/1',
        'dataset': {'name': '/home/me/graph.npz', 'split': None},
    }
    record = build_record(settings, runs, PartitionQuality(0.0, 0.0, 1.0))
    assert '/home/me' not in json.dumps(record)
    assert record['settings'] == {'dataset': {'name': 'graph.npz', 'split': None}}


def test_an_interrupted_run_marks_the_record(runs):
    runs[0].interrupted = True
    record = build_record({}, runs, {})
    runs[0].interrupted = False
    assert record['status'] == 'interrupted'


def test_median_and_totals_are_those_of_the_epochs(runs):
    epochs = runs[0].epochs
    assert runs[0].seconds_per_epoch == sorted(epoch.seconds for epoch in epochs)[1]
    assert runs[0].seconds == epochs[-1].elapsed


def test_the_machine_is_described_without_its_name(monkeypatch):
    monkeypatch.setattr('platform.node', lambda: 'secret-host')
    described = machine_module.machine()
    assert described['cores'] >= 1
    assert described['device'] == 'cpu'
    assert 'secret-host' not in json.dumps(described)


def test_versions_leave_out_what_is_not_installed():
    found = machine_module.versions()
    assert {'torch', 'torch_geometric', 'python', 'torch_geometric_autoscale'} <= found.keys()
    assert None not in found.values()
    assert machine_module.package_version('no-such-package-at-all') is None


def test_a_picture_is_drawn(tmp_path, runs):
    plot_accuracy(tmp_path / 'accuracy.png', runs, 'GCN on three rings')
    picture = (tmp_path / 'accuracy.png').read_bytes()
    assert picture.startswith(b'\x89PNG')
    assert len(picture) > 10_000


def test_a_picture_of_a_run_without_an_epoch_is_empty_but_there(tmp_path, runs):
    from dataclasses import replace

    plot_accuracy(tmp_path / 'accuracy.png', [replace(runs[0], epochs=[], best=None)], 'empty')
    assert (tmp_path / 'accuracy.png').stat().st_size > 0
