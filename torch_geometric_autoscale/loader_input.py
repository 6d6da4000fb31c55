"""What a loader is given: checked, and sorted into node level and edge level."""

from copy import copy
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch_geometric.data import Data, FeatureStore

from .batching import BatchBuilder
from .edges import CHUNK, spans
from .errors import explain
from .graph import Graph
from .graph_input import to_edges
from .sparse_rows import SparseRows
from .stored_rows import StoredRows


@dataclass
class LoaderInput:
    """A graph whose partitions are contiguous, ready to be cut into batches.

    Attributes:
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        graph: The whole graph.
        node_attrs: Node-level tensors, ``N`` rows each.
        edge_attrs: Edge-level tensors, ``E`` rows each in the graph's edge order.
        builder: Cuts the batches.
    """

    ptr: Tensor
    graph: Graph
    node_attrs: dict[str, Tensor]
    edge_attrs: dict[str, Tensor]
    builder: BatchBuilder


def read_input(who: str, data: Data, ptr: Tensor, direction: str = 'in') -> LoaderInput:
    """Check ``data`` and ``ptr`` and prepare them for a loader.

    Raises:
        TypeError: If ``data`` is of another kind, or an attribute no dense tensor.
        ValueError: If ``ptr`` does not bound the rows of ``data``, or attributes do not match the
            graph, or features hold NaN.
    """
    if direction not in ('in', 'both'):
        raise ValueError(
            explain(who, "'direction' must be 'in' or 'both'", repr(direction),
                    "Use 'both' for operators that also read out-neighbours.")
        )  # fmt: skip
    if not isinstance(data, Data):
        raise TypeError(
            explain(who, "'data' must be a torch_geometric.data.Data", type(data).__name__,
                    'Wrap a graph as Data(x=x, edge_index=edge_index).')
        )  # fmt: skip
    edges = to_edges(data, who=who)
    ptr = check_ptr(who, ptr, edges.num_nodes)
    graph = Graph.of(edges, scalar_weight(who, edges.weight))
    node_attrs, edge_attrs = split_attributes(who, data, graph)
    if edges.weight is not None and edges.weight.dim() > 1 and data.get('adj_t') is not None:
        order = graph.edge_id
        rows = edges.weight if order is None else edges.weight[order.to(edges.weight.device)]
        edge_attrs['edge_weight'] = rows
    builder = BatchBuilder(graph, ptr, direction == 'both')
    return LoaderInput(ptr, graph, node_attrs, edge_attrs, builder)


def with_features_of(who: str, data: Data, store: FeatureStore) -> Data:
    """A view of ``data`` whose features are read from a store.

    Raises:
        TypeError, ValueError: See :class:`StoredRows`; ``data`` has features already.
    """
    if isinstance(data, Data) and data.get('x') is not None:
        raise ValueError(
            explain(who, "'data.x' must be absent where a 'feature_store' gives the features",
                    'both', 'Pass one of them.')
        )  # fmt: skip
    num_nodes = to_edges(data, who=who).num_nodes
    view = copy(data)
    view.x = StoredRows(store, num_nodes)
    return view


def check_ptr(who: str, ptr: Tensor, num_nodes: int) -> Tensor:
    """``ptr`` as int64 on the CPU, if it bounds ``num_nodes`` rows."""
    ptr = torch.as_tensor(ptr).cpu()
    fine = ptr.dim() == 1 and ptr.numel() >= 2 and not ptr.is_floating_point()
    if not fine or ptr[0] != 0 or ptr[-1] != num_nodes or bool((ptr[1:] < ptr[:-1]).any()):
        raise ValueError(
            explain(who, f"'ptr' must rise from 0 to the {num_nodes} nodes of 'data'",
                    f'shape {tuple(ptr.shape)} ending in {ptr.view(-1)[-1:].tolist()}',
                    'Pass the ptr that metis returned for this graph.')
        )  # fmt: skip
    return ptr.long()


def scalar_weight(who: str, weight: Tensor | None) -> Tensor | None:
    """Edge weights that an adjacency can hold as values."""
    if weight is None or weight.dim() > 1:
        return None
    if weight.requires_grad:
        raise ValueError(
            explain(who, 'edge weights must be constants', 'weights that require a gradient',
                    'Detach them, or compute learned weights inside the model from '
                    'batch.edge_attr and pass them with batch.edge_index.')
        )  # fmt: skip
    return weight


def as_mask(who: str, nodes: Tensor | None, num_nodes: int) -> Tensor | None:
    """A boolean mask from a mask or from ids."""
    if nodes is None:
        return None
    nodes = torch.as_tensor(nodes).cpu()
    if nodes.dtype == torch.bool:
        if nodes.shape != (num_nodes,):
            raise ValueError(
                explain(who, f"a mask as 'input_nodes' must have shape ({num_nodes},)",
                        tuple(nodes.shape), 'Pick one split: data.train_mask[:, split].')
            )  # fmt: skip
        return nodes
    if nodes.dim() != 1 or nodes.is_floating_point() or nodes.dtype == torch.uint8:
        raise TypeError(
            explain(who, "'input_nodes' must be a boolean mask or a vector of integer ids",
                    f'shape {tuple(nodes.shape)} of {nodes.dtype}',
                    'Pass data.train_mask or ids of type torch.long.')
        )  # fmt: skip
    if nodes.numel() and (int(nodes.min()) < 0 or int(nodes.max()) >= num_nodes):
        raise ValueError(
            explain(who, f"ids in 'input_nodes' must lie in [0, {num_nodes})",
                    f'{int(nodes.min())} to {int(nodes.max())}',
                    "Pass ids of the permuted data's nodes.")
        )  # fmt: skip
    mask = torch.zeros(num_nodes, dtype=torch.bool)
    mask[nodes] = True
    return mask


def split_attributes(
    who: str, data: Data, graph: Graph
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The node-level and the edge-level tensors of ``data``, checked against the graph."""
    node: dict[str, Tensor] = {}
    edge: dict[str, Tensor] = {}
    adj_t_wins = data.get('adj_t') is not None
    two_orders = adj_t_wins and data.get('edge_index') is not None
    for name, value in data.to_dict().items():
        if value is None:
            continue
        if name in ('x', 'y', 'edge_attr') and not isinstance(value, Tensor):
            raise TypeError(
                explain(who, f"'data.{name}' must be a dense tensor", type(value).__name__,
                        'Convert it, e.g. with torch.as_tensor.')
            )  # fmt: skip
        if name in ('edge_index', 'adj_t') or not isinstance(value, Tensor) or value.dim() == 0:
            continue
        if name == 'edge_weight' and adj_t_wins:
            continue  # the values of adj_t are the weights
        if name == 'x' and value.layout == torch.sparse_csr:
            value = SparseRows.from_sparse(value)
        if value.layout != torch.strided:
            raise TypeError(
                explain(who, f"'data.{name}' must be a dense tensor", value.layout,
                        f'Convert it, e.g. with data.{name}.to_dense().')
            )  # fmt: skip
        if data.__cat_dim__(name, value) != 0 and value.dim() > 1:
            continue  # ids, e.g. 'edge_label_index': they would mean other nodes in a batch
        if name in ('x', 'y', 'pos') or (name.endswith('_mask') and 'edge' not in name):
            _check_rows(who, name, value, 'node', graph.num_nodes, 'features, labels')
            node[name] = value
        elif name in ('edge_attr', 'edge_weight', 'edge_type'):
            if not two_orders:
                _check_rows(who, name, value, 'edge', graph.num_edges, 'edge attributes')
            edge[name] = value
        elif value.size(0) == graph.num_edges and (
            'edge' in name or graph.num_edges != graph.num_nodes
        ):
            edge[name] = value
        elif value.size(0) == graph.num_nodes:
            node[name] = value
    if 'x' in node:
        refuse_nan(who, node['x'])
    if edge and two_orders:
        raise ValueError(
            explain(who, "'data.adj_t' wins over 'data.edge_index', whose order edge attributes "
                    'follow', f"both, and edge attributes {', '.join(sorted(edge))}",
                    'Remove data.adj_t to use the attributes, or the attributes to use adj_t.')
        )  # fmt: skip
    if graph.edge_id is not None:
        order = graph.edge_id
        edge = {name: value.index_select(0, order.to(value.device)) for name, value in edge.items()}
    return node, edge


def refuse_nan(who: str, x: Tensor) -> None:
    """Raise if features hold NaN."""
    if not x.is_floating_point():
        return
    x = x.stored if isinstance(x, SparseRows) else x
    rows = max(CHUNK // max(prod(x.shape[1:]), 1), 1)
    bad = sum(int(torch.isnan(x[a:b]).sum()) for a, b in spans(x.size(0), rows))
    if bad:
        raise ValueError(
            explain(who, "'data.x' must not hold NaN", f'{bad} NaN values',
                    'Clean the features, e.g. data.x = data.x.nan_to_num().')
        )  # fmt: skip


def _check_rows(who: str, name: str, value: Tensor, level: str, count: int, what: str) -> None:
    if value.size(0) != count:
        raise ValueError(
            explain(who, f"'data.{name}' must have one row per {level} ({count})",
                    f'{value.size(0)} rows',
                    f'Check that {what} and edges describe the same graph.')
        )  # fmt: skip
