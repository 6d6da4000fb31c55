"""What a plan needs to know of a graph: its counts, and the memory that it takes as it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..graph_input import is_sparse_matrix
from ..mapped import mapped_file
from ..sparse_rows import SparseRows
from ..stored_rows import StoredRows


@dataclass(frozen=True)
class GraphFacts:
    """Counts and sizes of a graph.

    Attributes:
        num_nodes, num_edges: ``N`` and ``E``, as an operator sees the graph.
        structure_bytes: Its edges and their weights and attributes, in memory.
        feature_bytes: Features, labels and masks, in memory.
        mapped_bytes: What of all that lies in mapped files instead.
        is_mapped: Whether the edges do, so that what is derived from them goes to files, too.
        shares_columns: Whether a loader takes the edges over as they are, without a copy.
        largest_split: Nodes of the largest split; ``None``: not known.
    """

    num_nodes: int
    num_edges: int
    structure_bytes: int
    feature_bytes: int
    mapped_bytes: int = 0
    is_mapped: bool = False
    shares_columns: bool = False
    largest_split: int | None = None

    @property
    def num_scored(self) -> int:
        """Nodes that are scored together at most."""
        return self.num_nodes if self.largest_split is None else self.largest_split

    @property
    def in_memory(self) -> int:
        """Bytes of the graph in memory."""
        return self.structure_bytes + self.feature_bytes


def facts_of(data: Data, num_nodes: int, num_edges: int) -> GraphFacts:
    """Look at a graph.

    Args:
        data: The graph; arrays may be mapped.
        num_nodes, num_edges: Its counts.
    """
    structure = features = mapped = 0
    is_mapped = False
    seen: set[int] = set()
    for name, value in data.to_dict().items():
        is_structure = name in ('edge_index', 'adj_t') or _is_edge_level(data, name)
        for tensor in _tensors(value):
            storage = tensor.untyped_storage()
            if storage.data_ptr() in seen:
                continue
            seen.add(storage.data_ptr())
            size = storage.nbytes()
            if mapped_file(tensor) is not None:
                mapped += size
                is_mapped |= name in ('edge_index', 'adj_t')
            elif is_structure:
                structure += size
            else:
                features += size
    adj_t = data.get('adj_t')
    shares = isinstance(adj_t, Tensor) and adj_t.layout == torch.sparse_csr
    shares = shares and adj_t.col_indices().dtype == torch.int32
    return GraphFacts(
        num_nodes, num_edges, structure, features, mapped, is_mapped, shares, _largest_split(data)
    )


def _largest_split(data: Data) -> int | None:
    masks = [data.get(f'{split}_mask') for split in ('train', 'val', 'test')]
    sizes = [mask.sum(0).max() for mask in masks if isinstance(mask, Tensor)]
    return int(max(sizes)) if sizes else None


def _is_edge_level(data: Data, name: str) -> bool:
    return name.startswith('edge_') or bool(data.is_edge_attr(name))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The dense tensors that a value consists of."""
    if isinstance(value, StoredRows) or not (isinstance(value, Tensor) or is_sparse_matrix(value)):
        return
    if isinstance(value, SparseRows):
        yield from (value.pattern.crow, value.pattern.col, value.stored)
    elif not isinstance(value, Tensor):  # a SparseTensor
        yield from (part for part in value.csr() if part is not None)
    elif value.layout == torch.strided:
        if value.device.type == 'cpu':
            yield value
    elif value.layout == torch.sparse_csr:
        yield from (value.crow_indices(), value.col_indices(), value.values())
    elif value.layout == torch.sparse_csc:
        yield from (value.ccol_indices(), value.row_indices(), value.values())
    else:
        yield from (value._indices(), value._values())
