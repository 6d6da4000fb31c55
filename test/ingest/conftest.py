"""A graph that fits a hand, in files of several kinds, read in very small pieces."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from torch_geometric_autoscale.graph_folder import GraphFolder, placing, spool
from torch_geometric_autoscale.ingest import (
    memory_graph,
    npz_graph,
    parquet_table,
    rows,
    text_lines,
)

# Five nodes; node 4 has no edges, 0 -> 1 is there twice, 3 -> 3 is a loop.
SOURCE = [0, 2, 1, 0, 3, 3, 1]
TARGET = [1, 1, 0, 1, 3, 2, 2]
WEIGHT = [1.0, 2, 3, 4, 5, 6, 7]
ROWPTR, COL, ORDER = [0, 1, 4, 6, 7, 7], [1, 0, 2, 0, 3, 1, 3], [2, 0, 1, 3, 5, 6, 4]
X = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
Y = [0, 1, 2, -1, 0]
MASKS = {
    'train_mask': [True, False, False, False, True],
    'val_mask': [False, True, False, False, False],
    'test_mask': [False, False, True, False, False],
}


@pytest.fixture(autouse=True)
def unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: what a process that ends has written is not lost by that."""
    monkeypatch.setattr(os, 'fsync', lambda descriptor: None)
    monkeypatch.setattr(np.memmap, 'flush', lambda self: None)


@pytest.fixture
def data() -> Data:
    return Data(
        x=torch.tensor(X, dtype=torch.float32),
        edge_index=torch.tensor([SOURCE, TARGET]),
        edge_weight=torch.tensor(WEIGHT),
        y=torch.tensor(Y),
        **{name: torch.tensor(mask) for name, mask in MASKS.items()},
    )


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is read and written a few bytes at a time."""
    monkeypatch.setattr(text_lines, 'BLOCK', 10)
    monkeypatch.setattr(parquet_table, 'ROWS', 2)
    monkeypatch.setattr(spool, 'CHUNK', 2)
    monkeypatch.setattr(placing, 'WINDOW_BYTES', 24)
    monkeypatch.setattr(rows, 'CHUNK', 16)
    monkeypatch.setattr(npz_graph, 'CHUNK', 16)
    monkeypatch.setattr(npz_graph, 'EDGES', 3)
    monkeypatch.setattr(memory_graph, 'EDGES', 3)


@pytest.fixture(params=['whole', 'in small pieces'])
def pieces(request: pytest.FixtureRequest) -> None:
    """Once with the usual sizes of pieces, once with small ones."""
    if request.param == 'in small pieces':
        request.getfixturevalue('small_pieces')


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a text file, packed if it is called so."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        if name.endswith('.gz'):
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            path.write_text(text, 'utf-8')
        return path

    return write


@pytest.fixture
def write_parquet(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns to a Parquet file of row groups of three; skips without pyarrow."""
    arrow = pytest.importorskip('pyarrow')
    parquet = pytest.importorskip('pyarrow.parquet')

    def write(name: str, /, **columns: Any) -> Path:
        parquet.write_table(arrow.table(columns), tmp_path / name, row_group_size=3)
        return tmp_path / name

    return write


@pytest.fixture
def edges_csv(write: Callable[..., Path]) -> Path:
    """The edges with their weights, without a header."""
    pytest.importorskip('pyarrow')
    lines = zip(SOURCE, TARGET, WEIGHT, strict=True)
    return write('edges.csv', ''.join(f'{s},{t},{w}\n' for s, t, w in lines))


def check(folder: GraphFolder, weighted: bool = True) -> None:
    """The folder holds the graph."""
    folder.validate()
    assert folder.num_nodes == 5
    assert folder['rowptr'].tolist() == ROWPTR
    assert folder['col'].tolist() == COL
    assert folder['rowptr'].dtype == folder['col'].dtype == np.int32
    if weighted:
        assert folder['edge_weight'].tolist() == [WEIGHT[i] for i in ORDER]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
