"""Runs a model on one batch after the other, with its boundaries and units answered."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from .batch import SubgraphBatch
from .batching import BatchNodes
from .calls import BatchCall, batch_call
from .history import History
from .interception import Interception
from .loader import PartitionLoader

# ``run(model, batch)`` calls a model on one batch.
Run = Callable[[Any, SubgraphBatch], Any]


class Reached(Exception):
    """The rest of the forward is not needed."""


class BatchRun:
    """Runs a model; subclasses say how its boundaries and units are answered.

    Args:
        model: The model.
        run: Calls it, or a copy of it, on one batch.
        loader: Where batches come from.
        inputs: Names of the node-level attributes that ``run`` passes to the model.
        opened: Paths of operators with boundaries inside: their propagations are units, not they.

    Attributes:
        batch_size, num_nodes, n_id, nodes: Of the batch at hand; ``n_id`` on the model's device.
    """

    nodes: BatchNodes

    def __init__(
        self,
        model: torch.nn.Module,
        run: Run,
        loader: PartitionLoader,
        inputs: Collection[str] = ('x',),
        opened: Collection[str] = (),
    ) -> None:
        self.model, self.run_model, self.loader = model, run, loader
        self.inputs = [name for name in loader.node_attrs if name in inputs]
        self.opened = frozenset(opened)
        parameter = next(model.parameters(), None)
        self.device = torch.device('cpu') if parameter is None else parameter.device
        self.batch_size, self.num_nodes, self.n_id = 0, 0, torch.empty(0)

    def boundary(self, x: Tensor, history: History | None = None) -> Tensor:
        """Answer a boundary with rows for all nodes of the batch, ``(n, C)``."""
        raise NotImplementedError

    def unit(
        self, module: torch.nn.Module, args: Any, kwargs: Any, method: Callable | None = None
    ) -> Any:
        """Answer the call of a unit.

        Args:
            module: The unit, or the operator whose propagation is one.
            args, kwargs: What it was called with.
            method: What computes it (default: the module itself).
        """
        raise NotImplementedError

    @contextmanager
    def answering(self, model: torch.nn.Module) -> Iterator[None]:
        """Answer boundaries and units of ``model`` inside this block."""
        self._interception = Interception(model, self.unit, self.opened)
        token = _current.set(self)
        try:
            with self._interception:
                yield
        finally:
            _current.reset(token)

    def compute(
        self, module: torch.nn.Module, args: Any, kwargs: Any, method: Callable | None
    ) -> Any:
        """What a unit computes."""
        return self._interception.compute(module, args, kwargs, method)

    def call(self, model: torch.nn.Module, batch: SubgraphBatch) -> Any:
        """Run ``model`` on a batch; ``None`` if that ended with :class:`Reached`."""
        for name in self.inputs:
            self.loader.fill_lazily(batch, name, self.device)
        self.nodes = nodes = batch.adj_t.edges.nodes
        self.n_id = nodes.n_id.to(self.device)
        self.batch_size, self.num_nodes = nodes.batch_size, nodes.n_id.numel()
        try:
            with batch_call(BatchCall(self.batch_size, self.n_id, adj_t=batch.adj_t)):
                return self.run_model(model, batch)
        except Reached:
            return None

    def is_rows(self, value: Any) -> bool:
        """Whether a value has a row for each batch node, or for each node of the batch."""
        return (
            isinstance(value, Tensor)
            and value.dim() > 0
            and value.size(0) in (self.batch_size, self.num_nodes)
        )


_current: ContextVar[BatchRun | None] = ContextVar('batch_run', default=None)


def current_replay() -> BatchRun | None:
    """Who answers boundaries in place of the histories, if anybody."""
    return _current.get()
