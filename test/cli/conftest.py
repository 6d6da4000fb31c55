import re

import numpy as np
import pytest

from ..training.tiny import tiny_data


def save_npz(path, data):
    keys = ('x', 'edge_index', 'y', 'train_mask', 'val_mask', 'test_mask')
    np.savez(path, **{key: data[key].numpy() for key in keys})
    return path


@pytest.fixture
def graph(tmp_path):
    """The graph of three rings as a file."""
    return save_npz(tmp_path / 'rings.npz', tiny_data())


@pytest.fixture
def options(graph, tmp_path):
    """Arguments of a job of a second."""
    return [
        f'dataset={graph}', f'out={tmp_path / "run"}', 'num_parts=4', 'batch_size=2', 'epochs=6',
        'partition=lp', 'full.epochs=6', 'full.max_seconds=null', 'model.hidden_channels=8',
        'lr=0.05', 'reg_weight_decay=0', 'device=cpu',
    ]  # fmt: skip


WITH_TIME = re.compile(r'\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ')


def printed_in(log):
    """The lines of a log file that were printed: all but those with a time."""
    return [line for line in log.read_text('utf-8').splitlines() if not WITH_TIME.match(line)]


def timed_in(log):
    """The lines of a log file with a time, without it."""
    lines = log.read_text('utf-8').splitlines()
    return [WITH_TIME.sub('', line) for line in lines if WITH_TIME.match(line)]


def without_epochs(out):
    """What was printed but for the lines about epochs, which a log has with their time."""
    epochs = ('Histories: ', 'Full batch: ')
    return [line for line in out.splitlines() if not line.startswith(epochs)]
