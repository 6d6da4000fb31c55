"""Jobs on a graph folder: what stays on the disk, what is found again, and the same numbers."""

import importlib
import json
import shutil

import numpy as np
import pytest
import torch

from torch_geometric_autoscale.cli import cut_graph as cut_graph_module
from torch_geometric_autoscale.cli import job as job_module
from torch_geometric_autoscale.cli.cut_graph import parts_of
from torch_geometric_autoscale.cli.job import degree_histogram, num_proper_edges
from torch_geometric_autoscale.cli.main import main
from torch_geometric_autoscale.graph_folder import GraphFolder, GraphWriter
from torch_geometric_autoscale.mapped import mapped_file

from ..on_disk import in_memory, on_disk
from ..training.tiny import tiny_data


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than these trainings."""
    module = importlib.import_module('torch_geometric_autoscale.cli.train')
    for name in ('plot_accuracy', 'plot_staleness'):
        monkeypatch.setattr(module, name, lambda *args: None)


@pytest.fixture
def folder(tmp_path):
    """The graph of three rings as a graph folder."""
    on_disk(tiny_data(), tmp_path / 'rings')
    return tmp_path / 'rings'


@pytest.fixture
def mapped_options(options, folder):
    """Arguments of a job of a second on the folder."""
    return [f'dataset={folder}', *options[1:], 'full=false', 'history.tier=disk']


def record_of(run):
    return json.loads((run / 'record.json').read_text())


def losses_of(run):
    (first,) = [r for r in record_of(run)['runs'] if r['mode'] == 'gas']
    return [epoch['loss'] for epoch in first['epochs']]


def cuts(place):
    return sorted(path.name for path in place.iterdir() if path.name.startswith('cut-'))


def test_numbers_are_those_of_the_graph_in_memory(mapped_options, options, tmp_path, capsys):
    assert main(['train', *options, 'full=false']) == 0
    assert main(['predict', str(tmp_path / 'run'), '--what', 'logits']) == 0
    shutil.move(tmp_path / 'run', tmp_path / 'first')
    assert main(['train', *mapped_options]) == 0
    assert main(['predict', str(tmp_path / 'run'), '--what', 'logits']) == 0
    assert losses_of(tmp_path / 'run') == pytest.approx(losses_of(tmp_path / 'first'), rel=1e-4)
    ours, theirs = (np.load(tmp_path / name / 'logits.npy') for name in ('run', 'first'))
    assert np.allclose(ours, theirs, atol=1e-4)  # rows in the user's order, whatever the partition
    records = [record_of(tmp_path / name)['partition'] for name in ('run', 'first')]
    assert records[0] == records[1]
    assert main(['evaluate', str(tmp_path / 'run')]) == 0
    capsys.readouterr()


def test_the_graph_of_a_job_is_mapped_and_normalised_beside_the_copy(mapped_options, monkeypatch):
    jobs = []
    build = job_module.build_model

    def remember(settings, job):
        jobs.append(job)
        return build(settings, job)

    monkeypatch.setattr('torch_geometric_autoscale.cli.train.build_model', remember)
    assert main(['train', *mapped_options]) == 0
    data = jobs[0].data
    (cut,) = {mapped_file(data.x).parent, mapped_file(data.train_mask).parent}
    assert cut.name.startswith('cut-')
    assert mapped_file(data.adj_t.col_indices()).parent == cut
    assert mapped_file(data.adj_t.values()).parent == cut
    assert data.adj_t.values().numel() == 24 + 52


def test_the_copy_is_found_the_next_time(mapped_options, folder, tmp_path, monkeypatch, capsys):
    assert main(['train', *mapped_options]) == 0
    assert len(cuts(folder)) == 1
    assert "to be found the next time: '" in capsys.readouterr().out
    monkeypatch.setattr(cut_graph_module, 'partition', None)  # not partitioned again
    shutil.move(tmp_path / 'run', tmp_path / 'first')
    assert main(['train', *mapped_options]) == 0
    assert 'Graph in the order of its partition: ' in capsys.readouterr().out
    assert losses_of(tmp_path / 'run') == losses_of(tmp_path / 'first')
    assert record_of(tmp_path / 'run')['partition']['method'] == 'lp'


@pytest.mark.parametrize('change', ['num_parts=3', 'partition=random', 'cache=elsewhere'])
def test_another_partition_is_another_copy(mapped_options, folder, change, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(['train', *mapped_options]) == 0
    shutil.rmtree(tmp_path / 'run')
    assert main(['train', *mapped_options, change]) == 0
    elsewhere = tmp_path / 'elsewhere'
    assert len(cuts(folder)) + (len(cuts(elsewhere)) if elsewhere.exists() else 0) == 2


def test_a_graph_that_has_changed_is_cut_anew(mapped_options, folder, tmp_path):
    assert main(['train', *mapped_options]) == 0
    shutil.rmtree(tmp_path / 'run')
    x = np.load(folder / 'x.npy', mmap_mode='r+')
    x[:] = 0
    x.flush()
    assert main(['train', *mapped_options]) == 0
    found = [GraphFolder(folder / name)['x'].any() for name in cuts(folder)]
    assert sorted(map(bool, found)) == [False, True]


def test_a_damaged_copy_is_told_and_made_anew(mapped_options, folder, tmp_path, capsys):
    assert main(['train', *mapped_options]) == 0
    before = losses_of(tmp_path / 'run')
    shutil.rmtree(tmp_path / 'run')
    file = folder / cuts(folder)[0] / 'col.npy'
    file.write_bytes(file.read_bytes()[:-4])
    assert main(['train', *mapped_options]) == 0
    out = capsys.readouterr().out
    assert 'is damaged and made anew: ' in out
    assert 'the file is cut short' in out
    assert losses_of(tmp_path / 'run') == before
    assert len(cuts(folder)) == 1


def test_a_folder_that_must_not_be_written_to_needs_a_cache(
    mapped_options, folder, tmp_path, monkeypatch, capsys
):
    access = cut_graph_module.os.access
    monkeypatch.setattr(
        cut_graph_module.os, 'access', lambda path, mode: path != folder and access(path, mode)
    )
    assert main(['train', *mapped_options]) == 2
    message = capsys.readouterr().err
    assert 'a mapped graph is copied in the order of its partition' in message
    assert 'Name a folder for the copy: cache=FOLDER.' in message
    assert main(['train', *mapped_options, f'cache={tmp_path / "cache"}']) == 0
    assert len(cuts(tmp_path / 'cache')) == 1
    assert cuts(folder) == []


@pytest.fixture
def parted(tmp_path):
    """The rings as a folder that brings its partition."""
    data = in_memory(tiny_data())
    with GraphWriter(tmp_path / 'parted', 24, 52) as writer:
        rowptr, col = writer.add_structure()
        rowptr[:] = data.adj_t.crow_indices().numpy()
        col[:] = data.adj_t.col_indices().numpy()
        for name in ('x', 'y', 'train_mask', 'val_mask', 'test_mask'):
            writer.write(name, data[name], 'node')
        writer.write('ptr', np.array([0, 8, 16, 24]), 'graph')
    return tmp_path / 'parted'


def test_a_folder_with_its_partition_is_taken_as_it_is(mapped_options, parted, tmp_path, capsys):
    options = [f'dataset={parted}', *mapped_options[1:], 'num_parts=auto']
    assert main(['train', *options]) == 0
    assert cuts(parted) == []
    assert record_of(tmp_path / 'run')['partition']['method'] == 'given'
    assert record_of(tmp_path / 'run')['partition']['num_parts'] == 3
    assert main(['evaluate', str(tmp_path / 'run')]) == 0
    capsys.readouterr()


def test_another_number_of_parts_than_its_own_is_cut(mapped_options, parted, tmp_path):
    assert main(['train', f'dataset={parted}', *mapped_options[1:]]) == 0  # num_parts=4
    assert len(cuts(parted)) == 1
    assert record_of(tmp_path / 'run')['partition']['num_parts'] == 4


def test_a_run_is_evaluated_when_its_copy_is_gone(mapped_options, folder, tmp_path, capsys):
    """Even if the partitioner would not give the same again."""
    assert main(['train', *mapped_options]) == 0
    capsys.readouterr()
    assert main(['evaluate', str(tmp_path / 'run')]) == 0
    expected = capsys.readouterr().out
    shutil.rmtree(folder / cuts(folder)[0])
    for _ in range(2):  # written, then found
        assert main(['evaluate', str(tmp_path / 'run')]) == 0
        assert capsys.readouterr().out == expected
        assert len(cuts(folder)) == 1


def test_the_full_batch_run_is_left_out_with_a_word(mapped_options, tmp_path, capsys):
    assert main(['train', *[o for o in mapped_options if o != 'full=false']]) == 0
    assert 'A mapped graph is not trained on as one batch' in capsys.readouterr().out
    assert [run['mode'] for run in record_of(tmp_path / 'run')['runs']] == ['gas']


@pytest.mark.parametrize('model', ['gat', 'gin', 'pna'])
def test_other_models_train_on_a_folder(mapped_options, model):
    options = [f'model={model}', 'normalize=false', 'self_loops=true', 'epochs=1']
    kept = [o for o in mapped_options if not o.startswith(('epochs', 'model.'))]
    assert main(['train', *kept, *options]) == 0


def test_counts_do_not_depend_on_where_the_graph_lies(folder):
    data, disk = tiny_data(), GraphFolder(folder).to_data()
    loop = torch.tensor([[3], [3]])
    data.edge_index = torch.cat([data.edge_index, loop], dim=1)
    assert num_proper_edges(data) == num_proper_edges(disk) == 52
    assert degree_histogram(disk).tolist() == [0, 0, 20, 4]
    assert degree_histogram(data).tolist() == [0, 0, 19, 5]


@pytest.mark.parametrize('number', ['foo', 2.5, 0, True])
def test_parts_are_counted_in_whole_numbers(number):
    with pytest.raises(ValueError, match=rf"must be auto or a whole .* \(got '?{number}'?\)"):
        parts_of(number, 10)
