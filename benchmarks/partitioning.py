"""Seconds and quality of every partitioner: prints one table.

``python benchmarks/partitioning.py`` takes about a minute on two cores.
"""

import argparse
import importlib.metadata
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from graphs import clustered_graph
from timing import write_record
from torch_geometric.data import Data

from torch_geometric_autoscale import get_data
from torch_geometric_autoscale.partition import available_methods, partition, partition_quality

_METHODS = ['metis', 'kaminpar', 'lp', 'ldg', 'random']


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--num-nodes', type=int, default=169_343)
    parser.add_argument('--num-edges', type=int, default=2_360_000, help='directed edges')
    parser.add_argument('--num-clusters', type=int, default=80)
    parser.add_argument('--intra', type=float, default=0.85, help='edges inside clusters')
    parser.add_argument('--npz', type=Path, nargs='*', default=[], help='graphs to add, by file')
    parser.add_argument('--no-generated', action='store_true', help='only the graphs of --npz')
    parser.add_argument('--num-parts', type=int, default=80, help='parts of the generated graph')
    parser.add_argument('--npz-parts', type=int, default=64, help='parts of graphs from files')
    parser.add_argument('--methods', nargs='+', choices=_METHODS, default=_METHODS)
    parser.add_argument('--runs', type=int, default=3, help='each with a seed of its own')
    parser.add_argument('--record', action='store_true', help='write results/partitioning.json')
    return parser.parse_args()


def load_npz(path: Path) -> Data:
    """Read the structure of a graph stored with keys ``edge_index`` and ``y``."""
    with np.load(path, allow_pickle=False) as arrays:
        edge_index = torch.from_numpy(arrays['edge_index'])
        return Data(edge_index=edge_index, num_nodes=len(arrays['y']))


def measure(graph: Data, num_parts: int, method: str, runs: int) -> tuple[float, ...]:
    """Medians over seeds: seconds, edge cut, halo rows per node, balance."""
    rows = []
    for seed in range(runs):
        started = time.perf_counter()
        perm, ptr = partition(graph, num_parts, method, seed=seed, log=False)
        seconds = time.perf_counter() - started
        quality = partition_quality(graph, perm, ptr)
        rows.append((seconds, quality.edge_cut, quality.halo_per_batch_node, quality.balance))
    return tuple(statistics.median(column) for column in zip(*rows, strict=True))


def main() -> None:
    """Measure and print."""
    args = parse_args()
    graphs: list[tuple[str, Data, int]] = []
    if not args.no_generated:
        data = clustered_graph(args.num_nodes, args.num_edges, args.num_clusters, args.intra)
        graphs.append(('clustered', data, args.num_parts))
    if not args.no_generated:
        graphs.append(('wordnet', get_data(None, 'wordnet')[0], args.npz_parts))
    graphs += [(path.stem, load_npz(path), args.npz_parts) for path in args.npz]

    installed = available_methods()
    for wheel in ('pymetis', 'kaminpar', 'numpy', 'torch'):
        try:
            print(f'{wheel} {importlib.metadata.version(wheel)}', end='  ')
        except importlib.metadata.PackageNotFoundError:
            print(f'{wheel} not installed', end='  ')
    print(f'python {sys.version.split()[0]}  threads {torch.get_num_threads()}  runs {args.runs}')
    print('In brackets: the ratio to METIS.')
    print(
        f'{"graph":<12} {"nodes":>9} {"edges":>11} {"parts":>5} {"method":<9}'
        f'{"seconds":>15} {"edge cut":>16} {"halo/node":>15} {"balance":>8}'
    )
    measured: list[list[str]] = []
    for name, data, num_parts in graphs:
        start = f'{name:<12} {data.num_nodes:>9,} {data.num_edges:>11,} {num_parts:>5}'
        base: tuple[float, ...] | None = None
        for method in args.methods:
            if method not in installed:
                print(f'{start} {method:<9} not installed')
                continue
            row = measure(data, num_parts, method, args.runs)
            measured.append([
                f'{name}, {data.num_nodes:,} nodes, {data.num_edges:,} edges, {num_parts} parts',
                method, f'{row[0]:.2f}', f'{row[1]:.1%}', f'{row[2]:.2f}', f'{row[3]:.2f}',
            ])  # fmt: skip
            base = row if method == 'metis' else base
            ratio = [
                '' if base is None or there == 0 else f'({here / there:.2f}x)'
                for here, there in zip(row, base or row, strict=True)
            ]
            print(
                f'{start} {method:<9}'
                f'{row[0]:>6.2f} {ratio[0]:>8} {row[1]:>7.1%} {ratio[1]:>8}'
                f'{row[2]:>6.2f} {ratio[2]:>8} {row[3]:>8.2f}',
                flush=True,
            )
    if args.record:
        header = ['graph', 'method', 'seconds', 'edge cut', 'halo/node', 'balance']
        title = f'Partitioning, median of {args.runs} runs'
        table = {'title': title, 'header': header, 'rows': measured}
        write_record('partitioning', {'partitioning': table}, runs=args.runs)


if __name__ == '__main__':
    main()
