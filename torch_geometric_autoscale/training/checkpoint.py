"""A trained model on disk: tensors and plain containers, never pickled code."""

import warnings
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from .. import _version
from ..errors import explain
from .files import write_atomically

FORMAT = 'pygas checkpoint'
FORMAT_VERSION = 1


@dataclass
class Checkpoint:
    """What is needed to evaluate a trained model, and the place where a resume will look.

    Attributes:
        model: ``model.state_dict()``, histories included.
        perm: ``(N,)`` permutation that the training data was brought into.
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        fingerprint: Of the permuted graph, as ``loader.graph.fingerprint``.
        epoch: The epoch whose weights these are; 0 before the first one.
        settings: Resolved settings of the job, plain containers only.
        scores: Micro F1 in percent by split, at that epoch.
        progress: Left for resuming: optimiser, random states and position. Empty for now.
    """

    model: dict[str, Any]
    perm: Tensor
    ptr: Tensor
    fingerprint: str
    epoch: int
    settings: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)


_NAMES = [entry.name for entry in fields(Checkpoint)]


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; an older one of the same name is replaced once the new one is whole."""
    content = {
        'format': FORMAT,
        'format_version': FORMAT_VERSION,
        'package_version': _version.__version__,
        **{name: getattr(checkpoint, name) for name in _NAMES},
    }
    write_atomically(path, lambda file: torch.save(content, file))


def load_checkpoint(path: str | Path, map_location: Any = 'cpu') -> Checkpoint:
    """Read a checkpoint with ``torch.load(weights_only=True)``.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, damaged, no checkpoint of this library, or of a later
            format.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            explain('load_checkpoint', 'the file must exist', f"nothing at '{path}'",
                    "Pass the run folder's checkpoint.pt.")
        )  # fmt: skip
    path.open('rb').close()  # a file that may not be read says so itself
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Detected pickle protocol', UserWarning)
            content = torch.load(path, map_location=map_location, weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # what damaged bytes raise has no common kind
        _refuse(path, f'a file that cannot be read: {_first_line(error)}', error)
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        _refuse(path, 'another kind of file')
    if content['format_version'] != FORMAT_VERSION:
        raise ValueError(
            explain('load_checkpoint', f'the format must be version {FORMAT_VERSION}',
                    f"version {content['format_version']}, written by "
                    f"{content.get('package_version')}", 'Read it with that version.')
        )  # fmt: skip
    missing = [name for name in _NAMES if name not in content]
    if missing:
        _refuse(path, f'one without {", ".join(missing)}')
    return Checkpoint(**{name: content[name] for name in _NAMES})


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip().rstrip('.')


def _refuse(path: Path, got: str, error: Exception | None = None) -> NoReturn:
    raise ValueError(
        explain('load_checkpoint', f"'{path.name}' must be a whole checkpoint of this library",
                got, 'Train again, or take a copy that is not damaged.')
    ) from error  # fmt: skip
