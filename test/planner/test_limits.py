"""Where the plan says yes, the job runs in the memory it was planned for.

Each job is a process with ``RLIMIT_DATA`` at the budget that its plan was made for.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from torch_geometric_autoscale.graph_folder import load_graph
from torch_geometric_autoscale.graph_input import to_edges

from ..out_of_core import make_graph

if not sys.platform.startswith('linux'):
    pytest.skip('limits are those of Linux', allow_module_level=True)

MB = 10**6
MODELS = {
    'gcn': ['model=gcn', 'model.hidden_channels=128', 'model.num_layers=3'],
    'gat': ['model=gat', 'model.hidden_channels=16', 'model.hidden_heads=4'],
    'pna': ['model=pna', 'model.hidden_channels=32', 'model.num_layers=2'],
    'gcn2': ['model=gcn2', 'model.hidden_channels=32', 'model.num_layers=8'],
}
QUICK = ['device=cpu', 'epochs=1', 'partition=ldg', 'full.epochs=1']


@dataclass
class Ended:
    """How a command ended, and what it told."""

    code: int
    out: str
    error: str

    @property
    def told(self) -> dict:
        lines = [line for line in self.out.splitlines() if line.startswith('told ')]
        return json.loads(lines[-1][5:])


def pygas(limit: int, *arguments: str) -> Ended:
    done = subprocess.run(
        [sys.executable, '-m', 'test.planner.limited', str(limit), *arguments],
        capture_output=True, text=True, cwd=Path(__file__).parent.parent.parent,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)


def save_npz(folder: Path, path: Path) -> None:
    data = load_graph(folder)
    names = ('x', 'y', 'train_mask', 'val_mask', 'test_mask')
    arrays = {name: data[name].numpy() for name in names}
    np.savez(path, edge_index=to_edges(data).edge_index.numpy(), **arrays)


@pytest.fixture(scope='module')
def graphs(tmp_path_factory):
    """Folders and ``.npz`` files of generated graphs, made when first asked for."""
    root = tmp_path_factory.mktemp('graphs')

    def graph(kind: str, num_nodes: int, width: int = 32) -> Path:
        folder, file = root / f'{num_nodes}', root / f'{num_nodes}.npz'
        if not folder.exists():
            make_graph(folder, num_nodes, width)
            save_npz(folder, file)
        return folder if kind == 'folder' else file

    return graph


def trains(budget: int, run: Path, *arguments: str) -> Ended:
    """Train under a limit; fails if that ended in any other way than by success or by the plan."""
    done = pygas(budget, 'train', f'memory={budget}', f'out={run}', *arguments)
    text = f'{done.out[-1500:]}\n{done.error[-1500:]}'
    assert done.code in (0, 2), text
    if done.code == 0:
        assert done.told['total'] <= budget, text
        assert done.told['most'] <= budget, text
    else:
        assert "'memory' must" in done.error, text
    return done


def fitting(budget: int, run: Path, *arguments: str) -> tuple[int, Ended]:
    """Train with a budget that is enough: what a plan asks for that has refused the first one."""
    for _ in range(5):
        done = trains(budget, run, *arguments)
        if done.code == 0:
            return budget, done
        assert not run.exists()
        budget = int(1.01 * done.told['total']) if 'total' in done.told else int(1.2 * budget)
    raise AssertionError(done.error)


@pytest.mark.parametrize('kind', ['npz', 'folder'])
def test_a_job_that_fits_by_its_plan_runs_in_the_memory_of_its_plan(kind, graphs, tmp_path):
    arguments = [f'dataset={graphs(kind, 20_000)}', *MODELS['gcn'], 'model.hidden_channels=64']
    budget, _ = fitting(450 * MB, tmp_path / 'run', *arguments, *QUICK, 'full=false')
    record = json.loads((tmp_path / 'run' / 'record.json').read_text())
    assert record['settings']['memory'] == budget
    assert record['runs'][0]['val'] > 40  # of three classes


@pytest.mark.slow
@pytest.mark.parametrize('model', MODELS)
@pytest.mark.parametrize(('kind', 'num_nodes'), [
    ('npz', 20_000), ('npz', 100_000), ('folder', 60_000), ('folder', 200_000),
])  # fmt: skip
def test_no_job_runs_out_of_memory_where_the_plan_said_yes(
    model, kind, num_nodes, graphs, tmp_path
):
    arguments = [f'dataset={graphs(kind, num_nodes)}', *MODELS[model], *QUICK]
    before = pygas(10**12, 'info').told['before']
    codes = []
    for more in (40, 70, 100, 130, 170, 230, 310, 500, 900, 2700):
        budget = before + more * MB
        codes.append(trains(budget, tmp_path / str(more), *arguments).code)
    assert codes[-1] == 0
    assert codes == sorted(codes, reverse=True)  # more memory is never too little


@pytest.mark.slow
@pytest.mark.parametrize('model', ['gcn', 'gat'])
def test_the_memory_that_a_refused_plan_asks_for_is_enough(model, graphs, tmp_path):
    arguments = [f'dataset={graphs("npz", 60_000)}', *MODELS[model], *QUICK]
    fitting(400 * MB, tmp_path / 'run', *arguments)
