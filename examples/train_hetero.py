"""A heterogeneous graph: authors, papers, terms and venues of DBLP, trained with histories.

Shows PyG's own ``GraphSAGE``, made heterogeneous by PyG's own ``to_hetero``, converted by one call
of ``autoscale``. All node types are partitioned together, and each has its own histories. Terms,
papers and authors come with features, which stay sparse where they are; venues have none and get
an embedding, looked up by ``n_id``. About half a minute on two cores; prints where the histories
are, the accuracies of each epoch (about 94% test accuracy at the end, from 60 labels a class), and
that the plain model computes the same on the whole graph.

    python examples/train_hetero.py --root data [--epochs 15]

The folder must hold ``dblp_hetero.npz`` and ``dblp_hetero.json``; ``docs/heterogeneous.md`` says
what is in them and how to use PyG's download of the same graph, or a graph of your own.
"""

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import GraphSAGE, to_hetero

from torch_geometric_autoscale import autoscale, compute_micro_f1, get_data


class Authors(nn.Module):
    """Classes of authors: a projection by type, then PyG's layers."""

    def __init__(self, data: HeteroData, hidden: int, out_channels: int) -> None:
        super().__init__()
        widths = data.num_node_features  # by type, 0 without features
        self.lin = nn.ModuleDict({t: nn.Linear(f, hidden) for t, f in widths.items() if f})
        self.emb = nn.ModuleDict(
            {t: nn.Embedding(data[t].num_nodes, hidden) for t in widths if not widths[t]}
        )
        gnn = GraphSAGE(hidden, hidden, num_layers=2, out_channels=out_channels, dropout=0.5)
        self.gnn = to_hetero(gnn, data.metadata())

    def forward(self, x_dict, edge_index_dict, n_id_dict) -> Tensor:
        rows = {t: self.lin[t](x).relu() for t, x in x_dict.items()}
        rows |= {t: emb(n_id_dict[t]) for t, emb in self.emb.items()}
        return self.gnn(rows, edge_index_dict)['author']


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--root', default='data', help='folder with dblp_hetero.npz')
    parser.add_argument('--epochs', type=int, default=15)
    parser.add_argument('--hidden', type=int, default=64)
    parser.add_argument('--parts', type=int, default=16)
    args = parser.parse_args()
    torch.manual_seed(0)

    try:
        data, _, out_channels = get_data(args.root, 'dblp_hetero')
    except FileNotFoundError as error:
        raise SystemExit(f'{error}\nSay where: --root FOLDER. See docs/heterogeneous.md.') from None
    author = data['author']
    for name in ('train_mask', 'val_mask', 'test_mask'):
        author[name] = author[name][:, -1]  # the last of three label rates

    gas = autoscale(Authors(data, args.hidden, out_channels), data, args.parts)
    print(*(f'history: {b}, {b.width} channels' for b in gas.boundaries), sep='\n')

    optimizer = torch.optim.Adam(gas.parameters(), lr=0.005)
    gas.refresh(batch_size=4)  # begin with exact histories
    for epoch in range(1, args.epochs + 1):
        gas.train()
        for batch in gas.loader(batch_size=4, shuffle=True):
            rows = batch['author']
            out = gas(batch)  # (rows.batch_size, 4)
            mask, y = rows.train_mask[: rows.batch_size], rows.y[: rows.batch_size]
            if mask.any():
                loss = F.cross_entropy(out[mask], y[mask])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        logits = gas.inference(batch_size=4)  # exact, in the order of data['author']
        scores = [
            100 * compute_micro_f1(logits, author.y, mask)
            for mask in (author.train_mask, author.val_mask, author.test_mask)
        ]
        print(f'epoch {epoch:2d}  train {scores[0]:.1f}  val {scores[1]:.1f}  test {scores[2]:.1f}')

    ids = {t: torch.arange(data[t].num_nodes) for t in data.node_types}
    with torch.no_grad():
        expected = gas.module.eval()(data.x_dict, data.edge_index_dict, ids)
    error = float((logits - expected).abs().max() / expected.abs().max())
    print(f'plain model on the whole graph: largest relative difference {error:.1e}')


if __name__ == '__main__':
    main()
