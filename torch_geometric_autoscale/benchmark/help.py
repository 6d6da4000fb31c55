"""The text of ``main.py --help`` of a suite, read from the configuration files themselves."""

from collections.abc import Sequence

from ..cli.help import columns_of, options_of
from ..cli.options import CONF
from .suite import Suite

USAGE = """\
usage: python {folder}/main.py [KEY=VALUE ...]
       python {folder}/main.py -m [KEY=VALUE,VALUE ...]     a sweep: one experiment for each

Trains a model on a data set with several seeds, prints one line for each run and at the end the
mean; writes a record for each run and goes on from there when called again.

examples:
  python {folder}/main.py model={model} dataset={dataset}
  python {folder}/main.py model={model} dataset={dataset} mode=full
  python {folder}/main.py fake=true epochs=2       a trial on a stand-in graph, without files

pairs (model=MODEL dataset=NAME; their settings stand in conf/recipe/MODEL-NAME.yaml and win):"""


def wants_help(arguments: Sequence[str]) -> bool:
    """Whether arguments ask for it, rather than for Hydra's (``--hydra-help``)."""
    return any(argument in ('-h', '--help') for argument in arguments)


def suite_help(suite: Suite) -> str:
    """Usage, pairs, and every option with its default."""
    model, datasets = next(iter(suite.pairs.items()))
    lines = [USAGE.format(folder=suite.folder.name, model=model, dataset=datasets[0])]
    lines += columns_of((name, ', '.join(sets)) for name, sets in suite.pairs.items())
    lines += ['', 'options and their defaults:', *columns_of(options_of(CONF / 'benchmark.yaml'))]
    for name in suite.pairs:
        lines += ['', f'options of model={name}:']
        lines += columns_of(options_of(CONF / 'model' / f'{name}.yaml', 'model.'))
    lines += ['', 'options of data sets with several splits:']
    of_files = options_of(CONF / 'dataset' / 'npz.yaml', 'dataset.')
    lines += columns_of(entry for entry in of_files if not entry[0].startswith('dataset.name'))
    return '\n'.join(lines)
