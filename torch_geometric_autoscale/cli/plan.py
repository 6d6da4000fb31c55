"""``pygas plan``: which settings of a training fit a memory, and what they cost."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import torch

from ..errors import explain
from ..planner.device import device_memory
from ..planner.graphs import GraphShape, ShapeGraph
from ..planner.process import available_bytes, in_use_bytes
from ..sizes import parse_size
from .allocator import spare_memory
from .console import result
from .job import find_device
from .options import compose, keys_of
from .planned_job import graph_of, plan_for

WHO = 'pygas plan'
SHAPE = tuple(field.name for field in fields(GraphShape))
USAGE = """\
usage: pygas plan [KEY=VALUE ...] [memory=SIZE]

Chooses parts, batches and histories of a training so that it fits a memory (e.g. 8GB, 500MB,
2GiB; by default all that is available), and predicts what it needs and how long an epoch takes.
On the CPU, memory is the process's data, which 'ulimit -d' limits; on a GPU it is the GPU's.

KEY=VALUE are the options of 'pygas train', see 'pygas train --help'. What is set there stays as
it is. 'pygas train' with the same options and memory=SIZE follows the plan.

For a graph that is not at hand, say its shape: num_nodes=, num_edges=, num_features= and, as far
as known, num_classes= and halo= (halo rows per node, as 'pygas train' prints them).

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
    shape = _shape_among(arguments)
    rest = [argument for argument in arguments if argument.partition('=')[0] not in SHAPE]
    settings = compose(rest)
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


def _shape_among(arguments: Sequence[str]) -> GraphShape | None:
    """The shape of a graph that arguments give, if they do."""
    pairs = [argument.partition('=')[::2] for argument in arguments]
    given: dict[str, Any] = {name: _number(name, text) for name, text in pairs if name in SHAPE}
    if not given:
        return None
    missing = [name for name in SHAPE[:3] if name not in given]
    data_set = [name for name, _ in pairs if name in ('dataset', 'dataset.name', 'root')]
    if missing or data_set:
        raise ValueError(
            explain(WHO, f'the shape of a graph needs {", ".join(SHAPE[:3])}, and no data set',
                    ', '.join([*given, *data_set]), 'Pass the shape, or the data set.')
        )  # fmt: skip
    return GraphShape(**given)


def _number(name: str, text: str) -> int | float:
    kind = float if name == 'halo' else int
    try:
        return kind(text.replace('_', ''))
    except ValueError as error:
        raise ValueError(
            explain(WHO, f"'{name}' must be a number", repr(text), "See 'pygas plan --help'.")
        ) from error  # fmt: skip
