"""Graphs and folders that several tests use."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REPOSITORY = Path(__file__).parents[2]
SHARED_DATASETS = REPOSITORY.parent / 'shared' / 'datasets'


@pytest.fixture
def copy_of_shared(tmp_path: Path) -> Callable[[str], Path]:
    """Copies a file or folder of the shared data sets into a root of its own; skips without it."""

    def copy(name: str) -> Path:
        source, target = SHARED_DATASETS / name, tmp_path / 'root' / name
        if not source.exists():
            pytest.skip(f'no shared/datasets/{name} beside the repository')
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            shutil.copyfile(source, target)
        else:
            shutil.copytree(source, target, copy_function=shutil.copyfile)
            for folder in (target, *(path for path in target.rglob('*') if path.is_dir())):
                folder.chmod(0o755)
        return tmp_path / 'root'

    return copy


@pytest.fixture
def arrays() -> dict[str, Any]:
    """Three nodes, two edges both ways, two features, two classes; the last node is unlabelled."""
    return {
        'x': np.array([[1, 0], [0, 2], [3, 0]], dtype=np.float32),
        'edge_index': np.array([[0, 1, 1, 2], [1, 0, 2, 1]], dtype=np.int64),
        'y': np.array([0, 1, -1], dtype=np.int64),
        'train_mask': np.array([True, False, False]),
        'val_mask': np.array([False, True, False]),
        'test_mask': np.array([False, True, False]),
    }


@pytest.fixture
def save(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Writes arrays to ``graph.npz`` and returns its path."""

    def write(arrays: dict[str, Any]) -> Path:
        np.savez_compressed(tmp_path / 'graph.npz', **arrays)
        return tmp_path / 'graph.npz'

    return write
