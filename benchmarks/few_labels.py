"""What to do with partitions that hold no labelled node, on WordNet with 200 labels.

    python benchmarks/few_labels.py                # about 2 minutes

*kept*: a batch without a label takes no step but is run forward, so that its rows stay fresh.
*dropped*: ``drop_unlabelled=True`` leaves its partitions out; their histories age until the next
refresh, which comes with each evaluation. Medians over seeds.
"""

import argparse
import statistics

import torch
from timing import as_table, write_record

from torch_geometric_autoscale import gcn_normalize, get_data, metis, models, permute
from torch_geometric_autoscale.training import TrainSettings, train


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--labels', type=int, default=200)
    parser.add_argument('--parts', type=int, default=512)
    parser.add_argument('--epochs', type=int, default=30)
    parser.add_argument('--seeds', type=int, default=3)
    parser.add_argument('--record', action='store_true', help='write results/few_labels.json')
    args = parser.parse_args()

    data, in_channels, out_channels = get_data(None, 'wordnet')
    chosen = data.train_mask.nonzero().view(-1)
    chosen = chosen[torch.randperm(chosen.numel(), generator=torch.Generator().manual_seed(0))]
    data.train_mask = torch.zeros_like(data.train_mask)
    data.train_mask[chosen[: args.labels]] = True
    perm, ptr = metis(data, args.parts)
    data = permute(gcn_normalize(data), perm, log=False)

    rows = []
    for name, drop, every in [
        ('kept, refreshed every epoch', False, 1),
        ('dropped, refreshed every epoch', True, 1),
        ('kept, refreshed every 10 epochs', False, 10),
        ('dropped, refreshed every 10 epochs', True, 10),
    ]:
        runs = []
        for seed in range(args.seeds):
            torch.manual_seed(seed)
            model = models.GCN(
                data.num_nodes, in_channels, 64, out_channels, 3, dropout=0.5, drop_input=False,
                batch_norm=True, residual=True,
            )  # fmt: skip
            settings = TrainSettings(
                epochs=args.epochs, batch_size=8, lr=0.005, drop_unlabelled=drop,
                eval_every=every, measure_memory=False, seed=seed,
            )  # fmt: skip
            runs.append(train(model, data, ptr, settings, log=False))
        rows.append([
            name, f'{statistics.median(run.test or 0.0 for run in runs):.2f}',
            f'{statistics.median(run.seconds_per_epoch or 0.0 for run in runs):.3f}',
            f'{runs[0].epochs[-1].steps}', f'{runs[0].epochs[-1].skipped}',
        ])  # fmt: skip
    table = as_table(
        f'WordNet with {args.labels} labels, {args.parts} partitions, 8 per batch, '
        f'{args.epochs} epochs, {args.seeds} seeds',
        ['batches without a label', 'test %', 's/epoch', 'steps', 'skipped'],
        rows,
    )
    if args.record:
        write_record('few_labels', {'few_labels': table}, **vars(args))


if __name__ == '__main__':
    main()
