"""Seconds per training epoch: histories against full batch, in turns, in one run.

    python benchmarks/epoch.py                 # 169,343 nodes, 2.36M edges, about 5 minutes
    python benchmarks/epoch.py --scale 0.1     # a tenth of it

The fixed baseline is written out below and knows no trick but the two everybody should: full batch,
transform first, int32 CSR and a transpose prepared for the backward; nothing is cached. Building
the batches is part of every epoch. Before anything is timed, the gradients of the library's
operators are compared with the plain definition on ``edge_index``.
"""

import argparse
from itertools import pairwise

import torch
import torch.nn.functional as F
from graphs import clustered_graph
from timing import as_table, take_turns, write_record
from torch import Tensor, nn
from torch_geometric.nn import GCNConv, GINConv, SAGEConv

from torch_geometric_autoscale import (
    ScalableGNN,
    SubgraphLoader,
    gcn_normalize,
    metis,
    models,
    permute,
)

WIDTHS = (128, 256, 256, 40)


# The fixed baseline ##############################################################


class SparseProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, matrix: Tensor, transpose: Tensor, x: Tensor) -> Tensor:
        ctx.transpose = transpose
        return torch.sparse.mm(matrix, x)

    @staticmethod
    def backward(ctx, grad: Tensor):
        return None, None, torch.sparse.mm(ctx.transpose, grad)


class Baseline(nn.Module):
    """Three GCN layers, each ``A (h W) + b``."""

    def __init__(self, matrix: Tensor, transpose: Tensor, dropout: float) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(WIDTHS))
        self.biases = nn.ParameterList(torch.zeros(b) for b in WIDTHS[1:])
        self.matrix, self.transpose, self.dropout = matrix, transpose, dropout

    def forward(self, x: Tensor) -> Tensor:
        for i, (linear, bias) in enumerate(zip(self.linears, self.biases, strict=True)):
            if i > 0:
                x = F.dropout(x.relu(), self.dropout, self.training)
            x = SparseProduct.apply(self.matrix, self.transpose, linear(x)) + bias
        return x


def csr(edge_index: Tensor, weight: Tensor, num_nodes: int) -> Tensor:
    """Rows are ``edge_index[1]``; 32-bit indices."""
    order = torch.argsort(edge_index[1], stable=True)
    pointer = torch.zeros(num_nodes + 1, dtype=torch.int32)
    pointer[1:] = torch.bincount(edge_index[1], minlength=num_nodes).cumsum(0)
    columns = edge_index[0, order].int()
    return torch.sparse_csr_tensor(
        pointer, columns, weight[order], (num_nodes, num_nodes), check_invariants=False
    )


# Contestants #####################################################################


class Stack(ScalableGNN):
    """Unmodified PyG operators with histories in between."""

    def __init__(self, num_nodes: int, layer) -> None:
        super().__init__(num_nodes, list(WIDTHS[1:-1]), len(WIDTHS) - 1)
        self.convs = nn.ModuleList(layer(a, b) for a, b in pairwise(WIDTHS))

    def forward(self, x, adj_t, batch_size=None, n_id=None):
        for conv, history in zip(self.convs[:-1], self.histories, strict=True):
            x = self.push_and_pull(history, conv(x, adj_t).relu_(), batch_size, n_id)
        return self.convs[-1](x, adj_t)


def gin(a: int, b: int) -> GINConv:
    return GINConv(nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, b)))


LAYERS = {'GCN': GCNConv, 'SAGE': SAGEConv, 'GIN': gin}


def step(model: nn.Module, optimizer, out: Tensor, y: Tensor) -> None:
    loss = F.cross_entropy(out, y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def epoch_of(model: nn.Module, loader, form: str = 'adj_t'):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run() -> None:
        model.train()
        for batch in loader:
            size = batch.batch_size
            out = model(batch.x, getattr(batch, form), size, batch.n_id, batch.offset, batch.count)
            step(model, optimizer, out, batch.y[:size])

    return run


def full_epoch_of(model: nn.Module, *args: Tensor, y: Tensor):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run() -> None:
        model.train()
        step(model, optimizer, model(*args), y)

    return run


# Gradients first #################################################################


def check_gradients(data, ptr: Tensor) -> None:
    """One batch's gradients on adj_t against the same operators on ``edge_index``."""
    loader = SubgraphLoader(data, ptr, ptr.numel() // 2, log=False)
    for name, layer in LAYERS.items():
        torch.manual_seed(0)
        model = Stack(data.num_nodes, layer)
        model.refresh(loader)
        batch = next(iter(loader))
        found = []
        model(batch)  # the first call is checked, and takes no short cuts
        for form in (batch.adj_t, batch.edge_index):
            model.zero_grad()
            out = model(batch.x, form, batch.batch_size, batch.n_id)
            F.cross_entropy(out, batch.y[: batch.batch_size]).backward()
            found.append(torch.cat([p.grad.view(-1) for p in model.parameters()]))
        error = float((found[0] - found[1]).abs().max() / found[1].abs().max())
        assert error < 1e-4, (name, error)
        print(f'gradients of {name}: largest relative difference to edge_index {error:.1e}')


# Main ############################################################################


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--scale', type=float, default=1.0, help='share of the 169,343 nodes')
    parser.add_argument('--rounds', type=int, default=5, help='counted rounds')
    parser.add_argument(
        '--slow-rounds', type=int, default=2, help='rounds of edge_index contestants'
    )
    parser.add_argument('--record', action='store_true', help='write benchmarks/results/epoch.json')
    args = parser.parse_args()

    torch.manual_seed(0)
    nodes, edges = int(169_343 * args.scale), 2 * int(1_180_000 * args.scale)
    raw = clustered_graph(nodes, edges, 80, num_features=WIDTHS[0], num_classes=WIDTHS[-1])
    perm, ptr = metis(raw, 80)
    data = permute(raw, perm, log=False)
    normalised = gcn_normalize(data)
    check_gradients(data, ptr)

    matrix = csr(normalised.edge_index, normalised.edge_weight, nodes)
    transpose = csr(normalised.edge_index.flip(0), normalised.edge_weight, nodes)

    def loader(parts: int, graph=normalised) -> SubgraphLoader:
        return SubgraphLoader(graph, ptr, parts, shuffle=True, log=False)

    def library(p: float) -> nn.Module:
        sizes = (nodes, WIDTHS[0], WIDTHS[1], WIDTHS[-1], len(WIDTHS) - 1)
        return models.GCN(*sizes, dropout=p, drop_input=False)

    fast = {'baseline: full batch, CSR and transpose': full_epoch_of(
        Baseline(matrix, transpose, 0.0), data.x, y=data.y)}  # fmt: skip
    for p in (0.0, 0.5):
        for parts in (40, 10):
            name = f'histories, {parts} of 80 partitions, dropout {p}'
            fast[name] = epoch_of(library(p), loader(parts))
        fast[f'full batch of this library, dropout {p}'] = epoch_of(library(p), loader(80))
    fast['baseline with dropout 0.5'] = full_epoch_of(
        Baseline(matrix, transpose, 0.5), data.x, y=data.y
    )
    seconds = take_turns(fast, args.rounds)
    base = seconds['baseline: full batch, CSR and transpose']
    histories = seconds['histories, 10 of 80 partitions, dropout 0.0']
    gcn = as_table(
        f'GCN {"-".join(map(str, WIDTHS))}, {nodes:,} nodes, {data.num_edges:,} edges, '
        f'{torch.get_num_threads()} threads: seconds per epoch, building of batches included',
        ['', 's/epoch', 'x baseline'],
        [[name, f'{value:.3f}', f'{value / base:.2f}'] for name, value in seconds.items()],
    )

    slow = {"PyG's full batch on edge_index": full_epoch_of(
        Stack(nodes, GCNConv), data.x, data.edge_index, y=data.y)}  # fmt: skip
    for name in ('SAGE', 'GIN'):
        slow[f'{name}Conv on adj_t'] = epoch_of(Stack(nodes, LAYERS[name]), loader(10, data))
        slow[f'{name}Conv on edge_index'] = epoch_of(
            Stack(nodes, LAYERS[name]), loader(10, data), 'edge_index'
        )
    seconds |= take_turns(slow, args.slow_rounds)
    pyg = seconds["PyG's full batch on edge_index"]
    rows = [["PyG's full batch on edge_index, GCN", f'{pyg:.2f}',
             f'{pyg / histories:.1f}x histories (10 of 80)']]  # fmt: skip
    for name in ('SAGE', 'GIN'):
        on_adj, on_edges = seconds[f'{name}Conv on adj_t'], seconds[f'{name}Conv on edge_index']
        rows.append([f'histories, unmodified {name}Conv on adj_t', f'{on_adj:.2f}', ''])
        rows.append([f'histories, unmodified {name}Conv on edge_index', f'{on_edges:.2f}',
                     f'{on_edges / on_adj:.1f}x adj_t'])  # fmt: skip
    unmodified = as_table('Unmodified operators on both forms', ['', 's/epoch', 'ratio'], rows)
    if args.record:
        write_record('epoch', {'gcn': gcn, 'unmodified': unmodified}, **vars(args))


if __name__ == '__main__':
    main()
