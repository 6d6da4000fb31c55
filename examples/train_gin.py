"""An expressive GIN on graphs by the recipe of CLUSTER, with and without the perturbation loss.

GIN tells neighbourhoods apart, and so it answers errors of histories, too. The perturbation loss
of the GAS paper keeps every layer from answering small changes of its input with large ones. The
graphs are generated, no download: six communities each, one node of which shows its label. Few
graphs and epochs by default: about a minute on two cores; prints test accuracy, near 45%, and the
error of the last history before each refresh, for both.

    python examples/train_gin.py [--graphs 100] [--epochs 20] [--device cpu]
"""

import argparse
import time

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_autoscale import (
    EvalSubgraphLoader,
    SubgraphLoader,
    compute_micro_f1,
    metis,
    models,
    permute,
)
from torch_geometric_autoscale.datasets import generate_cluster, split_graphs


def train(
    train_data: Data, test_data: Data, ptr: Tensor, perturbation: float, args: argparse.Namespace
) -> None:
    torch.manual_seed(0)
    batch_size = (ptr.numel() - 1) // 8
    loader = SubgraphLoader(train_data, ptr, batch_size, shuffle=True, log=False)
    eval_loader = EvalSubgraphLoader(train_data, ptr, batch_size, log=False)
    # The test graphs are other graphs: exact inference on them touches no history.
    whole = torch.tensor([0, test_data.num_nodes])
    test_loader = EvalSubgraphLoader(test_data, whole, log=False)

    model = models.GIN(
        train_data.num_nodes, train_data.num_features, 64, 6, num_layers=4,
        perturbation=perturbation,
    ).to(args.device)  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.002)
    # The running statistics of batch norms follow only where weights come to rest.
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 0.002, total_steps=args.epochs * len(loader)
    )
    print(f'perturbation loss with weight {perturbation}:')
    model.refresh(eval_loader)
    for epoch in range(1, args.epochs + 1):
        start, total = time.perf_counter(), 0.0
        model.train()
        for batch in loader:
            batch = batch.to(args.device)
            out = model(batch)
            out, regularisation = out if isinstance(out, tuple) else (out, 0.0)
            loss = F.cross_entropy(out, batch.y[: batch.batch_size])
            optimizer.zero_grad()
            (loss + regularisation).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        stale = model.histories[-1].pull()
        model.refresh(eval_loader)
        exact = model.histories[-1].pull()
        error = float((stale - exact).norm() / exact.norm())
        if epoch % max(1, args.epochs // 5) == 0:
            test = 100 * compute_micro_f1(model(loader=test_loader).cpu(), test_data.y)
            print(
                f'  epoch {epoch:3d}  loss {total / len(loader):.3f}  test {test:.1f}  '
                f'error of the last history {error:.3f}  {time.perf_counter() - start:.1f} s'
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--graphs', type=int, default=100, help='graphs to train on')
    parser.add_argument('--epochs', type=int, default=20)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()

    data = generate_cluster(args.graphs, num_val=0, num_test=max(1, args.graphs // 4))
    train_data, _, test_data = split_graphs(data)
    # Two parts for each graph: with whole graphs in a batch no history would be read.
    perm, ptr = metis(train_data, num_parts=2 * args.graphs)
    train_data = permute(train_data, perm)
    for perturbation in (0.0, 1.0):
        train(train_data, test_data, ptr, perturbation, args)


if __name__ == '__main__':
    main()
