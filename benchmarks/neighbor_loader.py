"""From NeighborLoader to histories, and when full batch is the better choice.

    python benchmarks/neighbor_loader.py           # about 12 minutes on two cores

First table: one GraphSAGE, unmodified, trained on WordNet by the loaders that PyG has and by
``autoscale``. ``NeighborLoader`` needs pyg-lib or torch-sparse and is left out without them.

Second table: histories against full batch, both as ``autoscale`` runs them (full batch is
``num_parts=1``), each for the seconds that the histories need, conversion included: where histories
pay, and where they do not. *stale error* is how far a sweep in ``eval`` mode is from the exact
outputs of the same weights, at the end of the training.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from timing import as_table, write_record
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.loader import NeighborLoader, RandomNodeLoader
from torch_geometric.nn import GCN, GraphSAGE

from torch_geometric_autoscale import (
    AutoScaled,
    autoscale,
    compute_micro_f1,
    get_data,
    partition_quality,
)
from torch_geometric_autoscale.cli.allocator import spare_page_faults

FAN_OUT, SEEDS_PER_BATCH = (15, 10, 5), 1024
PARTS, PER_BATCH, HIDDEN = 64, 8, 64


def train(model: nn.Module, lr: float, epochs: Iterable[Any], logits_of: Callable) -> int:
    """Steps over batches until ``epochs`` ends; the number of steps."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    steps = 0
    for batches in epochs:
        model.train()
        for batch in batches:
            out = logits_of(batch)
            mask, y = batch.train_mask[: out.size(0)], batch.y[: out.size(0)]
            loss = F.cross_entropy(out[mask], y[mask])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps += 1
    return steps


def accuracy(logits: Tensor, data: Data) -> float:
    return 100 * compute_micro_f1(logits, data.y, data.test_mask)


# From one loader to the other ####################################################


def neighbor_loader(data: Data) -> NeighborLoader | None:
    """PyG's sampler, if one of the packages that it needs is there."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # how PyG announces that it wants pyg-lib
        loader = NeighborLoader(
            data, list(FAN_OUT), input_nodes=data.train_mask, batch_size=SEEDS_PER_BATCH,
            shuffle=True,
        )  # fmt: skip
        try:
            next(iter(loader))
        except ImportError:
            return None
    return loader


def loaders(data: Data, args: argparse.Namespace) -> list[list[str]]:
    def model() -> nn.Module:
        torch.manual_seed(0)
        classes = int(data.y.max()) + 1
        return GraphSAGE(data.num_features, 256, 3, classes, dropout=0.3, norm='batch_norm')

    rows = []

    def row(name: str, module: nn.Module, batches: Any, logits_of: Callable, predict: Callable):
        seconds = []

        def epochs() -> Iterable[Any]:
            for _ in range(args.epochs):
                start = time.perf_counter()
                yield batches
                seconds.append(time.perf_counter() - start)

        steps = train(module, args.lr, epochs(), logits_of)
        module.eval()
        with torch.no_grad():
            start = time.perf_counter()
            logits = predict()
            prediction = time.perf_counter() - start
        rows.append([
            name, f'{statistics.median(seconds):.2f}', f'{steps // args.epochs}',
            f'{accuracy(logits, data):.1f}', f'{prediction:.2f}',
        ])  # fmt: skip

    sampled = neighbor_loader(data)
    name = f'NeighborLoader, fan-out {"/".join(map(str, FAN_OUT))}, {SEEDS_PER_BATCH} seeds'
    if sampled is None:
        rows.append([name, 'not run: needs pyg-lib or torch-sparse', '', '', ''])
    else:
        plain = model()
        row(name, plain, sampled,
            lambda b: plain(b.x, b.edge_index)[: b.batch_size],
            lambda: plain(data.x, data.edge_index))  # fmt: skip
    cut = model()
    row('RandomNodeLoader, 8 parts', cut, RandomNodeLoader(data, num_parts=8, shuffle=True),
        lambda b: cut(b.x, b.edge_index), lambda: cut(data.x, data.edge_index))  # fmt: skip
    full = model()
    row('full batch on edge_index', full, [data],
        lambda b: full(b.x, b.edge_index), lambda: full(data.x, data.edge_index))  # fmt: skip
    gas = autoscale(model(), data, PARTS)
    row(f'autoscale, {PER_BATCH} of {PARTS} partitions', gas,
        gas.loader(PER_BATCH, shuffle=True), gas, lambda: gas.inference(PER_BATCH))  # fmt: skip
    return rows


# Histories or full batch #########################################################


def model_of(data: Data, num_layers: int, classes: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return GCN(
        data.num_features, HIDDEN, num_layers, classes, dropout=0.3, norm='batch_norm', jk='max'
    )


def stale_error(gas: AutoScaled) -> float:
    gas.eval()
    exact = gas.inference(PER_BATCH)
    rows = torch.empty_like(exact)
    with torch.no_grad():
        for batch in gas.loader(PER_BATCH):
            rows[batch.n_id[: batch.batch_size]] = gas(batch)
    return float((rows - exact).norm() / exact.norm())


def compare(
    data: Data, classes: int, num_layers: int, epochs: int, partition: str, parts: int, args, seed
) -> dict[str, float]:
    """Train with histories, then full batch for as many seconds."""
    start = time.perf_counter()
    gas = autoscale(model_of(data, num_layers, classes, seed), data, parts, partition)
    converted = time.perf_counter() - start
    loader = gas.loader(max(1, parts * PER_BATCH // PARTS), shuffle=True)
    found: dict[str, float] = {}
    found['steps'] = train(gas, args.lr, (loader for _ in range(epochs)), gas)
    budget = time.perf_counter() - start
    found['seconds'], found['epoch'] = budget, (budget - converted) / epochs
    found['test'] = accuracy(gas.inference(PER_BATCH), data)
    found['error'] = 100 * stale_error(gas)
    graph = Data(edge_index=data.edge_index, num_nodes=data.num_nodes)
    found['halo'] = partition_quality(graph, gas.perm, gas.ptr).halo_per_batch_node
    del gas, loader

    start = time.perf_counter()
    full = autoscale(model_of(data, num_layers, classes, seed), data, num_parts=1)
    converted = time.perf_counter() - start

    def until_the_budget_is_spent() -> Iterable[Any]:
        while time.perf_counter() - start < budget:
            yield full.loader()

    found['full steps'] = train(full, args.lr, until_the_budget_is_spent(), full)
    spent = time.perf_counter() - start - converted
    found['full epoch'] = spent / max(1, found['full steps'])
    found['full test'] = accuracy(full.inference(), data)
    return found


def one_partition(data: Data) -> Data:
    """A small real graph: one of the 64 partitions alone."""
    gas = autoscale(model_of(data, 2, 45, 0), data, PARTS, verify=False)
    return data.subgraph(gas.perm[gas.ptr[0] : gas.ptr[1]])


def cases(data: Data, args: argparse.Namespace) -> list[list[str]]:
    classes = int(data.y.max()) + 1
    small = one_partition(data)
    rows = []
    for name, graph, num_layers, epochs, partition, parts in [
        ('3 layers, METIS', data, 3, args.epochs, 'metis', PARTS),
        ('the same, 2 epochs', data, 3, 2, 'metis', PARTS),
        ('the same, random partitions', data, 3, args.epochs, 'random', PARTS),
        ('the same, 8 layers', data, 8, args.epochs, 'metis', PARTS),
        (f'a small graph, {small.num_nodes:,} nodes', small, 3, 2 * args.epochs, 'metis', 16),
    ]:
        if args.case and args.case not in name:
            continue
        found = [
            compare(graph, classes, num_layers, epochs, partition, parts, args, seed)
            for seed in range(args.seeds)
        ]
        mid = {key: statistics.median(run[key] for run in found) for key in found[0]}
        rows.append([
            name, f'{mid["halo"]:.2f}', f'{mid["seconds"]:.1f}',
            f'{mid["epoch"]:.3f}', f'{mid["full epoch"]:.3f}',
            f'{mid["steps"]:.0f}', f'{mid["full steps"]:.0f}',
            f'{mid["test"]:.1f}', f'{mid["full test"]:.1f}', f'{mid["error"]:.1f}%',
        ])  # fmt: skip
        print(*rows[-1], sep='  ', flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--epochs', type=int, default=15)
    parser.add_argument('--lr', type=float, default=0.01)
    parser.add_argument('--seeds', type=int, default=3, help='runs per row of the second table')
    parser.add_argument('--case', default='', help='only rows whose name has this in it')
    parser.add_argument('--record', action='store_true', help='write results/neighbor_loader.json')
    args = parser.parse_args()
    spare_page_faults()

    data, _, _ = get_data(None, 'wordnet')
    tables = {}
    if not args.case:
        tables['loaders'] = as_table(
            f'GraphSAGE 512-256-256-45 on WordNet, {args.epochs} epochs, '
            f'{torch.get_num_threads()} threads',
            ['', 's/epoch', 'steps/epoch', 'test %', 'prediction of all nodes, s'],
            loaders(data, args),
        )
    tables['cases'] = as_table(
        f'GCN with jumping knowledge, {HIDDEN} channels: {args.epochs} epochs with histories, then '
        f'full batch for as many seconds; median of {args.seeds} runs',
        ['', 'halo/node', 'seconds', 's/epoch', 's/epoch, full', 'steps', 'steps, full',
         'test %', 'test %, full', 'stale error'],
        cases(data, args),
    )  # fmt: skip
    if args.record:
        write_record('neighbor_loader', tables, **vars(args))


if __name__ == '__main__':
    main()
