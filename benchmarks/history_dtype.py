"""What the type of the histories costs in accuracy, and what type and medium cost in time.

    python benchmarks/history_dtype.py --root data --record    # about an hour with one thread
    python benchmarks/history_dtype.py --root data --datasets cora --seeds 20

First table: rows of 128 channels written and read, in millions a second. *push* writes the rows of
ten partitions, *pull* reads those of random nodes, as a halo is; *disk* is a file whose pages the
system still has in memory.

Second table: what a cache of a part of the tables finds, in a training on WordNet.

Third table: the jobs of ``pygas train`` on Cora and WordNet, full batch left out, with histories in
each type. A seed draws the same parameters, batches and dropout for every type: *difference* is the
mean of the differences between pairs, with its standard error. The result of each training is kept
in ``--folder``; what is there is not trained again, so that a stopped benchmark goes on.
"""

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from timing import as_table, take_turns, write_record
from tqdm import tqdm

from torch_geometric_autoscale import History
from torch_geometric_autoscale.cli.job import Job, build_model, load_job, parts_per_batch
from torch_geometric_autoscale.cli.options import compose
from torch_geometric_autoscale.files import write_json
from torch_geometric_autoscale.history import DTYPES, summarize
from torch_geometric_autoscale.training import TrainSettings, train

OF_A_RUN = (
    'epochs', 'lr', 'schedule', 'reg_weight_decay', 'nonreg_weight_decay', 'grad_norm',
    'eval_every', 'loss_weighting', 'drop_unlabelled', 'seed',
)  # fmt: skip
ROWS, WIDTH, CHUNKS, CHUNK, HALO = 200_000, 128, 10, 1000, 10_000


# Accuracy ########################################################################


@cache
def job_of(dataset: str, root: str) -> Job:
    return load_job(compose([f'dataset={dataset}', f'root={root}']))


def settings_of(args: argparse.Namespace, dataset: str, seed: int) -> dict[str, Any]:
    """Those of ``pygas train``."""
    settings = compose([f'dataset={dataset}', f'root={args.root}', f'seed={seed}'])
    return settings | ({} if args.epochs is None else {'epochs': args.epochs})


def run_once(args: argparse.Namespace, dataset: str, seed: int, **storage: Any) -> dict[str, Any]:
    """One training; its scores, its median seconds per epoch and how its histories were kept."""
    job, settings = job_of(dataset, args.root), settings_of(args, dataset, seed)
    model = build_model(settings, job)
    chosen = TrainSettings(
        batch_size=parts_per_batch(settings, job.ptr), measure_memory=False, **storage,
        **{name: settings[name] for name in OF_A_RUN},
    )  # fmt: skip
    run = train(model, job.data, job.ptr, chosen, log=False)
    row_bytes = sum(history.num_bytes for history in model.histories) / model.num_nodes
    return {
        'test': run.test, 'val': run.val, 'epochs': len(run.epochs), 'seconds': run.seconds,
        'seconds_per_epoch': run.seconds_per_epoch, 'bytes_per_node': row_bytes,
        'histories': summarize(model),
    }  # fmt: skip


def kept_run(args: argparse.Namespace, dataset: str, dtype: str, seed: int) -> dict[str, Any]:
    """The result of a training, from the folder or from the training."""
    epochs = settings_of(args, dataset, seed)['epochs']
    path = args.folder / f'{dataset}-{dtype}-{epochs}-epochs-seed{seed}.json'
    if not path.is_file():
        write_json(path, run_once(args, dataset, seed, history_dtype=dtype))
    return json.loads(path.read_text('utf-8'))


def accuracies(args: argparse.Namespace) -> dict[str, Any]:
    """Train what is missing; the table of what there is."""
    args.folder.mkdir(parents=True, exist_ok=True)
    asked = [
        (dataset, dtype, seed)
        for dataset in args.datasets for seed in range(args.seeds) for dtype in args.dtypes
    ]  # fmt: skip
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for dataset, dtype, seed in tqdm(asked, desc='Trainings', disable=None):
        found.setdefault((dataset, dtype), []).append(kept_run(args, dataset, dtype, seed))
    rows = []
    for (dataset, dtype), runs in found.items():
        base = found[dataset, args.dtypes[0]]
        pairs = [run['test'] - other['test'] for run, other in zip(runs, base, strict=True)]
        error = statistics.stdev(pairs) / len(pairs) ** 0.5 if len(pairs) > 1 else 0.0
        tests = [run['test'] for run in runs]
        spread = statistics.stdev(tests) if len(tests) > 1 else 0.0
        rows.append([
            f'{dataset}, {dtype}', f'{runs[0]["bytes_per_node"]:,.0f}',
            f'{statistics.fmean(tests):.2f} ± {spread:.2f}',
            '' if runs is base else f'{statistics.fmean(pairs):+.2f} ± {error:.2f}',
            f'{statistics.median(run["seconds_per_epoch"] for run in runs):.3f}',
        ])  # fmt: skip
    return as_table(
        f'Accuracy by the type of the histories, {args.seeds} seeds',
        ['data set, type', 'bytes per node', 'test %', f'difference to {args.dtypes[0]}',
         's/epoch'],
        rows,
    )  # fmt: skip


# Rates ###########################################################################


def media(folder: str) -> dict[str, dict[str, Any]]:
    """The media of this machine, as arguments of a history."""
    found: dict[str, dict[str, Any]] = {'ram': {}, 'disk': {'tier': 'disk', 'folder': folder}}
    found['disk, cache of all rows'] = {**found['disk'], 'cache_size_in_bytes': '1GB'}
    if torch.cuda.is_available():
        found |= {'pinned': {'tier': 'pinned'}, 'device': {'device': 'cuda'}}
        found['ram, cache of all rows'] = {
            'tier': 'ram', 'device': 'cuda', 'cache_size_in_bytes': '1GB'
        }  # fmt: skip
    return found


def push_and_pull(history: History) -> tuple[Callable[[], None], Callable[[], None]]:
    """Write the rows of a batch; read those of a halo."""
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    generator = torch.Generator().manual_seed(0)
    history.push(torch.randn(ROWS, WIDTH, generator=generator))
    batch = torch.randn(CHUNKS * CHUNK, WIDTH, generator=generator).to(device)
    halo = torch.randperm(ROWS, generator=generator)[:HALO].to(device)
    first = torch.arange(0, ROWS, ROWS // CHUNKS)
    count = torch.full((CHUNKS,), CHUNK)
    out = torch.empty(HALO, WIDTH, device=device)

    def wait() -> None:
        if device == 'cuda':
            torch.cuda.synchronize()

    def push() -> None:
        history.push(batch, offset=first, count=count)
        wait()

    def pull() -> None:
        history.pull(halo, out=out)
        wait()

    return push, pull


def rates(args: argparse.Namespace) -> dict[str, Any]:
    """Millions of rows a second, by medium and type."""
    rows = []
    for dtype in args.dtypes:
        with tempfile.TemporaryDirectory(dir=args.disk) as folder:
            works = {
                (medium, call): work
                for medium, kwargs in media(folder).items()
                for call, work in zip(
                    ('push', 'pull'),
                    push_and_pull(History(ROWS, WIDTH, dtype=dtype, **kwargs)),
                    strict=True,
                )
            }
            seconds = take_turns(works, args.rounds)  # type: ignore[arg-type]
            for medium in media(folder):
                rows.append([
                    f'{medium}, {dtype}',
                    f'{CHUNKS * CHUNK / seconds[medium, "push"] / 1e6:.2f}',
                    f'{HALO / seconds[medium, "pull"] / 1e6:.2f}',
                ])  # fmt: skip
    return as_table(
        f'Millions of rows of {WIDTH} channels a second, {torch.get_num_threads()} threads',
        ['medium, type', 'push', 'pull'],
        rows,
    )


# Caches ##########################################################################


def caches(args: argparse.Namespace) -> dict[str, Any]:
    """Hit rates of caches of several sizes."""
    rows = []
    job, settings = job_of('wordnet', args.root), settings_of(args, 'wordnet', 0)
    size = sum(h.num_bytes for h in build_model(settings, job).histories)
    args = argparse.Namespace(**{**vars(args), 'epochs': args.cache_epochs})
    for percent in (5, 10, 25, 50):
        storage = {'history_tier': 'disk', 'history_cache': size * percent // 100}
        found = run_once(args, 'wordnet', 0, **storage)
        rate = found['histories']['cache_hit_rate']
        rows.append([f'{percent}%', f'{100 * rate:.1f}%', f'{found["seconds_per_epoch"]:.3f}'])
    plain = run_once(args, 'wordnet', 0, history_tier='disk')
    rows.append(['none', '', f'{plain["seconds_per_epoch"]:.3f}'])
    return as_table(
        f'Caches over tables on disk, WordNet, {args.cache_epochs} epochs',
        ['size of the cache, of the tables', 'rows found in it', 's/epoch'],
        rows,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--root', default='data', help='folder of the data sets')
    parser.add_argument('--datasets', nargs='*', default=['cora', 'wordnet'])
    parser.add_argument('--dtypes', nargs='+', choices=list(DTYPES),
                        default=['float32', 'bfloat16', 'int8'])  # fmt: skip
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--epochs', type=int, help='epochs of each training (default: its own)')
    parser.add_argument('--cache-epochs', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=20, help='of the first table')
    parser.add_argument('--disk', help='folder on the disk to measure (default: a temporary one)')
    parser.add_argument('--folder', type=Path, default=Path('runs') / 'history_dtype',
                        help='results of trainings')  # fmt: skip
    parser.add_argument('--record', action='store_true', help='write results/history_dtype.json')
    args = parser.parse_args()
    tables = {'rates': rates(args)}
    if 'wordnet' in args.datasets:
        tables['caches'] = caches(args)
    if args.datasets:
        tables['accuracy'] = accuracies(args)
    if args.record:
        told = ('datasets', 'dtypes', 'seeds', 'epochs', 'cache_epochs', 'rounds')
        write_record('history_dtype', tables, **{name: getattr(args, name) for name in told})


if __name__ == '__main__':
    main()
