"""From ten thousand to ten million nodes: seconds per node, and the memory of a step.

    python benchmarks/scale.py --sizes 1M                          # one row
    python benchmarks/scale.py                                     # 10K, 100K, 1M
    python benchmarks/scale.py --sizes 10K 100K 1M 10M --limit 4GB --record

Each graph is drawn by ``generate_graph`` (about ten directed edges per node, 64 features), cut
into parts of ``--nodes-per-part`` nodes, written in the order of its parts, and a GCN of three
layers with 64 channels is trained on it for two epochs, after a refresh and with one after each
epoch: the refresh is exact, and gives the scores. Features and edges are mapped from files,
histories lie in main memory. A batch has the same number of nodes whatever the size of the graph.

Every stage runs in a process of its own. *Resident* is the largest resident size of the one that
trains, pages of mapped files included; *data* the largest size of what it has besides (heap and
private mappings). *Step* is the peak of what a step allocates between ``zero_grad`` and ``step``,
as PyTorch's profiler counts it (median of five batches). One thread computes (``--threads``) while
another builds the next batch.

``--limit`` trains every graph once more with the histories on the disk as well, in a process that
``RLIMIT_DATA`` keeps to that size.

``--degree 16 --features 128 --classes 172 --name scale_papers100m --folder data/papers`` measures
graphs of another shape, that of ogbn-papers100M.

What is done is kept in ``--folder``, with what was measured: the same command goes on where it was
stopped, and takes what is there (``--again``: measures anew). 10M nodes take 8 GB of disk, and 6 GB
more while they are trained under a limit.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from timing import as_table, write_record

from torch_geometric_autoscale.files import write_json

MIB = 2**20
LAYERS = 3
STEPS_TO_MEASURE = 5
MOST_PROFILED = 10**6  # nodes: the profile of a larger graph says nothing else
STAGES = ('generate', 'partition', 'train', 'limited')


# Stages, each in a process of its own ############################################


class Clock:
    """Seconds since it was made: by the clock on the wall, and of all threads on the CPU."""

    def __init__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        return time.perf_counter() - self._begun[0], time.process_time() - self._begun[1]


def generate(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Draw the graph."""
    from torch_geometric_autoscale import generate_graph

    clock = Clock()
    graph = generate_graph(
        folder / 'graph', options['nodes'], options['degree'], options['features'],
        options['classes'], overwrite=True, log=False,
    )  # fmt: skip
    return {'generate': [clock.read()], 'edges': graph.num_edges, 'bytes': graph.num_bytes}


def cut(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Partition it, and write it in the order of its parts."""
    from torch_geometric_autoscale import load_graph, partition_quality, permute
    from torch_geometric_autoscale.partition import partition

    data = load_graph(folder / 'graph')
    parts = max(1, round(options['nodes'] / options['nodes_per_part']))
    clock = Clock()
    perm, ptr = partition(data, parts, options['method'], log=False)
    partitioned = clock.read()
    note(f'partition: {partitioned[0]:.1f} s')
    clock, data.ptr = Clock(), ptr
    permute(data, perm, log=False, out=folder / 'cut', overwrite=True)
    written = clock.read()
    quality = partition_quality(data, perm, ptr)
    return {
        'partition': [partitioned], 'write': [written], 'parts': parts,
        'edge_cut': quality.edge_cut, 'halo': quality.halo_per_batch_node,
        'balance': quality.balance,
    }  # fmt: skip


def prepare(folder: Path, options: dict[str, Any], tier: str = 'ram') -> tuple[Any, ...]:
    """Graph, loader, model and optimiser, ready to train."""
    import torch

    from torch_geometric_autoscale import SubgraphLoader, gcn_normalize, load_graph, models
    from torch_geometric_autoscale.graph_folder import GraphFolder
    from torch_geometric_autoscale.history import move_histories

    torch.manual_seed(0)
    data = gcn_normalize(load_graph(folder / 'cut'))
    ptr = torch.from_numpy(GraphFolder(folder / 'cut')['ptr'].copy())
    loader = SubgraphLoader(
        data, ptr, options['parts_per_batch'], log=False, shuffle=True,
        input_nodes=data.train_mask, generator=torch.Generator().manual_seed(0),
        prefetch=options['prefetch'],
    )  # fmt: skip
    model = models.GCN(
        data.num_nodes, options['features'], options['channels'], options['classes'], LAYERS,
        drop_input=False,
    )  # fmt: skip
    move_histories(model, tier, folder)
    loader.graph.fingerprint  # noqa: B018  a pass over the edges that is made once
    return data, loader, model, torch.optim.Adam(model.parameters(), lr=0.01)


def forward_backward(model: Any, batch: Any) -> None:
    import torch.nn.functional as F

    mask = batch.input_mask
    out = model(batch)
    F.cross_entropy(out[mask], batch.y[: batch.batch_size][mask]).backward()


def run_epoch(model: Any, loader: Any, optimizer: Any) -> None:
    model.train()
    for batch in loader:
        optimizer.zero_grad()
        forward_backward(model, batch)
        optimizer.step()


def train(folder: Path, options: dict[str, Any], tier: str = 'ram') -> dict[str, Any]:
    """Train, refresh after every epoch, and score what the refresh gives."""
    import torch

    from torch_geometric_autoscale.training import step_peak_bytes
    from torch_geometric_autoscale.training.objective import micro_f1_by_split

    clock = Clock()
    data, loader, model, optimizer = prepare(folder, options, tier)
    prepared = clock.read()

    def refresh() -> dict[str, float]:
        clock = Clock()
        out = model.refresh(loader)
        refreshes.append(clock.read())
        note(f'refresh: {refreshes[-1][0]:.1f} s')
        return micro_f1_by_split(out, data)

    refreshes: list[tuple[float, float]] = []
    epochs: list[tuple[float, float]] = []
    scores = [refresh()]
    for _ in range(options['epochs']):
        clock = Clock()
        run_epoch(model, loader, optimizer)
        epochs.append(clock.read())
        note(f'epoch: {epochs[-1][0]:.1f} s')
        scores.append(refresh())

    # Before steps are measured, which takes tables of their own.
    most = {'data': WATER.data, 'resident': status('VmHWM')}
    peaks, rows = [], []
    for batch, _ in zip(loader, range(STEPS_TO_MEASURE), strict=False):
        peaks.append(
            step_peak_bytes(
                model, lambda m: torch.optim.Adam(m.parameters()),
                lambda m, batch=batch: forward_backward(m, batch), torch.device('cpu'),
            )
        )  # fmt: skip
        rows.append(batch.num_nodes)
    return {
        'prepare': [prepared], 'epoch': epochs, 'refresh': refreshes,
        'scores': scores, 'steps': len(loader), 'step_bytes': statistics.median(peaks),
        'step_rows': statistics.median(rows), 'threads': torch.get_num_threads(),
        'history_bytes': sum(history.num_bytes for history in model.histories), **most,
    }  # fmt: skip


# What a profile tells apart: file and function, with everything that they call.
PROFILED = {
    'building the batch: its nodes and halo': ('batching.py', 'nodes'),
    'building the batch: its edges': ('batching.py', 'edges'),
    'building the batch: transposes': ('adjacency.py', '_backward_matrix'),
    'building the batch: rows of features and labels': ('loader.py', '_rows'),
    'forward: products with the adjacency': ('graph.py', 'multiply'),
    'forward: dense layers': ('~', '<built-in method torch._C._nn.linear>'),
    'forward: rows from and to histories': ('boundary.py', 'push_and_pull_rows'),
    'backward, transposes included': ('_tensor.py', 'backward'),
    "the optimiser's step": ('adam.py', 'step'),
}


def profile(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Where the seconds of an epoch go, by Python's profiler, with nothing built ahead."""
    import cProfile
    import pstats

    _, loader, model, optimizer = prepare(folder, {**options, 'prefetch': False})
    run_epoch(model, loader, optimizer)  # fills what is computed once
    profiler = cProfile.Profile(time.process_time)
    profiler.runcall(run_epoch, model, loader, optimizer)
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    seconds = dict.fromkeys(PROFILED, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in stats.items():
        for name, (where, what) in PROFILED.items():
            if function == what and Path(file).name == where:
                seconds[name] += cumulative
    seconds['the whole epoch'] = max(cumulative for _, _, _, cumulative, _ in stats.values())
    return {'profile': seconds}


def limited(folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Train with nothing but batches in memory, under a limit."""
    import resource

    from torch_geometric_autoscale.sizes import parse_size

    size = parse_size('scale.py', 'limit', options['limit'])
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    return train(folder, options, tier='disk')


WORK: dict[str, Callable[[Path, dict[str, Any]], dict[str, Any]]] = {
    'generate': generate, 'partition': cut, 'train': train, 'limited': limited,
    'profile': profile,
}  # fmt: skip

# What a stage's result follows from, beside the stages before it.
OPTIONS = {
    'generate': ('nodes', 'degree', 'features', 'classes'),
    'partition': ('nodes_per_part', 'method', 'threads'),
    'train': ('channels', 'parts_per_batch', 'epochs', 'prefetch'),
    'limited': ('channels', 'parts_per_batch', 'epochs', 'prefetch', 'limit'),
    'profile': ('channels', 'parts_per_batch'),
}
SETTINGS = sorted({name for names in OPTIONS.values() for name in names} - {'nodes'})


class HighWater(threading.Thread):
    """The most data that the process had at any of very many moments."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.data, self._is_over = 0, threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(0.005):
            self.data = max(self.data, status('VmData'))

    def stop(self) -> int:
        self._is_over.set()
        self.join()
        return self.data


WATER = HighWater()


def status(name: str) -> int:
    """A number of bytes that Linux knows of this process; 0 elsewhere."""
    file = Path('/proc/self/status')
    found = re.search(rf'{name}:\s+(\d+) kB', file.read_text()) if file.exists() else None
    return int(found[1]) * 1024 if found else 0


def run_stage(stage: str, folder: Path, options: dict[str, Any]) -> None:
    """Do the work of a stage and print what was measured; in a process of its own."""
    WATER.start()
    found = WORK[stage](folder, options)
    found = {'data': WATER.stop(), 'resident': status('VmHWM'), **found}
    print(f'answer {json.dumps(found)}')


# All stages of all sizes #########################################################


def measure(folder: Path, options: dict[str, Any], stages: list[str], again: bool) -> dict:
    """What every stage of one size has given, now or before.

    A stage that fails has ``failed`` with its reason; those after it are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / 'measured.json'
    known = json.loads(file.read_text()) if file.exists() else {}
    found: dict[str, dict[str, Any]] = {}
    key: dict[str, Any] = {}
    for stage in stages:
        if stage in STAGES[:2]:
            key = {**key, **{name: options[name] for name in OPTIONS[stage]}}
            about = key
        else:  # stands on the graph alone, not on other trainings
            about = {**key, **{name: options[name] for name in OPTIONS[stage]}}
        kept = known.get(stage)
        if kept is None or again or kept['key'] != about:
            print(f'{options["nodes"]:,} nodes: {stage}...', end=' ', flush=True)
            begun = time.perf_counter()
            result = in_own_process(stage, folder, options)
            reason = result.get('failed')
            print(reason or f'{time.perf_counter() - begun:.1f} s', flush=True)
            if reason:
                return {**found, stage: result}
            known[stage] = {'key': about, **result}
            write_json(file, known)
            again = again or stage in ('generate', 'partition')  # what follows stands on it
        found[stage] = known[stage]
    return found


def in_own_process(stage: str, folder: Path, options: dict[str, Any]) -> dict[str, Any]:
    """What a stage gives, or ``failed`` with the last line of what it said."""
    command = [sys.executable, __file__, '--stage', stage, str(folder), json.dumps(options)]
    log = folder / f'{stage}.log'
    with log.open('w') as file:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=file, text=True, check=False,
            env={**os.environ, 'OMP_NUM_THREADS': str(options['threads'])},
        )  # fmt: skip
    answers = [line for line in done.stdout.splitlines() if line.startswith('answer ')]
    if done.returncode == 0 and answers:
        return json.loads(answers[-1][len('answer ') :])
    last = (log.read_text().strip().splitlines() or [''])[-1]
    return {'failed': last if done.returncode > 0 else f'ended by signal {-done.returncode}'}


def note(text: str) -> None:
    """A line for the log of a stage."""
    print(text, file=sys.stderr, flush=True)


# Tables ##########################################################################

TIMES = ('generate', 'partition', 'write', 'prepare', 'epoch', 'refresh')
MEMORY = ('step', 'resident', 'data')


def tables(measured: dict[int, dict], limit: str | None) -> dict[str, dict]:
    """What is printed and recorded."""
    made = {
        'per_node': as_table(
            'Microseconds per node, and memory',
            ['nodes', *TIMES, 'step (MiB)', 'resident (GB)', 'data (GB)'],
            [*(number_row(nodes, found) for nodes, found in measured.items()),
             *ratio_row(measured)],
        ),
        'cpu': as_table(
            'The same in microseconds of CPU time, all threads together',
            ['nodes', *TIMES],
            [*(number_row(nodes, found, cpu=True) for nodes, found in measured.items()),
             *ratio_row(measured, cpu=True)],
        ),
        'seconds': as_table(
            'Seconds, and what they were for',
            ['nodes', 'edges', 'parts', 'edges cut', 'halo/node', *TIMES, 'validation'],
            [seconds_row(nodes, found) for nodes, found in measured.items()],
        ),
    }  # fmt: skip
    profiled = {nodes: found for nodes, found in measured.items() if 'profile' in found}
    if profiled:
        nodes, found = max(profiled.items())
        made['profile'] = as_table(
            f'Where an epoch on {short(nodes)} nodes spends its CPU time, without prefetching',
            ['what', 'seconds', 'share'], profile_rows(found['profile']),
        )  # fmt: skip
    if limit is not None:
        made['limited'] = as_table(
            f'Histories, features and edges on the disk, RLIMIT_DATA {limit}',
            ['nodes', 'most data (GB)', 'most resident (GB)', 'histories (GB)', 'epoch (s)',
             'x in memory', 'refresh (s)', 'x in memory', 'validation'],
            [limited_row(nodes, found) for nodes, found in measured.items()],
        )  # fmt: skip
    return made


def seconds_of(entry: dict, name: str, cpu: bool = False) -> float | None:
    """The median of what was timed under a name."""
    timed = entry.get(name)
    return statistics.median(pair[cpu] for pair in timed) if timed else None


def numbers(nodes: int, found: dict, cpu: bool = False) -> dict[str, float]:
    """The numbers of a row: microseconds per node, and, but for CPU time, memory."""
    entries = {name: value for stage in STAGES[:3] for name, value in found.get(stage, {}).items()}
    row = {name: seconds_of(entries, name, cpu) for name in TIMES}
    out = {name: value / nodes * 1e6 for name, value in row.items() if value is not None}
    if 'step_bytes' in entries and not cpu:
        out |= {
            'step': entries['step_bytes'] / MIB, 'resident': entries['resident'] / 1e9,
            'data': entries['data'] / 1e9,
        }  # fmt: skip
    return out


def number_row(nodes: int, found: dict, cpu: bool = False) -> list[str]:
    row = numbers(nodes, found, cpu)
    names = TIMES if cpu else (*TIMES, *MEMORY)
    return [f'{nodes:,}', *(as_text(row.get(name), '.2f') for name in names)]


def ratio_row(measured: dict[int, dict], cpu: bool = False) -> list[list[str]]:
    """The largest graph against the one a tenth of its size, if both were measured."""
    largest = max(measured)
    if largest // 10 not in measured:
        return []
    row, tenth = (numbers(nodes, measured[nodes], cpu) for nodes in (largest, largest // 10))
    cells = [
        f'{row[name] / tenth[name]:.2f}' if name in row and name in tenth else '-'
        for name in (TIMES if cpu else (*TIMES, *MEMORY))
    ]
    return [[f'{short(largest)} / {short(largest // 10)}', *cells]]


def seconds_row(nodes: int, found: dict) -> list[str]:
    entries = {name: value for stage in STAGES[:3] for name, value in found.get(stage, {}).items()}
    last = (entries.get('scores') or [{}])[-1]
    return [
        f'{nodes:,}', as_text(entries.get('edges'), ','), as_text(entries.get('parts'), ','),
        as_text(entries.get('edge_cut'), '.1%'), as_text(entries.get('halo'), '.2f'),
        *(as_text(seconds_of(entries, name), '.1f') for name in TIMES),
        as_text(last.get('val'), '.1f', '%'),
    ]  # fmt: skip


def limited_row(nodes: int, found: dict) -> list[str]:
    trained, here = found.get('train', {}), found.get('limited', {})
    if 'epoch' not in here:
        return [f'{nodes:,}', here.get('failed', '-'), *['-'] * 7]
    cells = []
    for name in ('epoch', 'refresh'):
        ours, theirs = seconds_of(here, name), seconds_of(trained, name)
        assert ours is not None
        cells += [f'{ours:.1f}', '-' if theirs is None else f'{ours / theirs:.2f}']
    sizes = [f'{here[name] / 1e9:.2f}' for name in ('data', 'resident', 'history_bytes')]
    return [f'{nodes:,}', *sizes, *cells, f'{here["scores"][-1]["val"]:.1f}%']


def profile_rows(found: dict) -> list[list[str]]:
    if 'profile' not in found:
        return [[found.get('failed', '-'), '-', '-']]
    *_, total = found['profile'].values()
    return [
        [name, f'{seconds:.2f}', f'{seconds / total:.0%}']
        for name, seconds in found['profile'].items()
    ]


def as_text(value: Any, form: str, unit: str = '') -> str:
    return '-' if value is None else f'{value:{form}}{unit}'


def short(count: int) -> str:
    """``10K``, ``1M``."""
    for unit, size in (('M', 10**6), ('K', 10**3)):
        if count % size == 0:
            return f'{count // size}{unit}'
    return f'{count:,}'


# Command line ####################################################################


def parse_count(text: str) -> int:
    """A number of nodes from ``'10K'``, ``'2.5M'`` or ``'10_000'``."""
    found = re.fullmatch(r'(\d[\d_]*\.?\d*)([KM]?)', text.strip().upper())
    count = float(found[1].replace('_', '')) * {'': 1, 'K': 1e3, 'M': 1e6}[found[2]] if found else 0
    if count != int(count) or not 1000 <= count < 2**31:
        raise argparse.ArgumentTypeError(
            f"must be a whole number of nodes from 1K to 2^31 (got '{text}'). Pass e.g. 1M."
        )
    return int(count)


def positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 1 on (got '{text}'). Pass e.g. 2."
        )
    return int(text)


def memory(text: str) -> str:
    from torch_geometric_autoscale.sizes import parse_size

    try:
        parse_size('scale.py', 'limit', text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        '--sizes', nargs='+', type=parse_count, default=[10_000, 100_000, 1_000_000],
        help='numbers of nodes, e.g. 10K 1M',
    )  # fmt: skip
    parser.add_argument('--folder', type=Path, default=Path('data/scale'), help='for the graphs')
    parser.add_argument(
        '--partition', dest='method', choices=('ldg', 'kaminpar', 'metis', 'lp', 'random'),
        default='ldg',
    )  # fmt: skip
    parser.add_argument('--degree', type=positive, default=10, help='edges into a node')
    parser.add_argument('--features', type=positive, default=64)
    parser.add_argument('--classes', type=positive, default=16)
    parser.add_argument('--channels', type=positive, default=64, help='of the hidden layers')
    parser.add_argument('--nodes-per-part', type=positive, default=5_000)
    parser.add_argument('--parts-per-batch', type=positive, default=4)
    parser.add_argument(
        '--threads', type=positive, default=1, help='that compute, besides the one that builds'
    )  # fmt: skip
    parser.add_argument('--epochs', type=positive, default=2)
    parser.add_argument(
        '--no-prefetch', dest='prefetch', action='store_false',
        help='do not build the next batch while one computes',
    )  # fmt: skip
    parser.add_argument('--limit', type=memory, help="RLIMIT_DATA of a second training, e.g. '4GB'")
    parser.add_argument(
        '--profile', action='store_true', help='say where an epoch goes, up to 1M nodes'
    )
    parser.add_argument('--again', action='store_true', help='measure anew what is there')
    parser.add_argument('--record', action='store_true', help='write benchmarks/results/NAME.json')
    parser.add_argument('--name', default='scale', help='of the record')
    parser.add_argument('--stage', nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_args()
    if args.stage:
        run_stage(args.stage[0], Path(args.stage[1]), json.loads(args.stage[2]))
        return
    options = {name: getattr(args, name) for name in SETTINGS}
    stages = list(STAGES if args.limit else STAGES[:-1])
    measured = {}
    for nodes in sorted(set(args.sizes)):
        more = ['profile'] if args.profile and nodes <= MOST_PROFILED else []
        folder, here = args.folder / short(nodes), {**options, 'nodes': nodes}
        measured[nodes] = measure(folder, here, stages + more, args.again)
    made = tables(measured, args.limit)
    if args.record:
        write_record(
            args.name, made, **options, sizes=sorted(set(args.sizes)),
            measured={short(nodes): found for nodes, found in measured.items()},
        )  # fmt: skip


if __name__ == '__main__':
    main()
