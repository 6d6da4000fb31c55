"""What PyG's operators need to know about a batch's :class:`Adjacency`.

Three things go wrong when an unmodified operator meets a part of a graph, and all are mended here,
at the two places every operator passes through:

* ``gcn_norm`` would count degrees in the batch, where halo nodes have too few. On an
  :class:`Adjacency` it is answered from the whole graph.
* Most operators called with one ``x`` expect a square matrix. On a rectangular adjacency they are
  given the pair ``(x, x[:B])`` where that is known to mean the same, else the square form, whose
  extra rows are dropped again.
* ``GCNConv`` multiplies by its weight before it aggregates. Where a layer does not narrow, the
  other order does the same on fewer rows.

An operator that meets no :class:`Adjacency` runs exactly as PyG wrote it.
"""

import sys
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn import conv as pyg
from torch_geometric.nn.conv import gcn_conv

from .adjacency import Adjacency, adjacency_of, weight_of
from .calls import current_call
from .errors import explain
from .graph import _original_gcn_norm

# Exact for a rectangular adjacency as they are: they return one row per row of the adjacency.
_RECTANGULAR = (pyg.GCNConv, pyg.GCN2Conv)
# Mean the same for x and for the pair (x, x[:B]), and then compute B rows only.
_PAIRS = (
    pyg.SAGEConv, pyg.GINConv, pyg.GINEConv, pyg.GraphConv, pyg.GATConv, pyg.GATv2Conv,
    pyg.TransformerConv, pyg.LEConv,
)  # fmt: skip


def teach_pyg() -> None:
    """Make PyG's operators accept an :class:`Adjacency`; done once, when one is first needed."""
    if MessagePassing.__call__ is not _call_operator:
        MessagePassing.__call__ = _call_operator  # type: ignore[method-assign]
    for module in list(sys.modules.values()):
        if getattr(module, 'gcn_norm', None) is _original_gcn_norm:
            module.gcn_norm = _gcn_norm  # type: ignore[attr-defined]
    gcn_conv.gcn_norm = _gcn_norm


def _gcn_norm(
    edge_index: Any,
    edge_weight: Tensor | None = None,
    num_nodes: int | None = None,
    improved: bool = False,
    add_self_loops: bool = True,
    flow: str = 'source_to_target',
    dtype: torch.dtype | None = None,
) -> Any:
    """PyG's ``gcn_norm``, answered from the whole graph for a batch's adjacency."""
    if isinstance(edge_index, Adjacency):
        if edge_weight is not None:
            raise ValueError(
                explain('gcn_norm', "edge weights are the values of 'adj_t'", "'edge_weight' too",
                        "Set data.edge_weight (or adj_t's values) before making the loader.")
            )  # fmt: skip
        dtype = dtype or edge_index.dtype
        return edge_index.gcn_norm(improved, add_self_loops, dtype), None
    adj = adjacency_of(edge_index)
    if adj is not None or current_call() is not None:
        return _gcn_norm_of_edges(edge_index, edge_weight, adj, improved, add_self_loops, flow, dtype)
    return _original_gcn_norm(
        edge_index, edge_weight, num_nodes, improved, add_self_loops, flow, dtype
    )


def _gcn_norm_of_edges(
    edge_index: Tensor,
    edge_weight: Tensor | None,
    adj: Adjacency | None,
    improved: bool,
    add_self_loops: bool,
    flow: str,
    dtype: torch.dtype | None,
) -> tuple[Tensor, Tensor]:
    """The whole graph's normalisation for a batch's ``edge_index``."""
    weight_is_known = edge_weight is None or edge_weight is weight_of(edge_index)
    if adj is None or not weight_is_known or flow != 'source_to_target':
        came = 'edges that no loader of this library made'
        if adj is not None:
            came = f"flow='{flow}'" if weight_is_known else 'other edge weights'
        raise ValueError(
            explain('gcn_norm', 'on a batch, degrees can only be looked up for the edges of the '
                    'batch itself, from source to target, with the weights its loader was given',
                    came, 'Pass batch.adj_t or batch.edge_index as they are, or normalise the '
                    'whole graph first and use normalize=False.')
        )  # fmt: skip
    if edge_weight is None and adj.graph.weight is not None:
        adj = adj.without_weight()
    normalised = adj.square().gcn_norm(improved, add_self_loops, dtype or adj.dtype)
    return normalised.edge_index(), normalised._values(normalised.dtype)


def _call_operator(self: MessagePassing, *args: Any, **kwargs: Any) -> Any:
    call = torch.nn.Module.__call__
    values = [*args, *kwargs.values()]
    adj = next((value for value in values if isinstance(value, Adjacency)), None)
    if adj is None:
        if getattr(self, 'cached', False) and any(map(adjacency_of, values)):
            _refuse_cached(self)
        return call(self, *args, **kwargs)
    if type(self) is pyg.GCNConv and len(values) == 2 and _is_unobserved(self):
        x = next(value for value in values if value is not adj)
        if isinstance(x, Tensor) and x.dim() == 2:
            return _gcn(self, x, adj)
    if getattr(self, 'cached', False):
        _refuse_cached(self)
    if adj.is_square or type(self) in _RECTANGULAR:
        return call(self, *args, **kwargs)

    def is_node_rows(value: Any) -> bool:
        rows_at = self.node_dim
        if not isinstance(value, Tensor) or isinstance(value, Adjacency) or value.dim() < 1:
            return False
        return value.dim() >= -rows_at and value.size(rows_at) == adj.size(1)

    first = args[0] if args else kwargs.get('x')
    if not is_node_rows(first):  # already a pair, or something only the operator understands
        return call(self, *args, **kwargs)
    if type(self) in _PAIRS:
        pair = (first, first.narrow(self.node_dim, 0, adj.size(0)))  # type: ignore[union-attr]
        if args:
            return call(self, pair, *args[1:], **kwargs)
        return call(self, **{**kwargs, 'x': pair})
    square = adj.square()
    args = tuple(square if value is adj else value for value in args)
    kwargs = {name: square if value is adj else value for name, value in kwargs.items()}
    out = call(self, *args, **kwargs)
    if is_node_rows(out):
        return out.narrow(self.node_dim, 0, adj.size(0))
    if isinstance(out, tuple) and is_node_rows(out[0]):
        return (out[0].narrow(self.node_dim, 0, adj.size(0)), *out[1:])
    return out


def _refuse_cached(module: MessagePassing) -> None:
    raise ValueError(
        explain(type(module).__name__, "'cached' must be False on batches", 'cached=True',
                'It would keep the first batch and use it for every other; the normalisation of '
                'the whole graph is kept between batches anyway.')
    )  # fmt: skip


def _is_unobserved(module: MessagePassing) -> bool:
    """Whether nobody watches or replaced the steps that a faster order would skip."""
    hooks: list[Any] = [value for name, value in vars(module).items() if name.endswith('_hooks')]
    return (
        not any(hooks)
        and 'forward' not in vars(module)
        and 'propagate' not in vars(module)
        and not module.explain
        and module.flow == 'source_to_target'
        and module.decomposed_layers == 1
        and type(module.aggr_module).__name__ == 'SumAggregation'
    )


def _gcn(conv: Any, x: Tensor, adj: Adjacency) -> Tensor:
    """``GCNConv`` (Kipf & Welling 2017, eq. 2) in the cheaper order of its two products."""
    if conv.normalize:
        adj = adj.gcn_norm(conv.improved, conv.add_self_loops, x.dtype)
    if conv.in_channels == x.size(1) and conv.in_channels <= conv.out_channels:
        out = conv.lin(adj.propagate(x))
    else:
        out = adj.propagate(conv.lin(x))
    return out if conv.bias is None else out + conv.bias

