"""``pygas predict RUN``: classes, logits or embeddings of every node, to a file."""

import csv
import io
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..errors import explain
from ..files import write_atomically
from ..history import History
from ..progress import phase
from .finished import FinishedRun, add_run_arguments, load_run

FORMATS = ('.npy', '.npz', '.csv')
DESCRIPTION = """\
Writes one row per node, in the order of the graph that you trained on: classes (N,), or (N, C)
zeros and ones where a node has several; logits (N, C); or embeddings, which are what the last
layer reads (N, H).
"""


def predict(arguments: Sequence[str]) -> int:
    """Run ``pygas predict``; returns the exit code."""
    parser = ArgumentParser('pygas predict', description=DESCRIPTION)
    add_run_arguments(parser)
    parser.add_argument('--what', choices=list(_WHAT), default='classes', help='what to write')
    parser.add_argument(
        '--to', type=Path, metavar='FILE',
        help='file to write, .npy, .npz or .csv (default: RUN/<what>.npy)',
    )  # fmt: skip
    parser.add_argument('--force', action='store_true', help='replace the file if it exists')
    options = parser.parse_args(arguments)
    path = _target(options)
    run = load_run(options)
    values = in_user_order(_WHAT[options.what](run), run.job.perm).numpy()
    with phase(f'Writing {path.name}'):
        _write(path, options.what, values)
    shape = ' x '.join(f'{size:,}' for size in values.shape)
    print(f"{options.what} ({shape}) of epoch {run.checkpoint.epoch}: '{path}'")
    return 0


def in_user_order(rows: Tensor, perm: Tensor) -> Tensor:
    """Rows of the permuted graph, ``(N, *)``, in the order of the user's nodes."""
    out = torch.empty_like(rows)
    out[perm] = rows
    return out


def _logits(run: FinishedRun) -> Tensor:
    return run.model(loader=run.loader).cpu()


def _classes(run: FinishedRun) -> Tensor:
    logits = _logits(run)
    return logits.argmax(dim=1) if run.job.data.y.dim() == 1 else (logits > 0).long()


def _embeddings(run: FinishedRun) -> Tensor:
    if not len(run.model.histories):
        raise ValueError(
            explain('pygas predict', 'a model with embeddings must have two layers or more',
                    'one layer', 'Use --what logits.')
        )  # fmt: skip
    last = run.model.histories[-1]
    assert isinstance(last, History)
    last.move_to(dtype='float32')  # as they are, in whatever type the run has kept them
    run.model.refresh(run.loader)
    return last.pull().cpu()


_WHAT: dict[str, Callable[[FinishedRun], Tensor]] = {
    'classes': _classes,
    'logits': _logits,
    'embeddings': _embeddings,
}


def _target(options: Namespace) -> Path:
    path = options.to or options.run / f'{options.what}.npy'
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            explain('pygas predict', f"'--to' must end in {', '.join(FORMATS)}", f"'{path}'",
                    'The ending chooses the format.')
        )  # fmt: skip
    if path.exists() and not options.force:
        raise ValueError(
            explain('pygas predict', "'--to' must be a new file", f"'{path}', which exists",
                    'Name another one, or pass --force.')
        )  # fmt: skip
    if not path.absolute().parent.is_dir() and options.to is not None:
        raise FileNotFoundError(
            explain('pygas predict', "the folder of '--to' must exist", f"'{path}'", 'Make it.')
        )
    return path


def _write(path: Path, what: str, values: np.ndarray) -> None:
    def to_csv(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, 'utf-8', newline='', write_through=True)
        rows = values.reshape(len(values), -1)
        single = values.ndim == 1
        names = ['class'] if single else [f'{what}_{i}' for i in range(rows.shape[1])]
        writer = csv.writer(text, lineterminator='\n')
        writer.writerow(['node', *names])
        writer.writerows([node, *row] for node, row in enumerate(rows.tolist()))
        text.detach()

    writers: dict[str, Callable[[BinaryIO], object]] = {
        '.npy': lambda file: np.save(file, values, allow_pickle=False),
        '.npz': lambda file: np.savez_compressed(file, allow_pickle=False, **{what: values}),
        '.csv': to_csv,
    }
    write_atomically(path, writers[path.suffix.lower()])
