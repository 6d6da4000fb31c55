"""The scale benchmark at tiny sizes, and what keeps its seconds per node flat."""

import importlib
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from torch_geometric_autoscale import SubgraphLoader, gcn_normalize, models

from .on_disk import on_disk, some_graph

BENCHMARKS = Path(__file__).parents[1] / 'benchmarks'
OPTIONS = {
    'nodes': 1000, 'nodes_per_part': 100, 'method': 'ldg', 'threads': 1, 'parts_per_batch': 2,
    'epochs': 2, 'prefetch': True, 'limit': '4GB', 'degree': 10, 'features': 64, 'classes': 16,
    'channels': 64,
}  # fmt: skip


@pytest.fixture(scope='module')
def load():
    """Import a benchmark by name, as a script would."""
    sys.path.insert(0, str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    sys.path.remove(str(BENCHMARKS))
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f'{name}.py').exists():
            del sys.modules[name]


@pytest.fixture(scope='module')
def scale(load):
    return load('scale')


@pytest.fixture(scope='module')
def folder(scale, tmp_path_factory):
    """A graph of 1,000 nodes, drawn and cut, with what was measured."""
    folder = tmp_path_factory.mktemp('scale')
    found = {stage: scale.WORK[stage](folder, OPTIONS) for stage in ('generate', 'partition')}
    (folder / 'found.json').write_text(json.dumps(found))
    return folder


# Work that does not grow #############################################################


class WholeGraphWork(TorchDispatchMode):
    """Counts operations that go through an array of ``num_nodes`` rows or more."""

    # These read a few rows of it, write to a few, or none at all.
    OF_ROWS = (
        'index_select', 'index', 'slice', 'select', 'index_put_', 'detach', 'copy_', 'alias',
        'new_empty',
    )  # fmt: skip

    def __init__(self, num_nodes: int) -> None:
        super().__init__()
        self.num_nodes, self.found = num_nodes, Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split('.')[0]
        strided = [a for a in args if isinstance(a, torch.Tensor) and a.layout == torch.strided]
        if name not in self.OF_ROWS and any(a.numel() >= self.num_nodes for a in strided):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('prefetch', [False, True])
def test_a_step_goes_through_no_array_of_all_nodes(tmp_path, prefetch):
    raw = some_graph(4000, 6000)
    raw.x = raw.x[:, :1]  # else its rows of a batch are as many numbers as there are nodes
    data = gcn_normalize(on_disk(raw, tmp_path / 'graph'))
    ptr = torch.arange(0, 4001, 20)
    loader = SubgraphLoader(data, ptr, 2, log=False, input_nodes=data.train_mask, prefetch=prefetch)
    model = models.GCN(4000, 1, 4, 3, 3, drop_input=False)
    model.refresh(loader)

    def step(batch):
        mask = batch.input_mask
        loss = F.cross_entropy(model(batch)[mask], batch.y[: batch.batch_size][mask])
        (loss * batch.loss_weight).backward()

    with WholeGraphWork(4000) as work:
        for batch, _ in zip(loader, range(10), strict=False):
            step(batch)
    assert not work.found
    with WholeGraphWork(4000) as work:  # it would be seen
        data.train_mask.sum()
    assert work.found == {'sum': 1}


# The benchmark #######################################################################


def test_every_stage_says_what_its_row_needs(scale, folder, capsys):
    found = json.loads((folder / 'found.json').read_text())
    found['train'] = json.loads(json.dumps(scale.train(folder, OPTIONS)))
    assert [len(found['train'][name]) for name in ('epoch', 'refresh', 'scores')] == [2, 3, 3]
    assert found['train']['steps'] == 5
    assert found['train']['history_bytes'] == 2 * 1000 * 64 * 4
    assert found['partition']['parts'] == 10
    found['train'] |= {'resident': 2 * 10**9, 'data': 10**9, 'step_bytes': 2**20}
    found['limited'] = {**found['train'], 'data': 5 * 10**8}
    tables = scale.tables({1000: found}, '4GB')
    assert [len(table['rows']) for table in tables.values()] == [1, 1, 1, 1]
    (row,) = tables['per_node']['rows']
    assert row[0] == '1,000'
    assert row[-3:] == ['1.00', '2.00', '1.00']
    assert '-' not in row
    (row,) = tables['limited']['rows']
    assert row[1:3] == ['0.50', '2.00']
    assert (row[5], row[7]) == ('1.00', '1.00')
    assert all(len(t['header']) == len(row) for t in tables.values() for row in t['rows'])


def test_a_profile_says_where_an_epoch_goes(scale, folder, capsys):
    found = scale.profile(folder, OPTIONS)
    seconds = found['profile']
    assert list(seconds) == [*scale.PROFILED, 'the whole epoch']
    assert all(0 < share <= seconds['the whole epoch'] for share in seconds.values())
    rows = scale.tables({1000: {'profile': found}}, None)['profile']['rows']
    assert rows[-1][0::2] == ['the whole epoch', '100%']


def test_the_last_row_compares_the_largest_with_a_tenth_of_it(scale, capsys):
    timed = {'epoch': [[2.0, 1.0], [4.0, 1.0], [3.0, 2.0]]}
    small = {'train': {**timed, 'step_bytes': 100, 'resident': 10, 'data': 5}}
    large = {'train': {'epoch': [[60.0, 11.0]], 'step_bytes': 105, 'resident': 90, 'data': 5}}
    made = scale.tables({1000: small, 10_000: large}, None)
    assert made['per_node']['rows'][0][:6] == ['1,000', '-', '-', '-', '-', '3000.00']
    assert made['per_node']['rows'][-1] == [
        '10K / 1K', '-', '-', '-', '-', '2.00', '-', '1.05', '9.00', '1.00',
    ]  # fmt: skip
    assert made['cpu']['rows'][-1] == ['10K / 1K', '-', '-', '-', '-', '1.10', '-']
    assert len(scale.tables({10_000: large}, None)['per_node']['rows']) == 1


def test_what_is_done_is_not_done_again(scale, tmp_path, monkeypatch, capsys):
    done: list[str] = []

    def run(stage, folder, options):
        done.append(stage)
        return {'failed': 'too large'} if stage == failing else {'seconds': 1}

    failing = 'train'
    monkeypatch.setattr(scale, 'in_own_process', run)
    stages = ['generate', 'partition', 'train', 'limited']
    assert scale.measure(tmp_path, OPTIONS, stages, False)['train'] == {'failed': 'too large'}
    assert done == ['generate', 'partition', 'train']
    assert 'too large' in capsys.readouterr().out
    failing, done[:] = '', []
    assert list(scale.measure(tmp_path, OPTIONS, stages, False)) == stages
    assert done == ['train', 'limited']
    done.clear()
    scale.measure(tmp_path, {**OPTIONS, 'limit': '3GB'}, stages, False)
    assert done == ['limited']
    done.clear()
    scale.measure(tmp_path, {**OPTIONS, 'method': 'random', 'limit': '3GB'}, stages, False)
    assert done == ['partition', 'train', 'limited']
    done.clear()
    scale.measure(tmp_path, {**OPTIONS, 'method': 'random', 'limit': '3GB'}, stages, True)
    assert done == stages


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='limits are those of Linux')
def test_a_limit_is_kept_and_one_that_is_too_low_is_said(scale, folder):
    options = {**OPTIONS, 'epochs': 1}
    found = scale.in_own_process('limited', folder, options)
    assert 0 < found['data'] < 4 * 10**9
    assert found['resident'] > 0
    assert len(found['epoch']) == 1
    found = scale.in_own_process('limited', folder, {**options, 'limit': '250MB'})
    assert list(found) == ['failed']
    assert found['failed']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--sizes', '12'], "whole number of nodes from 1K to 2^31 (got '12')"),
        (['--sizes', '1.0005K'], "(got '1.0005K'). Pass e.g. 1M."),
        (['--sizes', '4000M'], "(got '4000M')"),
        (['--sizes', 'many'], "(got 'many')"),
        (['--epochs', '0'], "whole number from 1 on (got '0'). Pass e.g. 2."),
        (['--parts-per-batch', '-1'], "(got '-1')"),
        (['--nodes-per-part', '2.5'], "(got '2.5')"),
        (['--limit', 'much'], "'limit' must be a number of bytes from 1 on (got 'much')"),
        (['--partition', 'best'], "invalid choice: 'best'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_done(scale, capsys, arguments, message):
    with pytest.raises(SystemExit) as ended:
        scale.parse_args(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_sizes_are_read_and_written_as_people_do(scale):
    args = scale.parse_args(['--sizes', '10k', '2.5M', '10_000'])
    assert args.sizes == [10_000, 2_500_000, 10_000]
    assert [scale.short(n) for n in (10_000, 3_000_000, 1234)] == ['10K', '3M', '1,234']


# Partitioners ########################################################################


@pytest.fixture(scope='module')
def partitioners(load):
    return load('partitioners_at_scale')


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='memory is read from Linux')
def test_a_partitioner_is_measured_and_ended_at_its_limits(partitioners, folder, tmp_path):
    job = json.dumps([str(folder), 'ldg', 10])
    script = str(BENCHMARKS / 'partitioners_at_scale.py')
    command, log = [sys.executable, script, '--job', job], tmp_path / 'log'
    found = partitioners.watched(command, log, 10**10, 600)
    assert 0 < found['edge_cut'] < 1
    assert found['memory'] > 10**8
    assert partitioners.row(1000, 'ldg', found, {'cpu': found['cpu'] / 2})[4] == '2.00'
    found = partitioners.watched(command, log, 5 * 10**7, 600)
    assert found['failed'] == 'over 0 GB of memory'
    sleep = [sys.executable, '-c', 'import time; time.sleep(60)']
    assert partitioners.watched(sleep, log, 10**10, 0)['failed'] == 'over 0 s'
    row = partitioners.row(1000, 'ldg', found, {})
    assert row[:3] == ['1K', 'ldg', 'over 0 GB of memory']


def test_a_partitioner_that_fails_says_why(partitioners, tmp_path):
    command = [sys.executable, '-c', 'raise MemoryError("no room")']
    found = partitioners.watched(command, tmp_path / 'log', 10**10, 60)
    assert found['failed'] == 'MemoryError: no room'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--methods', 'scotch'], "invalid choice: 'scotch'"),
        (['--memory', '0'], "must be a number of bytes from 1 on (got '0')"),
        (['--seconds', '0'], "(got '0')"),
    ],
)
def test_wrong_options_of_the_partitioners_are_refused(partitioners, capsys, arguments, message):
    with pytest.raises(SystemExit):
        partitioners.parse_args(arguments)
    assert message in capsys.readouterr().err


LIMITED_LDG = """
import resource, sys, torch
from torch_geometric_autoscale import load_graph
from torch_geometric_autoscale.partition import partition
graph = load_graph(sys.argv[1])
partition(load_graph(sys.argv[2]), 4, 'ldg', log=False)  # what is allocated once
status = open('/proc/self/status').read()
data = int(status.partition('VmData:')[2].split()[0]) * 1024
limit = data + int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
perm, ptr = partition(graph, 40, 'ldg', log=False)
assert perm.sort().values.equal(torch.arange(graph.num_nodes))
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='limits are those of Linux')
def test_ldg_cuts_a_graph_in_limited_memory(scale, folder, tmp_path):
    scale.generate(tmp_path, {**OPTIONS, 'nodes': 100_000})
    command = [sys.executable, '-c', LIMITED_LDG, str(tmp_path / 'graph'), str(folder / 'graph')]
    done = subprocess.run([*command, str(130 * 10**6)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    done = subprocess.run([*command, str(20 * 10**6)], capture_output=True, text=True, check=False)
    assert done.returncode != 0  # the limit is one
