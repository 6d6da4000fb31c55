"""``record.json``: every number of a job, with what it takes to judge and repeat it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..files import write_json
from ..partition import PartitionQuality
from .machine import machine, versions
from .results import Run

RECORD_VERSION = 1
PLACES = ('root', 'out', 'resume')


def build_record(
    settings: Mapping[str, Any],
    runs: Sequence[Run],
    partition: Mapping[str, Any] | PartitionQuality,
    device: torch.device | str = 'cpu',
) -> dict[str, Any]:
    """Compose a record.

    Args:
        settings: Resolved settings of the job. ``root``, ``out`` and ``resume`` are left out, and
            of a data set's path only the file name is kept: a record tells no one's folders.
        runs: What was trained, in order.
        partition: Its quality, and what else there is to say about it.
        device: The device that computed.
    """
    quality = asdict(partition) if isinstance(partition, PartitionQuality) else dict(partition)
    return {
        'record_version': RECORD_VERSION,
        'status': 'interrupted' if any(run.interrupted for run in runs) else 'finished',
        'settings': _without_places(settings),
        'versions': versions(),
        'machine': machine(device),
        'partition': quality,
        'runs': [run.to_dict() for run in runs],
    }


def write_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all."""
    write_json(path, record)


def _without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in settings.items() if key not in PLACES}
    dataset = kept.get('dataset')
    if isinstance(dataset, Mapping) and str(dataset.get('name', '')).lower().endswith('.npz'):
        kept['dataset'] = {**dataset, 'name': Path(str(dataset['name'])).name}
    return kept
