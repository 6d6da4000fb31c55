"""A table of experiments that were run a second time, on another machine, with the same seeds."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import explain
from .collect import Finished, collect
from .records import different_settings
from .tables import NOT_RUN, link_to, of_seeds

HEADS = ('seeds', 'first', 'again', 'mean difference', 'largest difference', 'seeds alike')
FOLDER = 'again'


def render_again(spec: Mapping[str, Any], found: Sequence[Finished], page: Path) -> str:
    """First and second run of each experiment that ``spec`` lists under ``again``.

    The second run of ``records/NAME`` is ``again/NAME``. Only the seeds of both count.

    Raises:
        ValueError: If the entry is laid out wrongly, or a second run has other settings.
    """
    _check_spec(spec)
    first = {finished.folder.name: finished for finished in found}
    second = {finished.folder.name: finished for finished in collect(page.parent / FOLDER)}
    lines = [f'|  | {" | ".join(HEADS)} |', f'| --- |{" ---: |" * len(HEADS)}']
    for entry in spec['again']:
        ((label, name),) = entry.items()
        if name not in first or name not in second:
            lines.append(f'| {label} | {NOT_RUN} |{" |" * (len(HEADS) - 1)}')
            continue
        cells = _cells(first[name], second[name], page)
        lines.append(f'| {" | ".join([label, *cells])} |')
    parts = [f'## {spec["title"]}', spec.get('text', '').strip(), '\n'.join(lines)]
    return '\n\n'.join(part for part in parts if part)


def _cells(first: Finished, second: Finished, page: Path) -> list[str]:
    different = different_settings(first.records[0]['settings'], second.records[0]['settings'])
    scores = first.test_by_seed(), second.test_by_seed()
    seeds = sorted(scores[0].keys() & scores[1].keys())
    if different or not seeds:
        got = f'other {", ".join(different)}' if different else 'no seed in common'
        raise ValueError(
            explain('pygas report', f"'{second.folder}' must hold the runs of "
                    f"'{first.folder.name}' again", got, 'Move what does not belong there.')
        )  # fmt: skip
    pairs = [(scores[0][seed], scores[1][seed]) for seed in seeds]
    differences = [abs(b - a) for a, b in pairs]
    means = [
        f'[{of_seeds(one)}]({link_to(finished, page)})'
        for one, finished in zip(zip(*pairs, strict=True), (first, second), strict=True)
    ]
    return [
        f'{len(seeds)}', *means, f'{statistics.fmean(b - a for a, b in pairs):+.2f}',
        f'{max(differences):.2f}', f'{sum(round(d, 6) == 0 for d in differences)}',
    ]  # fmt: skip


def _check_spec(spec: Mapping[str, Any]) -> None:
    entries = spec['again']
    whole = {'title', 'again'} <= spec.keys() <= {'title', 'again', 'text'}
    listed = isinstance(entries, list) and all(
        isinstance(entry, Mapping) and len(entry) == 1 for entry in entries
    )
    if not (whole and listed):
        raise ValueError(
            explain('pygas report', 'a table of repetitions must have title, again, and perhaps '
                    'text, and again be entries LABEL: FOLDER', repr(spec.get('title')),
                    'Mend tables.yaml.')
        )  # fmt: skip
