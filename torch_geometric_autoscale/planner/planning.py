"""``plan``: choose what fits a memory, and predict what it will cost."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..conversion import AutoScaled
from ..errors import explain
from ..history.encoding import parse_dtype
from ..history.memory import check_pinned
from ..history.tiers import check_tier
from ..scalable import ScalableGNN
from ..sizes import parse_size
from ..training.objective import build_optimizer as adam
from ..training.objective import classification_loss
from .calibration import Calibration
from .graphs import PlannedGraph, RealGraph, method_of, read_graph
from .plan import Plan
from .planner import Planner
from .shape import GraphShape, ShapeGraph
from .subject import maker_of
from .terms import WHO, Terms
from .wishes import Wishes


def plan(
    data_or_shape: Any,
    model: Any,
    memory: int | str = '8GB',
    device: torch.device | str | None = None,
    *,
    num_parts: int | str = 'auto',
    batch_size: int | str = 'auto',
    history_tier: str = 'auto',
    history_dtype: torch.dtype | str = 'auto',
    history_cache: int | str | None = None,
    partition: str = 'auto',
    ptr: Tensor | None = None,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
    folder: str | os.PathLike[str] | None = None,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = classification_loss,
    build_optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer] | None = None,
    log: bool = True,
) -> Plan:
    """Choose partition, batches and histories of a training so that it fits a memory.

    The graph is partitioned, and the model takes a few steps and inferences on small pieces of it,
    which tell bytes and seconds per batch row, halo row and edge. The fastest settings that fit are
    chosen; histories are rounded only where that at least halves the time of an epoch.

    Args:
        data_or_shape: A ``Data``; the path of a graph folder, whose arrays stay on the disk; or,
            for a graph that is not at hand, a :class:`GraphShape` or a dictionary of its values.
            Of a shape everything is an estimate.
        model: A :class:`ScalableGNN`, what :func:`autoscale` returns, or a function from a number
            of nodes to such a model. It is left as it is.
        memory: Bytes, or a text such as ``'8GB'`` or ``'500MB'``. On the CPU, of the process's
            data, which is what ``RLIMIT_DATA`` limits, with all that the process holds already. On
            a device, of the device.
        device: Where to train (default: where the model is).
        num_parts, batch_size, history_tier, history_dtype: Settings that are not to be chosen, or
            ``'auto'``.
        history_cache: Size of a cache of the histories.
        partition: Method of the partitioner.
        ptr: ``(num_parts + 1,)`` bounds of the parts, if ``data`` is permuted already.
        seed, cache_dir: Of the partitioner.
        folder: Where tables on disk would lie.
        loss_fn: Mean loss of rows against labels.
        build_optimizer: Makes the optimiser (default: Adam).
        log: Print what the partitioner does.

    Returns:
        The plan, with the partition; ``plan.check()`` raises unless it fits.

    Raises:
        TypeError: ``data_or_shape`` or ``model`` is of a wrong kind.
        ValueError: A size, a setting or the graph is wrong; or ``memory`` is below what the process
            holds already, or below the size of the model itself.
    """
    size = parse_size(WHO, 'memory', memory)
    dtype = parse_dtype(WHO, history_dtype, 'history_dtype')
    wishes = Wishes(
        num_parts=_number('num_parts', num_parts),
        batch_size=_number('batch_size', batch_size),
        history_tier=_tier(history_tier),
        history_dtype=None if dtype is None else str(dtype).removeprefix('torch.'),
        history_cache=_cache(history_cache),
    )
    make = maker_of(model)
    graph, ptr = read_graph(data_or_shape, ptr)
    planned: PlannedGraph
    if isinstance(graph, GraphShape):
        planned = ShapeGraph(graph)
    else:
        both = isinstance(model, AutoScaled) and model._plan.direction == 'both'
        planned = RealGraph(graph, ptr, partition, seed, cache_dir, log, both)
        _check_num_nodes(model, planned.facts.num_nodes)
    if device is None:
        parameter = next(model.parameters(), None) if isinstance(model, torch.nn.Module) else None
        device = 'cpu' if parameter is None else parameter.device
    terms = Terms(size, torch.device(device), method_of(planned, partition), folder)
    build_optimizer = build_optimizer or (lambda module: adam(module, 0.01, 0.0, 0.0))
    calibration = Calibration(planned, make, loss_fn, build_optimizer, terms)
    return Planner(planned, calibration, terms, wishes).run()


def _number(name: str, value: int | str) -> int | None:
    """A number that was asked for, or ``None`` if it is to be chosen."""
    if value == 'auto':
        return None
    if type(value) is not int or value < 1:
        raise ValueError(
            explain(WHO, f"'{name}' must be 'auto' or a positive number", repr(value),
                    'Leave it out to have it chosen.')
        )  # fmt: skip
    return value


def _tier(tier: str) -> str | None:
    if tier == 'auto':
        return None
    check_tier(WHO, tier)
    if tier == 'pinned':
        check_pinned(WHO)
    return tier


def _cache(size: int | str | None) -> int:
    return 0 if size is None else parse_size(WHO, 'history_cache', size)


def _check_num_nodes(model: Any, num_nodes: int) -> None:
    """Raise if a model was made for another number of nodes."""
    made_for = getattr(model, 'num_nodes', num_nodes) if isinstance(model, ScalableGNN) else None
    if made_for not in (None, num_nodes):
        raise ValueError(
            explain(WHO, f"'model' must be made for the graph's {num_nodes:,} nodes",
                    f'{made_for:,} nodes', 'Pass a function that makes it, e.g. '
                    'lambda n: GCN(n, 128, 256, 40, 3).')
        )  # fmt: skip
