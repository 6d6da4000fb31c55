"""The same graph in memory and in mapped files."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_autoscale.graph_folder import GraphWriter, as_tensor, load_graph
from torch_geometric_autoscale.graph_input import to_edges


def map_tensor(tensor: Tensor, path: Path) -> Tensor:
    """A copy of a tensor that is mapped from a new file."""
    np.save(path, tensor.numpy())
    return as_tensor(np.load(path, mmap_mode='r'))


def in_memory(data: Data) -> Data:
    """A graph with a CSR matrix for its edges, in their order by target; edge weights in it."""
    edges = to_edges(data)
    order = edges.edge_index[1].argsort(stable=True)
    count = torch.bincount(edges.edge_index[1], minlength=edges.num_nodes)
    rowptr = torch.cat([torch.zeros(1, dtype=torch.int64), count.cumsum(0)])
    weight = torch.ones(1).expand(order.numel()) if edges.weight is None else edges.weight[order]
    out = Data(num_nodes=edges.num_nodes)
    out.adj_t = torch.sparse_csr_tensor(
        rowptr.int(), edges.edge_index[0][order].int(), weight, (edges.num_nodes,) * 2,
        check_invariants=False,
    )  # fmt: skip
    for name, value in data.to_dict().items():
        if name not in ('edge_index', 'adj_t', 'edge_weight', 'num_nodes'):
            out[name] = value[order] if data.is_edge_attr(name) else value
    return out


def on_disk(data: Data, path: Path) -> Data:
    """The graph that :func:`in_memory` gives, mapped from a folder."""
    data = in_memory(data)
    rows, columns, values = data.adj_t.crow_indices(), data.adj_t.col_indices(), data.adj_t.values()
    with GraphWriter(path, data.num_nodes, columns.numel()) as writer:
        rowptr, col = writer.add_structure()
        rowptr[:], col[:] = rows.numpy(), columns.numpy()
        if values.stride() != (0,):
            writer.write('edge_weight', values, 'edge')
        for name, value in data.to_dict().items():
            if name not in ('adj_t', 'num_nodes'):
                writer.write(name, value, 'edge' if data.is_edge_attr(name) else 'node')
    return load_graph(path)


def some_graph(num_nodes: int = 40, num_edges: int = 200, weighted: bool = False) -> Data:
    """A directed graph with self-loops, duplicates and an isolated node, features and labels."""
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand(2, num_edges, generator=generator) ** 2 * (num_nodes - 1)
    data = Data(edge_index=draw.long(), num_nodes=num_nodes)
    data.edge_index[:, :2] = 3
    data.x = torch.randn(num_nodes, 5, generator=generator)
    data.y = torch.arange(num_nodes) % 3
    for i, name in enumerate(('train', 'val', 'test')):
        data[f'{name}_mask'] = torch.arange(num_nodes) % 4 == i
    if weighted:
        data.edge_weight = torch.rand(num_edges, generator=generator) + 0.5
    return data
