"""The text of ``pygas train --help``, read from the configuration files themselves."""

from collections.abc import Iterable
from pathlib import Path

from ..datasets import describe
from .options import CONF, choices

USAGE = """\
usage: pygas train [KEY=VALUE ...]

Loads a graph, cuts it into parts, trains with histories and, as a comparison, full batch;
prints a table and writes a run folder: settings.yaml, checkpoint.pt, record.json, accuracy.png,
staleness.png, log.txt.

examples:
  pygas train
  pygas train dataset=cora root=data seed=1
  pygas train dataset=my_graph.npz model.num_layers=3 full=false out=runs/mine
  pygas train resume=runs/mine          go on with a job that was interrupted
  pygas train --quiet                   print errors and one line with the result
"""


def train_help() -> str:
    """Usage, models, data sets, and every option with its default."""
    lines = [USAGE, 'models (model=NAME):']
    lines += [f'  {name}' for name in choices('model')]
    lines += ['', 'data sets (dataset=NAME, or the path of an .npz file or graph folder):']
    lines += [f'  {name:<17} {describe(name)}' for name in choices('dataset')]
    lines += [
        '',
        'options and their defaults (some models and data sets have defaults of their own):',
    ]
    lines += columns_of(options_of(CONF / 'train.yaml'))
    for name in choices('model'):
        lines += ['', f'options of model={name}:']
        lines += columns_of(options_of(CONF / 'model' / f'{name}.yaml', 'model.'))
    lines += ['', 'options of data sets with several splits:']
    lines += columns_of(options_of(CONF / 'dataset' / 'npz.yaml', 'dataset.'))
    return '\n'.join(lines)


def columns_of(options: Iterable[tuple[str, str]]) -> list[str]:
    """Names and texts side by side; each line of a text below the one before."""
    rows = list(options)
    width = max(len(name) for name, _ in rows)
    parting = '\n' + ' ' * (width + 4)
    return [f'  {name:<{width}}  {text}'.replace('\n', parting) for name, text in rows]


def options_of(path: Path, prefix: str = '') -> list[tuple[str, str]]:
    """``name=default`` and description of each commented line of a configuration file.

    A comment that is indented goes on with the description of the line before it.
    """
    options: list[tuple[str, str]] = []
    parent = ''
    for line in path.read_text('utf-8').splitlines():
        if line.startswith('#   ') and options:
            name, text = options[-1]
            options[-1] = name, f'{text}\n{line[1:].strip()}'
            continue
        entry, marked, text = line.partition('  # ')
        key, colon, value = entry.partition(':')
        if not colon or not marked or key.startswith('#'):
            continue
        indented = key.startswith(' ')
        if not value.strip():
            parent = f'{key.strip()}.'
            options.append((key.strip(), text))
            continue
        name = f'{prefix}{parent if indented else ""}{key.strip()}'
        computed = value.strip().startswith('${')
        options.append((name if computed else f'{name}={value.strip()}', text))
    return options
