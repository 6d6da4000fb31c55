"""Expressiveness: GIN with histories against the Weisfeiler-Leman test, on pairs of small graphs.

Trains GIN with histories on each pair, freezes it, sweeps the histories, and notes whether the two
graphs come out different: as many layers as the test takes rounds should tell them apart, one less
should not. Three seeds, random parts and METIS's. About five minutes on one core.

    python large_benchmark/expressiveness.py
"""

import argparse
from pathlib import Path

from torch_geometric_autoscale.benchmark.expressiveness import write_expressiveness

OUT = Path(__file__).parent / 'results' / 'expressiveness.json'

if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--out', type=Path, default=OUT,
        help='record to write (default: results/expressiveness.json beside this file, from which '
        "'pygas report' makes the table)",
    )  # fmt: skip
    path = parser.parse_args().out
    path.parent.mkdir(parents=True, exist_ok=True)  # or five minutes end in an error
    write_expressiveness(path)
    print(path)
