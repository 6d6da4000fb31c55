"""Mini-batches of a heterogeneous graph: partitions over all node types together."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch_geometric.data import HeteroData

from ..ahead import one_ahead
from ..batching import BatchBuilder
from ..errors import explain
from ..loader import check_batch_size
from .hetero_graph import PermutedUnion, UnionGraph
from .rows import TypeRows

_WHO = 'autoscale'


class CutHetero:
    """Cuts batches out of a heterogeneous graph; plain tensors, so that it runs in workers.

    Args:
        union: The graph.
        permuted: The same with contiguous partitions.
        ptr: Bounds of the partitions.
        both_directions: Also take in the nodes that batch nodes point to, with those edges.
    """

    def __init__(
        self, union: UnionGraph, permuted: PermutedUnion, ptr: Tensor, both_directions: bool
    ) -> None:
        self.union, self.permuted = union, permuted
        self.builder = BatchBuilder(permuted.graph, ptr, both_directions)
        self.bounds = [permuted.bounds(kind, ptr) for kind in range(len(union.node_types))]

    def __call__(self, parts: Sequence[int]) -> dict[str, Any]:
        nodes = self.builder.nodes(parts)
        slice_ = self.builder.edges(parts, nodes, None)
        position = self.builder.edge_positions(parts, nodes)
        kinds = self.permuted.node_type[nodes.n_id]
        table_rows = self.permuted.table_row[nodes.n_id]
        local = torch.empty_like(table_rows)
        picked = torch.as_tensor(parts, dtype=torch.int64)
        rows: dict[str, TypeRows] = {}
        taken: set[int] = set()
        for kind, node_type in enumerate(self.union.node_types):
            mine = (kinds == kind).nonzero().view(-1)
            local[mine] = torch.arange(mine.numel())
            start, stop = self.bounds[kind][picked], self.bounds[kind][picked + 1]
            n_id = self._of_other_length(table_rows[mine], node_type, taken)
            taken.add(n_id.numel())
            rows[node_type] = TypeRows(n_id, int((stop - start).sum()), start, stop - start)
        target = torch.repeat_interleave(
            torch.arange(slice_.crow.numel() - 1), (slice_.crow[1:] - slice_.crow[:-1]).long()
        )
        ends = torch.stack([local[slice_.col.long()], local[target]])
        kind_of = self.permuted.edge_type[position]
        edges = []
        for kind in range(len(self.union.edge_types)):
            mine = (kind_of == kind).nonzero().view(-1)
            edges.append((ends[:, mine], self.permuted.edge_id[position[mine]]))
        return {'parts': list(parts), 'rows': rows, 'edges': edges}

    def _of_other_length(self, n_id: Tensor, node_type: str, taken: set[int]) -> Tensor:
        """``n_id`` with halo nodes nobody reads, so that no two types have as many rows.

        A layer then tells from a tensor's length whose rows it holds.
        """
        count = self.permuted.node_of[node_type].numel()
        while n_id.numel() in taken and n_id.numel() < count:
            ids = n_id.sort()[0]
            gaps = (ids != torch.arange(ids.numel())).nonzero()
            free = int(gaps[0]) if gaps.numel() else ids.numel()
            n_id = torch.cat([n_id, torch.tensor([free])])
        while n_id.numel() in taken and n_id.numel():  # every node is there: one of them again
            n_id = torch.cat([n_id, n_id[-1:]])
        return n_id


class HeteroAutoscaleLoader(DataLoader):
    """Loads batches of a heterogeneous graph, as :class:`HeteroData`.

    ``batch[node_type].n_id`` are ids in the caller's data, batch nodes first, and
    ``batch[node_type].batch_size`` counts them; ``batch[edge_type].e_id`` are the edges' positions.

    Args:
        cut: Cuts the batches.
        fill: ``fill(raw)`` makes a batch of what ``cut`` gives.
        batch_size: Partitions per batch.
        prefetch: Assemble each batch in a thread while its predecessor is in use.
        **kwargs: Further arguments of :class:`torch.utils.data.DataLoader`.
    """

    def __init__(
        self,
        cut: CutHetero,
        fill: Callable[[dict[str, Any]], HeteroData],
        batch_size: int = 1,
        prefetch: bool = False,
        **kwargs: Any,
    ) -> None:
        check_batch_size(_WHO, batch_size)
        self.prefetch = prefetch
        for name in (
            'input_nodes', 'drop_unlabelled', 'keep_first_propagation', 'sweep_batch_size'
        ):  # fmt: skip
            if name in kwargs:
                raise TypeError(
                    explain(_WHO, f"'{name}' is for homogeneous graphs", 'a heterogeneous one',
                            f"Leave out '{name}'.")
                )  # fmt: skip
        self._cut, self._fill = cut, fill
        ptr = cut.builder.ptr
        parts = (ptr[1:] > ptr[:-1]).nonzero().view(-1).tolist()
        super().__init__(
            parts,  # type: ignore[arg-type]
            batch_size=batch_size,
            collate_fn=cut,
            **kwargs,
        )

    def __iter__(self) -> Iterator[HeteroData]:  # type: ignore[override]
        batches = self._batches()
        return one_ahead(batches) if self.prefetch else batches

    def _batches(self) -> Iterator[HeteroData]:
        for raw in super().__iter__():
            yield self._fill(raw)

    def sweep(self) -> Iterator[HeteroData]:
        """Every partition once, in order, in this process; draws no random numbers."""
        step = self.batch_size or 1
        parts: list[int] = self.dataset  # type: ignore[assignment]
        for start in range(0, len(parts), step):
            yield self._fill(self._cut(parts[start : start + step]))

    @property
    def num_sweep_batches(self) -> int:
        """Number of batches of :meth:`sweep`."""
        return -(-len(self.dataset) // (self.batch_size or 1))  # type: ignore[arg-type]
