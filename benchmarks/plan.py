"""How right a plan is: peak memory of a step, seconds of an epoch, memory of a whole job.

    python benchmarks/plan.py --root data --record      # about half an hour on two cores
    python benchmarks/plan.py --graphs wordnet --models gcn gin --jobs none    # two minutes

First table: what ``plan`` predicts for given parts and batches, beside what is measured with the
same partition. *step*: the largest batch of a training against the largest of one epoch, as
``training.step_peak_bytes`` measures it. *epoch*: seconds of the training steps of an epoch, its
batches included; where an epoch takes longer than ``--seconds``, those of its first batches, scaled
up. The generated graph has two million nodes (``--nodes``), and is drawn once, into ``--folder``.

Second table: ``pygas train memory=SIZE`` in a process that is limited to that size by
``RLIMIT_DATA``: what the plan has chosen, what it says the job takes at its peak, without its
reserve, and the largest size of the process's data after the plan was made.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import torch
from timing import as_table, write_record
from torch import Tensor
from torch_geometric.data import Data
from tqdm import tqdm

from torch_geometric_autoscale import SubgraphLoader, gcn_normalize, get_data, models, permute
from torch_geometric_autoscale.graph_folder import is_graph_folder
from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.partition import partition
from torch_geometric_autoscale.planner import plan
from torch_geometric_autoscale.planner.process import data_bytes
from torch_geometric_autoscale.planner.text import size_text
from torch_geometric_autoscale.synthetic import generate_graph
from torch_geometric_autoscale.training import step_peak_bytes
from torch_geometric_autoscale.training.objective import classification_loss

CPU = torch.device('cpu')
GRAPHS = ('wordnet', 'linux_calls', 'generated')
NODES_PER_PART = {'wordnet': 2_000, 'linux_calls': 4_000, 'generated': 4_000}
SHARES = (64, 8)  # an epoch has so many batches
JOBS = {'wordnet': ('1GB', '1.2GB', '2GB'), 'linux_calls': ('1GB', '1.5GB', '3GB')}


# Graphs and models ###############################################################


@cache
def graph_of(name: str, root: str, folder: str, nodes: int) -> tuple[Data, Tensor, int, int]:
    """A graph in the order of its partition, normalised; columns of its features, and classes."""
    if name == 'generated':
        path = Path(folder) / f'generated-{nodes}'
        if not is_graph_folder(path):
            generate_graph(path, nodes, avg_degree=10, num_features=64, num_classes=16)
        mapped, in_channels, out_channels = get_data(None, str(path))
        edges = to_edges(mapped, who='plan')
        raw = Data(x=mapped.x.clone(), y=mapped.y.clone(), edge_index=edges.edge_index)
        raw.train_mask = mapped.train_mask.clone()
    else:
        raw, in_channels, out_channels = get_data(root, name)
        if raw.train_mask.dim() == 2:
            raw.train_mask = raw.train_mask[:, 0]
        raw = Data(x=raw.x, y=raw.y, edge_index=raw.edge_index, train_mask=raw.train_mask)
    parts = max(8, raw.num_nodes // NODES_PER_PART[name])
    perm, ptr = partition(raw, parts, cache_dir=folder)
    return gcn_normalize(permute(raw, perm)), ptr, in_channels, out_channels


def degree_histogram(data: Data) -> Tensor:
    return torch.bincount(torch.bincount(data.edge_index[1], minlength=data.num_nodes))


def maker_of(name: str, data: Data, in_channels: int, out_channels: int) -> Callable[[int], Any]:
    """A function from a number of nodes to a model."""
    ends, deg = (in_channels, out_channels), degree_histogram(data) if name == 'pna' else None

    def make(num_nodes: int) -> Any:
        torch.manual_seed(0)
        a, b = ends
        made = {
            'gcn': lambda: models.GCN(num_nodes, a, 128, b, 3, dropout=0.5, drop_input=False,
                                      batch_norm=True, residual=True),
            'gat': lambda: models.GAT(num_nodes, a, 16, b, 2, hidden_heads=4, dropout=0.5),
            'pna': lambda: models.PNA(num_nodes, a, 64, b, 3, aggregators=['mean', 'max'],
                                      scalers=['identity', 'amplification'], deg=deg),
            'gcn2': lambda: models.GCN2(num_nodes, a, 64, b, 16, alpha=0.1, theta=0.5,
                                        shared_weights=True, dropout=0.5),
            'gin': lambda: models.GIN(num_nodes, a, 64, b, 4),
        }  # fmt: skip
        return made[name]()

    return make


# Steps ###########################################################################


def adam(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.01)


def forward_backward(model: torch.nn.Module, batch: Any) -> None:
    out = model(batch)
    out = out[0] if isinstance(out, tuple) else out
    mask = batch.input_mask
    if bool(mask.any()):
        y = batch.y[: batch.batch_size]
        classification_loss(out[: batch.batch_size][mask], y[mask]).backward()


def batches_of(data: Data, ptr: Tensor, batch_size: int) -> SubgraphLoader:
    return SubgraphLoader(
        data, ptr, batch_size, log=False, shuffle=True, input_nodes=data.train_mask,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip


def largest_step(model: torch.nn.Module, data: Data, ptr: Tensor, batch_size: int) -> int:
    """Peak of the largest steps of an epoch, by nodes and by edges."""
    by_nodes = by_edges = None
    for batch in batches_of(data, ptr, batch_size):
        size = batch.num_nodes, batch.adj_t.values().numel()
        if by_nodes is None or size[0] > by_nodes[0]:
            by_nodes = size[0], batch
        if by_edges is None or size[1] > by_edges[0]:
            by_edges = size[1], batch
    assert by_nodes is not None
    assert by_edges is not None
    chosen = {id(batch): batch for _, batch in (by_nodes, by_edges)}.values()
    return max(
        step_peak_bytes(model, adam, lambda m, b=batch: forward_backward(m, b), CPU)
        for batch in chosen
    )


def seconds_per_epoch(
    model: torch.nn.Module, data: Data, ptr: Tensor, batch_size: int, most: float
) -> float:
    """Seconds of an epoch's training steps, after some that are not counted."""
    model.train()
    optimizer = adam(model)

    def steps() -> Iterator[None]:
        for batch in batches_of(data, ptr, batch_size):
            optimizer.zero_grad()
            forward_backward(model, batch)
            optimizer.step()
            yield

    for _, _ in zip(range(2), steps(), strict=False):
        pass
    done, begun = 0, time.perf_counter()
    for _ in steps():
        done += 1
        if time.perf_counter() - begun > most:
            break
    seconds = time.perf_counter() - begun
    return seconds * (-(-(ptr.numel() - 1) // batch_size)) / done


def compare_steps(args: argparse.Namespace) -> list[list[str]]:
    rows = []
    chosen = [(graph, model) for graph in args.graphs for model in args.models]
    for graph, name in tqdm(chosen, desc='Models', leave=False, disable=None):
        data, ptr, *channels = graph_of(graph, args.root, str(args.folder), args.nodes)
        make = maker_of(name, data, *channels)
        model = make(data.num_nodes)
        for share in SHARES:
            batch_size = max(1, (ptr.numel() - 1) // share)
            begun = time.perf_counter()
            made = plan(data, make, '1TB', ptr=ptr, batch_size=batch_size, log=False)
            took = time.perf_counter() - begun
            peak = largest_step(model, data, ptr, batch_size)
            seconds = seconds_per_epoch(model, data, ptr, batch_size, args.seconds)
            predicted, planned = made.needs.step_peak, made.seconds_per_epoch
            rows.append([
                f'{graph}, {name}', f'{batch_size:,} of {ptr.numel() - 1:,}',
                f'{made.needs.largest.rows + made.needs.largest.halo:,.0f}',
                size_text(predicted), size_text(peak), f'{predicted / peak:.3f}',
                f'{planned:.2f}', f'{seconds:.2f}', f'{planned / seconds:.2f}', f'{took:.1f}',
            ])  # fmt: skip
            print('  '.join(rows[-1]), flush=True)
    return rows


# Jobs ############################################################################


def run_job(memory: str, arguments: list[str]) -> None:
    """Run ``pygas train`` under a limit, and print what its plan said and what it took."""
    import resource

    from torch_geometric_autoscale.cli import planned_job
    from torch_geometric_autoscale.cli.main import main as pygas
    from torch_geometric_autoscale.sizes import parse_size

    size = parse_size('plan.py', 'memory', memory)
    resource.setrlimit(resource.RLIMIT_DATA, (size, size))
    largest, plans = [0], []
    make_plan = planned_job.plan_for

    def watch() -> None:
        while True:
            largest[0] = max(largest[0], data_bytes())
            time.sleep(0.001)

    def planned(*given: Any, **named: Any) -> Any:
        plans.append(make_plan(*given, **named))
        largest[0] = 0
        return plans[-1]

    planned_job.plan_for = planned
    threading.Thread(target=watch, daemon=True).start()
    code = pygas(['train', f'memory={memory}', *arguments])
    made = plans[-1] if plans else None
    answer = {'code': code, 'peak': largest[0]}
    if made is not None and made.fits:
        choice = made.choice
        answer |= {
            'choice': f'{choice.batch_size:,} of {choice.num_parts:,}, {choice.history_tier}, '
            f'{choice.history_dtype}',
            'predicted': made.needs.peak,
        }
    print(f'\nanswer {json.dumps(answer)}')


def compare_jobs(args: argparse.Namespace) -> list[list[str]]:
    rows = []
    for graph in args.jobs:
        for memory in tqdm(JOBS[graph], desc=f'Jobs on {graph}', leave=False, disable=None):
            out = args.folder / f'job-{graph}-{memory}-{os.getpid()}'
            done = subprocess.run(
                [sys.executable, __file__, '--job', memory, f'dataset={graph}',
                 f'root={Path(args.root).absolute()}', f'out={out.absolute()}', 'epochs=2',
                 'full.epochs=2', 'device=cpu', f'cache={args.folder.absolute()}'],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            answers = [line for line in done.stdout.splitlines() if line.startswith('answer ')]
            answer = json.loads(answers[-1][7:]) if answers else {'code': done.returncode}
            if 'predicted' in answer:
                ratio = f'{answer["predicted"] / answer["peak"]:.3f}'
                cells = [answer['choice'], size_text(answer['predicted']),
                         size_text(answer['peak']), ratio]  # fmt: skip
            else:
                cells = ['does not fit' if answer['code'] == 2 else 'failed', '-', '-', '-']
            rows.append([f'{graph}, {memory}', *cells, str(answer['code'])])
            print('  '.join(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--root', default='data', help='folder of the data sets')
    parser.add_argument('--folder', type=Path, default=Path('data/plan'), help='for what is made')
    parser.add_argument('--graphs', nargs='*', choices=GRAPHS, default=list(GRAPHS))
    parser.add_argument(
        '--models', nargs='*', choices=('gcn', 'gat', 'pna', 'gcn2', 'gin'),
        default=['gcn', 'gat', 'pna', 'gcn2', 'gin'],
    )  # fmt: skip
    parser.add_argument('--nodes', type=int, default=2_000_000, help='of the generated graph')
    parser.add_argument('--seconds', type=float, default=20, help='of an epoch that is measured')
    parser.add_argument(
        '--jobs', nargs='*', choices=(*JOBS, 'none'), default=list(JOBS), help='graphs of the jobs'
    )
    parser.add_argument('--record', action='store_true', help='write benchmarks/results/plan.json')
    parser.add_argument('--job', nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.job:
        run_job(args.job[0], args.job[1:])
        return
    args.jobs = [name for name in args.jobs if name != 'none']
    args.folder.mkdir(parents=True, exist_ok=True)
    tables = {}
    if args.graphs:
        tables['steps'] = as_table(
            'Predicted and measured: peak memory of a step, seconds of an epoch',
            ['graph, model', 'parts per batch', 'nodes of the largest', 'step predicted',
             'measured', 'ratio', 'epoch predicted', 'measured', 'ratio', 'seconds to plan'],
            compare_steps(args),
        )  # fmt: skip
    if args.jobs:
        tables['jobs'] = as_table(
            "Jobs of 'pygas train memory=SIZE' under a limit of that size: data of the process",
            ['graph, memory', 'plan', 'predicted', 'measured', 'ratio', 'exit code'],
            compare_jobs(args),
        )  # fmt: skip
    if args.record:
        kept = {key: value for key, value in vars(args).items() if key not in ('root', 'folder')}
        del kept['job']
        write_record('plan', tables, **kept)


if __name__ == '__main__':
    main()
