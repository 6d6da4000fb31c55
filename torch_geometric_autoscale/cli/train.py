"""``pygas train``: the whole job, from a graph to a run folder."""

import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import torch

from .. import _version
from ..errors import missing_package
from ..history.memory import check_pinned
from ..progress import say
from ..scalable import ScalableGNN
from ..training import (
    Checkpoint,
    CheckpointWarning,
    Run,
    TrainSettings,
    build_record,
    save_checkpoint,
    write_record,
)
from ..training import train as train_model
from ..training.log_file import LogFile
from ..training.plots import plot_accuracy, plot_staleness
from ..training.tensorboard import check_tensorboard
from .console import logged_to, memory, number, result, table
from .help import train_help
from .job import Job, build_model, find_device, num_proper_edges, parts_per_batch
from .options import compose, keys_of
from .planned_job import plan_job
from .run_folder import (
    RunFolder,
    check_arguments_of_resume,
    is_finished,
    leave_nothing_to_resume,
    new_run_folder,
    reopen_run_folder,
)

EXIT_INTERRUPTED = 130
CANNOT_BEGIN = (ValueError, TypeError, ImportError)  # where nothing has been saved yet
TITLES = {'gas': 'histories', 'full': 'full batch'}


def train(arguments: Sequence[str]) -> int:
    """Run ``pygas train``; returns the exit code."""
    if any(argument in ('-h', '--help') for argument in arguments):
        print(train_help())
        return 0
    settings = compose(arguments)
    resumed = settings['resume'] is not None
    if resumed:
        check_arguments_of_resume(arguments)
    if resumed and is_finished(Path(str(settings['resume'])).expanduser()):
        leave_nothing_to_resume(Path(str(settings['resume'])).expanduser())
        print(f"'{settings['resume']}' is finished: there is nothing to resume.")
        return 0
    _needs_matplotlib()
    if settings['tensorboard']:
        check_tensorboard('pygas train')
    if not resumed:
        device = find_device(settings['device'])
        _run_settings(settings, 1)  # a wrong value is told before anything is loaded
        folder = new_run_folder(settings)
    else:
        folder, settings = reopen_run_folder(settings, arguments)
    try:
        device = find_device(settings['device'])
        with logged_to(folder.path / 'log.txt') as log, _warnings_printed():
            log.line(f'pygas {_version.__version__}: {shlex.join(["pygas", "train", *arguments])}')
            try:
                if settings.get('memory') is not None and not folder.knows_partition:
                    settings, job = plan_job(settings, keys_of(arguments), device)
                    folder.write_settings(settings)
                    folder.keep_job(settings, job)
                else:
                    job = folder.load_job(settings)
                return _train_job(settings, job, device, folder, log)
            except BaseException as error:
                log.line(f'ended by {type(error).__name__}{f": {error}" if str(error) else ""}')
                raise
    except BaseException as error:
        # A job that cannot begin as it was told would not begin when resumed either.
        if not resumed and (isinstance(error, CANNOT_BEGIN) or not folder.is_partitioned):
            folder.remove_if_empty()
        if folder.has_job:
            reader_is_gone = isinstance(error, BrokenPipeError)
            _say_how_to_resume(folder, sys.stderr if reader_is_gone else sys.stdout)
        raise
    finally:
        folder.close()


def _say_how_to_resume(folder: RunFolder, file: TextIO) -> None:
    way_on = 'No checkpoint yet. Begin the training again with'
    if folder.has_states:
        way_on = 'Go on from the last checkpoint with'
    with suppress(OSError):  # nor may this hide the error that there is to tell
        print(f'{way_on}: {folder.how_to_resume}', file=file, flush=True)
        result(f'{way_on}: {folder.how_to_resume}')


# The job #############################################################################


def _train_job(
    settings: Mapping[str, Any], job: Job, device: torch.device, folder: RunFolder, log: LogFile
) -> int:
    batch_size = parts_per_batch(settings, job.ptr)
    num_parts = job.ptr.numel() - 1
    print(
        f'{settings["dataset"]["name"]}: {job.data.num_nodes:,} nodes, '
        f'{num_proper_edges(job.data):,} edges besides self-loops, '
        f'{job.in_channels:,} features, {job.out_channels} classes; {num_parts} parts, '
        f'{min(batch_size, num_parts)} per batch; {device}'
    )
    with_histories = _run_settings(settings, batch_size)
    model = build_model(settings, job).to(device)
    runs = [_train(model, job, with_histories, settings, folder, log)]
    _save_checkpoint(folder.path, settings, job, model, runs[0])
    del model
    _save_record(folder.path, settings, job, runs, device)
    if settings['full']['run'] and job.is_mapped:
        print('A mapped graph is not trained on as one batch: that would take all of it in memory.')
    elif settings['full']['run'] and not runs[0].interrupted:
        full_batch, changes = _full_settings(settings, runs[0])
        model = build_model(settings, job, **changes).to(device)
        runs.append(_train(model, job, full_batch, settings, folder, log))
        _save_record(folder.path, settings, job, runs, device)
    plot_accuracy(folder.path / 'accuracy.png', runs, _title(settings))
    plot_staleness(folder.path / 'staleness.png', runs[0], _title(settings))
    print(f'\n{result_table(runs)}\n')
    interrupted = runs[-1].interrupted
    if interrupted:
        print(
            f'Interrupted in the run with {TITLES[runs[-1].mode]}. Go on with:\n'
            f'  {folder.how_to_resume}\n'
            f"'pygas evaluate {folder.path}' and 'pygas predict {folder.path}' take the model with "
            f'histories as of epoch {runs[0].best.epoch if runs[0].best else 0}.'
        )
    else:
        folder.is_done()
    print(f'Run folder: {folder.path}')
    result(_in_one_line(runs, folder))
    return EXIT_INTERRUPTED if interrupted else 0


def _train(
    model: ScalableGNN,
    job: Job,
    chosen: TrainSettings,
    settings: Mapping[str, Any],
    folder: RunFolder,
    log: LogFile,
) -> Run:
    """One training of the job, from where an earlier process has left it."""
    scalars = folder.path / 'tensorboard' / chosen.mode if settings.get('tensorboard') else None
    return train_model(
        model, job.data, job.ptr, chosen, checkpoints=folder.checkpoints / chosen.mode,
        resume=True, log_file=log, tensorboard=scalars,
    )  # fmt: skip


def _in_one_line(runs: Sequence[Run], folder: RunFolder) -> str:
    """All that a quiet job says."""
    scores = ', '.join(f'{number(run.test, ".2f", "%")} {TITLES[run.mode]}' for run in runs)
    end = f'; interrupted, go on with: {folder.how_to_resume}' if runs[-1].interrupted else ''
    return f'{folder.path}: test {scores}{end}'


@contextmanager
def _warnings_printed() -> Iterator[None]:
    """What there is to say about checkpoints is printed, to be in the log too."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, CheckpointWarning):
                say(f'pygas: {message}')
            else:
                usual(message, category, *rest)

        warnings.simplefilter('always', CheckpointWarning)
        warnings.showwarning = show  # type: ignore[assignment]
        yield


def _run_settings(settings: Mapping[str, Any], batch_size: int) -> TrainSettings:
    """Settings of the run with histories."""
    names = (
        'epochs', 'max_seconds', 'max_steps', 'num_workers', 'lr', 'schedule', 'reg_weight_decay',
        'nonreg_weight_decay', 'grad_norm', 'eval_every', 'loss_weighting', 'drop_unlabelled',
        'measure_memory', 'seed',
    )  # fmt: skip
    return TrainSettings(
        mode='gas', batch_size=batch_size, **_storage(settings),
        measure_error=settings.get('measure_error', False),  # not there in an earlier version
        prefetch=settings.get('prefetch'), eval_batch_size=settings.get('eval_batch_size'),
        precision=settings.get('precision', 'float32'),
        **{name: settings[name] for name in names},
    )  # fmt: skip


def _storage(settings: Mapping[str, Any]) -> dict[str, Any]:
    history = settings['history']
    if history['tier'] == 'pinned':
        check_pinned('pygas train')
    return {
        'history_tier': history['tier'],
        'history_dtype': history.get('dtype', 'auto'),  # not there in jobs of an earlier version
        'history_cache': history.get('cache'),
        'keep_first_propagation': settings.get('keep_first_propagation', True),
        'checkpoint_every': settings['checkpoint']['every'],
    }


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
        measure_memory=settings['measure_memory'], precision=settings.get('precision', 'float32'),
        **_storage(settings), **same,
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
    hit_rates = [run.histories.get('cache_hit_rate') for run in runs]
    if any(rate is not None for rate in hit_rates):
        shares = [number(None if rate is None else 100 * rate, '.1f', '%') for rate in hit_rates]
        rows.append(('rows of histories found in the cache', shares))
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
    about = {
        **asdict(job.quality),
        'method': job.method,
        'num_parts': job.ptr.numel() - 1,
        'batch_size': parts_per_batch(settings, job.ptr),
    }
    write_record(folder / 'record.json', build_record(settings, runs, about, device))


def _needs_matplotlib() -> None:
    import importlib.util

    if importlib.util.find_spec('matplotlib') is None:
        raise ImportError(missing_package('pygas train', 'matplotlib', 'full'))
