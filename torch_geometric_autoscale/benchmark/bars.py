"""A table of what the results are held against: published figures and full batch."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import explain
from .collect import Finished
from .tables import NOT_RUN, experiment_for, link_to, test_of

HEADS = ('published', 'GAS', 'full batch', 'difference', 'against published', 'against full batch')
_NEEDED = {'title', 'bars', 'gas', 'full', 'below_full'}


def render_bars(spec: Mapping[str, Any], found: Sequence[Finished], page: Path) -> str:
    """For each pair whether histories reach the bars, and by how much not.

    ``spec`` has a ``title``, the settings of ``gas`` and of ``full`` batch, ``below_full`` (points
    that histories may be below full batch on the mean), optionally ``text``, and ``bars``: entries
    ``label: {setting: value}``, which may have ``published: [mean, deviation]``: histories may be
    one such deviation below that mean. Scores tell their number of seeds. Differences are of runs
    with the same seed, with the standard error of their mean.

    Raises:
        ValueError: If the entry lacks something, or two experiments fit a pair.
    """
    _check_spec(spec)
    lines = [f'|  | {" | ".join(HEADS)} |', f'| --- |{" ---: |" * 4}{" --- |" * 2}']
    for entry in spec['bars']:
        ((label, settings),) = entry.items()
        where = {name: value for name, value in settings.items() if name != 'published'}
        gas, full = (experiment_for({**spec[mode], **where}, found) for mode in ('gas', 'full'))
        cells = _cells(gas, full, settings.get('published'), spec['below_full'], page)
        lines.append(f'| {" | ".join([label, *cells])} |')
    parts = [f'## {spec["title"]}', spec.get('text', '').strip(), '\n'.join(lines)]
    return '\n\n'.join(part for part in parts if part)


def _cells(
    gas: Finished | None,
    full: Finished | None,
    published: Sequence[float] | None,
    below_full: float,
    page: Path,
) -> list[str]:
    scores = [
        NOT_RUN if one is None
        else f'[{test_of(one)}]({link_to(one, page)})'
        for one in (gas, full)
    ]  # fmt: skip
    cells = ['' if published is None else '{:.2f} ± {:.2f}'.format(*published), *scores, '']
    cells += ['', ''] if gas is None else [_against_published(gas, published), '']
    if gas is None or full is None:
        return cells
    differences = _differences(gas, full)
    if not differences:
        return [*cells[:-1], 'no seed in common']
    mean, error = statistics.fmean(differences), _standard_error(differences)
    cells[3] = f'{mean:+.2f} ± {error} ({len(differences)})'
    cells[5] = _verdict(mean + below_full)
    return cells


def _against_published(gas: Finished, published: Sequence[float] | None) -> str:
    if published is None:
        return ''
    mean, deviation = published
    return _verdict(statistics.fmean(gas.numbers('test')) - (mean - deviation))


def _verdict(above: float) -> str:
    return 'reached' if round(above, 9) >= 0 else f'missed by {-above:.2f}'


def _differences(gas: Finished, full: Finished) -> list[float]:
    scores = gas.test_by_seed(), full.test_by_seed()
    return [scores[0][seed] - scores[1][seed] for seed in scores[0].keys() & scores[1].keys()]


def _standard_error(numbers: Sequence[float]) -> str:
    if len(numbers) < 2:
        return '?'
    return f'{statistics.stdev(numbers) / len(numbers) ** 0.5:.2f}'


def _check_spec(spec: Mapping[str, Any]) -> None:
    whole = set(spec) >= _NEEDED >= set(spec) - {'text'} and isinstance(spec['bars'], list)
    entries = spec['bars'] if whole else []
    if not whole or not all(_is_bar(entry) for entry in entries):
        raise ValueError(
            explain('pygas report', f'a table of bars must have {", ".join(sorted(_NEEDED))}, and '
                    'its bars be entries LABEL: {SETTING: VALUE, published: [MEAN, DEVIATION]}',
                    repr(spec.get('title')), 'Mend tables.yaml.')
        )  # fmt: skip


def _is_bar(entry: Any) -> bool:
    if not (isinstance(entry, Mapping) and len(entry) == 1):
        return False
    (settings,) = entry.values()
    if not isinstance(settings, Mapping):
        return False
    published = settings.get('published', [0.0, 0.0])
    return (
        isinstance(published, list)
        and len(published) == 2
        and all(isinstance(number, int | float) for number in published)
    )
