"""A module, what it is given, and where its boundaries are: how it runs on batches."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing

from ..batch import SubgraphBatch
from ..calls import BatchCall, batch_call
from ..guard import guard_model
from ..inference import current_replay
from ..norms import BatchRowStatistics
from .boundaries import Plan
from .inputs import ForwardInputs
from .passes import BoundaryPass, Handle


class Conversion:
    """Runs a module on batches.

    Args:
        inputs: What the module's ``forward`` is given.
        plan: Where its boundaries are.
        in_batch: ``in_batch(batch, name)`` reads an attribute.
    """

    def __init__(
        self, inputs: ForwardInputs, plan: Plan, in_batch: Callable[[Any, str], Any]
    ) -> None:
        self.inputs = inputs
        self.plan = plan
        self.in_batch = in_batch

    def run(
        self,
        module: torch.nn.Module,
        batch: SubgraphBatch,
        handle: Handle,
        overrides: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``module`` on a batch; ``handle`` answers its boundaries.

        Returns:
            What ``forward`` returns, whatever rows it has.
        """
        args, kwargs = self.inputs.fill(lambda name: self.in_batch(batch, name), overrides or {})
        nodes = batch.adj_t.edges.nodes
        num_nodes = nodes.n_id.numel()
        call = BatchCall(
            nodes.batch_size, nodes.n_id, nodes.offset, nodes.count, batch.adj_t,
            prefers_matrix=True,
        )  # fmt: skip
        pad = (nodes.batch_size, num_nodes) if self.plan.pad else (None, None)
        watcher = BoundaryPass(module, self.plan.boundaries[module.training], handle, *pad)
        with ExitStack() as stack:
            stack.enter_context(batch_call(call))
            stack.enter_context(_without_caches(module))
            if current_replay() is None:
                stack.enter_context(guard_model(module))
                if module.training and nodes.batch_size < num_nodes:
                    stack.enter_context(BatchRowStatistics(nodes.batch_size, num_nodes))
            stack.enter_context(watcher.watching())
            out = module(*args, **kwargs)
        watcher.check_finished()
        return out


@contextmanager
def _without_caches(module: torch.nn.Module) -> Iterator[None]:
    """Let no operator keep what it computed of a batch, as ``cached=True`` would."""
    caching = [
        m for m in module.modules() if isinstance(m, MessagePassing) and getattr(m, 'cached', False)
    ]
    for m in caching:
        m.cached = False
    try:
        yield
    finally:
        for m in caching:
            m.cached = True


def rows_of_batch(out: Any, batch_size: int, num_nodes: int) -> Any:
    """The batch rows of an output, or of the first of several; the others stay as they are."""
    if isinstance(out, Tensor):
        return out[:batch_size] if out.dim() > 0 and out.size(0) == num_nodes else out
    if isinstance(out, (tuple, list)) and out:
        rows = [rows_of_batch(out[0], batch_size, num_nodes), *out[1:]]
        return type(out)(*rows) if hasattr(out, '_fields') else type(out)(rows)
    return out
