"""Parameters with one row for each node of the graph, on a batch: the rows of its nodes."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy


def node_parameters(module: torch.nn.Module, num_nodes: int) -> tuple[str, ...]:
    """Names of the parameters and buffers that could hold one row per node."""
    both = [*module.named_parameters(), *module.named_buffers()]
    return tuple(
        name for name, value in both
        if not is_lazy(value) and value.dim() > 0 and value.size(0) == num_nodes
    )  # fmt: skip


@contextmanager
def rows_in_place(module: torch.nn.Module, names: Collection[str], n_id: Tensor) -> Iterator[None]:
    """Let ``module`` see the rows ``n_id`` of some parameters; gradients reach the parameters."""
    shadowed = []
    try:
        for name in names:
            path, _, attribute = name.rpartition('.')
            owner = module.get_submodule(path)
            whole = getattr(owner, attribute)
            # An entry of the instance comes before the registered parameter.
            vars(owner)[attribute] = whole.index_select(0, n_id.to(whole.device))
            shadowed.append((owner, attribute))
        yield
    finally:
        for owner, attribute in shadowed:
            del vars(owner)[attribute]
