"""A module, what it is given, and where its boundaries are: how it runs on batches."""

from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, Protocol

import torch

from ..calls import BatchCall, batch_call
from ..guard import run_guarded
from ..inference import current_replay
from ..norms import BatchRowStatistics
from .boundaries import ONLY, Plan
from .caches import without_caches
from .inputs import ForwardInputs
from .node_parameters import rows_in_place
from .passes import BoundaryPass, Handle
from .rows import TypeRows, batch_rows


class BatchSource(Protocol):
    """What a conversion needs to know of batches."""

    def in_batch(self, batch: Any, name: str) -> Any:
        """What a ``forward`` is given under ``name``."""

    def rows_of(self, batch: Any) -> dict[str, TypeRows]:
        """The nodes of the batch, by node type."""

    def call_on(self, batch: Any) -> BatchCall:
        """What operators are told about the batch."""


class Conversion:
    """Runs a module on batches.

    Args:
        inputs: What the module's ``forward`` is given.
        plan: Where its boundaries are.
        source: Reads batches.
    """

    def __init__(self, inputs: ForwardInputs, plan: Plan, source: BatchSource) -> None:
        self.inputs = inputs
        self.plan = plan
        self.source = source

    def run(
        self,
        module: torch.nn.Module,
        batch: Any,
        handle: Handle,
        overrides: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``module`` on a batch; ``handle`` answers its boundaries.

        Returns:
            What ``forward`` returns, with the batch rows only.
        """
        get = partial(self.source.in_batch, batch)
        args, kwargs = self.inputs.fill(get, overrides or {})
        rows = self.source.rows_of(batch)
        sizes = {here.num_nodes: here.batch_size for here in rows.values()}
        only = rows.get(ONLY)
        pad = (only.batch_size, only.num_nodes) if only and self.plan.pad else (None, None)
        is_guarded = current_replay() is None

        def attempt() -> Any:
            watcher = BoundaryPass(module, self.plan.boundaries[module.training], handle, *pad)
            with ExitStack() as stack:
                stack.enter_context(batch_call(self.source.call_on(batch)))
                stack.enter_context(without_caches(module))
                if self.plan.node_parameters:
                    n_id = self.source.in_batch(batch, 'n_id')
                    stack.enter_context(rows_in_place(module, self.plan.node_parameters, n_id))
                if is_guarded and module.training and self.plan.takes_batch_statistics:
                    stack.enter_context(BatchRowStatistics(sizes))
                stack.enter_context(watcher.watching())
                out = module(*args, **kwargs)
            watcher.check_finished()
            return out

        out = run_guarded(module, attempt) if is_guarded else attempt()
        return batch_rows(out, self.plan.outputs[module.training], rows)
