"""A graph twice as large as the memory that is allowed trains, and is evaluated exactly."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .out_of_core import make_graph

if not sys.platform.startswith('linux'):
    pytest.skip('limits and mappings are those of Linux', allow_module_level=True)

MB = 2**20


def train(
    folder: Path, run: str, limit: str, tier: str, *options: str
) -> subprocess.CompletedProcess:
    arguments = [
        f'dataset={folder / "graph"}', f'out={folder / run}', f'history.tier={tier}',
        'full=false', 'device=cpu', 'model.num_layers=3', 'num_workers=0', *options,
    ]  # fmt: skip
    return subprocess.run(
        [sys.executable, '-m', 'test.out_of_core', str(folder / f'warm-{run}'), limit, *arguments],
        capture_output=True, text=True, cwd=Path(__file__).parent.parent,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip


def check(done: subprocess.CompletedProcess, run: Path) -> None:
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout.splitlines()[-1])  # the high-water mark, shown with -s
    allowed, most = (
        int(found) for found in re.search(
            r'limit (\d+) MiB, .* most data (\d+) MiB', done.stdout
        ).groups()
    )  # fmt: skip
    assert most <= allowed
    (record,) = json.loads((run / 'record.json').read_text())['runs']
    assert record['val'] > 60  # of three classes


# 60,000 nodes: features of 17 MB, edges and weights of 6 MB, two tables of 61 MB each. 71 MB more
# than the process has before are twice too little for 145 MB.
LIMIT = f'+{68 * MB}'
SMALL = [
    'num_parts=60', 'batch_size=1', 'epochs=1', 'model.hidden_channels=256', 'lr=0.01',
    'measure_memory=false',
]  # fmt: skip


@pytest.fixture(scope='module')
def graph(tmp_path_factory):
    """The folder of a graph of 60,000 nodes."""
    folder = tmp_path_factory.mktemp('out_of_core')
    make_graph(folder / 'graph', 60_000, 70)
    return folder


def test_tables_and_graph_twice_as_large_as_what_is_allowed(graph):
    check(train(graph, 'first', LIMIT, 'disk', *SMALL), graph / 'first')


def test_without_the_option_memory_does_not_suffice(graph):
    done = train(graph, 'second', LIMIT, 'ram', *SMALL)
    assert done.returncode == 2
    assert "pygas: memory must suffice (got can't allocate memory: you tried" in done.stderr
    assert 'history.tier=disk' in done.stderr


@pytest.mark.slow
def test_two_gigabytes_train_in_one(tmp_path):
    # 1.6 million nodes: features of 819 MB, edges and weights of 166 MB, two tables of 512 MB.
    make_graph(tmp_path / 'graph', 1_600_000, 128)
    options = ['num_parts=800', 'batch_size=8', 'epochs=2', 'model.hidden_channels=80']
    check(train(tmp_path, 'run', str(1024 * MB), 'disk', *options), tmp_path / 'run')
