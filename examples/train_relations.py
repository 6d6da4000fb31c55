"""Many relations between nodes of one type: an RGCN on WordNet, trained with histories.

Shows PyG's own ``RGCNConv`` with one weight for each of WordNet's 32 relations (is a kind of, is a
part of, is the opposite of, ...). ``autoscale`` hands ``data.edge_type`` to a ``forward`` that has
a parameter of this name, cut for each batch like the edges. ``RGCNConv`` keeps one table for each
relation for the backward pass, so a full-batch step is large: the example prints its peak memory
beside that of a batch. About a minute on two cores; WordNet comes with the package. Prints the
accuracies of each epoch, about 86% test accuracy at the end, and the memory.

    python examples/train_relations.py [--epochs 10] [--no-memory]
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import RGCNConv

from torch_geometric_autoscale import autoscale, compute_micro_f1, get_data
from torch_geometric_autoscale.training.step_memory import step_peak_bytes


class RGCN(nn.Module):
    """Two layers on projected features: nothing in it knows of batches."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int, relations: int) -> None:
        super().__init__()
        self.lin = nn.Linear(in_channels, hidden)
        self.one = RGCNConv(hidden, hidden, relations)
        self.two = RGCNConv(hidden, out_channels, relations)

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
        x = self.lin(x).relu()
        x = F.dropout(self.one(x, edge_index, edge_type).relu(), 0.2, self.training)
        return self.two(x, edge_index, edge_type)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--hidden', type=int, default=32)
    parser.add_argument('--parts', type=int, default=64)
    parser.add_argument('--no-memory', action='store_true', help='do not measure the memory')
    args = parser.parse_args()
    torch.manual_seed(0)

    data, in_channels, out_channels = get_data(None, 'wordnet')
    data.edge_type = data.edge_type.unique(return_inverse=True)[1]  # numbered without gaps
    relations = int(data.edge_type.max()) + 1
    gas = autoscale(RGCN(in_channels, args.hidden, out_channels, relations), data, args.parts)

    def loss_of(out: Tensor, graph) -> Tensor:
        mask, y = graph.train_mask[: out.size(0)], graph.y[: out.size(0)]
        return F.cross_entropy(out[mask], y[mask])

    def adam(model: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(model.parameters(), lr=0.01)

    optimizer = adam(gas)
    for epoch in range(1, args.epochs + 1):
        start = time.perf_counter()
        gas.train()
        for batch in gas.loader(batch_size=8, shuffle=True):
            loss = loss_of(gas(batch), batch)  # batch rows come first
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        logits = gas.inference(batch_size=8)
        scores = [
            100 * compute_micro_f1(logits, data.y, mask)
            for mask in (data.train_mask, data.val_mask, data.test_mask)
        ]
        print(
            f'epoch {epoch:2d}  train {scores[0]:.1f}  val {scores[1]:.1f}  test {scores[2]:.1f}  '
            f'{time.perf_counter() - start:.1f} s'
        )

    if not args.no_memory:
        cpu, batch = torch.device('cpu'), next(iter(gas.loader(batch_size=8)))
        small = step_peak_bytes(gas, adam, lambda m: loss_of(m(batch), batch).backward(), cpu)
        whole = (data.x, data.edge_index, data.edge_type)
        large = step_peak_bytes(
            gas.module, adam, lambda m: loss_of(m(*whole), data).backward(), cpu
        )
        print(f'peak of a step: batch {small / 2**20:.0f} MiB, full {large / 2**20:.0f} MiB')


if __name__ == '__main__':
    main()
