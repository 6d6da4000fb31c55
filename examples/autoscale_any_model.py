"""Any PyG model, unchanged, trained with historical embeddings on WordNet.

Shows the whole cycle of ``autoscale``: PyG's own ``GraphSAGE`` converted in one line, trained on
batches of the caller's own graph, evaluated exactly, saved, and its checkpoint used by the plain
model as if nothing had happened. About 20 seconds on two cores; prints where the history
boundaries were found, loss and accuracies per epoch (about 74% test accuracy at the end), and that
the plain model predicts the same on the whole graph.

    python examples/autoscale_any_model.py [--epochs 10] [--device cpu]
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch_geometric.nn import GraphSAGE

from torch_geometric_autoscale import autoscale, compute_micro_f1, get_data


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--epochs', type=int, default=10)
    parser.add_argument('--hidden', type=int, default=128)
    parser.add_argument('--device', default='cpu')
    args = parser.parse_args()
    torch.manual_seed(0)

    def plain_model() -> GraphSAGE:
        return GraphSAGE(
            512, args.hidden, num_layers=3, out_channels=45, dropout=0.3, norm='batch_norm'
        )

    # One line. `data` stays in its own node order, and the model stays the caller's.
    data, _, _ = get_data(None, 'wordnet')
    gas = autoscale(plain_model(), data, num_parts=64).to(args.device)
    print(gas)

    # Training: as with NeighborLoader, batch nodes come first.
    optimizer = torch.optim.Adam(gas.parameters(), lr=0.01)
    for epoch in range(1, args.epochs + 1):
        start, total, num_batches = time.perf_counter(), 0.0, 0
        gas.train()
        for batch in gas.loader(batch_size=8, shuffle=True):
            batch = batch.to(args.device)
            out = gas(batch)  # (batch.batch_size, 45)
            mask, y = batch.train_mask[: batch.batch_size], batch.y[: batch.batch_size]
            loss = F.cross_entropy(out[mask], y[mask])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach())
            num_batches += 1

        # Evaluation: exact, layer by layer, in data's own node order; writes nothing.
        logits = gas.inference(batch_size=16)
        scores = [
            100 * compute_micro_f1(logits, data.y, mask)
            for mask in (data.train_mask, data.val_mask, data.test_mask)
        ]
        print(
            f'epoch {epoch:2d}  loss {total / num_batches:.3f}  train {scores[0]:.1f}  '
            f'val {scores[1]:.1f}  test {scores[2]:.1f}  {time.perf_counter() - start:.1f} s'
        )

    # The checkpoint is the plain model's: the same names, the same shapes.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'model.pt'
        torch.save(gas.state_dict(), path)
        plain = plain_model()
        plain.load_state_dict(torch.load(path, weights_only=True))

        # The converted model finds its histories there, too, and can go on where it was.
        again = autoscale(plain_model(), data, partition=(gas.perm, gas.ptr))
        again.load_state_dict(torch.load(path, weights_only=True))
    same = all(
        torch.equal(one.pull().cpu(), other.pull().cpu())
        for one, other in zip(again.histories, gas.histories, strict=True)
    )
    with torch.no_grad():
        expected = plain.eval()(data.x, data.edge_index)
    error = float((logits - expected).abs().max() / expected.abs().max())
    print(f'plain model on the whole graph: largest relative difference {error:.1e}')
    print(f'histories in the checkpoint are those of the training: {same}')


if __name__ == '__main__':
    main()
