"""A finished run, loaded to be evaluated or to predict."""

import os
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from ..errors import explain
from ..history import move_histories
from ..loader import EvalSubgraphLoader
from ..scalable import ScalableGNN
from ..training import Checkpoint, load_checkpoint
from .job import Job, build_model, find_device, parts_per_batch, reload_job


@dataclass
class FinishedRun:
    """A run's checkpoint with its graph and its model.

    Attributes:
        checkpoint: What was read; the weights are in the model alone.
        job: The graph in the order of training.
        model: With the checkpoint's weights and histories.
        loader: Visits the graph in order.
    """

    checkpoint: Checkpoint
    job: Job
    model: ScalableGNN
    loader: EvalSubgraphLoader


def add_run_arguments(parser: ArgumentParser) -> None:
    """Arguments of every command on a run folder."""
    parser.add_argument('run', metavar='RUN', type=Path, help="a run folder of 'pygas train'")
    parser.add_argument('--root', help='folder of the data sets, where it has moved')
    parser.add_argument('--dataset', metavar='FILE', help="the run's .npz file, where it has moved")
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or the number of a GPU')


def load_run(arguments: Namespace) -> FinishedRun:
    """Load a run folder's checkpoint and the graph it was trained on.

    Raises:
        FileNotFoundError: There is no such folder or it has no checkpoint.
        ValueError: The checkpoint is damaged, or the graph is not that of the run.
    """
    path = arguments.run / 'checkpoint.pt'
    if not path.is_file():
        raise FileNotFoundError(
            explain('pygas', "'RUN' must be a run folder of 'pygas train', with its checkpoint.pt",
                    f"'{arguments.run}'", 'Pass the folder that the training named at its end.')
        )  # fmt: skip
    checkpoint = load_checkpoint(path, mapped=True)
    settings = dict(checkpoint.settings)
    if arguments.root is not None:
        settings['root'] = arguments.root
    if arguments.dataset is not None:
        settings['dataset'] = {**settings['dataset'], 'name': arguments.dataset}
    device = find_device(arguments.device)
    job = reload_job(settings, checkpoint.perm, checkpoint.ptr)
    loader = EvalSubgraphLoader(
        job.data, job.ptr, batch_size=parts_per_batch(settings, job.ptr), log=False
    )
    if loader.graph.fingerprint != checkpoint.fingerprint:
        raise ValueError(
            explain('pygas', 'the graph must be the one of the run', 'one with other edges',
                    'Pass --root, or --dataset for a moved file.')
        )  # fmt: skip
    model = build_model(settings, job)
    history = settings['history']
    tier = 'disk' if history['tier'] == 'disk' else 'ram'  # what else there was may not be here
    folder = arguments.run if os.access(arguments.run, os.W_OK) else None
    move_histories(model, tier, folder, dtype=history.get('dtype'))
    model.load_state_dict(checkpoint.model)
    checkpoint.model.clear()  # the model holds copies
    return FinishedRun(checkpoint, job, model.to(device), loader)
