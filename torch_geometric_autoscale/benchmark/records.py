"""The records of an experiment: one file for each seed, in a folder of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..cli.options import flatten
from ..errors import explain
from ..training.record import RECORD_VERSION
from .experiment import MODES, Experiment, identity_of

# What every record of an experiment has; 'runs' has one run.
NEEDED = (
    'record_version', 'settings.suite', 'settings.mode', 'settings.seed', 'settings.partition',
    'settings.refresh', 'settings.changed', 'settings.model.name', 'settings.dataset.name',
    'machine', 'versions.torch', 'versions.torch_geometric', 'runs.epochs', 'runs.seconds',
    'runs.test', 'runs.val',
)  # fmt: skip


def record_path(experiment: Experiment, seed: int) -> Path:
    """Where the record of a seed is."""
    return experiment.folder / f'seed{seed}.json'


def partial_path(experiment: Experiment, seed: int) -> Path:
    """Where the states of an unfinished run are."""
    return experiment.folder / f'seed{seed}.partial'


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        ValueError: If the file is cut short or holds something else.
    """
    try:
        content = json.loads(path.read_text('utf-8'))
    except (ValueError, IsADirectoryError) as error:
        _refuse(path, f'{error}'.rstrip('.'))
    if not isinstance(content, dict):
        _refuse(path, 'another kind of file')
    return {str(key): value for key, value in content.items()}


def _refuse(path: Path, problem: str) -> NoReturn:
    raise ValueError(
        explain('pygas report', f"'{path}' must be a whole record", problem,
                'Delete it, and its run is done again.')
    )  # fmt: skip


def _check_complete(path: Path, record: Mapping[str, Any]) -> None:
    """Raise unless a record has what is read of it."""
    for name in NEEDED:
        value: Any = record
        for key in name.split('.'):
            if isinstance(value, list):
                value = value[0] if len(value) == 1 else None
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None:
            _refuse(path, f"one without '{name}'")
    if record['settings']['mode'] not in MODES:
        _refuse(path, f"one of mode '{record['settings']['mode']}'")


def read_record(path: Path) -> dict[str, Any]:
    """Read one record.

    Raises:
        ValueError: If the file is cut short, is no record, or is of a later version.
    """
    record = read_json(path)
    _check_complete(path, record)
    if record['record_version'] != RECORD_VERSION:
        raise ValueError(
            explain('pygas report', f"'{path}' must be of version {RECORD_VERSION}",
                    record['record_version'], 'Read it with the version that wrote it.')
        )  # fmt: skip
    return record


def different_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """Full names of the settings in which two runs are of different experiments."""
    one, other = (dict(flatten(identity_of(each))) for each in (first, second))
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    return [name for name in names if name != 'changed']  # which follows from the others


def finished_records(experiment: Experiment) -> dict[int, dict[str, Any]]:
    """The records of the experiment's folder, by seed.

    Raises:
        ValueError: If the folder belongs to other settings, or a record is damaged.
    """
    found = {}
    for path in sorted(experiment.folder.glob('seed*.json')):
        record = read_record(path)
        check_same_experiment(experiment, record, path)
        found[record['settings']['seed']] = record
    return found


def check_same_experiment(experiment: Experiment, record: Mapping[str, Any], path: Path) -> None:
    """Raise unless a record has the settings of the experiment, and name those that differ."""
    there, here = (dict(flatten(each)) for each in (record['settings'], experiment.settings))
    different = [
        f'{name}={there.get(name)} there, {here.get(name)} here'
        for name in different_settings(record['settings'], experiment.settings)
    ]
    if different:
        raise ValueError(
            explain(experiment.suite.who, f"'{path.parent}' must hold runs of the same settings",
                    '; '.join(different), "Pass another folder as 'out'.")
        )  # fmt: skip
