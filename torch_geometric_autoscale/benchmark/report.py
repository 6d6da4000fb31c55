"""A suite's results page: tables and pictures, all of it from records."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import explain
from ..files import write_atomically
from .again import render_again
from .bars import render_bars
from .collect import Finished, collect
from .expressiveness import render_expressiveness
from .pictures import draw_convergence, draw_errors, draw_variants, title_of
from .records import read_json
from .suite import Suite
from .tables import render_table

HEADER = """\
# Results of the {name} suite

Written by `pygas report` from the records in [`records`](records): never edit it. A cell shows
mean ± standard deviation over the seeds whose number stands in parentheses, without deviation where
there is one seed, and links to its records; *not run* means that there is no record."""


RUNS = """\
Minutes are the median over runs. Other work ran on the machines, so that the same run took a
multiple of it at times: they tell what to expect, and nothing of which method is faster."""


def write_report(suite: Suite) -> Path:
    """Write ``results/README.md`` and its pictures anew; returns the page.

    Raises:
        ValueError: If a record or ``tables.yaml`` has something wrong.
        ImportError: If matplotlib is not installed.
    """
    page = suite.folder / 'results' / 'README.md'
    found = collect(page.parent / 'records')
    page.parent.mkdir(exist_ok=True)
    pictures = list(_pictures(page.parent, found))
    text = _render(suite, page, found, pictures)
    write_atomically(page, lambda file: file.write(text.encode('utf-8')))
    return page


def is_up_to_date(suite: Suite) -> bool:
    """Whether the tables on the page are what the records give; pictures are not compared."""
    page = suite.folder / 'results' / 'README.md'
    found = collect(page.parent / 'records')
    there = page.read_text('utf-8') if page.is_file() else ''
    tables, _, _ = there.partition(PICTURES)
    return tables == _render(suite, page, found, []).partition(PICTURES)[0]


PICTURES = '\n## Pictures\n'


def _render(
    suite: Suite, page: Path, found: Sequence[Finished], pictures: Sequence[tuple[str, str]]
) -> str:
    parts = [HEADER.format(name=suite.name)]
    parts += [_section(spec, found, page) for spec in specs_of(suite)]
    parts.append(_origins(found))
    text = '\n\n'.join(parts) + '\n' + PICTURES
    if not pictures:
        return text + '\nNone: nothing was run.\n'
    return text + ''.join(f'\n![{title}]({name})\n' for title, name in pictures)


def specs_of(suite: Suite) -> list[Any]:
    """What a suite's ``tables.yaml`` lays out."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    path, problem = suite.folder / 'tables.yaml', ''
    try:
        specs = OmegaConf.to_container(OmegaConf.load(path))
        problem = '' if isinstance(specs, list) else type(specs).__name__
    except FileNotFoundError:
        problem = 'no such file'
    except (YAMLError, OmegaConfBaseException, OSError, ValueError) as error:
        problem = ' '.join(f'{error}'.split()).rstrip('.')
    if problem:
        raise ValueError(
            explain('pygas report', f"'{path}' must be a list of tables", problem,
                    'Lay them out as small_benchmark/tables.yaml does.')
        )  # fmt: skip
    assert isinstance(specs, list)
    return specs


def _section(spec: Any, found: Sequence[Finished], page: Path) -> str:
    """A table of experiments, bars or repetitions, or of what the ``record`` of it measured."""
    if isinstance(spec, Mapping) and 'bars' in spec:
        return render_bars(spec, found, page)
    if isinstance(spec, Mapping) and 'again' in spec:
        return render_again(spec, found, page)
    if not isinstance(spec, Mapping) or 'record' not in spec:
        return render_table(spec, found, page)
    if not {'title', 'record'} <= spec.keys() <= {'title', 'record', 'text'}:
        raise ValueError(
            explain('pygas report', "a table of a record must have title, record, and perhaps text",
                    sorted(spec), 'Mend tables.yaml.')
        )  # fmt: skip
    path = page.parent / str(spec['record'])
    table = 'Not run.'
    if path.is_file():
        table = f'{render_expressiveness(read_json(path))}\n\n[Record]({spec["record"]}).'
    text = str(spec.get('text', '')).strip()
    return '\n\n'.join(part for part in (f'## {spec["title"]}', text, table) if part)


def _origins(found: Sequence[Finished]) -> str:
    """Where each experiment was run, with what."""
    lines = [
        '## Runs',
        '',
        RUNS,
        '',
        '| records | runs | minutes per run | machine | torch | PyG |',
        '| --- | ---: | ---: | --- | --- | --- |',
    ]
    for finished in found:
        minutes = statistics.median(run['seconds'] for run in finished.runs) / 60
        machines = {_machine(record['machine']) for record in finished.records}
        versions = [
            ', '.join(sorted({record['versions'][name] for record in finished.records}))
            for name in ('torch', 'torch_geometric')
        ]
        name = finished.folder.name
        cells = [
            f'[{name}](records/{name})', f'{len(finished.records)}', f'{minutes:.1f}',
            '; '.join(sorted(machines)), *versions,
        ]  # fmt: skip
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines if found else ['## Runs', '', 'None yet.'])


def _machine(machine: Mapping[str, Any]) -> str:
    if machine['device'] != 'cpu':
        return str(machine['device'])
    threads = machine.get('threads')
    used = '' if threads is None else f', {threads} thread{"s" if threads > 1 else ""}'
    return f'{machine["cores"]} cores, {machine["cpu"]}{used}'


def _pictures(folder: Path, found: Sequence[Finished]) -> Iterator[tuple[str, str]]:
    """Draw what there is to draw; title and name of every picture."""
    pairs: dict[tuple[str, str], list[Finished]] = {}
    for finished in found:
        key = (finished.settings['model.name'], finished.settings['dataset.name'])
        pairs.setdefault(key, []).append(finished)
    for (model, dataset), experiments in pairs.items():
        title = title_of(experiments[0])
        name = f'convergence-{model}-{dataset}.png'
        if draw_convergence(folder / name, experiments):
            yield f'{title}: validation scores over epochs', name
        name = f'convergence-{model}-{dataset}-variants.png'
        if draw_variants(folder / name, experiments):
            yield f'{title}, variants: validation scores over epochs', name
        name = f'error-{model}-{dataset}.png'
        if draw_errors(folder / name, experiments):
            yield f'{title}: errors of histories over epochs', name
