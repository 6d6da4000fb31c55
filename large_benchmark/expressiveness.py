"""Expressiveness: GIN with histories against the Weisfeiler-Leman test, on pairs of small graphs.

Trains GIN with histories on each pair, freezes it, sweeps the histories, and notes whether the two
graphs come out different: as many layers as the test takes rounds should tell them apart, one less
should not. Three seeds, random parts and METIS's. About five minutes on one core; writes
``large_benchmark/results/expressiveness.json``, from which ``pygas report`` makes the table.

    python large_benchmark/expressiveness.py
"""

from pathlib import Path

from torch_geometric_autoscale.benchmark.expressiveness import write_expressiveness

if __name__ == '__main__':
    path = Path(__file__).parent / 'results' / 'expressiveness.json'
    write_expressiveness(path)
    print(path)
