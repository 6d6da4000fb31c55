"""``permute`` to a graph folder: renumbered block by block, for graphs larger than memory."""

from collections.abc import Mapping
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from ..edges import CHUNK, Edges, row_blocks, spans, targets
from ..errors import explain
from ..graph import Graph
from ..graph_folder import GraphWriter, index_dtype
from ..progress import progress

_WHO = 'permute'


def write_permuted(
    data: Data,
    edges: Edges,
    levels: Mapping[str, str],
    perm: Tensor,
    path: Path,
    extra: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    overwrite: bool = False,
) -> None:
    """Write a graph folder in which node ``i`` is the graph's node ``perm[i]``.

    Memory holds a few numbers per node and one block of rows. Blocks are written in order; what
    goes into one is read by rising id, which is nearly in order too where ``perm`` comes from a
    partition. Edges are grouped by target. Of a matrix, those of one row are sorted by column, of
    a list of edges they keep their order, as :func:`permute` has it in memory.

    Args:
        data: The graph.
        edges: Its edges.
        levels: ``'node'``, ``'edge'`` or ``'graph'`` for each attribute to be written.
        perm: ``(N,)`` int64 permutation on the CPU.
        path: The folder to make.
        extra: Further arrays of level ``'graph'``.
        metadata: Texts for the header.
        overwrite: Whether a folder at ``path`` may be replaced.

    Raises:
        TypeError: An attribute is no dense tensor of numbers that a folder can hold.
        OSError: The disk has not enough room; nothing is left behind.
    """
    weight = edges.weight
    graph = Graph.of(edges, None if weight is None or weight.dim() > 1 else weight)
    arrays = {name: _array(data, name) for name in levels}
    if weight is not None:
        levels, arrays = {**levels, 'edge_weight': 'edge'}, {**arrays, 'edge_weight': weight}
    with GraphWriter(
        path, graph.num_nodes, graph.num_edges, metadata=metadata, overwrite=overwrite, who=_WHO
    ) as writer:
        width = np.dtype(index_dtype(graph.num_nodes, graph.num_edges)).itemsize
        sizes = [value.numel() * value.element_size() for value in arrays.values()]
        writer.reserve(width * (graph.num_nodes + 1 + graph.num_edges) + sum(sizes))
        _write_edges(
            graph, perm, writer, edges.pairs is None,
            {name: value for name, value in arrays.items() if levels[name] == 'edge'},
        )  # fmt: skip
        for name, value in arrays.items():
            if levels[name] == 'node':
                _write_nodes(name, value, perm, writer)
            elif levels[name] == 'graph':
                writer.write(name, value, 'graph')
        for name, value in extra.items():
            writer.write(name, value, 'graph')


def _array(data: Data, name: str) -> Tensor:
    value = data[name]
    if isinstance(value, np.ndarray):
        value = torch.as_tensor(value)
    if type(value) is Tensor and value.layout == torch.strided and value.dtype in _DTYPES:
        return value
    kind = f'{value.dtype} {value.layout}' if isinstance(value, Tensor) else type(value).__name__
    raise TypeError(
        explain(_WHO, f"a folder holds dense tensors of common types, so must be 'data.{name}'",
                kind, "Convert it or leave it out, or permute in memory, without 'out'.")
    )  # fmt: skip


_DTYPES = {
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
    torch.float32, torch.float64,
}  # fmt: skip


def _write_nodes(name: str, value: Tensor, perm: Tensor, writer: GraphWriter) -> None:
    out = writer.add(name, tuple(value.shape), str(value.dtype).removeprefix('torch.'), 'node')
    rows = max(CHUNK // max(prod(value.shape[1:]), 1), 1)
    with progress(f'Writing {name}', len(perm), 'node') as bar:
        for a, b in spans(len(perm), rows):
            ids, order = perm[a:b].sort()
            block = torch.empty((b - a, *value.shape[1:]), dtype=value.dtype)
            block[order] = value.index_select(0, ids.to(value.device)).cpu()
            out[a:b] = block.numpy()
            bar.update(b - a)


def _write_edges(
    graph: Graph, perm: Tensor, writer: GraphWriter, by_column: bool, values: Mapping[str, Tensor]
) -> None:
    inverse = torch.empty_like(perm)
    inverse[perm] = torch.arange(perm.numel())
    rowptr = torch.zeros_like(graph.rowptr)
    torch.cumsum((graph.rowptr[1:] - graph.rowptr[:-1])[perm], 0, out=rowptr[1:])
    new_rowptr, new_col = writer.add_structure()
    new_rowptr[:] = rowptr.numpy()
    outs = {
        name: writer.add(name, tuple(value.shape), str(value.dtype).removeprefix('torch.'), 'edge')
        for name, value in values.items()
    }
    with progress('Writing edges', graph.num_edges, 'edge') as bar:
        for a, b in row_blocks(rowptr):
            here = slice(int(rowptr[a]), int(rowptr[b]))
            row = targets(rowptr, a, b)
            # Edge k of the block is the so-many-th of its row, there as here.
            place = torch.arange(here.start, here.stop) - rowptr[row] + graph.rowptr[perm[row]]
            col = inverse[graph.col[place].long()]
            if by_column:
                order = ((row - a) * perm.numel() + col).argsort(stable=True)
                col, place = col[order], place[order]
            new_col[here] = col.numpy()
            if graph.edge_id is not None:
                place = graph.edge_id[place]
            for name, value in values.items():
                outs[name][here] = value.index_select(0, place.to(value.device)).cpu().numpy()
            bar.update(here.stop - here.start)
