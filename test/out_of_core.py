"""A job on a graph folder in a process whose memory is limited; see ``test_out_of_core.py``.

Run as ``python -m test.out_of_core FOLDER LIMIT ARGUMENTS...``: trains with the arguments after
RLIMIT_DATA was set to LIMIT bytes, or, with ``+LIMIT``, to so much more than the process has by
then. What is mapped from files is not counted, everything else is.
"""

import re
import resource
import sys
import threading
from pathlib import Path

import numpy as np

from torch_geometric_autoscale.cli.main import main
from torch_geometric_autoscale.graph_folder import GraphWriter


def make_graph(path: Path, num_nodes: int, width: int, degree: int = 8) -> None:
    """Nodes in a ring with edges from random ones nearby, three classes that change along it."""
    rng = np.random.default_rng(0)
    with GraphWriter(path, num_nodes, num_nodes * degree) as writer:
        rowptr, col = writer.add_structure()
        rowptr[:] = np.arange(num_nodes + 1) * degree
        x = writer.add('x', (num_nodes, width), 'float32', 'node')
        y = np.arange(num_nodes) // 500 % 3
        for a in range(0, num_nodes, 10_000):
            b = min(a + 10_000, num_nodes)
            near = np.arange(a, b)[:, None] + rng.integers(1, 30, (b - a, degree))
            col[a * degree : b * degree] = (near % num_nodes).reshape(-1)
            x[a:b] = rng.standard_normal((b - a, width), dtype=np.float32)
            x[a:b, :3] += 3 * np.eye(3, dtype=np.float32)[y[a:b]]
        writer.write('y', y, 'node')
        for i, split in enumerate(('train', 'val', 'test')):
            writer.write(f'{split}_mask', np.arange(num_nodes) % 3 == i, 'node')


def status(name: str) -> int:
    """A number of bytes that the system knows of this process."""
    found = re.search(rf'{name}:\s+(\d+) kB', Path('/proc/self/status').read_text())
    assert found is not None
    return int(found[1]) * 1024


class HighWater(threading.Thread):
    """The most data that the process had at any of very many moments."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.data, self.is_over = 0, threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(0.005):
            self.data = max(self.data, status('VmData'))


def run(folder: Path, limit: str, arguments: list[str]) -> int:
    # A job of a few nodes first: from then on everything is imported.
    folder.mkdir()
    make_graph(folder / 'small', 24, 5)
    small = [f'out={folder / "warm"}', 'num_parts=2', 'batch_size=1', 'epochs=1', 'full=false']
    assert main(['train', f'dataset={folder / "small"}', *small]) == 0
    water = HighWater()
    water.start()
    data = status('VmData')
    allowed = data + int(limit) if limit.startswith('+') else int(limit)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
    try:
        return main(['train', *arguments])
    finally:
        water.is_over.set()
        water.join()
        size = sum(path.stat().st_size for path in Path(arguments[0].partition('=')[2]).iterdir()
                   if path.is_file())  # fmt: skip
        sizes = {
            'limit': allowed, 'before': data, 'most data': water.data,
            'most resident': status('VmHWM'), 'graph folder': size,
        }  # fmt: skip
        print(', '.join(f'{name} {number / 2**20:.0f} MiB' for name, number in sizes.items()))


if __name__ == '__main__':
    sys.exit(run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
