"""Finds where a module's history boundaries are, and tries which batches serve it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import NoReturn

import torch
from torch.nn.parameter import is_lazy

from ..errors import NeedsBothDirections, explain
from .boundaries import Boundary, Plan, same_values
from .conversion import Conversion
from .finder import BoundaryFinder
from .hetero_whole import HeteroWhole
from .inputs import ForwardInputs
from .levels import boundary_levels
from .rows import Outputs, find_outputs
from .verification import (
    VerificationError,
    outputs_on_batches,
    set_mode,
    try_batches,
    working_copy,
)
from .verification import verify as verify_conversion
from .whole import Whole

_WHO = 'autoscale'


def find_plan(
    module: torch.nn.Module,
    whole: Whole | HeteroWhole,
    inputs: ForwardInputs,
    check: bool,
    per_node: tuple[str, ...] = (),
) -> Plan:
    """Find the boundaries of a module, and check that batches give what the whole graph gives.

    Args:
        module: The module; only lazy parameters of it are initialised.
        whole: A piece of its graph.
        inputs: What its ``forward`` is given.
        check: Whether to check.
        per_node: Names of parameters with one row per node. If the module fails without, it is
            tried with the rows of a batch's nodes in their place.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            return _find_plan(module, whole, inputs, check)
        except (ValueError, RuntimeError):
            if not per_node or isinstance(whole, HeteroWhole):
                raise
            whole.node_parameters = per_node
            with suppress(ValueError, RuntimeError):
                return _find_plan(module, whole, inputs, check)
            raise


def _find_plan(
    module: torch.nn.Module, whole: Whole | HeteroWhole, inputs: ForwardInputs, check: bool
) -> Plan:
    with _on_the_piece(module, whole):
        _initialize(module, whole)
        twin, whole = working_copy(module, whole)
    boundaries: dict[bool, tuple[Boundary, ...]] = {}
    outputs: dict[bool, Outputs] = {}
    extras: dict[bool, Outputs] = {}
    takes_statistics = False
    for mode in (True, False):
        finder, outputs[mode], extras[mode] = _follow(twin, whole, mode)
        boundaries[mode] = finder.boundaries()
        takes_statistics |= mode and 'batch_norm' in finder.seen
    if not same_values(boundaries[False], boundaries[True]):
        boundaries[True] = boundaries[False]  # met in neither order: the check will tell
    frozen: tuple[Boundary, ...] | None = boundaries[True]
    if set_mode(twin, training=True):  # there is batch normalisation: by mode, it may call others
        frozen = _follow(twin, whole, True, freeze=True)[0].boundaries()
        frozen = frozen if same_values(frozen, boundaries[False]) else None
    per_node = getattr(whole, 'node_parameters', ())
    errors: list[Exception] = []
    for direction, pad in (('in', False), ('in', True), ('both', False), ('both', True)):
        plan = Plan(
            boundaries, outputs, pad, direction, takes_batch_statistics=takes_statistics,
            node_parameters=per_node,
        )  # fmt: skip
        conversion = Conversion(inputs, plan, whole.source)
        try:
            plan = replace(plan, outputs=outputs_on_batches(twin, whole, conversion, extras))
            conversion = Conversion(inputs, plan, whole.source)
            if check:
                verify_conversion(twin, whole, conversion, frozen)
            else:
                try_batches(twin, whole, conversion, training=False)
            try_batches(twin, whole, conversion, training=True)
        except Exception as error:  # of the module's own code, whatever it is
            errors.append(error)
            continue
        if isinstance(whole, HeteroWhole):
            return replace(plan, levels=boundary_levels(twin, whole, plan.eval))
        return plan
    telling = _most_telling(errors)
    if isinstance(telling, ValueError):
        raise telling
    raise ValueError(
        explain(type(module).__name__, 'forward and backward must run on a batch',
                f'{type(telling).__name__}: {telling}', 'Let it take the number of nodes from its '
                'inputs, and compute nothing again in the backward pass (checkpointing).')
    ) from telling  # fmt: skip


def _most_telling(errors: list[Exception]) -> Exception:
    """Of what went wrong with each kind of batch, what is not about the kind of batch."""
    for kinds in (VerificationError, ValueError):
        for error in errors:
            if isinstance(error, kinds) and not isinstance(error, NeedsBothDirections):
                return error
    return errors[0]


def _follow(
    module: torch.nn.Module, whole: Whole | HeteroWhole, training: bool, freeze: bool = False
) -> tuple[BoundaryFinder, Outputs, Outputs]:
    set_mode(module, training, freeze)
    finder = BoundaryFinder(module, whole.num_nodes_by_type)
    with torch.no_grad():
        out = finder.follow(lambda: whole.run(module), whole.edges())
    if not finder.num_propagations:
        refuse_without_messages(module)
    outputs, extras = find_outputs(type(module).__name__, out, whole.num_nodes_by_type)
    return finder, outputs, extras


def refuse_without_messages(module: torch.nn.Module) -> NoReturn:
    raise ValueError(
        explain(_WHO, 'the module must pass messages along edges',
                f'{type(module).__name__}, which does not',
                'Train it on rows of nodes; it needs no graph.')
    )  # fmt: skip


@contextmanager
def _on_the_piece(module: torch.nn.Module, whole: Whole | HeteroWhole) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        num_nodes = sum(whole.num_nodes_by_type.values())
        rule = f'forward must run on a piece of the graph, {num_nodes} nodes as a graph of its own'
        raise ValueError(
            explain(type(module).__name__, rule, f'{type(error).__name__}: {error}',
                    'If it fails on the whole graph, too, mend it first; what the module keeps '
                    'for each node of the graph must be looked up by n_id.')
        ) from error  # fmt: skip


def _initialize(module: torch.nn.Module, whole: Whole | HeteroWhole) -> None:
    """Give lazy parameters their shape, as a first full-batch call would."""
    if any(map(is_lazy, module.parameters())):
        device = next(module.parameters()).device
        training = module.training
        with torch.no_grad():
            whole.run(module.eval().cpu())
        module.train(training).to(device)
