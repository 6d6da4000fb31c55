"""Memory of a command's process: what is kept when it is freed, and what goes back."""

import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own: the settings of an allocator hold until the process ends.
SCRIPT = """
import torch
from torch_geometric_autoscale.cli import allocator

def resident():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * 4096 / 2**20

allocator.ram_bytes = lambda: 2**31  # tensors up to 8 MiB are kept
allocator.spare_page_faults()
for mebibytes, count in ((64, 4), (4, 64)):
    before = resident()
    tensors = [torch.ones(mebibytes * 2**18) for _ in range(count)]
    full = resident()
    del tensors
    print(round(full - before), round(resident() - before))
"""


@pytest.mark.skipif(not Path('/proc/self/statm').exists(), reason='needs Linux')
def test_large_tensors_go_back_when_they_are_freed_and_others_are_kept():
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT], capture_output=True, text=True, check=True, env={}
    )
    large, small = ([int(word) for word in line.split()] for line in done.stdout.splitlines())
    assert large[0] >= 250
    assert large[1] <= 16
    assert small[0] >= 200
    assert small[1] >= 200
