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
    'operators': ('Operators', 'operator', 'Every name in `torch_geometric.nn.conv.__all__`.'),
    'models': (
        'Models',
        'model',
        'Every model in `torch_geometric.nn.models` that gives, or could be taken to give, one '
        'row per node.',
    ),
    'aggregations': (
        'Aggregations',
        'aggregation',
        'Every aggregation in `torch_geometric.nn.aggr`, inside of `SAGEConv`.',
    ),
    'compositions': (
        'Modules of your own',
        'module',
        'What is built from operators, and what cannot be computed from a batch.',
    ),
}
INTRODUCTION = """\
# What `autoscale` converts

{summary}

The columns count rows of the tables below, which rest on {runs} conversions: every option,
mostly two and three layers deep. Of these, {found}.

- **exact**: batches give what PyG gives on the whole graph. The number shown is the largest
  error of all checks, relative to the largest number compared. It is below 1e-9 (below 1e-4 for
  the few models that run in float32 only).
- **refused**: an error says why before a number is returned. What these errors advise is in
  [What to do instead](#what-to-do-instead).
- **not runnable here**: PyG does not run it on the whole graph either, for the reason shown.

A row is *exact* if one of its options is. Options that are not are marked beside their name, and
the last column says why. Names such as `'convs.0'` are those of the models that were converted.

## How it was checked

Each model is built with fixed random weights in float64 and held against PyG's own full-batch
run. The graph is meant to be hard: {nodes} nodes and {edges} directed edges with hubs, isolated
nodes, self-loops and duplicate edges, in {parts} random parts, which cut {cut:.0f}% of the edges.
Compared are

- the outputs of batches after `gas.refresh()`, and of `gas.inference()`;
- the outputs after one sweep per boundary, from histories of zeros;
- the outputs in training mode, without dropout;
- the gradients of a loss on all nodes, and on one part with the rows of others as constants.

torch {torch}, PyG {pyg}. `python -m scripts.compatibility` writes this page;
`python -m scripts.compatibility --check` and the slow tests in
`test/conversion/test_compatibility.py` compare it with a new run."""
ADVICE = """\
## What to do instead

What the errors of the refused rows ask for, and what they advise.

| what a module must do | otherwise |
|---|---|
"""
NOT_TRIED = """\
## Not tried

These names in `torch_geometric.nn.models` are in no table.

"""
LONGEST = 180


def page(outcomes: Sequence[Outcome]) -> str:
    """The whole page in Markdown."""
    parts = [_introduction(outcomes)]
    for table, (title, kind, about) in TITLES.items():
        rows = [o for o in outcomes if o.case.table == table]
        if rows:
            parts.append(f'## {title}\n\n{about}\n\n{_table(kind, rows)}')
    parts.append(ADVICE + _advice(outcomes))
    parts.append(NOT_TRIED + '\n'.join(f'- `{name}`: {why}.' for name, why in OUTSIDE.items()))
    return '\n\n'.join(parts) + '\n'


def counts(outcomes: Iterable[Outcome]) -> Counter[str]:
    """How many rows have each status."""
    return Counter(_status(rows) for _, rows in _by_name(outcomes))


def _introduction(outcomes: Sequence[Outcome]) -> str:
    graph = describe()
    found = Counter(o.status for o in outcomes)
    return INTRODUCTION.format(
        summary=_summary(outcomes),
        runs=f'{len(outcomes):,}',
        found=', '.join(f'{found[s]} are {s}' for s in ORDER if found[s] or s == EXACT),
        cut=100 * graph['cut'],
        **{name: graph[name] for name in ('nodes', 'edges', 'parts')},
        torch=torch.__version__.split('+')[0],
        pyg=torch_geometric.__version__,
    )


def _summary(outcomes: Sequence[Outcome]) -> str:
    lines = [
        '| rows | exact | of them in every option | refused | not runnable here | wrong |',
        '|---|---:|---:|---:|---:|---:|',
    ]
    for table, (title, *_) in TITLES.items():
        rows = [o for o in outcomes if o.case.table == table]
        if rows:
            found = counts(rows)
            every = sum(all(o.status == EXACT for o in row) for _, row in _by_name(rows))
            numbers = (found[EXACT], every, found[REFUSED], found[UNAVAILABLE],
                       found[WRONG] + found[CRASHED])  # fmt: skip
            lines.append(f'| {title} | {" | ".join(map(str, numbers))} |')
    return '\n'.join(lines)


def _table(kind: str, outcomes: Sequence[Outcome]) -> str:
    lines = [f'| {kind} | options | status | largest error; why not |', '|---|---|---|---|']
    for name, rows in _by_name(outcomes):
        cells = (f'`{name}`' if ' ' not in name else name, _options(rows), _status(rows),
                 _error_or_reason(rows))  # fmt: skip
        lines.append(_row(cells))
    return '\n'.join(lines)


def _row(cells: Iterable[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |'


def _advice(outcomes: Iterable[Outcome]) -> str:
    """A row for each rule that something broke, with all advice that was given."""
    found: dict[str, dict[str, None]] = {}
    for outcome in outcomes:
        rule, _, advice = _explained(outcome.reason)
        if outcome.status == REFUSED and advice:
            found.setdefault(rule, {})[_plain(advice)] = None
    return '\n'.join(_row((rule, '<br>'.join(advice))) for rule, advice in found.items())


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
        parts.append(f'{max(exact):.0e}' if max(exact) else '0')
    reasons: dict[str, str] = {}
    for row in rows:
        if row.status != EXACT:
            reasons.setdefault(row.case.option, row.reason)  # the same in every depth
    groups: dict[str, list[str]] = {}
    for option, reason in reasons.items():
        groups.setdefault(_explained(reason)[0], []).append(option)
    alone = len(_by_option(rows)) == len(reasons) and len(groups) == 1
    for options in groups.values():
        text = _brief(reasons[options[0]])
        if len({_brief(reasons[option]) for option in options}) > 1:
            text = text.replace(' (got ', f' (for {options[0]}: got ', 1)
        parts.append(text if alone else f'*{"; ".join(options)}*: {text}')
    return '<br>'.join(parts)


def _explained(reason: str) -> tuple[str, str, str]:
    """The rule, what was got, and the advice; the last two are empty in errors of others."""
    head, _, text = reason.partition(': ')
    if head.isidentifier() and text:
        reason = text
    said, got, rest = reason.partition(' (got ')
    if not got:
        return reason, '', ''
    got, _, advice = rest.rpartition('). ')
    got, advice = (got, advice) if got else (rest.removesuffix(')'), '')
    return said.partition(': ')[2] or said, got, advice


def _brief(reason: str) -> str:
    """An error's text without its class and its advice, cut to what a cell holds."""
    rule, got, _ = _explained(reason)
    if len(got) > LONGEST:
        got = got[:LONGEST].rsplit(' ', 1)[0] + ' ...'
    return _plain(f'{rule} (got {got})' if got else rule)


def _plain(text: str) -> str:
    return text.replace('\n', ' ').replace('<', '&lt;').replace('*', '\\*')
