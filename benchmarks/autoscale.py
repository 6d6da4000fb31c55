"""What automatic conversion costs: unmodified PyG models on WordNet, 8 of 64 partitions per batch.

    python benchmarks/autoscale.py                 # about 4 minutes on two cores

For each of PyG's GCN, GraphSAGE and GIN, in turns, in one run, building of batches included:

* *scaled*: an epoch over the batches of ``autoscale(module, data)``;
* *same kernels*: full batch as the same conversion runs it, one batch holding all partitions;
* *PyG's default*: full batch of the plain module on ``edge_index``.

*overhead*: what a step on one batch of a graph of 256 nodes, where there is next to nothing to
compute, takes longer through the conversion than ``module(batch.x, batch.edge_index)``: finding the
boundaries, checks, reading and writing histories. *conversion*: ``autoscale`` with the partition
given, and how much of it is the check on a piece of the graph. Before anything is timed, outputs of
all nodes are compared.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from graphs import clustered_graph
from timing import as_table, take_turns, write_record
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN, GIN, GraphSAGE

from torch_geometric_autoscale import AutoScaled, autoscale, get_data
from torch_geometric_autoscale.cli.allocator import spare_page_faults

MODELS = {'GCN': GCN, 'GraphSAGE': GraphSAGE, 'GIN': GIN}


def step(optimizer: torch.optim.Optimizer, out: torch.Tensor, y: torch.Tensor) -> None:
    loss = F.cross_entropy(out, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def epoch_of(gas: AutoScaled, batch_size: int) -> Callable[[], None]:
    optimizer = torch.optim.Adam(gas.parameters(), lr=1e-3)
    loader = gas.loader(batch_size, shuffle=batch_size < gas.ptr.numel() - 1)

    def run() -> None:
        gas.train()
        for batch in loader:
            step(optimizer, gas(batch), batch.y[: batch.batch_size])

    return run


def full_epoch_of(module: nn.Module, data: Data) -> Callable[[], None]:
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)

    def run() -> None:
        module.train()
        step(optimizer, module(data.x, data.edge_index), data.y)

    return run


def seconds_of(run: Callable[[], object], repeats: int) -> float:
    """Median of some runs, after one to warm up."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def overhead_of(model: Callable[..., nn.Module], tiny: Data, repeats: int) -> float:
    """Milliseconds that a step on a batch takes longer through the conversion."""
    gas = autoscale(model(16, 16, num_layers=3, out_channels=8), tiny, num_parts=8)
    batch = next(iter(gas.loader(batch_size=2)))
    x, edge_index, size = batch.x, batch.edge_index, batch.batch_size

    def through_the_conversion() -> None:
        gas(batch).sum().backward()

    def plain() -> None:
        gas.module(x, edge_index)[:size].sum().backward()

    seconds = take_turns({'gas': through_the_conversion, 'plain': plain}, repeats)
    return 1000 * (seconds['gas'] - seconds['plain'])


def row_of(name: str, data: Data, tiny: Data, args: argparse.Namespace) -> list[str]:
    def module() -> nn.Module:
        torch.manual_seed(0)
        classes = int(data.y.max()) + 1
        return MODELS[name](data.num_features, args.hidden, args.layers, classes)

    gas = autoscale(module(), data, args.parts)
    whole = autoscale(module(), data, partition=(gas.perm, gas.ptr))
    with torch.no_grad():
        expected = gas.module.eval()(data.x, data.edge_index)
    error = float((gas.inference() - expected).abs().max() / expected.abs().max())
    assert error < 1e-4, (name, error)

    contestants = {
        'scaled': epoch_of(gas, args.batch_size),
        'same kernels': epoch_of(whole, args.parts),
        'default': full_epoch_of(module(), data),
    }
    seconds = take_turns(contestants, args.rounds)
    conversion = {
        verify: seconds_of(
            lambda verify=verify: autoscale(
                module(), data, partition=(gas.perm, gas.ptr), verify=verify
            ),
            args.rounds,
        )
        for verify in (True, False)
    }
    overhead = overhead_of(MODELS[name], tiny, args.repeats)
    scaled, same, default = seconds.values()
    return [
        name, f'{scaled:.3f}', f'{same:.3f}', f'{scaled / same:.2f}', f'{default:.3f}',
        f'{scaled / default:.2f}', f'{overhead:.2f}', f'{conversion[True]:.2f}',
        f'{conversion[True] - conversion[False]:.2f}',
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--hidden', type=int, default=256)
    parser.add_argument('--layers', type=int, default=3)
    parser.add_argument('--parts', type=int, default=64)
    parser.add_argument('--batch-size', type=int, default=8, help='partitions per batch')
    parser.add_argument('--rounds', type=int, default=7, help='counted rounds of epochs')
    parser.add_argument('--repeats', type=int, default=200, help='counted steps for the overhead')
    parser.add_argument('--models', nargs='+', default=list(MODELS), choices=list(MODELS))
    parser.add_argument('--record', action='store_true', help='write results/autoscale.json')
    args = parser.parse_args()
    spare_page_faults()  # for all contestants

    data, in_channels, out_channels = get_data(None, 'wordnet')
    tiny = clustered_graph(256, 1024, 8, num_features=16, num_classes=8)
    widths = [in_channels] + [args.hidden] * (args.layers - 1) + [out_channels]
    rows = [row_of(name, data, tiny, args) for name in args.models]
    table = as_table(
        f"PyG's models {'-'.join(map(str, widths))} on WordNet, {args.batch_size} of {args.parts} "
        f'partitions per batch, {torch.get_num_threads()} threads: seconds per epoch',
        ['', 'scaled', 'full batch, same kernels', 'ratio', "full batch, PyG's default", 'ratio',
         'overhead, ms per batch', 'conversion, s', 'of which check, s'],
        rows,
    )  # fmt: skip
    if args.record:
        write_record('autoscale', {'autoscale': table}, **vars(args))


if __name__ == '__main__':
    main()
