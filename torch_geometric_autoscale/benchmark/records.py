"""The records of an experiment: one file for each seed, in a folder of its own."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..cli.options import flatten
from ..errors import explain
from ..training.record import RECORD_VERSION
from .experiment import MODES, Experiment, identity_of

TEXT, WHOLE, NUMBER, LIST = 'a text', 'a whole number', 'a number', 'a list'
# What every record of an experiment has; 'runs' has one run.
NEEDED = {
    'record_version': WHOLE, 'status': TEXT, 'settings.suite': TEXT, 'settings.mode': TEXT,
    'settings.seed': WHOLE, 'settings.partition': TEXT, 'settings.refresh': TEXT,
    'settings.changed': LIST, 'settings.model.name': TEXT, 'settings.dataset.name': TEXT,
    'machine.device': TEXT, 'versions.torch': TEXT, 'versions.torch_geometric': TEXT,
    'runs.epochs': LIST, 'runs.seconds': NUMBER, 'runs.test': NUMBER, 'runs.val': NUMBER,
}  # fmt: skip
NEEDED_ON_A_CPU = {'machine.cpu': TEXT, 'machine.cores': WHOLE}
MEASURED = {'runs.seconds_per_epoch': NUMBER, 'runs.step_peak_bytes': NUMBER}  # or not
OF_AN_EPOCH = {'epoch': WHOLE, 'elapsed': NUMBER}


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


def _refuse(path: Path, problem: str, remedy: str = 'Delete it') -> NoReturn:
    raise ValueError(
        explain('pygas report', f"'{path}' must be a whole record", problem,
                f'{remedy}, and its run is done again.')
    )  # fmt: skip


def _check_complete(path: Path, record: Mapping[str, Any]) -> None:
    """Raise unless a record has what is read of it, and is of a run that came to its end."""
    for name, kind in NEEDED.items():
        _check(path, name, _value(record, name), kind)
    for name, kind in NEEDED_ON_A_CPU.items() if record['machine']['device'] == 'cpu' else ():
        _check(path, name, _value(record, name), kind)
    for name, kind in MEASURED.items():
        value = _value(record, name)
        _check(path, name, 0 if value is None else value, kind)
    if record['settings']['mode'] not in MODES:
        _refuse(path, f"one of mode '{record['settings']['mode']}'")
    if record['status'] != 'finished':
        _refuse(path, f"one of status '{record['status']}'")
    _check_epochs(path, record['runs'][0]['epochs'])


def _check_epochs(path: Path, epochs: Sequence[Any]) -> None:
    if not epochs:
        _refuse(path, 'one of no epochs')
    for epoch in epochs:
        for name, kind in OF_AN_EPOCH.items():
            _check(path, f'epochs.{name}', _value(epoch, name), kind)
        if 'val' not in epoch or epoch['val'] is not None:  # not every epoch is evaluated
            _check(path, 'epochs.val', epoch.get('val'), NUMBER)


def _value(record: Any, name: str) -> Any:
    """What stands under a name; ``None`` for nothing."""
    for key in name.split('.'):
        if isinstance(record, list):
            record = record[0] if len(record) == 1 else None
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def _check(path: Path, name: str, value: Any, kind: str) -> None:
    if value is None:
        _refuse(path, f"one without '{name}'")
    whole = isinstance(value, int) and not isinstance(value, bool)
    fits = {
        TEXT: isinstance(value, str), LIST: isinstance(value, list), WHOLE: whole,
        NUMBER: whole or (isinstance(value, float) and math.isfinite(value)),
    }  # fmt: skip
    if not fits[kind]:
        _refuse(path, f"one whose '{name}' is {value!r}, not {kind}")


def read_record(path: Path) -> dict[str, Any]:
    """Read one record.

    Raises:
        ValueError: If the file is cut short, is no record of a finished run, has the name of
            another seed, or is of a later version.
    """
    record = read_json(path)
    version = record.get('record_version', RECORD_VERSION)
    if version != RECORD_VERSION:
        raise ValueError(
            explain('pygas report', f"'{path}' must be of version {RECORD_VERSION}", version,
                    'Read it with the version that wrote it.')
        )  # fmt: skip
    _check_complete(path, record)
    name = f'seed{record["settings"]["seed"]}.json'
    if path.name != name:
        _refuse(path, f'one of {name.removesuffix(".json")}', f"Name it '{name}', or delete it")
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
