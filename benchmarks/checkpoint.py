"""What checkpoints cost: the default job on WordNet, tables in memory and on disk.

    python benchmarks/checkpoint.py            # about a minute

Trains as ``pygas train`` does, but takes a checkpoint every three epochs instead of every five
minutes, so that there are some to measure; each is written, checked, synced and renamed in full.
The last column is what the default interval makes of it: a checkpoint's seconds over those between
two checkpoints, which is the share of an epoch that checkpoints cost. *Resume* is the time to read
and check a checkpoint and bring model, optimiser and tables to it.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from timing import as_table, write_record

from torch_geometric_autoscale import gcn_normalize, get_data, metis, models, permute
from torch_geometric_autoscale.training import CheckpointFolder, TrainSettings, train
from torch_geometric_autoscale.training import loop as loop_module
from torch_geometric_autoscale.training.interval import parse_interval
from torch_geometric_autoscale.training.reporter import Reporter
from torch_geometric_autoscale.training.saver import Saver

PARTS, PARTS_PER_BATCH = 64, 8
MIB = 2**20


def measure(data, channels, ptr, tier: str, folder: Path, epochs: int) -> dict[str, float]:
    """Seconds of an epoch, of a checkpoint and of a resume, and bytes of a checkpoint."""
    settings = TrainSettings(
        epochs=epochs, batch_size=PARTS_PER_BATCH, lr=0.04, schedule='onecycle', eval_every=4,
        history_tier=tier, measure_memory=False,
        checkpoint_every=f'{3 * PARTS // PARTS_PER_BATCH} batches',
    )  # fmt: skip

    def new_model():
        torch.manual_seed(0)
        return models.GCN(
            data.num_nodes, channels[0], 128, channels[1], 3, dropout=0.4, drop_input=False,
            batch_norm=True, residual=True,
        )  # fmt: skip

    run = train(new_model(), data, ptr, settings, checkpoints=folder, log=False)
    saved = [epoch.checkpoint_seconds for epoch in run.epochs if epoch.checkpoint_seconds]
    with Saver(folder, None) as saver:
        trainer = loop_module._Trainer(
            new_model(), data, ptr, settings, torch.nn.CrossEntropyLoss(), saver
        )
        began = time.perf_counter()
        trainer._begin(Reporter(settings, log=False))
        resume = time.perf_counter() - began
    assert len(trainer.training.run.epochs) == epochs
    folder_now = CheckpointFolder(folder)
    size = folder_now.checkpoints()[-1].stat().st_size
    folder_now.close()
    return {
        'epoch': statistics.median(epoch.seconds for epoch in run.epochs),
        'checkpoint': statistics.median(saved),
        'resume': resume,
        'bytes': size,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--epochs', type=int, default=24, help='epochs of each training')
    parser.add_argument('--folder', help='folder on the disk to measure (default: a temporary one)')
    parser.add_argument(
        '--record', action='store_true', help='write benchmarks/results/checkpoint.json'
    )
    args = parser.parse_args()
    data, *channels = get_data(None, 'wordnet')
    perm, ptr = metis(data, PARTS, log=False)
    data = permute(gcn_normalize(data), perm, log=False)
    between = parse_interval(TrainSettings().checkpoint_every).seconds
    assert between is not None
    rows, shares = [], {}
    for tier, name in (('ram', 'tables in memory'), ('disk', 'tables on disk')):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            found = measure(data, channels, ptr, tier, Path(folder) / 'states', args.epochs)
        shares[tier] = found['checkpoint'] / between
        rows.append([
            name, f'{found["epoch"]:.3f}', f'{found["checkpoint"]:.3f}',
            f'{found["bytes"] / MIB:.0f}', f'{found["resume"]:.3f}',
            f'{found["checkpoint"] / found["epoch"]:.2f}', f'{100 * shares[tier]:.2f}%',
        ])  # fmt: skip
    table = as_table(
        f'Checkpoints on WordNet, GCN 3 x 128, {PARTS_PER_BATCH} of {PARTS} parts per batch',
        ['', 's/epoch', 's/checkpoint', 'MiB', 's/resume', 'epochs it costs',
         f'of an epoch, one every {between / 60:.0f} min'],
        rows,
    )  # fmt: skip
    if args.record:
        write_record('checkpoint', {'checkpoint': table}, epochs=args.epochs)
    assert max(shares.values()) < 0.03, 'checkpoints cost more than 3% of an epoch'


if __name__ == '__main__':
    main()
