"""The examples run to their end; how well they do is said in their headers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORA = ROOT.parent / 'shared' / 'datasets' / 'Planetoid' / 'Cora'


def run(name: str, *arguments: str) -> list[str]:
    command = [sys.executable, str(ROOT / 'examples' / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.slow
def test_deep_gcn2_on_cora(tmp_path: Path) -> None:
    if not CORA.exists():
        pytest.skip('no shared/datasets/Planetoid/Cora beside the repository')
    target = tmp_path / 'Planetoid' / 'Cora' / 'raw'
    target.mkdir(parents=True)
    for path in (CORA / 'raw').iterdir():
        shutil.copyfile(path, target / path.name)
    lines = run('train_gcn2.py', '--root', str(tmp_path), '--epochs', '2', '--layers', '64')
    assert lines[-1].startswith('epoch    2')


@pytest.mark.slow
def test_gin_with_and_without_the_perturbation_loss() -> None:
    lines = run('train_gin.py', '--graphs', '8', '--epochs', '2')
    assert sum('perturbation loss with weight' in line for line in lines) == 2


@pytest.mark.slow
def test_inductive_training_is_exact_on_the_new_graph() -> None:
    lines = run('train_inductive.py', '--epochs', '1')
    assert float(lines[-1].rpartition(' ')[2]) < 1e-4
