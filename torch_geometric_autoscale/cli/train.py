"""``pygas train``: the whole job, from a graph to a run folder."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import torch

from ..errors import explain, missing_package
from ..partition import available_methods
from ..scalable import ScalableGNN
from ..training import (
    Checkpoint,
    Run,
    TrainSettings,
    build_record,
    save_checkpoint,
    write_record,
)
from ..training import train as train_model
from ..training.files import write_atomically
from ..training.plots import plot_accuracy
from .console import logged_to, memory, number, table
from .help import train_help
from .job import Job, build_model, find_device, load_job, parts_per_batch
from .options import compose

EXIT_INTERRUPTED = 130
TITLES = {'gas': 'histories', 'full': 'full batch'}


def train(arguments: Sequence[str]) -> int:
    """Run ``pygas train``; returns the exit code."""
    if any(argument in ('-h', '--help') for argument in arguments):
        print(train_help())
        return 0
    settings = compose(arguments)
    device = find_device(settings['device'])
    _run_settings(settings, 1)  # a wrong value is told before anything is loaded
    _needs_matplotlib()
    folder = _new_folder(settings)
    try:
        with logged_to(folder / 'log.txt'):
            _write_settings(folder, settings)
            job = load_job(settings)
            return _train_job(settings, job, device, folder)
    except BaseException:
        _remove_if_empty(folder)
        raise


# The job #############################################################################


def _train_job(settings: Mapping[str, Any], job: Job, device: torch.device, folder: Path) -> int:
    batch_size = parts_per_batch(settings, job.ptr)
    num_parts = job.ptr.numel() - 1
    source, target = job.data.edge_index
    print(
        f'{settings["dataset"]["name"]}: {job.data.num_nodes:,} nodes, '
        f'{int((source != target).sum()):,} edges besides self-loops, '
        f'{job.in_channels:,} features, {job.out_channels} classes; {num_parts} parts, '
        f'{min(batch_size, num_parts)} per batch; {device}'
    )
    with_histories = _run_settings(settings, batch_size)
    model = build_model(settings, job).to(device)
    runs = [train_model(model, job.data, job.ptr, with_histories)]
    _save_checkpoint(folder, settings, job, model, runs[0])
    del model
    _save_record(folder, settings, job, runs, device)
    if settings['full']['run'] and not runs[0].interrupted:
        full_batch, changes = _full_settings(settings, runs[0])
        model = build_model(settings, job, **changes).to(device)
        runs.append(train_model(model, job.data, job.ptr, full_batch))
        _save_record(folder, settings, job, runs, device)
    plot_accuracy(folder / 'accuracy.png', runs, _title(settings))
    print(f'\n{result_table(runs)}\n')
    interrupted = runs[-1].interrupted
    if interrupted:
        print(
            f'Interrupted in the run with {TITLES[runs[-1].mode]}. The checkpoint is that of epoch '
            f'{runs[0].best.epoch if runs[0].best else 0} with histories:\n'
            f"'pygas evaluate {folder}' and 'pygas predict {folder}' go on from it; "
            "'pygas train' with another 'out' starts anew."
        )
    print(f'Run folder: {folder}')
    return EXIT_INTERRUPTED if interrupted else 0


def _run_settings(settings: Mapping[str, Any], batch_size: int) -> TrainSettings:
    """Settings of the run with histories."""
    names = (
        'epochs', 'max_seconds', 'max_steps', 'num_workers', 'lr', 'schedule', 'reg_weight_decay',
        'nonreg_weight_decay', 'grad_norm', 'eval_every', 'loss_weighting', 'drop_unlabelled',
        'measure_memory', 'seed',
    )  # fmt: skip
    return TrainSettings(
        mode='gas', batch_size=batch_size, **{name: settings[name] for name in names}
    )


def _full_settings(settings: Mapping[str, Any], first: Run) -> tuple[TrainSettings, dict[str, Any]]:
    """Settings of the full-batch run, and what its model has of its own."""
    own = settings['full']
    same = {
        name: settings[name] if own[name] == 'same' else own[name]
        for name in (
            'lr',
            'schedule',
            'reg_weight_decay',
            'nonreg_weight_decay',
            'grad_norm',
            'eval_every',
        )
    }
    max_seconds = first.seconds if own['max_seconds'] == 'same' else own['max_seconds']
    changes = {} if own['dropout'] == 'same' else {'dropout': own['dropout']}
    chosen = TrainSettings(
        mode='full', epochs=own['epochs'], max_seconds=max_seconds, seed=settings['seed'],
        measure_memory=settings['measure_memory'], **same,
    )  # fmt: skip
    return chosen, changes


# What is left behind #################################################################


def result_table(runs: Sequence[Run]) -> str:
    """The table at the end of a job: one column per run."""
    rows = [
        ('test accuracy (best validation epoch)', [number(r.test, '.2f', '%') for r in runs]),
        ('validation accuracy', [number(r.val, '.2f', '%') for r in runs]),
        ('best epoch / epochs', [f'{r.best.epoch if r.best else "-"} / {len(r.epochs)}'
                                 for r in runs]),
        ('seconds of training', [f'{r.seconds:.1f}' for r in runs]),
        ('seconds per epoch (median)', [number(r.seconds_per_epoch, '.3f') for r in runs]),
        ('seconds per exact evaluation', [number(r.seconds_per_evaluation, '.3f') for r in runs]),
        ('peak memory of a training step', [memory(r.step_peak_bytes) for r in runs]),
        ('halo rows per batch node', [f'{r.halo_per_batch_node:.2f}' for r in runs]),
    ]  # fmt: skip
    skipped = [sum(epoch.skipped for epoch in run.epochs) for run in runs]
    if any(skipped):
        rows.append(('batches without a training node', [f'{count:,}' for count in skipped]))
    return table(['', *(TITLES[run.mode] for run in runs)], [[name, *c] for name, c in rows])


def _title(settings: Mapping[str, Any]) -> str:
    model = settings['model']
    name = Path(str(settings['dataset']['name'])).name
    return (
        f'{model["name"].upper()}, {model["num_layers"]} layers x {model["hidden_channels"]}, '
        f'on {name}'
    )


def _save_checkpoint(
    folder: Path, settings: Mapping[str, Any], job: Job, model: ScalableGNN, run: Run
) -> None:
    best = run.best
    scores = {} if best is None else {'train': best.train, 'val': best.val, 'test': best.test}
    checkpoint = Checkpoint(
        model.state_dict(), job.perm, job.ptr, run.fingerprint,
        best.epoch if best is not None else 0, dict(settings), scores,
    )  # fmt: skip
    save_checkpoint(folder / 'checkpoint.pt', checkpoint)


def _save_record(
    folder: Path, settings: Mapping[str, Any], job: Job, runs: list[Run], device: torch.device
) -> None:
    assert job.quality is not None
    method = settings['partition']
    about = {
        **asdict(job.quality),
        'method': available_methods()[0] if method == 'auto' else method,
        'num_parts': job.ptr.numel() - 1,
        'batch_size': parts_per_batch(settings, job.ptr),
    }
    write_record(folder / 'record.json', build_record(settings, runs, about, device))


def _write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(OmegaConf.create(dict(settings)))
    write_atomically(folder / 'settings.yaml', lambda file: file.write(text.encode('utf-8')))


# The run folder ######################################################################


def _new_folder(settings: Mapping[str, Any]) -> Path:
    """Make the run folder; one that holds anything is refused."""
    if settings['out'] is not None:
        folder = Path(str(settings['out'])).expanduser()
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        if taken:
            raise ValueError(
                explain('pygas train', "'out' must be a new or an empty folder",
                        f"'{folder}', which holds something", 'Name another one.')
            )  # fmt: skip
    else:
        name = Path(str(settings['dataset']['name'])).stem
        moment = datetime.now().strftime('%Y%m%d-%H%M%S')
        folder = Path('runs') / f'{name}-{settings["model"]["name"]}-{moment}'
        while folder.exists():
            time.sleep(0.5)
            moment = datetime.now().strftime('%Y%m%d-%H%M%S')
            folder = folder.with_name(f'{name}-{settings["model"]["name"]}-{moment}')
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _remove_if_empty(folder: Path) -> None:
    """Take a folder away again in which nothing was trained."""
    if {path.name for path in folder.iterdir()} <= {'log.txt', 'settings.yaml'}:
        for path in list(folder.iterdir()):
            path.unlink()
        folder.rmdir()


def _needs_matplotlib() -> None:
    import importlib.util

    if importlib.util.find_spec('matplotlib') is None:
        raise ImportError(missing_package('pygas train', 'matplotlib', 'full'))
