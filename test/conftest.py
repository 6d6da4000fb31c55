"""For every test."""

import subprocess

import pytest
import torch

# The graphs fit a hand: a second thread only waits, and much longer on a busy machine.
torch.set_num_threads(1)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, where mounting is allowed."""
    folder = tmp_path / 'small'
    folder.mkdir()
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip('mounting is not allowed here')
    yield folder
    subprocess.run(['umount', '--lazy', str(folder)], check=True)
