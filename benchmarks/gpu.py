"""Histories on a GPU: memory, seconds, rates of the bus, and what a step waits for, in one run.

    python benchmarks/gpu.py                   # at most eight minutes; writes results/gpu.json

Needs a CUDA device, PyTorch with CUDA, and PyG; Triton comes with the former. Nothing is fetched:
graphs are generated, and their communities are the partition.

*Memory*: peak bytes of the device while training, everything included, as a ring of communities
grows from 1x to 64x; every batch has the same number of nodes, halo nodes and edges.
*Seconds*: median seconds of an epoch (GCN, Adam, dropout, batches made and copied within it) for
histories in the device's memory, in pinned memory by either way of moving rows, the same without
overlap, and on a disk; against full batch and neighbour sampling of PyG where that runs.
*Rates*: bytes of encoded rows that cross the bus in a second, as a share of what one large copy
between pinned memory and the device reaches in the same direction.
*Waits*: how often a step makes the host wait for the device, as PyTorch's sync debug mode reports,
and as its profile shows.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timing import as_table
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader
from torch_geometric.nn import GCNConv

from torch_geometric_autoscale import (
    AsyncIOPool,
    DevicePrefetcher,
    History,
    SubgraphLoader,
    gcn_normalize,
    generate_graph,
    models,
    permute,
    quiet,
)
from torch_geometric_autoscale.files import write_json
from torch_geometric_autoscale.sparse_product import choose_product
from torch_geometric_autoscale.training.machine import machine, versions
from torch_geometric_autoscale.training.step_memory import step_peak_bytes

MIB = 2**20
LIMIT = 8 * 60  # seconds of a run
FACTORS = (1, 4, 16, 64)
SAMPLED = 20  # batches from which an epoch of neighbour sampling is reckoned
# Calls of CUDA that return when the device has done its work. Events are waited for by the threads
# that move rows, not by the step: they are not among these.
WAITS = {'cudaStreamSynchronize', 'cudaDeviceSynchronize', 'cudaMemcpy', 'cuStreamSynchronize'}
RECORD = Path(__file__).parent / 'results' / 'gpu.json'


class Sizes:
    """How large everything is; ``rehearsal`` fits a hand and measures nothing."""

    def __init__(self, rehearsal: bool = False) -> None:
        small = rehearsal
        self.community = 20 if small else 500  # nodes of one in the ring
        self.smallest = 4 if small else 40  # communities at 1x
        self.ring_parts = 1 if small else 8  # communities of a batch there
        self.nodes = 256 if small else 500_000
        self.degree = 6 if small else 14
        self.parts = 8 if small else 160
        self.batch_size = 2 if small else 10
        self.features, self.hidden, self.classes = (8, 8, 4) if small else (128, 256, 32)
        self.layers = 3
        self.rounds = 1 if small else 5
        self.table_rows = 512 if small else 2**21
        self.pulled_rows = 64 if small else 2**17
        self.copied_bytes = 2**12 if small else 2**28


class Clock:
    """Leaves out what there is no time for."""

    def __init__(self, limit: float) -> None:
        self.ends = time.perf_counter() + limit

    @property
    def left(self) -> float:
        return self.ends - time.perf_counter()


# Graphs ##########################################################################


def ring(communities: int, size: int, features: int, classes: int, degree: int = 14) -> Data:
    """Communities in a ring: 6 of 7 edges into a node come from its own, the rest from the next.

    A batch of neighbouring communities has as many halo nodes and edges in a ring of any length.
    """
    num_nodes = communities * size
    rng = torch.Generator().manual_seed(0)
    target = torch.arange(num_nodes).repeat_interleave(degree)
    outside = torch.arange(degree).repeat(num_nodes) % 7 == 6
    within = torch.randint(size, (target.numel(),), generator=rng)
    source = (target // size + outside) % communities * size + within
    return Data(
        x=torch.randn(num_nodes, features, generator=rng),
        y=torch.arange(num_nodes) // size % classes,
        edge_index=torch.stack([source, target]),
        num_nodes=num_nodes,
    )


def by_community(sizes: Sizes, folder: Path) -> tuple[Data, Tensor]:
    """A generated graph, cut into equal parts along its planted communities."""
    made = generate_graph(
        folder / 'graph', sizes.nodes, avg_degree=sizes.degree, num_features=sizes.features,
        num_classes=sizes.classes, log=False,
    ).to_data()  # fmt: skip
    perm = torch.argsort(made.community.clone(), stable=True)
    data = permute(made, perm, log=False)
    ptr = torch.arange(sizes.parts + 1) * sizes.nodes // sizes.parts
    return gcn_normalize(data), ptr


# What is measured ################################################################


def new_model(data: Data, sizes: Sizes, device: torch.device, **options: Any) -> models.GCN:
    torch.manual_seed(0)
    model = models.GCN(
        data.num_nodes, sizes.features, sizes.hidden, sizes.classes, sizes.layers, dropout=0.5,
        drop_input=False, **options,
    )  # fmt: skip
    return model.to(device)


def put(model: models.GCN, tier: str, folder: Path | None = None) -> None:
    """Bring the histories to a tier; where memory cannot be pinned, in a rehearsal, to another."""
    device = next(model.parameters()).device
    if tier == 'pinned' and device.type == 'cpu':
        tier = 'ram'
    for history in model.histories:
        history.move_to(tier, folder, device=device)


def synchronize(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


class Trainer:
    """Trains a model for one epoch at a time."""

    def __init__(self, model: torch.nn.Module, batches: Any) -> None:
        self.model, self.batches = model, batches
        self.optimizer = torch.optim.Adam(model.parameters())

    def step(self, batch: Data) -> None:
        self.optimizer.zero_grad()
        out = self.model(batch)
        F.cross_entropy(out, batch.y[: batch.batch_size]).backward()
        self.optimizer.step()

    def epoch(self) -> None:
        self.model.train()
        for batch in self.batches:
            self.step(batch)


def median_seconds(work: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Median seconds of ``work``, the device's included, after two warm-ups."""
    taken = []
    for _ in range(rounds + 2):
        synchronize(device)
        begun = time.perf_counter()
        work()
        synchronize(device)
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken[2:])


def peak_bytes(trainer: Trainer, batch: Data, device: torch.device) -> int:
    """Largest number of bytes of the device that are in use during training steps."""
    if device.type == 'cpu':  # in a rehearsal: of what a step allocates alone
        return step_peak_bytes(
            trainer.model,
            lambda model: torch.optim.Adam(model.parameters()),
            lambda model: F.cross_entropy(model(batch), batch.y[: batch.batch_size]).backward(),
            device,
        )
    for _ in range(2):
        trainer.step(batch)
    synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    for _ in range(3):
        trainer.step(batch)
    synchronize(device)
    return torch.cuda.max_memory_allocated(device)


def memory(sizes: Sizes, device: torch.device, clock: Clock) -> list[list[str]]:
    """Peak memory of the device as the graph grows, at a fixed batch."""
    rows, first = [], {}
    for factor in FACTORS:
        data = ring(sizes.smallest * factor, sizes.community, sizes.features, sizes.classes)
        data = gcn_normalize(data)
        ptr = torch.arange(sizes.smallest * factor + 1) * sizes.community
        for where in ('histories in pinned memory', 'histories on the device', 'full batch'):
            what = f'{where}, {factor}x, {data.num_nodes:,} nodes'
            if clock.left < 0.6 * LIMIT:
                rows.append(['memory', what, 'not measured', 'no time left'])
                continue
            full = where == 'full batch'
            count = ptr.numel() - 1 if full else sizes.ring_parts
            loader = SubgraphLoader(
                data, ptr, batch_size=count, log=False, keep_first_propagation=False
            )
            model = new_model(data, sizes, device)
            if not full:
                put(model, 'device' if 'device' in where else 'pinned')
            batch = next(loader.sweep()).to(device)
            try:
                peak = peak_bytes(Trainer(model, None), batch, device) / MIB
            except torch.OutOfMemoryError:
                rows.append(['memory', what, 'out of memory', ''])
            else:
                first.setdefault(where, peak)
                rows.append(['memory', what, f'{peak:.1f} MiB', f'{peak / first[where]:.3f} x 1x'])
            del model, batch, loader
            if device.type == 'cuda':
                torch.cuda.empty_cache()
    return rows


@contextmanager
def moved_by(way: str, device: torch.device) -> Iterator[None]:
    """Let histories outside of the device be moved in one way; ``'serial'``: without overlap."""
    with ExitStack() as stack:
        if way == 'serial' or device.type == 'cpu':
            stack.enter_context(AsyncIOPool('cpu'))  # which moves nothing: every pull is waited for
        else:
            stack.enter_context(AsyncIOPool(device, way=way))
        yield


CONTESTANTS = (
    ('histories on the device', 'device', 'auto'),
    ('histories pinned, moved by host threads', 'pinned', 'host'),
    ('histories pinned, moved by a kernel', 'pinned', 'kernel'),
    ('histories pinned, serial', 'pinned', 'serial'),
    ('histories on a disk', 'disk', 'host'),
)


def seconds(
    sizes: Sizes, device: torch.device, clock: Clock, data: Data, ptr: Tensor, folder: Path
) -> list[list[str]]:
    """Seconds of an epoch."""
    rows: list[list[str]] = []
    loader = SubgraphLoader(
        data, ptr, sizes.batch_size, log=False, shuffle=True, keep_first_propagation=False
    )
    base = 0.0

    def add(what: str, work: Callable[[], object], within: Any = None, note: str = '') -> None:
        nonlocal base
        if clock.left < 0.15 * LIMIT:
            rows.append(['seconds per epoch', what, 'not measured', 'no time left'])
            return
        try:
            with nullcontext() if within is None else within:
                taken = (
                    work() if note else median_seconds(work, sizes.rounds, device)
                )  # fmt: skip
        except (ImportError, ValueError, RuntimeError, torch.OutOfMemoryError) as error:
            why = str(error).strip().split('\n')[0][:80]
            rows.append(['seconds per epoch', what, 'does not run', why])
            return
        base = base or taken
        compared = f'{taken / base:.2f} x device{note}'
        rows.append(['seconds per epoch', what, f'{taken:.4f} s', compared])

    for what, tier, way in CONTESTANTS:
        model = new_model(data, sizes, device)
        put(model, tier, folder if tier == 'disk' else None)
        trainer = Trainer(model, DevicePrefetcher(loader, device))
        add(what, trainer.epoch, moved_by(way, device))
        del model, trainer
    for way in ('torch', 'kernel'):  # elsewhere the faster of the two is taken
        choose_product(way)
        model = new_model(data, sizes, device)
        put(model, 'device')
        trainer = Trainer(model, DevicePrefetcher(loader, device))
        add(f'histories on the device, sparse products by {way}', trainer.epoch)
        del model, trainer
    choose_product('auto')
    whole = SubgraphLoader(data, ptr, sizes.parts, log=False, keep_first_propagation=False)
    batch = next(whole.sweep()).to(device)
    trainer = Trainer(new_model(data, sizes, device), [batch])
    add('full batch, one step, kernels of this library', trainer.epoch)
    del batch, trainer
    plain = PlainGCN(sizes).to(device)
    there = Data(x=data.x.clone(), y=data.y.clone(), edge_index=edges_of(data)).to(device)
    add('full batch, one step, PyG on edge_index', full_batch(plain, there))
    del there
    add(
        'PyG NeighborLoader, 15/10/5, 1024 seeds',
        lambda: neighbour_sampling(plain, data, device), note=f', from {SAMPLED} batches',
    )  # fmt: skip
    return rows


class PlainGCN(torch.nn.Module):
    """The same layers, of PyG alone."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        widths = [sizes.features, *[sizes.hidden] * (sizes.layers - 1), sizes.classes]
        self.convs = torch.nn.ModuleList(GCNConv(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for i, conv in enumerate(self.convs):
            if i:
                x = F.dropout(x.relu(), 0.5, self.training)
            x = conv(x, edge_index)
        return x


def edges_of(data: Data) -> Tensor:
    """Sources and targets, ``(2, E)``."""
    if data.get('adj_t') is None:
        return data.edge_index
    csr = data.adj_t
    counts = csr.crow_indices().diff()
    target = torch.repeat_interleave(torch.arange(csr.size(0)), counts.long())
    return torch.stack([csr.col_indices().long(), target])


def full_batch(model: PlainGCN, data: Data) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(data.x, data.edge_index), data.y).backward()
        optimizer.step()

    return step


def neighbour_sampling(model: PlainGCN, data: Data, device: torch.device) -> float:
    """Seconds of an epoch of sampled neighbourhoods, from a few of its batches.

    Raises:
        ImportError: No sampler is installed.
    """
    optimizer = torch.optim.Adam(model.parameters())
    plain = Data(x=data.x, y=data.y, edge_index=edges_of(data))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        loader = NeighborLoader(plain, [15, 10, 5], batch_size=1024, shuffle=True)
    taken, begun = [], time.perf_counter()
    for batch in islice(loader, SAMPLED + 2):
        batch = batch.to(device)
        optimizer.zero_grad()
        out = model(batch.x, batch.edge_index)[: batch.batch_size]
        F.cross_entropy(out, batch.y[: batch.batch_size]).backward()
        optimizer.step()
        synchronize(device)
        taken.append(time.perf_counter() - begun)
        begun = time.perf_counter()
    return statistics.median(taken[2:] or taken) * len(loader)


def rates(sizes: Sizes, device: torch.device, clock: Clock) -> list[list[str]]:
    """How fast rows cross the bus."""
    pinned = torch.empty(sizes.copied_bytes, dtype=torch.uint8, pin_memory=device.type == 'cuda')
    there = torch.empty_like(pinned, device=device)
    copies = {
        'pull': lambda: there.copy_(pinned, non_blocking=True),
        'push': lambda: pinned.copy_(there, non_blocking=True),
    }
    rows, fastest = [], {}
    for name, copy in copies.items():
        fastest[name] = sizes.copied_bytes / median_seconds(copy, sizes.rounds, device)
        what = f'{name}: one copy of {sizes.copied_bytes / MIB:g} MiB'
        rows.append(['rate', what, f'{fastest[name] / 1e9:.2f} GB/s', '100%'])
    rng = torch.Generator().manual_seed(0)
    ids = torch.randperm(sizes.table_rows, generator=rng)[: sizes.pulled_rows]
    half = sizes.pulled_rows // 2
    offset, count = torch.tensor([0, sizes.table_rows - half]), torch.tensor([half, half])
    x = torch.randn(2 * half, sizes.hidden, device=device)
    for way in ('host', 'kernel'):
        for dtype in ('float32', 'bfloat16', 'int8'):
            if clock.left < 0.1 * LIMIT:
                rows.append(['rate', f'{way}, {dtype}', 'not measured', 'no time left'])
                continue
            try:
                pool = AsyncIOPool(device if device.type == 'cuda' else 'cpu', way=way)
            except ValueError as error:
                rows.append(['rate', f'{way}, {dtype}', 'does not run', str(error)[:80]])
                continue
            tier = 'pinned' if device.type == 'cuda' else 'ram'
            history = History(sizes.table_rows, sizes.hidden, dtype=dtype, tier=tier)
            works = {
                'pull of random rows': lambda p=pool, h=history: p.pull_async(h, ids).wait(),
                'push of two chunks': lambda p=pool, h=history: (
                    p.push_async(h, x, None, offset, count), p.synchronize(),
                ),
                'push of random rows': lambda p=pool, h=history: (
                    p.push_async(h, x, ids[: 2 * half]), p.synchronize(),
                ),
            }  # fmt: skip
            num_bytes = sizes.pulled_rows * history.num_bytes / sizes.table_rows
            for name, work in works.items():
                rate = num_bytes / median_seconds(work, sizes.rounds, device)
                share = rate / fastest[name[:4]]
                what = f'{name}, {way}, {dtype}'
                rows.append(['rate', what, f'{rate / 1e9:.2f} GB/s', f'{share:.0%} of the copy'])
            pool.close()
    return rows


def waits(
    sizes: Sizes, device: torch.device, data: Data, ptr: Tensor
) -> tuple[list[list[str]], list[str]]:
    """How often a training step makes the host wait, and where it does."""
    loader = SubgraphLoader(
        data, ptr, sizes.batch_size, log=False, shuffle=True, keep_first_propagation=False
    )
    rows, places = [], []
    for tier in ('device', 'pinned'):
        model = new_model(data, sizes, device)
        put(model, tier)
        trainer = Trainer(model, DevicePrefetcher(loader, device))
        trainer.epoch()
        trainer.epoch()
        synchronize(device)
        steps, found = 0, []
        for batch in trainer.batches:
            with warnings.catch_warnings(record=True) as caught, watching(device):
                warnings.simplefilter('always')
                trainer.step(batch)
            steps += 1
            found += [f'{Path(w.filename).name}:{w.lineno}' for w in caught if is_wait(w)]
        what = f'waits of the host per step, histories in {tier}'
        rows.append(['waits', what, f'{len(found) / steps:g}', f'{steps} steps'])
        places += sorted(set(found))
        rows.append(['waits', f'{what}, in a profile', *profiled(trainer, device)])
        del model, trainer
    return rows, places


def profiled(trainer: Trainer, device: torch.device) -> tuple[str, str]:
    """Waits of the host per step of an epoch, the copies of the next batch included."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    if device.type == 'cuda':
        kinds.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=kinds) as profile:
        trainer.epoch()
    found = {e.key: e.count for e in profile.key_averages() if e.key in WAITS}
    steps = len(trainer.batches)
    names = ', '.join(f'{name} {count}' for name, count in sorted(found.items()))
    return f'{sum(found.values()) / steps:g}', f'{names or "none"}, {steps} steps'


@contextmanager
def watching(device: torch.device) -> Iterator[None]:
    """Let PyTorch warn of every operation that makes the host wait."""
    if device.type != 'cuda':
        yield
        return
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode('warn')
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)


def is_wait(warning: warnings.WarningMessage) -> bool:
    return 'synchronizing' in str(warning.message)


# One run #########################################################################


def run(device: torch.device, sizes: Sizes, limit: float = LIMIT) -> dict[str, Any]:
    """Measure everything and print it; what belongs in the record."""
    begun, clock = time.perf_counter(), Clock(limit)
    rows = memory(sizes, device, clock)
    with tempfile.TemporaryDirectory() as folder, quiet():
        data, ptr = by_community(sizes, Path(folder))
        rows += rates(sizes, device, clock)
        counted, places = waits(sizes, device, data, ptr)
        rows += counted
        rows += seconds(sizes, device, clock, data, ptr, Path(folder))
    name = torch.cuda.get_device_name(device) if device.type == 'cuda' else platform.machine()
    taken = time.perf_counter() - begun
    table = as_table(
        f'Histories on {name}; GCN {sizes.features}-{sizes.hidden}x{sizes.layers - 1}-'
        f'{sizes.classes}, {sizes.nodes:,} nodes of degree {sizes.degree}, {sizes.batch_size} of '
        f'{sizes.parts} parts per batch; {taken:.0f} s in all',
        ['what', 'of', 'found', 'compared'],
        rows,
    )
    if places:
        print('the host waits at: ' + ', '.join(places))
    return {
        'settings': {'sizes': vars(sizes), 'seconds': round(taken, 1), 'waits_at': places},
        'versions': versions(),
        'machine': machine(device),
        'tables': {'gpu': table},
    }


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--device', default='cuda', help='which CUDA device')
    parser.add_argument('--out', type=Path, default=RECORD, help='where the record goes')
    parser.add_argument('--nodes', type=int, help='nodes of the graph that epochs are timed on')
    parser.add_argument('--rehearse', action='store_true', help=argparse.SUPPRESS)
    chosen = parser.parse_args(args)
    sizes = Sizes(chosen.rehearse)
    if chosen.nodes is not None:
        if chosen.nodes < 128:
            parser.error(f'--nodes must be 128 or more (got {chosen.nodes})')
        sizes.nodes = chosen.nodes
    device = torch.device('cpu' if chosen.rehearse else chosen.device)
    if not chosen.rehearse and (device.type != 'cuda' or not torch.cuda.is_available()):
        print(
            f'benchmarks/gpu.py: a CUDA device is needed (got {chosen.device!r} with PyTorch '
            f'{torch.__version__}, which finds {torch.cuda.device_count()}). '
            'Run it on a machine with one.',
            file=sys.stderr,
        )
        return 1
    record = run(device, sizes)
    if chosen.rehearse:
        print('a rehearsal on the CPU: nothing above was measured, and nothing is kept')
        return 0
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(chosen.out, record)
    print(f'\nrecord: {chosen.out}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
