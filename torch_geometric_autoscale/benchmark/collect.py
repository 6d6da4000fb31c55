"""The finished experiments of a results folder."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cli.options import flatten
from ..errors import explain
from .experiment import changed_options, identity_of, recipe_of_run
from .records import different_settings, read_record


@dataclass(frozen=True)
class Finished:
    """The records of one experiment.

    Attributes:
        folder: That holds them.
        settings: Those that all its runs share, by full name.
        records: One for each seed, in their order.
    """

    folder: Path
    settings: Mapping[str, Any]
    records: Sequence[Mapping[str, Any]]

    @property
    def runs(self) -> list[Mapping[str, Any]]:
        """The run of each record."""
        return [record['runs'][0] for record in self.records]

    def matches(self, where: Mapping[str, Any]) -> bool:
        """Whether it has the settings asked for."""
        return all(name in self.settings and self.settings[name] == where[name] for name in where)

    def numbers(self, name: str) -> list[float]:
        """A number of each run, where there is one."""
        return [float(run[name]) for run in self.runs if run.get(name) is not None]

    def test_by_seed(self) -> dict[int, float]:
        """Test score of each seed, for comparisons of runs with the same seed."""
        return {
            record['settings']['seed']: float(record['runs'][0]['test']) for record in self.records
        }


def collect(folder: str | Path) -> list[Finished]:
    """Read every experiment below a folder, ``<folder>/<experiment>/seed*.json``.

    Raises:
        ValueError: If a record is damaged or under another seed's name, a folder holds runs of
            several settings, a run was on a stand-in, or says to be by its recipe and is not.
    """
    paths = sorted({path.parent for path in Path(folder).glob('*/seed*.json')})
    return [_read(path) for path in paths]


def _read(folder: Path) -> Finished:
    records = [read_record(path) for path in folder.glob('seed*.json')]
    records.sort(key=lambda record: record['settings']['seed'])
    first = dict(flatten(identity_of(records[0]['settings'])))
    for record in records:
        different = different_settings(records[0]['settings'], record['settings'])
        if different:
            _refuse(folder, 'runs of the same settings', f'several of {", ".join(different)}')
    if first.get('fake'):
        _refuse(folder, 'runs on the data set itself', 'runs on a stand-in, fake=true')
    _check_recipe(folder, records)
    return Finished(folder, first, records)


def _check_recipe(folder: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Raise for a run that says to be by its recipe and is not, as the recipe is today."""
    by_recipe = [record['settings'] for record in records if record['settings']['changed'] == []]
    for settings in by_recipe:
        different = _differences_from_recipe(settings)
        if different:
            file = folder / f'seed{settings["seed"]}.json'
            raise ValueError(
                explain('pygas report', f"'{file}' must have its recipe's settings, as it has "
                        'changed none', '; '.join(different),
                        'Run it again, or move it: the recipe was edited since.')
            )  # fmt: skip


def _differences_from_recipe(settings: Mapping[str, Any]) -> list[str]:
    try:
        names = changed_options(settings)
        there = dict(flatten(recipe_of_run(settings)))
    except FileNotFoundError:  # of a pair that has no recipe any more, or elsewhere
        return []
    here = dict(flatten(settings))
    return [
        f'{name}={here[name]} there, {there[name]} in the recipe' for name in names if name in there
    ]


def _refuse(folder: Path, rule: str, got: str) -> None:
    raise ValueError(
        explain('pygas report', f"'{folder}' must hold {rule}", got,
                'Move what does not belong there.')
    )  # fmt: skip


def seconds_to_reach(finished: Finished, target: float) -> float | None:
    """Mean seconds of training until the validation score is there; ``None`` if a run never is."""
    times = []
    for run in finished.runs:
        reached = [e['elapsed'] for e in run['epochs'] if (e['val'] or 0.0) >= target]
        if not reached:
            return None
        times.append(reached[0])
    return statistics.fmean(times)
