"""Exact layer-wise inference of a 64-layer GCN2 stack on Cora, against one full-batch forward.

    python benchmarks/inference.py --root data     # a folder that holds Planetoid/Cora/raw

The forward runs on PyG's ``edge_index``; the inference replays the same ``forward`` phase by phase
over 1, 2, 4 and 10 batches. Outputs are compared before anything is timed.
"""

import argparse

import torch
from timing import as_table, take_turns, write_record
from torch import Tensor, nn
from torch_geometric.nn import GCN2Conv

from torch_geometric_autoscale import EvalSubgraphLoader, ScalableGNN, get_data, metis, permute

NUM_LAYERS = 64


class DeepGCN2(ScalableGNN):
    """GCN2 (Chen et al. 2020); the first embedding is read by every layer."""

    def __init__(self, num_nodes: int, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__(num_nodes, hidden, NUM_LAYERS)
        self.first = nn.Linear(in_channels, hidden)
        self.convs = nn.ModuleList(GCN2Conv(hidden, 0.1, 0.5, i + 1) for i in range(NUM_LAYERS))
        self.last = nn.Linear(hidden, out_channels)

    def forward(self, x: Tensor, adj_t, batch_size=None, n_id=None) -> Tensor:
        x = x_0 = self.first(x).relu()
        for conv, history in zip(self.convs, self.histories, strict=False):
            x = self.push_and_pull(history, conv(x, x_0, adj_t).relu(), batch_size, n_id)
        return self.last(self.convs[-1](x, x_0, adj_t).relu())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--root', default='data', help='folder of the data sets')
    parser.add_argument('--rounds', type=int, default=7, help='counted rounds')
    parser.add_argument('--record', action='store_true', help='write results/inference.json')
    args = parser.parse_args()
    torch.manual_seed(0)

    data, in_channels, out_channels = get_data(args.root, 'cora')
    perm, ptr = metis(data, 40)
    data = permute(data, perm, log=False)
    model = DeepGCN2(data.num_nodes, in_channels, 64, out_channels).eval()
    full = model(data.x, data.edge_index)
    contestants = {'full batch on edge_index': lambda: model(data.x, data.edge_index)}
    for batches in (1, 2, 4, 10):
        loader = EvalSubgraphLoader(data, ptr, 40 // batches, log=False)
        error = float((model(loader=loader) - full).abs().max() / full.abs().max())
        assert error < 1e-4, error
        contestants[f'layer-wise, {batches} batches'] = lambda loader=loader: model(loader=loader)
    seconds = take_turns(contestants, args.rounds)
    base = seconds['full batch on edge_index']
    table = as_table(
        f'GCN2, {NUM_LAYERS} layers x 64 on Cora: seconds for all outputs',
        ['', 'seconds', 'x full batch'],
        [[name, f'{value:.3f}', f'{value / base:.2f}'] for name, value in seconds.items()],
    )
    if args.record:
        write_record('inference', {'inference': table}, layers=NUM_LAYERS, rounds=args.rounds)


if __name__ == '__main__':
    main()
