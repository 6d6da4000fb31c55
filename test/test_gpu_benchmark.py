"""The benchmark for GPUs, rehearsed on the CPU at a size that fits a hand."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / 'benchmarks' / 'gpu.py'

# A machine with a GPU may have PyTorch, PyG and Triton alone.
BARE = f"""
import runpy, sys

class Absent:
    names = {{
        'hydra', 'omegaconf', 'pymetis', 'kaminpar', 'matplotlib', 'scipy', 'pyarrow', 'ogb',
        'tensorboard', 'lightning', 'safetensors',
    }}

    def find_spec(self, name, *args):
        if name in self.names:
            raise ImportError(name)

sys.meta_path.insert(0, Absent())
sys.argv = ['gpu.py', '--rehearse']
sys.path.insert(0, {str(SCRIPT.parent)!r})
runpy.run_path({str(SCRIPT)!r}, run_name='__main__')
"""


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / 'benchmarks'))
    return runpy.run_path(str(SCRIPT))


def test_it_runs_from_end_to_end_with_pytorch_and_pyg_alone():
    done = subprocess.run([sys.executable, '-c', BARE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.strip().split('\n')
    assert lines[-1].startswith('a rehearsal on the CPU: nothing above was measured')
    table = [line for line in lines if line.startswith(('memory', 'rate', 'waits', 'seconds'))]
    kinds = [line.split('  ')[0] for line in table]
    assert (kinds.count('memory'), kinds.count('waits')) == (12, 4)
    assert kinds.count('rate') == 2 + 3 * 3 + 3  # copies, host, and kernels, that do not run
    assert kinds.count('seconds per epoch') == 10
    for where in ('on the device  ', 'by host threads', 'by a kernel', 'serial', 'on a disk'):
        (line,) = (
            line for line in table
            if line.startswith('seconds') and 'histories' in line and where in line
        )  # fmt: skip
        assert ' s ' in line
        assert 'x device' in line


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without CUDA')
def test_without_a_device_it_says_so(script, capsys, tmp_path):
    out = tmp_path / 'gpu.json'
    assert script['main'](['--out', str(out)]) == 1
    assert capsys.readouterr().err.startswith("benchmarks/gpu.py: a CUDA device is needed (got 'cu")
    assert not out.exists()


def test_impossible_sizes_are_refused(script, capsys):
    with pytest.raises(SystemExit):
        script['main'](['--nodes', '5'])
    assert '--nodes must be 128 or more (got 5)' in capsys.readouterr().err


def test_a_batch_of_the_ring_is_the_same_at_every_size(script):
    found = set()
    for communities in (4, 16):
        data = script['ring'](communities, 10, 3, 2)
        ptr = torch.arange(communities + 1) * 10
        loader = script['SubgraphLoader'](data, ptr, batch_size=2, log=False)
        batch = next(loader.sweep())
        assert data.edge_index.size(1) == communities * 10 * 14
        found.add((batch.batch_size, batch.adj_t.edges.slice(None).col.numel()))
        assert 0 < batch.num_nodes - 20 <= 10  # the halo lies in the next community
    assert found == {(20, 280)}


def test_a_run_has_a_record(script, monkeypatch):
    rows = [['memory', 'x', '1 MiB', '']]
    functions = script['run'].__globals__
    for name in ('memory', 'rates', 'seconds'):
        monkeypatch.setitem(functions, name, lambda *args: list(rows))
    monkeypatch.setitem(functions, 'waits', lambda *args: (rows, ['loop.py:1']))
    record = script['run'](torch.device('cpu'), script['Sizes'](rehearsal=True))
    assert record['tables']['gpu']['rows'] == rows * 4
    assert record['settings']['waits_at'] == ['loop.py:1']
    assert record['settings']['sizes']['nodes'] == 256
    assert {'torch', 'torch_geometric', 'python'} <= record['versions'].keys()


def test_what_there_is_no_time_for_is_said(script):
    clock = script['Clock'](0)
    sizes, device = script['Sizes'](rehearsal=True), torch.device('cpu')
    for row in script['memory'](sizes, device, clock):
        assert row[2:] == ['not measured', 'no time left']
