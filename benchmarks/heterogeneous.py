"""Heterogeneous graphs: histories against full batch, the same module and the same steps.

    python benchmarks/heterogeneous.py --root data         # about half an hour on two cores

On DBLP (the folder needs dblp_hetero.npz and dblp_hetero.json; left out without them) ``to_hetero``
of a GraphSAGE, a ``HeteroConv`` of two operators and ``HGTConv``; on WordNet, which comes with the
package, ``RGCNConv`` with a weight for each of its 32 relations. Both sides begin with the same
weights, take the same number of steps with the same optimiser and are scored by full-batch passes
of the plain module: test accuracy at the best validation one, mean and deviation over seeds.

*error of refresh*: how far ``gas.refresh()`` is from a full-batch pass of the trained weights, the
largest difference in units of the largest output. *stale error*: the same for one more sweep over
the batches, in ``eval`` mode, with the histories as training left them. *nothing stale*: the same
batches, but every step is a pass over the whole graph of which only the batch's labels count; how
it differs from full batch is not due to histories. *memory*: peak of a training step.
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timing import as_table, write_record
from torch import Tensor, nn
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import GATConv, GraphSAGE, HeteroConv, HGTConv, RGCNConv, SAGEConv
from torch_geometric.nn import to_hetero as to_hetero_by_pyg

from torch_geometric_autoscale import AutoScaled, autoscale, compute_micro_f1, get_data
from torch_geometric_autoscale.cli.allocator import spare_page_faults
from torch_geometric_autoscale.training.step_memory import step_peak_bytes

Rows = dict[str, Tensor]


class Encoder(nn.Module):
    """Rows of equal width: of features where a type has them, else of an embedding by id."""

    def __init__(self, data: HeteroData, hidden: int) -> None:
        super().__init__()
        widths = data.num_node_features
        self.lin = nn.ModuleDict({t: nn.Linear(f, hidden) for t, f in widths.items() if f})
        self.emb = nn.ModuleDict(
            {t: nn.Embedding(int(data[t].num_nodes), hidden) for t in widths if not widths[t]}
        )

    def forward(self, x_dict: Rows, n_id_dict: Rows) -> Rows:
        rows = {t: self.lin[t](x).relu() for t, x in x_dict.items()}
        return rows | {t: emb(n_id_dict[t]) for t, emb in self.emb.items()}


class Classifier(nn.Module):
    """An encoder, PyG's layers, and the rows of one type."""

    def __init__(self, data: HeteroData, hidden: int, gnn: nn.Module, target: str) -> None:
        super().__init__()
        self.encoder, self.gnn, self.target = Encoder(data, hidden), gnn, target

    def forward(self, x_dict: Rows, edge_index_dict: Rows, n_id_dict: Rows) -> Tensor:
        return self.gnn(self.encoder(x_dict, n_id_dict), edge_index_dict)[self.target]


class Layers(nn.Module):
    """Heterogeneous layers one after the other, and a linear one."""

    def __init__(self, layers: list[nn.Module], hidden: int, out_channels: int, target: str):
        super().__init__()
        self.layers, self.lin = nn.ModuleList(layers), nn.Linear(hidden, out_channels)
        self.target, self.dropout = target, nn.Dropout(0.5)

    def forward(self, x_dict: Rows, edge_index_dict: Rows) -> Rows:
        for layer in self.layers:
            rows = layer(x_dict, edge_index_dict)
            x_dict = {t: self.dropout(x.relu()) for t, x in rows.items()}
        return {self.target: self.lin(x_dict[self.target])}


class RelationalGCN(nn.Module):
    """Two ``RGCNConv`` layers on projected features."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int, relations: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, hidden)
        self.one = RGCNConv(hidden, hidden, relations)
        self.two = RGCNConv(hidden, out_channels, relations)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        x = self.dropout(self.lin(x).relu())
        return self.two(self.dropout(self.one(x, edge_index, edge_type).relu()), edge_index,
                        edge_type)  # fmt: skip


def to_hetero(data: HeteroData, hidden: int, out: int, target: str) -> nn.Module:
    gnn = GraphSAGE(hidden, hidden, num_layers=2, out_channels=out, dropout=0.5)
    return to_hetero_by_pyg(gnn, data.metadata())


def hetero_conv(data: HeteroData, hidden: int, out: int, target: str) -> nn.Module:
    def operator(edge_type: tuple[str, str, str]) -> nn.Module:
        if target in edge_type:  # attention where authors take part, means elsewhere
            return GATConv(hidden, hidden, add_self_loops=False)
        return SAGEConv(hidden, hidden)

    layers: list[nn.Module] = [
        HeteroConv({t: operator(t) for t in data.edge_types}, aggr='mean') for _ in range(2)
    ]
    return Layers(layers, hidden, out, target)


def hgt(data: HeteroData, hidden: int, out: int, target: str) -> nn.Module:
    layers: list[nn.Module] = [HGTConv(hidden, hidden, data.metadata(), heads=4) for _ in range(2)]
    return Layers(layers, hidden, out, target)


DBLP = {'to_hetero(GraphSAGE)': to_hetero, 'HeteroConv': hetero_conv, 'HGTConv': hgt}


@dataclass
class Task:
    """A graph and how it is trained on: what both sides have in common."""

    data: Any
    whole: tuple[Any, ...]  # what forward takes for a full-batch pass
    labels: Any  # the data or store with labels and masks, one split
    build: Callable[[], nn.Module]
    steps: int
    every: int  # steps between two looks at the accuracies
    lr: float
    parts: int
    per_batch: int

    def labels_of(self, batch: Any) -> Any:
        return batch if isinstance(self.data, Data) else batch[self.target]

    @property
    def target(self) -> str:
        return next(t for t in self.data.node_types if 'y' in self.data[t])


def loss_of(out: Tensor, labels: Any) -> Tensor:
    mask, y = labels.train_mask[: out.size(0)], labels.y[: out.size(0)]
    return F.cross_entropy(out[mask], y[mask])


def full_pass(task: Task, module: nn.Module) -> Tensor:
    with torch.no_grad():
        return module.eval()(*task.whole)


def train(task: Task, module: nn.Module, losses: Callable[[], Any]) -> float:
    """Take the steps; the test accuracy in percent at the best validation one."""
    optimizer = torch.optim.Adam(module.parameters(), lr=task.lr)
    best = (-1.0, 0.0)
    done = 0
    while done < task.steps:
        for loss in losses():
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
            if done % task.every == 0:
                logits, labels = full_pass(task, module), task.labels
                val, test = (
                    100 * compute_micro_f1(logits, labels.y, mask)
                    for mask in (labels.val_mask, labels.test_mask)
                )
                best = max(best, (val, test), key=lambda pair: pair[0])
                module.train()
            if done == task.steps:
                break
    return best[1]


def train_full_batch(task: Task, module: nn.Module) -> float:
    module.train()
    return train(task, module, lambda: [loss_of(module(*task.whole), task.labels)])


def train_with_histories(task: Task, gas: AutoScaled) -> float:
    def losses() -> Any:
        gas.train()
        for batch in gas.loader(task.per_batch, shuffle=True):
            labels = task.labels_of(batch)
            if bool(labels.train_mask[: labels.batch_size].any()):
                yield loss_of(gas(batch), labels)
            else:  # nothing to learn; its rows stay fresh all the same
                with torch.no_grad():
                    gas(batch)

    gas.refresh(task.per_batch)
    return train(task, gas.module, losses)


def train_without_staleness(task: Task, gas: AutoScaled) -> float:
    """Full-batch passes, each with the labels of a batch."""

    def losses() -> Any:
        gas.train()
        for batch in gas.loader(task.per_batch, shuffle=True):
            labels = task.labels_of(batch)
            ids = labels.n_id[: labels.batch_size]
            ids = ids[task.labels.train_mask[ids]]
            if ids.numel():
                yield F.cross_entropy(gas.module(*task.whole)[ids], task.labels.y[ids])

    return train(task, gas.module, losses)


def error_of(out: Tensor, expected: Tensor) -> float:
    return float((out - expected).abs().max() / expected.abs().max())


@torch.no_grad()
def sweep(task: Task, gas: AutoScaled) -> Tensor:
    """One sweep with the histories as they are; rows in the caller's order."""
    gas.eval()
    ids, rows = [], []
    for batch in gas.loader(task.per_batch):
        labels = task.labels_of(batch)
        rows.append(gas(batch))
        ids.append(labels.n_id[: labels.batch_size])
    return torch.cat(rows)[torch.cat(ids).argsort()]


def memory(task: Task, gas: AutoScaled) -> tuple[int, int]:
    """Peak bytes of a step of a batch and of full batch."""

    def adam(module: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(module.parameters(), lr=task.lr)

    batch = next(iter(gas.loader(task.per_batch)))
    labels, device = task.labels_of(batch), torch.device('cpu')
    return (
        step_peak_bytes(gas, adam, lambda model: loss_of(model(batch), labels).backward(), device),
        step_peak_bytes(
            gas.module, adam, lambda m: loss_of(m(*task.whole), task.labels).backward(), device
        ),
    )


def row_of(name: str, task: Task, seeds: int, control: bool = False) -> list[str]:
    full, scaled, exact, refreshed, stale = [], [], [], [], []
    for seed in range(seeds):
        torch.manual_seed(seed)
        module = task.build()
        full.append(train_full_batch(task, module))
        torch.manual_seed(seed)
        gas = autoscale(task.build(), task.data, task.parts)
        scaled.append(train_with_histories(task, gas))
        expected = full_pass(task, gas.module)
        stale.append(error_of(sweep(task, gas), expected))
        refreshed.append(error_of(gas.refresh(task.per_batch), expected))
        if control:
            torch.manual_seed(seed)
            twin = autoscale(task.build(), task.data, partition=(gas.perm, gas.ptr))
            exact.append(train_without_staleness(task, twin))
    small, large = memory(task, gas)
    print(f'{name}: full batch {full}, nothing stale {exact}, histories {scaled}', flush=True)
    scores = [full, exact, scaled] if control else [full, scaled]
    return [
        name, *map(spread, scores), f'{max(refreshed):.1e}', f'{max(stale):.1e}',
        str(len(gas.boundaries)), f'{large / 2**20:.0f}', f'{small / 2**20:.0f}',
    ]  # fmt: skip


def spread(values: list[float]) -> str:
    mean = f'{statistics.mean(values):.2f}'
    return f'{mean} ± {statistics.stdev(values):.2f}' if len(values) > 1 else mean


HEADER = [
    '', 'full batch %', 'histories %', 'error of refresh', 'stale error', 'histories',
    'memory of full batch, MiB', 'memory of a batch, MiB',
]  # fmt: skip


def dblp_table(data: HeteroData, out_channels: int, args: argparse.Namespace) -> dict[str, Any]:
    target = next(t for t in data.node_types if 'y' in data[t])
    for name in ('train_mask', 'val_mask', 'test_mask'):
        data[target][name] = data[target][name][:, args.split]
    ids = {t: torch.arange(int(data[t].num_nodes)) for t in data.node_types}
    rows = []
    for name in args.models:
        task = Task(
            data, (data.x_dict, data.edge_index_dict, ids), data[target],
            lambda make=DBLP[name]: Classifier(
                data, args.hidden, make(data, args.hidden, out_channels, target), target
            ),
            args.steps, args.every, 0.01, args.parts, args.batch_size,
        )  # fmt: skip
        rows.append(row_of(name, task, args.seeds))
    return as_table(
        f'DBLP: authors in {out_channels} classes, {int(data[target].train_mask.sum())} labels, '
        f'{args.batch_size} of {args.parts} partitions per batch, {args.steps} steps, '
        f'{args.seeds} seeds',
        HEADER, rows,
    )  # fmt: skip


def wordnet_table(args: argparse.Namespace) -> dict[str, Any]:
    data, in_channels, out_channels = get_data(None, 'wordnet')
    data.edge_type = data.edge_type.unique(return_inverse=True)[1]
    relations = int(data.edge_type.max()) + 1
    task = Task(
        data, (data.x, data.edge_index, data.edge_type), data,
        lambda: RelationalGCN(in_channels, args.wordnet_hidden, out_channels, relations),
        args.wordnet_steps, max(1, args.wordnet_steps // 4), 0.01, args.wordnet_parts,
        args.wordnet_batch_size,
    )  # fmt: skip
    return as_table(
        f'WordNet with {relations} relations, {args.wordnet_batch_size} of {args.wordnet_parts} '
        f'partitions per batch, {args.wordnet_steps} steps, seeds: {args.wordnet_seeds}',
        [*HEADER[:2], 'nothing stale %', *HEADER[2:]],
        [row_of('RGCNConv', task, args.wordnet_seeds, control=True)],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--root', default='data', help='folder with dblp_hetero.npz')
    parser.add_argument(
        '--models', nargs='*', default=list(DBLP), choices=list(DBLP), help='none: leave DBLP out'
    )
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--steps', type=int, default=80)
    parser.add_argument('--every', type=int, default=8, help='steps between two accuracies')
    parser.add_argument('--hidden', type=int, default=32)
    parser.add_argument('--parts', type=int, default=16)
    parser.add_argument('--batch-size', type=int, default=4, help='partitions per batch')
    parser.add_argument('--split', type=int, default=2, help='0, 1, 2: 20, 40, 60 labels a class')
    parser.add_argument('--wordnet-seeds', type=int, default=1, help='0: leave it out')
    parser.add_argument('--wordnet-steps', type=int, default=96)
    parser.add_argument('--wordnet-hidden', type=int, default=32)
    parser.add_argument('--wordnet-parts', type=int, default=64)
    parser.add_argument('--wordnet-batch-size', type=int, default=16)
    parser.add_argument('--record', action='store_true', help='write results/heterogeneous.json')
    args = parser.parse_args()
    spare_page_faults()  # for both sides

    settings = {name: value for name, value in vars(args).items() if name != 'root'}
    tables = known_tables()
    if not (Path(args.root) / 'dblp_hetero.npz').exists():
        print(f"no dblp_hetero.npz in '{args.root}': DBLP is left out (see --root)")
    elif args.models:
        data, _, out_channels = get_data(args.root, 'dblp_hetero')
        tables['dblp'] = dblp_table(data, out_channels, args) | {'settings': settings}
    if args.wordnet_seeds:
        tables['wordnet'] = wordnet_table(args) | {'settings': settings}
    if args.record:
        write_record('heterogeneous', tables)


def known_tables() -> dict[str, Any]:
    """Tables of an earlier record: what is left out this time stays in it."""
    path = Path(__file__).parent / 'results' / 'heterogeneous.json'
    return json.loads(path.read_text('utf-8'))['tables'] if path.exists() else {}


if __name__ == '__main__':
    main()
