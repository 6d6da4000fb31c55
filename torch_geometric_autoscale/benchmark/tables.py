"""Tables in markdown, as a suite's ``tables.yaml`` lays them out; every number from a record."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from ..errors import explain
from .collect import Finished, seconds_to_reach
from .run import mean_and_deviation

NOT_RUN = 'not run'
SHARE_OF_FULL = 0.99

Axis = list[tuple[str, dict[str, Any]]]


def render_table(spec: Mapping[str, Any], found: Sequence[Finished], page: Path) -> str:
    """One table.

    ``spec`` has a ``title``, ``value`` (a key of :data:`VALUES`), optionally ``text`` and
    ``where``, and ``rows`` and ``columns``: lists of axes, whose entries ``label: {setting:
    value}`` are combined with each other. A cell shows the one experiment with the settings of
    its row and its column.

    Args:
        spec: Entry of ``tables.yaml``.
        found: Experiments to choose from.
        page: Where the table goes; links start there.

    Raises:
        ValueError: If the entry lacks something or two experiments fit a cell.
    """
    _check_spec(spec)
    value = VALUES[spec['value']]
    rows, columns = (_combine(spec[key]) for key in ('rows', 'columns'))
    depth = len(spec['rows'])
    lines = [
        f'| {" | ".join([""] * depth + [" ".join(labels) for labels, _ in columns])} |',
        f'|{" --- |" * depth}{" ---: |" * len(columns)}',
    ]
    before: tuple[str, ...] = ()
    for labels, row in rows:
        shown = [
            '' if labels[: i + 1] == before[: i + 1] else label for i, label in enumerate(labels)
        ]
        before = labels
        cells = [
            _cell({**spec.get('where', {}), **row, **column}, found, value, page)
            for _, column in columns
        ]
        lines.append(f'| {" | ".join([*shown, *cells])} |')
    parts = [f'## {spec["title"]}', spec.get('text', '').strip(), '\n'.join(lines)]
    return '\n\n'.join(part for part in parts if part)


def _combine(axes: Sequence[Sequence[Mapping[str, Any]]]) -> list[tuple[tuple[str, ...], dict]]:
    listed = [[next(iter(entry.items())) for entry in axis] for axis in axes]
    combined = []
    for entries in product(*listed):
        where: dict[str, Any] = {}
        for _, settings in entries:
            where |= settings
        combined.append((tuple(str(label) for label, _ in entries), where))
    return combined


def _cell(
    where: Mapping[str, Any],
    found: Sequence[Finished],
    value: Callable[[Finished, Sequence[Finished]], str],
    page: Path,
) -> str:
    finished = experiment_for(where, found)
    return NOT_RUN if finished is None else f'[{value(finished, found)}]({link_to(finished, page)})'


def experiment_for(where: Mapping[str, Any], found: Sequence[Finished]) -> Finished | None:
    """The one experiment with these settings, if it was run.

    Raises:
        ValueError: If there are several.
    """
    fitting = [finished for finished in found if finished.matches(where)]
    if len(fitting) > 1:
        names = ' and '.join(f"'{finished.folder.name}'" for finished in fitting)
        asked = ', '.join(f'{name}={wanted}' for name, wanted in where.items())
        raise ValueError(
            explain('pygas report', f'one experiment must fit the cell of {asked}', names,
                    "Tell them apart in tables.yaml, or keep one of them elsewhere.")
        )  # fmt: skip
    return fitting[0] if fitting else None


def of_seeds(scores: Sequence[float]) -> str:
    """Mean and sample standard deviation; of a single run there is none."""
    return f'{scores[0]:.2f}' if len(scores) == 1 else mean_and_deviation(scores)


def test_of(finished: Finished) -> str:
    """Mean and deviation of the test scores, and of how many seeds."""
    scores = finished.numbers('test')
    return f'{of_seeds(scores)} ({len(scores)})'


def link_to(finished: Finished, page: Path) -> str:
    """To the record, or to the folder of several."""
    folder = finished.folder.resolve().relative_to(page.parent.resolve())
    if len(finished.records) > 1:
        return f'{folder.as_posix()}'
    return f'{folder.as_posix()}/seed{finished.records[0]["settings"]["seed"]}.json'


# Values ##########################################################################


def _test(finished: Finished, _: Sequence[Finished]) -> str:
    return test_of(finished)


def _step_memory(finished: Finished, _: Sequence[Finished]) -> str:
    sizes = finished.numbers('step_peak_bytes')
    return f'{statistics.median(sizes) / 2**20:,.1f}' if sizes else 'not measured'


def _epoch_seconds(finished: Finished, _: Sequence[Finished]) -> str:
    return f'{statistics.median(finished.numbers("seconds_per_epoch")):.3f}'


def _seconds_to_full(finished: Finished, found: Sequence[Finished]) -> str:
    same = {name: finished.settings[name] for name in ('model.name', 'dataset.name')}
    full = [f for f in found if f.matches({**same, 'mode': 'full', 'changed': []})]
    if len(full) != 1:
        return 'no full batch'
    target = SHARE_OF_FULL * statistics.fmean(full[0].numbers('val'))
    seconds = seconds_to_reach(finished, target)
    return 'not reached' if seconds is None else f'{seconds:.1f}'


VALUES: Mapping[str, Callable[[Finished, Sequence[Finished]], str]] = {
    'test': _test,
    'step_memory': _step_memory,
    'epoch_seconds': _epoch_seconds,
    'seconds_to_full': _seconds_to_full,
}


def _check_spec(spec: Any) -> None:
    needed = {'title', 'value', 'rows', 'columns'}
    known = needed | {'text', 'where'}
    keys = set(spec) if isinstance(spec, Mapping) else set()
    whole = needed <= keys <= known and spec['value'] in VALUES
    if whole and not (_are_axes(spec['rows']) and _are_axes(spec['columns'])):
        raise ValueError(
            explain('pygas report', "'rows' and 'columns' of a table must be lists of axes, each a "
                    'list of entries LABEL: {SETTING: VALUE}', repr(spec['title']),
                    'Mend tables.yaml.')
        )  # fmt: skip
    if not whole:
        raise ValueError(
            explain('pygas report', f"a table must have {', '.join(sorted(needed))}, and a value "
                    f"among {', '.join(VALUES)}", sorted(keys), 'Mend tables.yaml.')
        )  # fmt: skip


def _are_axes(axes: Any) -> bool:
    return isinstance(axes, list) and all(
        isinstance(axis, list)
        and all(
            isinstance(entry, Mapping)
            and len(entry) == 1
            and all(isinstance(settings, Mapping) for settings in entry.values())
            for entry in axis
        )
        for axis in axes
    )
