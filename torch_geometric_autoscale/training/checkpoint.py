"""A trained model on disk: tensors and plain containers, never code."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import explain
from .container import DamagedFile, read_container, write_container

KIND = 'checkpoint'


@dataclass
class Checkpoint:
    """What is needed to evaluate a trained model.

    Attributes:
        model: ``model.state_dict()``, histories included.
        perm: ``(N,)`` permutation that the training data was brought into.
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        fingerprint: Of the permuted graph, as ``loader.graph.fingerprint``.
        epoch: The epoch whose weights these are; 0 before the first one.
        settings: Resolved settings of the job, plain containers only.
        scores: Micro F1 in percent by split, at that epoch.
    """

    model: dict[str, Any]
    perm: Tensor
    ptr: Tensor
    fingerprint: str
    epoch: int
    settings: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, Any] = field(default_factory=dict)


_NAMES = [entry.name for entry in fields(Checkpoint)]


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; an older one of the same name is replaced once the new one is whole."""
    write_container(path, KIND, {name: getattr(checkpoint, name) for name in _NAMES})


def load_checkpoint(path: str | Path, mapped: bool = False) -> Checkpoint:
    """Read a checkpoint and check every byte of it.

    Args:
        path: Its name.
        mapped: Leave large tensors in the file, see :func:`read_container`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is cut short, damaged, no checkpoint of this library, or of a later
            format.
    """
    content = read_container(path, KIND, mapped)
    missing = [name for name in _NAMES if name not in content]
    if missing:
        raise DamagedFile(
            explain('load_checkpoint', f"'{Path(path).name}' must be a whole {KIND} of this "
                    'library', f'one without {", ".join(missing)}',
                    'Train again, or take a copy that is not damaged.')
        )  # fmt: skip
    return Checkpoint(**{name: content[name] for name in _NAMES})
