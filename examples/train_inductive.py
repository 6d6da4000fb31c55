"""Inductive training: histories of one graph, evaluation on graphs never seen in training.

Half of WordNet's synsets are taken out before training: the model, its histories and its batches
know the other half alone. Two calls then run it elsewhere, exactly and without touching a history:
``model(x, adj_t)`` on a graph that fits into memory, ``model(loader=...)`` on one that does not.
About a minute on two cores; prints accuracies, near 64% on the graph of the training and 58% on the
other: the loss of half of all pointers costs both, against the whole graph.

    python examples/train_inductive.py [--epochs 20] [--device cpu]
"""

import argparse
import time

import torch
import torch.nn.functional as F

from torch_geometric_autoscale import (
    EvalSubgraphLoader,
    SubgraphLoader,
    compute_micro_f1,
    get_data,
    metis,
    models,
    permute,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    torch.manual_seed(0)

    data, in_channels, out_channels = get_data(None, 'wordnet')
    unseen = torch.rand(data.num_nodes) < 0.5
    new = data.subgraph(unseen)
    data = data.subgraph(~unseen)
    perm, ptr = metis(data, num_parts=32)
    data = permute(data, perm)
    loader = SubgraphLoader(data, ptr, batch_size=4, shuffle=True)

    model = models.SAGE(
        data.num_nodes, in_channels, 128, out_channels, num_layers=3, dropout=0.3,
        batch_norm=True, residual=True,
    ).to(args.device)  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    start = time.perf_counter()
    for epoch in range(1, args.epochs + 1):
        model.train()
        total = 0.0
        for batch in loader:
            batch = batch.to(args.device)
            mask, y = batch.train_mask[: batch.batch_size], batch.y[: batch.batch_size]
            loss = F.cross_entropy(model(batch)[mask], y[mask])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
        if epoch % max(1, args.epochs // 5) == 0:
            seconds = time.perf_counter() - start
            print(f'epoch {epoch:3d}  loss {total / len(loader):.3f}  {seconds:.0f} s')

    model.eval()
    seen = model(loader=EvalSubgraphLoader(data, ptr, batch_size=8, log=False)).cpu()
    print(f'the graph of the training  {100 * compute_micro_f1(seen, data.y, data.test_mask):.1f}')

    new_perm, new_ptr = metis(new, num_parts=32)
    new = permute(new, new_perm)
    pieces = model(loader=EvalSubgraphLoader(new, new_ptr, batch_size=8, log=False)).cpu()
    print(f'a new graph, in batches    {100 * compute_micro_f1(pieces, new.y):.1f}')
    with torch.no_grad():
        whole = model(new.x.to(args.device), new.edge_index.to(args.device)).cpu()
    print(f'a new graph, as a whole    {100 * compute_micro_f1(whole, new.y):.1f}')
    print(f'largest difference of the two: {float((pieces - whole).abs().max()):.1e}')


if __name__ == '__main__':
    main()
