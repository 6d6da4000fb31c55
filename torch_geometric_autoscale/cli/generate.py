"""``pygas generate TARGET``: a large graph to try things on."""

from collections.abc import Sequence
from pathlib import Path

from ..errors import explain
from ..synthetic import generate_graph
from .console import result
from .convert import list_arrays, say_what_is_kept
from .keywords import Keyword, decimal, describe_keywords, read_keywords, switch, whole

WHO = 'pygas generate'
OPTIONS = {
    'num_nodes': Keyword(whole, '???', 'number of nodes, e.g. 1_000_000'),
    'avg_degree': Keyword(decimal, '10', 'edges into a node, before loops and equal edges go'),
    'num_features': Keyword(whole, '64', 'columns of x'),
    'num_classes': Keyword(whole, '16', 'number of classes'),
    'seed': Keyword(whole, '0', 'of all random numbers'),
    'exponent': Keyword(decimal, '2.5', "of the degrees' power law"),
    'signal': Keyword(decimal, '0.15', 'how far features tell the class'),
    'label_noise': Keyword(decimal, '0.1', 'share of nodes with a random label'),
    'train': Keyword(decimal, '0.5', 'share of nodes to train on'),
    'val': Keyword(decimal, '0.25', 'share of nodes to validate on; the rest is for testing'),
    'overwrite': Keyword(switch, 'false', 'replace the graph folder if it exists'),
    'restart': Keyword(switch, 'false', 'forget what an earlier call has left'),
}
USAGE = f"""\
usage: pygas generate TARGET num_nodes=N [KEY=VALUE ...]

Draws a graph with power-law degrees, nested communities, and features that tell its classes, and
writes it to a graph folder. What was stopped is gone on with by the same command.

examples:
  pygas generate graph num_nodes=100_000
  pygas train dataset=graph

options and their defaults:
{describe_keywords(OPTIONS)}
"""


def generate(arguments: Sequence[str]) -> int:
    """Run ``pygas generate``; returns the exit code."""
    if any(argument in ('-h', '--help') for argument in arguments):
        print(USAGE, end='')
        return 0
    if not arguments or '=' in arguments[0]:
        raise ValueError(
            explain(WHO, 'a target must come first', ' '.join(arguments) or 'nothing',
                    f"See '{WHO} --help'.")
        )  # fmt: skip
    options = read_keywords(WHO, arguments[1:], OPTIONS)
    if 'num_nodes' not in options:
        raise ValueError(
            explain(WHO, "'num_nodes' must be given", 'none', 'Pass e.g. num_nodes=100_000.')
        )
    target = arguments[0]
    try:
        folder = generate_graph(target, **options)
    except (KeyboardInterrupt, OSError):
        say_what_is_kept(Path(target))
        raise
    print(list_arrays(folder))
    result(f"'{target}': {folder.num_nodes:,} nodes, {folder.num_edges:,} edges")
    return 0
