"""Time, memory, cut and halo of every partitioner, from ten thousand to ten million nodes.

    python benchmarks/partitioners_at_scale.py                      # 10K, 100K, 1M
    python benchmarks/partitioners_at_scale.py --sizes 10K 100K 1M 10M --record

The graphs are those of ``benchmarks/scale.py``, in the same ``--folder``, and are drawn where they
are missing. They are mapped from files: what a partitioner is given lies on the disk, and
*memory* is the most that its process had of its own at any moment (anonymous resident pages), the
library and PyTorch included. Every run has a process of its own, which is ended where it takes more
than ``--memory`` or ``--seconds``; the table says so. *CPU* seconds are those of all threads
together, and tell more than *seconds* where something else was running.

A run that is done is kept in ``--folder``; the same command goes on where it was stopped.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from scale import memory, note, parse_count, positive, short
from timing import as_table, write_record

from torch_geometric_autoscale.files import write_json
from torch_geometric_autoscale.sizes import parse_size

# Name in the table: method and its options.
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    'metis': ('metis', {}),
    'kaminpar': ('kaminpar', {}),
    'kaminpar, 2 threads': ('kaminpar', {'num_threads': 2}),
    'ldg': ('ldg', {}),
    'ldg, no clusters': ('ldg', {'clusters': False}),
    'lp': ('lp', {}),
    'random': ('random', {}),
}
POLL = 0.02  # seconds between two looks at a process


# One run, in a process of its own ################################################


def draw(folder: Path, nodes: int) -> None:
    """The graph, where it is missing."""
    from torch_geometric_autoscale import generate_graph
    from torch_geometric_autoscale.graph_folder import is_graph_folder

    if not is_graph_folder(folder / 'graph'):
        generate_graph(folder / 'graph', nodes, num_features=64, num_classes=16, log=False)


def run(folder: Path, name: str, num_parts: int) -> dict[str, float]:
    """Partition a graph, and say how long it took and how good it is."""
    from torch_geometric_autoscale import load_graph, partition_quality
    from torch_geometric_autoscale.partition import partition

    method, options = METHODS[name]
    graph = load_graph(folder / 'graph').adj_t
    begun, cpu_begun = time.perf_counter(), time.process_time()
    perm, ptr = partition(graph, num_parts, method, log=False, **options)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    note(f'{seconds:.1f} s')
    quality = partition_quality(graph, perm, ptr)
    return {
        'seconds': seconds, 'cpu': cpu, 'edge_cut': quality.edge_cut,
        'halo': quality.halo_per_batch_node, 'balance': quality.balance,
        'edges': graph.col_indices().numel(),
    }  # fmt: skip


def watched(command: list[str], log: Path, most_bytes: int, most_seconds: int) -> dict[str, Any]:
    """What a process answers, with its ``memory``; or ``failed`` and why."""
    begun, peak, reason = time.perf_counter(), 0, ''
    with log.open('w') as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, 'OMP_NUM_THREADS': '1'},
        )  # fmt: skip
    while process.poll() is None:
        peak = max(peak, anonymous(process.pid))
        if peak > most_bytes:
            reason = f'over {most_bytes / 1e9:.0f} GB of memory'
        elif time.perf_counter() - begun > most_seconds:
            reason = f'over {most_seconds:,} s'
        if reason:
            process.kill()
            break
        time.sleep(POLL)
    out, _ = process.communicate()
    answers = [line for line in out.splitlines() if line.startswith('answer ')]
    if reason or process.returncode or not answers:
        said = (log.read_text().strip().splitlines() or [''])[-1]
        ended = said if process.returncode > 0 else f'ended by signal {-process.returncode}'
        return {'failed': reason or ended, 'memory': peak}
    return {**json.loads(answers[-1][len('answer ') :]), 'memory': peak}


def anonymous(pid: int) -> int:
    """Bytes that a process holds and no file does; 0 where the system does not tell."""
    try:
        text = Path(f'/proc/{pid}/status').read_text()
    except OSError:
        return 0
    found = re.search(r'RssAnon:\s+(\d+) kB', text)
    return int(found[1]) * 1024 if found else 0


# All of them #####################################################################


def measure(folder: Path, nodes: int, name: str, args: argparse.Namespace) -> dict[str, Any]:
    """What a partitioner gives on a graph, now or before."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder, nodes)
    file = folder / 'partitioners.json'
    known = json.loads(file.read_text()) if file.exists() else {}
    parts = max(1, round(nodes / args.nodes_per_part))
    key = f'{name}, {parts} parts, {args.memory}, {args.seconds} s'
    if key not in known or args.again:
        print(f'{nodes:,} nodes: {name}...', end=' ', flush=True)
        job = json.dumps([str(folder), name, parts])
        known[key] = watched(
            [sys.executable, __file__, '--job', job], folder / 'partitioners.log',
            parse_size('partitioners_at_scale.py', 'memory', args.memory), args.seconds,
        )  # fmt: skip
        write_json(file, known)
        print(known[key].get('failed') or f'{known[key]["seconds"]:.1f} s', flush=True)
    return known[key]


def row(nodes: int, name: str, found: dict[str, Any], metis: dict[str, Any]) -> list[str]:
    """A row of the table; with METIS's ratios where that one has come through."""
    start = [short(nodes), name]
    size = f'{found["memory"] / 1e9:.2f}'
    if 'failed' in found:
        return [*start, found['failed'], '-', '-', size, '-', '-', '-']
    ratio = f'{found["cpu"] / metis["cpu"]:.2f}' if 'cpu' in metis else '-'
    return [
        *start, f'{found["seconds"]:.1f}', f'{found["cpu"]:.1f}', ratio, size,
        f'{found["edge_cut"]:.1%}', f'{found["halo"]:.2f}', f'{found["balance"]:.2f}',
    ]  # fmt: skip


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        '--sizes', nargs='+', type=parse_count, default=[10_000, 100_000, 1_000_000],
        help='numbers of nodes, e.g. 10K 1M',
    )  # fmt: skip
    parser.add_argument('--methods', nargs='+', choices=tuple(METHODS), default=list(METHODS))
    parser.add_argument('--folder', type=Path, default=Path('data/scale'), help='of the graphs')
    parser.add_argument('--nodes-per-part', type=positive, default=5_000)
    parser.add_argument('--memory', type=memory, default='16GB', help='that a run may take')
    parser.add_argument('--seconds', type=positive, default=1800, help='that a run may take')
    parser.add_argument('--again', action='store_true', help='measure anew what is there')
    parser.add_argument(
        '--record', action='store_true', help='write benchmarks/results/partitioners_at_scale.json'
    )
    parser.add_argument('--job', help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_args()
    if args.job:
        folder, name, parts = json.loads(args.job)
        print(f'answer {json.dumps(run(Path(folder), name, parts))}')
        return
    rows, measured = [], {}
    for nodes in sorted(set(args.sizes)):
        found = {
            name: measure(args.folder / short(nodes), nodes, name, args) for name in args.methods
        }
        rows += [row(nodes, name, each, found.get('metis', {})) for name, each in found.items()]
        measured[short(nodes)] = found
    table = as_table(
        f'Partitioners, {args.nodes_per_part:,} nodes per part',
        ['nodes', 'method', 'seconds', 'CPU seconds', 'x METIS', 'memory (GB)', 'edges cut',
         'halo/node', 'balance'],
        rows,
    )  # fmt: skip
    if args.record:
        write_record(
            'partitioners_at_scale', {'partitioners': table}, sizes=sorted(set(args.sizes)),
            nodes_per_part=args.nodes_per_part, memory=args.memory, seconds=args.seconds,
            measured=measured,
        )  # fmt: skip


if __name__ == '__main__':
    main()
