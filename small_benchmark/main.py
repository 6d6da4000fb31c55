"""The paper's experiments on small graphs: GCN, GAT, APPNP, GCN2.

    python small_benchmark/main.py model=gat dataset=coauthor-cs root=data
    python small_benchmark/main.py -m model=gcn,gcn2 dataset=cora,citeseer mode=gas,full
    python small_benchmark/main.py fake=true epochs=2      # a trial on a stand-in graph

Prints one line for each run and at the end ``test 71.18 ± 0.97``; writes a record for each run
into ``small_benchmark/results/records`` and goes on from there when called again. Options stand in
``torch_geometric_autoscale/conf/benchmark.yaml``, settings of a pair in its ``recipe`` folder.
"""

import sys
from pathlib import Path

from torch_geometric_autoscale.benchmark import main

if __name__ == '__main__':
    sys.exit(main(Path(__file__).parent))
