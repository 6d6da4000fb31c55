"""The loader of a converted model: batches whose node ids are the caller's own."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from ..batch import SubgraphBatch
from ..loader import PartitionLoader
from ..loader_input import LoaderInput


class AutoscaleLoader(PartitionLoader):
    """Loads batches of the graph that a model was converted for.

    Batches are those of :class:`SubgraphLoader`, except that ``batch.n_id`` are ids in the caller's
    own data, batch nodes first, and that there is no ``offset`` and ``count``.

    Args:
        current: Gives the graph as it is now, e.g. with features that were changed.
        ids: ``(N,)`` the caller's id of each row of the prepared graph.
        **kwargs: See :class:`SubgraphLoader`.
    """

    def __init__(self, current: Any, ids: Tensor, **kwargs: Any) -> None:
        self._current = current
        self._ids = ids
        prepared: LoaderInput = current()
        super().__init__('autoscale', prepared, bipartite=False, log=False, **kwargs)
        self._taken = prepared

    def bring_up_to_date(self) -> None:
        """Take over what has changed in the caller's data."""
        prepared = self._current()
        if prepared is not self._taken:
            self._take(prepared)
            self._taken, self.collate_fn = prepared, self._assemble
            self._iterator = None  # workers that live on hold the old graph

    def __iter__(self) -> Iterator[SubgraphBatch]:  # type: ignore[override]
        self.bring_up_to_date()
        return super().__iter__()

    def _wrap(self, raw: dict[str, Any]) -> SubgraphBatch:
        batch = super()._wrap(raw)
        batch.n_id = self._ids[batch.adj_t.edges.nodes.n_id]
        batch.offset = batch.count = None
        return batch
