"""How large the batches of an epoch are, counted from a partition of the real graph."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..edges import Edges
from .fit import Counts, Floats, LargestCost, LinearCost

_RUN = 2**19  # edges that are looked at together
_SAMPLES = 48  # batches that stand for an epoch's
# Deviations above the mean at which the largest batch of a training is expected: one in 3,000.
_DEVIATIONS = 3.4


class BatchSizes:
    """Sizes of batches, each an entry of three arrays.

    Attributes:
        rows, halo, edges: ``(K,)`` as in :class:`Counts`.
        num_batches: Batches of an epoch; the arrays may hold a sample of them.
        limit: What no batch exceeds.
    """

    def __init__(
        self, rows: Floats, halo: Floats, edges: Floats, num_batches: float, limit: Counts
    ) -> None:
        self.rows, self.halo, self.edges = rows, halo, edges
        self.num_batches, self.limit = num_batches, limit

    @property
    def mean(self) -> Counts:
        return Counts(*(float(v.mean()) for v in (self.rows, self.halo, self.edges)))

    @property
    def per_epoch(self) -> Counts:
        """The batches of an epoch together."""
        return self.mean * self.num_batches

    def largest(self, cost: LinearCost | LargestCost) -> Counts:
        """The batch that costs most in a long training, as far as a sample can tell."""
        if isinstance(cost, LargestCost):
            return max((self.largest(each) for each in cost.costs), key=cost)
        costs = cost.of_all(self.rows, self.halo, self.edges)
        top = int(costs.argmax())
        found = Counts(float(self.rows[top]), float(self.halo[top]), float(self.edges[top]))
        expected = float(costs.mean() + _DEVIATIONS * costs.std())
        expected = min(expected, cost(self.limit))
        variable = cost(found) - cost.fixed
        if len(costs) >= self.num_batches or cost(found) >= expected or variable <= 0:
            return found
        return found * ((expected - cost.fixed) / variable)


class Halos:
    """For every part of a partition: its nodes, its edges, and its halo.

    Args:
        edges: The graph.
        part: ``(N,)`` part of every node.
        num_parts: Number of parts.
        both_directions: Whether nodes that a part points to are in its halo, and edges to them
            in its batches, too.
    """

    def __init__(
        self, edges: Edges, part: Tensor, num_parts: int, both_directions: bool = False
    ) -> None:
        self.num_nodes, self.num_parts = edges.num_nodes, num_parts
        self.part = part
        self.rows = torch.bincount(part, minlength=num_parts).double().numpy()
        num_edges = torch.zeros(num_parts, dtype=torch.int64)
        keys = [torch.empty(0, dtype=torch.int64)]
        for source, target in edges.pieces(_RUN):
            source, target = source.long(), target.long()
            at_source, at_target = part[source], part[target]
            num_edges += torch.bincount(at_target, minlength=num_parts)
            cut = at_source != at_target
            found = at_target[cut] * self.num_nodes + source[cut]
            if both_directions:
                num_edges += torch.bincount(at_source[cut], minlength=num_parts)
                found = torch.cat([found, at_source[cut] * self.num_nodes + target[cut]])
            keys.append(_distinct(found))
        self.edges = num_edges.double().numpy()
        key = keys[-1] if len(keys) == 2 else _distinct(torch.cat(keys))
        bounds = torch.arange(num_parts + 1) * self.num_nodes
        self._ptr = torch.searchsorted(key, bounds).tolist()
        index_dtype = torch.int32 if self.num_nodes < 2**31 else torch.int64
        self._halo = key.remainder_(max(self.num_nodes, 1)).to(index_dtype)

    @property
    def num_halo_rows(self) -> int:
        """Halo nodes of all parts together."""
        return self._halo.numel()

    def batch(self, parts: Sequence[int]) -> Counts:
        """The size of the batch that joins ``parts``."""
        halo = torch.cat([self._halo[self._ptr[p] : self._ptr[p + 1]] for p in parts]).long()
        inside = torch.zeros(self.num_parts, dtype=torch.bool)
        inside[torch.as_tensor(parts)] = True
        halo = halo[~inside[self.part[halo]]]
        chosen = list(parts)
        rows, edges = self.rows[chosen].sum(), self.edges[chosen].sum()
        return Counts(float(rows), _distinct(halo).numel(), float(edges))

    def epoch(self, batch_size: int, seed: int = 0) -> BatchSizes:
        """The batches of an epoch that joins ``batch_size`` parts at a time, drawn by chance.

        With one part per batch, or all parts in one, these are all of them; else a sample.
        """
        filled = np.flatnonzero(self.rows)  # loaders leave out parts without nodes
        size = min(batch_size, len(filled))
        num_batches = len(filled) / size
        generator = torch.Generator().manual_seed(seed)
        found: list[Counts] = []
        if size == 1:
            sizes = np.diff(self._ptr)[filled].astype(np.float64)
            arrays = self.rows[filled], sizes, self.edges[filled]
            return BatchSizes(*arrays, num_batches, Counts(*(float(v.max()) for v in arrays)))
        while len(found) < (_SAMPLES if size < len(filled) else 1):
            order = filled[torch.randperm(len(filled), generator=generator).numpy()].tolist()
            for start in range(0, len(order) - size + 1, size):
                found.append(self.batch(order[start : start + size]))
        rows, halo, edges = np.array(found, dtype=np.float64).T
        return BatchSizes(rows, halo, edges, num_batches, self._limit(size))

    def _limit(self, size: int) -> Counts:
        each = (self.rows, np.diff(self._ptr).astype(np.float64), self.edges)
        rows, halo, edges = (float(np.sort(values)[-size:].sum()) for values in each)
        return Counts(rows, min(halo, self.num_nodes - rows), edges)


def _distinct(keys: Tensor) -> Tensor:
    """Distinct entries, ascending."""
    keys = torch.sort(keys, stable=True)[0]
    if keys.numel() < 2:
        return keys
    first = torch.ones_like(keys, dtype=torch.bool)
    torch.ne(keys[1:], keys[:-1], out=first[1:])
    return keys[first]
