"""The records of an experiment: one file for each seed, in a folder of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..cli.options import flatten
from ..errors import explain
from ..training.record import RECORD_VERSION
from .experiment import Experiment, identity_of


def record_path(experiment: Experiment, seed: int) -> Path:
    """Where the record of a seed is."""
    return experiment.folder / f'seed{seed}.json'


def partial_path(experiment: Experiment, seed: int) -> Path:
    """Where the states of an unfinished run are."""
    return experiment.folder / f'seed{seed}.partial'


def read_record(path: Path) -> dict[str, Any]:
    """Read one record.

    Raises:
        ValueError: If the file is cut short, is no record, or is of a later version.
    """
    try:
        record = json.loads(path.read_text('utf-8'))
        whole = isinstance(record, dict) and {'settings', 'runs', 'record_version'} <= record.keys()
        problem = '' if whole else 'another kind of file'
    except ValueError as error:
        problem = f'{error}'.rstrip('.')
    if problem:
        raise ValueError(
            explain('read_record', f"'{path}' must be a whole record", problem,
                    'Delete it, and its run is done again.')
        )  # fmt: skip
    if record['record_version'] != RECORD_VERSION:
        raise ValueError(
            explain('read_record', f"'{path}' must be of version {RECORD_VERSION}",
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
