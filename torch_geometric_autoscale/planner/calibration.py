"""The calibration of a plan: the model is tried on pieces of the graph, once for each purpose."""

from collections.abc import Callable

import torch

from ..errors import explain
from .costs import ModelCosts, costs_of
from .device import device_in_use
from .graphs import PlannedGraph
from .process import give_back_freed_memory, in_use_bytes, is_out_of_memory
from .subject import Maker
from .terms import Terms
from .text import size_text
from .trial import Loss

# Batch nodes of the trials, and whether they are a cluster or scattered over the graph, which gives
# them many more halo nodes. Larger ones are left out where there is no room for them.
_TRIALS = (
    (60, True), (40, False), (150, True), (100, False), (600, True), (400, False), (2400, True),
    (800, False), (6000, True), (20000, True),
)  # fmt: skip
_SMALLER = 'Give it more, or make the model smaller.'


def bytes_in_use(device: torch.device) -> int:
    """What is taken already of the memory that a plan is for."""
    return in_use_bytes() if device.type == 'cpu' else device_in_use(device)


class Calibration:
    """What a model costs on a graph.

    Args:
        graph: The graph, partitioned before :meth:`costs` is called.
        make: Makes the model for a piece of it.
        loss_fn, build_optimizer: As in training.
        terms: The memory that there is for the trials, and where they run.
    """

    def __init__(
        self,
        graph: PlannedGraph,
        make: Maker,
        loss_fn: Loss,
        build_optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer],
        terms: Terms,
    ) -> None:
        self.graph, self.make, self.terms = graph, make, terms
        self.loss_fn, self.build_optimizer = loss_fn, build_optimizer
        self._known: dict[tuple[bool, int], ModelCosts] = {}

    @property
    def usual(self) -> ModelCosts:
        """Of batches that join parts, with the first propagation kept."""
        return self.costs(True, 2)

    @property
    def keeps_first_propagation(self) -> bool:
        """Whether there is a product with constant features that can be kept."""
        return bool(self.usual.kept.product_per_node) and not self.graph.facts.is_mapped

    def costs(self, keep_first_propagation: bool, batch_size: int) -> ModelCosts:
        """Of batches of so many parts, tried when first asked for.

        Raises:
            ValueError: There is no memory for the trials, or for the model itself.
        """
        usual = self._known.get((True, 2))
        if usual is not None and not usual.kept.product_per_node:
            return usual  # whether rows stand together matters only where a product is known
        key = keep_first_propagation, min(batch_size, 2)
        if key not in self._known:
            self._known[key] = self._try(*key)
        return self._known[key]

    def _try(self, keep_first_propagation: bool, num_chunks: int) -> ModelCosts:
        terms = self.terms
        used = bytes_in_use(terms.device)
        try:
            found = costs_of(
                self.make, self.graph.pieces(_TRIALS, num_chunks), terms.device, self.loss_fn,
                self.build_optimizer, {'keep_first_propagation': keep_first_propagation},
                room=(terms.memory - used) / 2,
            )  # fmt: skip
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise ValueError(
                explain(terms.who, "'memory' must have room for the model and for trials of it on "
                        'a few nodes', size_text(terms.memory), _SMALLER)
            ) from error  # fmt: skip
        give_back_freed_memory()
        model = found.parameters + found.trained + found.optimizer
        if terms.memory < used + model:
            raise ValueError(
                explain(terms.who, "'memory' must hold the model itself: parameters, gradients and "
                        f'optimizer take {size_text(model)}, besides {size_text(used)} in use',
                        size_text(terms.memory), _SMALLER)
            )  # fmt: skip
        return found
