"""The page: one row an operator, aggregation, model or composition."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

import torch
import torch_geometric

from .catalogue.outside import OUTSIDE
from .graphs import describe
from .outcome import CRASHED, EXACT, REFUSED, UNAVAILABLE, WRONG, Outcome

# The worst first: what a row's status is if its options differ.
ORDER = (WRONG, CRASHED, EXACT, REFUSED, UNAVAILABLE)
TITLES = {
    'operators': ('Operators', 'Every name in `torch_geometric.nn.conv.__all__`.'),
    'models': (
        'Models',
        'Every model in `torch_geometric.nn.models` that gives, or could be taken to give, one '
        'row per node.',
    ),
    'aggregations': ('Aggregations', 'Every aggregation in `torch_geometric.nn.aggr`, inside of '
                     '`SAGEConv`.'),
    'compositions': ('Modules of one\'s own', 'What users build from operators, right and wrong.'),
}  # fmt: skip
LONGEST_REASON = 260


def page(outcomes: Sequence[Outcome]) -> str:
    """The whole page in Markdown."""
    parts = [_introduction(outcomes)]
    for table, (title, about) in TITLES.items():
        rows = [o for o in outcomes if o.case.table == table]
        if rows:
            parts.append(f'## {title}\n\n{about}\n\n{_table(rows)}')
    parts.append(
        '## Not asked\n\nThese names in `torch_geometric.nn.models` compute no row per node.\n\n'
        + '\n'.join(f'- `{name}`: {reason}.' for name, reason in OUTSIDE.items())
    )
    return '\n\n'.join(parts) + '\n'


def counts(outcomes: Iterable[Outcome]) -> Counter[str]:
    """How many rows have each status."""
    return Counter(_status(rows) for _, rows in _by_name(outcomes))


def _introduction(outcomes: Sequence[Outcome]) -> str:
    graph = describe()
    lines = [
        '# What `autoscale` converts',
        'Written by `python -m scripts.compatibility`; what it says is checked by '
        '`pytest -m slow test/conversion/test_compatibility.py`. '
        f'torch {torch.__version__.split("+")[0]}, PyG {torch_geometric.__version__}.',
        'Every option is built two and three layers deep and held, with frozen weights and in '
        f"float64, against PyG's own full-batch run on a random graph of {graph['nodes']} nodes "
        f'and {graph["edges"]} directed edges (hubs, isolated nodes, self-loops, duplicate edges) '
        f'in {graph["parts"]} random parts, which cut {100 * graph["cut"]:.0f}% of the edges: '
        'batches after `refresh()`; after one sweep per boundary from zeroed histories; '
        '`inference()`; training mode without dropout; and the gradients of a loss, on all nodes '
        'and on one part. *exact*: the largest error, relative to the largest number, is the one '
        'shown and below 1e-9 (1e-4 for the few models that run in float32 only). *refused*: an '
        'error says why before a number is returned. *not runnable here*: full batch does not run '
        'either. A row says *exact* if one of its options is; those that are not are marked.',
        _summary(outcomes),
    ]
    return '\n\n'.join(lines)


def _summary(outcomes: Sequence[Outcome]) -> str:
    lines = [
        '| | exact | of them in every option | refused | not runnable here | wrong |',
        '|---|---:|---:|---:|---:|---:|',
    ]
    for table, (title, _) in TITLES.items():
        rows = [o for o in outcomes if o.case.table == table]
        if rows:
            found = counts(rows)
            every = sum(all(o.status == EXACT for o in row) for _, row in _by_name(rows))
            numbers = (found[EXACT], every, found[REFUSED], found[UNAVAILABLE],
                       found[WRONG] + found[CRASHED])  # fmt: skip
            lines.append(f'| {title} | {" | ".join(map(str, numbers))} |')
    return '\n'.join(lines)


def _table(outcomes: Sequence[Outcome]) -> str:
    lines = ['| | options | status | largest error, or reason |', '|---|---|---|---|']
    for name, rows in _by_name(outcomes):
        cells = (f'`{name}`' if ' ' not in name else name, _options(rows), _status(rows),
                 _error_or_reason(rows))  # fmt: skip
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines)


def _by_name(outcomes: Iterable[Outcome]) -> list[tuple[str, list[Outcome]]]:
    return [(name, list(rows)) for name, rows in groupby(outcomes, lambda o: o.case.name)]


def _by_option(rows: Sequence[Outcome]) -> dict[str, str]:
    """Each option's status: the worst over its depths."""
    return {option: _worst(list(found)) for option, found in groupby(rows, lambda o: o.case.option)}


def _worst(rows: Sequence[Outcome]) -> str:
    """What fails before what is refused before what is exact: all depths must be exact."""
    found = {row.status for row in rows}
    return next(s for s in (WRONG, CRASHED, REFUSED, UNAVAILABLE, EXACT) if s in found)


def _status(rows: Sequence[Outcome]) -> str:
    """An operator is exact if its first option is, or any; what differs is said beside it."""
    found = set(_by_option(rows).values())
    return next(status for status in ORDER if status in found)


def _options(rows: Sequence[Outcome]) -> str:
    status = _status(rows)
    return '; '.join(
        option if found == status else f'{option} (*{found}*)'
        for option, found in _by_option(rows).items()
    )


def _error_or_reason(rows: Sequence[Outcome]) -> str:
    parts = []
    exact = [row.worst for row in rows if row.status == EXACT]
    if exact:
        parts.append(f'{max(exact):.0e}')
    reasons: dict[str, str] = {}
    for row in rows:
        if row.status != EXACT:
            reasons.setdefault(row.case.option, _brief(row.reason))  # the same in every depth
    alone = len(_by_option(rows)) == 1
    for reason in dict.fromkeys(reasons.values()):
        options = [option for option, its_reason in reasons.items() if its_reason == reason]
        parts.append(reason if alone else f'{"; ".join(options)}: {reason}')
    return '<br>'.join(parts)


def _brief(reason: str) -> str:
    """An error's text without its class and its advice, cut to what a cell holds."""
    head, _, text = reason.partition(': ')
    if head.isidentifier() and text:
        reason = text
    rule, end, _ = reason.partition('). ')
    reason = rule + end.rstrip()
    if len(reason) > LONGEST_REASON:
        reason = reason[:LONGEST_REASON].rsplit(' ', 1)[0] + ' ...'
    return reason.replace('\n', ' ').replace('<', '&lt;').replace('*', '\\*')
