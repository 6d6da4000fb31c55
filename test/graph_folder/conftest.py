"""A graph that fits a hand, in a folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from torch_geometric_autoscale.graph_folder import GraphWriter

# Three nodes; edges 1->0, 2->0, 0->1, 1->1; node 2 has none.
ROWPTR, COL = [0, 2, 4, 4], [1, 2, 0, 1]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes the graph with more arrays, given as ``name=(values, level)``; returns its path."""

    def write(name: str = 'graph', **arrays: Any) -> Path:
        path = tmp_path / name
        with GraphWriter(path, 3, 4, metadata={'source': 'by hand'}) as writer:
            rowptr, col = writer.add_structure()
            rowptr[:], col[:] = ROWPTR, COL
            for key, (values, level) in arrays.items():
                writer.write(key, np.asarray(values), level)
        return path

    return write


@pytest.fixture
def folder(make: Callable[..., Path]) -> Path:
    """The graph with features, labels, a mask, weights and bounds of parts."""
    return make(
        x=(np.array([[1, 2], [3, 4], [5, 6]], dtype=np.float32), 'node'),
        y=(np.array([0, 2, -1]), 'node'),
        train_mask=(np.array([True, True, False]), 'node'),
        edge_weight=(np.array([1, 2, 3, 4], dtype=np.float32), 'edge'),
        edge_attr=(np.array([[1.0], [2], [3], [4]]), 'edge'),
        ptr=(np.array([0, 2, 3]), 'graph'),
        node_id=(np.array([b'a', b'bc', b'd']), 'node'),
    )
