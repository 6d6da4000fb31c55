"""Peak memory of a training step while the graph grows, at a fixed number of nodes per batch.

    python benchmarks/memory.py                # 40K, 160K and 640K nodes, about 3 minutes

A partition holds about 500 nodes whatever the size of the graph, and is a batch. *Step* is the peak
of what a step allocates between ``zero_grad`` and ``step``, as PyTorch's profiler counts it
(median of five batches). Histories, graph and features grow with the graph and are printed apart;
*process* is the largest resident size of a process of its own that trains on that graph only,
everything included, before the full-batch step is taken.
"""

import argparse
import multiprocessing
import resource
import statistics
from itertools import islice

import torch
import torch.nn.functional as F
from graphs import clustered_graph
from timing import as_table, write_record

from torch_geometric_autoscale import SubgraphLoader, gcn_normalize, metis, models, permute
from torch_geometric_autoscale.training.step_memory import step_peak_bytes

MIB = 2**20
NODES_PER_PARTITION = 500


def measure(num_nodes: int) -> dict[str, float]:
    """Peak bytes of a step, and of what is kept between steps."""
    torch.manual_seed(0)
    parts = num_nodes // NODES_PER_PARTITION
    raw = clustered_graph(num_nodes, 14 * num_nodes, parts, num_features=64, num_classes=16)
    perm, ptr = metis(raw, parts, log=False)
    data = gcn_normalize(permute(raw, perm, log=False))
    model = models.GCN(num_nodes, 64, 128, 16, 3, dropout=0.5, drop_input=False)

    def peak(batch) -> int:
        def forward_backward(model) -> None:
            F.cross_entropy(model(batch), batch.y[: batch.batch_size]).backward()

        build = lambda model: torch.optim.Adam(model.parameters())  # noqa: E731
        return step_peak_bytes(model, build, forward_backward, torch.device('cpu'))

    batches = list(islice(SubgraphLoader(data, ptr, shuffle=True, log=False), 5))
    found = {
        'step': statistics.median(map(peak, batches)),
        'rows': statistics.median(batch.num_nodes for batch in batches),
        'histories': sum(h.emb.numel() * h.emb.element_size() for h in model.histories),
        'graph': sum(t.numel() * t.element_size() for t in (data.edge_index, data.edge_weight)),
        'features': data.x.numel() * data.x.element_size(),
        'process': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    found['full'] = peak(next(iter(SubgraphLoader(data, ptr, parts, log=False))))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--nodes', type=int, default=40_000, help='nodes of the smallest graph')
    parser.add_argument(
        '--record', action='store_true', help='write benchmarks/results/memory.json'
    )
    args = parser.parse_args()
    rows, smallest = [], 0.0
    for factor in (1, 4, 16):
        with multiprocessing.get_context('spawn').Pool(1) as pool:
            found = pool.apply(measure, (args.nodes * factor,))
        smallest = smallest or found['step']
        kept = ('histories', 'graph', 'features', 'process')
        rows.append([
            f'{args.nodes * factor:,}', f"{found['step'] / MIB:.2f}",
            f"{found['step'] / smallest:.3f}", f"{found['rows']:,.0f}",
            f"{found['full'] / MIB:.0f}", *(f'{found[name] / MIB:.0f}' for name in kept),
        ])  # fmt: skip
    table = as_table(
        f'Peak memory of a training step in MiB, GCN 64-128-128-16, {NODES_PER_PARTITION} nodes '
        'per batch',
        ['nodes', 'step', 'x smallest', 'rows of the batch', 'full-batch step', 'histories',
         'graph', 'features', 'process'],
        rows,
    )  # fmt: skip
    if args.record:
        write_record('memory', {'memory': table}, **vars(args))


if __name__ == '__main__':
    main()
