"""Aggregations over padded sequences (``LSTMAggregation``), on a batch.

They depend on the largest number of edges into one node, which is that of the whole graph.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import Aggregation

from .adjacency import Adjacency
from .calls import current_call
from .errors import explain

_original_to_dense_batch = Aggregation.to_dense_batch
_running: ContextVar[Adjacency | None] = ContextVar('running_operator', default=None)


@contextmanager
def operator_on(adj: Adjacency) -> Iterator[None]:
    """Run an operator on a batch's edges."""
    token = _running.set(adj)
    try:
        yield
    finally:
        _running.reset(token)


def to_dense_batch(
    self: Aggregation,
    x: Tensor,
    index: Tensor | None = None,
    ptr: Tensor | None = None,
    dim_size: int | None = None,
    dim: int = -2,
    fill_value: float = 0.0,
    max_num_elements: int | None = None,
) -> Any:
    """In the place of ``Aggregation.to_dense_batch``."""
    if max_num_elements is None and index is not None:
        max_num_elements = _longest_sequence(self, index)
    return _original_to_dense_batch(
        self, x, index, ptr, dim_size, dim, fill_value, max_num_elements
    )


def _longest_sequence(self: Aggregation, index: Tensor) -> int | None:
    """The largest number of edges into one node of the whole graph; ``None`` outside of batches.

    Raises:
        ValueError: If ``index`` does not hold the targets of the batch's own edges: how many other
            edges a node has at most is not known then.
    """
    call = current_call()
    adj = _running.get()
    if adj is None:
        if call is None:
            return None
        adj = call.adj_t
    if adj is not None:
        crow = adj.edges.slice(None).crow.to(index.device)
        count = torch.bincount(index, minlength=adj.batch_size)
        if torch.equal(count[: adj.batch_size], (crow[1:] - crow[:-1])[: adj.batch_size].long()):
            here = int(count.max()) if count.numel() else 0
            return max(adj.graph.max_degree, here)
    raise ValueError(
        explain(type(self).__name__, 'on a batch, what is padded to the largest number of edges of '
                "a node must aggregate the batch's own edges, all of them",
                'some of them, or others', 'Use another aggregation, or one graph with all edges.')
    )  # fmt: skip
