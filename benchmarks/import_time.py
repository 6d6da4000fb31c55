"""Seconds that ``import torch_geometric_autoscale`` takes beyond PyG's own import.

``python benchmarks/import_time.py`` takes about a minute on two cores; the rule is at most 0.3 s.
"""

import statistics
import subprocess
import sys

CODE = """
import time
import torch_geometric.nn, torch_geometric.data
started = time.perf_counter()
import torch_geometric_autoscale
print(time.perf_counter() - started)
"""


def main(rounds: int = 5) -> None:
    """Measure in fresh processes and print."""
    seconds = []
    for _ in range(rounds + 1):  # the first one fills the file cache
        done = subprocess.run(
            [sys.executable, '-c', CODE], capture_output=True, text=True, check=True
        )
        seconds.append(float(done.stdout))
    seconds = seconds[1:]
    print('import beyond PyG      seconds')
    print('-----------------  ----------')
    print(f'median of {rounds}        {statistics.median(seconds):10.3f}')
    print(f'largest            {max(seconds):10.3f}')


if __name__ == '__main__':
    main()
