"""For every test."""

import os
import subprocess

import pytest
import torch

# Without a device Triton's kernels run in Python. It reads this when it is imported, as PyG does.
if not torch.cuda.is_available():
    os.environ.setdefault('TRITON_INTERPRET', '1')

# The graphs fit a hand: a second thread only waits, and much longer on a busy machine.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker('gpu') is not None:
            item.add_marker(pytest.mark.skip(reason='needs a CUDA device'))


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
