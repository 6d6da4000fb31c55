"""``pygas plan``: which settings of a training fit a memory, and what they cost."""

from collections.abc import Sequence

import torch

from ..errors import explain
from ..planner.device import device_memory
from ..planner.process import available_bytes, in_use_bytes
from ..planner.shape import GraphShape, ShapeGraph
from ..sizes import parse_size
from .allocator import spare_memory
from .console import result
from .job import find_device
from .keywords import Keyword, decimal, describe_keywords, read_keywords, switch, whole
from .options import compose, keys_of
from .planned_job import graph_of, plan_for

WHO = 'pygas plan'
SHAPE = {
    'num_nodes': Keyword(whole, '???', 'number of nodes, e.g. 1_000_000'),
    'num_edges': Keyword(whole, '???', 'number of directed edges; each direction counts'),
    'num_features': Keyword(whole, '???', 'columns of x'),
    'num_classes': Keyword(whole, '2', 'number of classes'),
    'halo': Keyword(decimal, 'null', "halo rows per node, as 'pygas train' prints them"),
    'mapped': Keyword(switch, 'false', 'the graph lies in a graph folder, not in memory'),
}
_NO_DATA_SET = ('dataset=none.npz',)
USAGE = f"""\
usage: pygas plan [KEY=VALUE ...] [memory=SIZE]

Chooses parts, batches and histories of a training so that it fits a memory (e.g. 8GB, 500MB,
2GiB; by default all that is available), and predicts what it needs and how long an epoch takes.
On the CPU, memory is the process's data, which 'ulimit -d' limits; on a GPU it is the GPU's.

KEY=VALUE are the options of 'pygas train', see 'pygas train --help'. What is set there stays as
it is. 'pygas train' with the same options and memory=SIZE follows the plan.

For a graph that is not at hand, say its shape, as far as it is known:
{describe_keywords(SHAPE)}

examples:
  pygas plan dataset=my_graph.npz memory=8GB
  pygas plan model=gat dataset=linux_calls history.tier=disk memory=1GB
  pygas plan num_nodes=100000000 num_edges=1600000000 num_features=128 memory=64GB
"""


def plan(arguments: Sequence[str]) -> int:
    """Run ``pygas plan``; returns the exit code."""
    if any(argument in ('-h', '--help') for argument in arguments):
        print(USAGE, end='')
        return 0
    shape, rest = _shape_among(arguments)
    # Without a data set there is no recipe of one that parts and batches would come from.
    settings = compose(rest if shape is None else [*rest, *_NO_DATA_SET])
    if settings['resume'] is not None:
        raise ValueError(
            explain(WHO, 'a plan is for a new training', "'resume'",
                    'A resumed job keeps the plan that it began with.')
        )  # fmt: skip
    device = find_device(settings['device'])
    if settings['memory'] is not None:
        settings['memory'] = parse_size(WHO, 'memory', settings['memory'])
    if device.type == 'cpu':
        spare_memory()
    graph = graph_of(settings) if shape is None else ShapeGraph(shape)
    memory = settings['memory'] or _all_there_is(device)
    channels = None if shape is None else (shape.num_features, shape.num_classes)
    found = plan_for(graph, settings, keys_of(rest), memory, device, WHO, channels)
    print(found)
    choice = found.check(WHO).choice
    result(
        f'num_parts={choice.num_parts} batch_size={choice.batch_size} '
        f'history.tier={choice.history_tier} history.dtype={choice.history_dtype}'
    )
    return 0


def _all_there_is(device: torch.device) -> int:
    if device.type != 'cpu':
        return device_memory(device)
    available = available_bytes()
    if available is None:
        raise ValueError(
            explain(WHO, 'the system does not tell how much memory there is', "no 'memory'",
                    'Pass it, e.g. memory=8GB.')
        )  # fmt: skip
    return in_use_bytes() + available


def _shape_among(arguments: Sequence[str]) -> tuple[GraphShape | None, list[str]]:
    """The shape of a graph that arguments give, if they do, and the other arguments."""
    words = [argument.partition('=')[0] for argument in arguments]
    of_shape = [text for name, text in zip(words, arguments, strict=True) if name in SHAPE]
    given = read_keywords(WHO, of_shape, SHAPE)
    if not given:
        return None, list(arguments)
    needed = [name for name, word in SHAPE.items() if word.default == '???']
    data_set = [name for name in words if name in ('dataset', 'dataset.name', 'root')]
    if data_set or any(name not in given for name in needed):
        raise ValueError(
            explain(WHO, f'the shape of a graph needs {", ".join(needed)}, and no data set',
                    ', '.join([*given, *data_set]), 'Pass the shape, or the data set.')
        )  # fmt: skip
    return GraphShape(**given), [text for text in arguments if text not in of_shape]
