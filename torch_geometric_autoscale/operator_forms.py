"""Operators on a batch's adjacency in the form that they understand.

Most operators called with one ``x`` expect a square matrix. On a rectangular adjacency they are
given the pair ``(x, x[:B])`` where that is known to mean the same, else the square form, whose
extra rows are dropped again. Operators that rewrite a sparse matrix (PyG's way to add self-loops
merges duplicate edges) or have no sparse path are given the batch's ``edge_index``.
"""

import inspect
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn import conv as pyg

from .adjacency import Adjacency
from .calls import current_call
from .hooks import is_called_with_hooks
from .tags import adjacency_of, is_weight_of, tag_edge_index
from .watcher import current_watcher

# Hand a sparse matrix straight to their propagation, or to gcn_norm first.
_SPARSE = (
    pyg.GCNConv, pyg.GCN2Conv, pyg.SAGEConv, pyg.GINConv, pyg.GraphConv, pyg.SGConv, pyg.TAGConv,
    pyg.SSGConv, pyg.LGConv, pyg.APPNP, pyg.MixHopConv,
)  # fmt: skip
# Exact for a rectangular adjacency as they are: they return one row per row of the adjacency.
_RECTANGULAR = (pyg.GCNConv, pyg.GCN2Conv)
# Mean the same for x and for the pair (x, x[:B]), and then compute B rows only.
_PAIRS = (
    pyg.SAGEConv, pyg.GINConv, pyg.GINEConv, pyg.GraphConv, pyg.GATConv, pyg.GATv2Conv,
    pyg.TransformerConv, pyg.LEConv,
)  # fmt: skip

_BOTH_FORMS = {*_SPARSE, *_PAIRS}


def matrix_for_edges(self: MessagePassing, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Put the batch's rectangular adjacency in the place of its ``edge_index``, if preferred."""
    batch = current_call()
    if batch is None or not batch.prefers_matrix or type(self) not in _BOTH_FORMS:
        return args, kwargs
    watcher = current_watcher()
    nested = watcher is not None and watcher.is_inside_nested_operator
    if self.flow != 'source_to_target' or nested or is_called_with_hooks(self):
        return args, kwargs  # the operator around it, or the hook, expects what the model passes
    values = [*args, *kwargs.values()]
    adj = next((value for value in values if isinstance(value, Adjacency)), None)
    if adj is not None:
        form = adj.with_(square=False)
        return _replaced(args, kwargs, adj, form)
    edges = next((value for value in values if adjacency_of(value) is not None), None)
    if edges is None:
        return args, kwargs
    adj = adjacency_of(edges).with_(square=False)
    names = list(_parameters(self))
    at = names.index('edge_weight') if 'edge_weight' in names else len(args)
    weight = args[at] if at < len(args) else kwargs.get('edge_weight')
    if weight is None:
        if adj.weight is not None:
            adj = adj.without_weight()
    elif is_weight_of(weight, edges):
        args = (*args[:at], None, *args[at + 1 :]) if at < len(args) else args
        kwargs = {name: value for name, value in kwargs.items() if name != 'edge_weight'}
    else:
        return args, kwargs
    return _replaced(args, kwargs, edges, adj)


def call_in_form(self: MessagePassing, adj: Adjacency, args: Any, kwargs: Any) -> Any:
    """Call an operator with the adjacency, or its edges, in the form that it understands."""
    call = torch.nn.Module.__call__
    first = args[0] if args else kwargs.get('x')
    takes_matrix = type(self) in _SPARSE or (self.fuse and not is_pyg(self))
    args, kwargs, own_weight = _without_known_weight(self, adj, args, kwargs)
    given, adj = adj, as_read(self, adj)
    args, kwargs = _replaced(args, kwargs, given, adj)
    deep = isinstance(first, Tensor) and first.dim() > 2
    takes_matrix = takes_matrix and not own_weight and not deep  # a product takes neither
    single = _has_rows(self, first, adj.size(1)) and not isinstance(first, (tuple, list))
    if takes_matrix and (type(self) in _RECTANGULAR or adj.is_square):
        form = adj
    elif single and not adj.is_square and not _takes_pair(self, args, kwargs):
        form = adj.square()
    else:
        form = adj
    pair = form is adj and single and not adj.is_square and type(self) in _PAIRS
    if pair:
        x = (first, first.narrow(self.node_dim, 0, adj.size(0)))
        if args:
            args = (x, *args[1:])
        else:
            kwargs = {**kwargs, 'x': x}
    edges: Any = form
    if not takes_matrix:
        weight = None if form.weight is None else form.values()
        edges = tag_edge_index(form.edge_index(), form, weight)
        parameters = _parameters(self)
        if weight is not None and 'edge_weight' in parameters and not own_weight:
            at = list(parameters).index('edge_weight')
            if at < len(args):
                args = (*args[:at], weight, *args[at + 1 :])
            else:
                kwargs = {**kwargs, 'edge_weight': weight}
    args, kwargs = _replaced(args, kwargs, adj, edges)
    args, kwargs = _with_batch_targets(self, args, kwargs, first, form)
    out = call(self, *args, **kwargs)
    if form is adj:
        return out
    if isinstance(out, tuple) and _has_rows(self, out[0], form.size(0)):
        return (out[0].narrow(self.node_dim, 0, adj.size(0)), *out[1:])
    if _has_rows(self, out, form.size(0)):
        return out.narrow(self.node_dim, 0, adj.size(0))
    return out


def _takes_pair(self: MessagePassing, args: Any, kwargs: Any) -> bool:
    """Whether the pair ``(x, x[:B])`` means the same for an operator as ``x``, and costs less."""
    if type(self) is pyg.GATConv and self.lin is not None:
        # It would transform batch rows twice; but the pair also decides on self-loops it returns.
        return len(args) > 4 or kwargs.get('return_attention_weights') is not None
    return type(self) in _PAIRS


def _with_batch_targets(
    self: MessagePassing, args: Any, kwargs: Any, first: Any, form: Adjacency
) -> tuple[Any, Any]:
    """Cut the second of a pair ``(x, x_target)`` to the rows of a rectangular adjacency."""
    if form.is_square or not isinstance(first, (tuple, list)) or len(first) != 2:
        return args, kwargs
    if not _has_rows(self, first[1], form.size(1)):
        return args, kwargs
    pair = (first[0], first[1].narrow(self.node_dim, 0, form.size(0)))
    return _replaced(args, kwargs, first, pair)


def as_read(self: MessagePassing, adj: Adjacency) -> Adjacency:
    """The adjacency without weights, for PyG's operators that read none from ``edge_index``."""
    reads_weight = 'edge_weight' in _parameters(self)
    if reads_weight or not is_pyg(self) or adj.weight is None or adj.has_own_values:
        return adj
    return adj.without_weight()


def _without_known_weight(
    self: MessagePassing, adj: Adjacency, args: Any, kwargs: Any
) -> tuple[Any, Any, bool]:
    """Leave out ``edge_weight`` where it repeats the adjacency's values; is there another?"""
    names = list(_parameters(self))
    at = names.index('edge_weight') if 'edge_weight' in names else len(args)
    weight = args[at] if at < len(args) else kwargs.get('edge_weight')
    if not isinstance(weight, Tensor):
        return args, kwargs, False
    values = adj.values()
    if adj.weight is None or weight.shape != values.shape or not torch.equal(weight, values):
        return args, kwargs, True
    if at < len(args):
        return (*args[:at], None, *args[at + 1 :]), kwargs, False
    return args, {**kwargs, 'edge_weight': None}, False


def _parameters(self: MessagePassing) -> tuple[str, ...]:
    """Names of what an operator's ``forward`` takes."""
    forward = self.forward
    return _names_of(getattr(forward, '__func__', forward))


@lru_cache(maxsize=1024)
def _names_of(forward: Any) -> tuple[str, ...]:
    names = inspect.signature(forward).parameters
    return tuple(name for name in names if name != 'self')


def is_pyg(module: torch.nn.Module) -> bool:
    """Whether a module is of a class of PyG's own."""
    return type(module).__module__.startswith('torch_geometric.')


def _has_rows(self: MessagePassing, value: Any, rows: int) -> bool:
    at = self.node_dim
    return isinstance(value, Tensor) and value.dim() >= -at and value.size(at) == rows


def _replaced(args: Any, kwargs: Any, old: Any, new: Any) -> tuple[Any, Any]:
    args = tuple(new if value is old else value for value in args)
    return args, {name: new if value is old else value for name, value in kwargs.items()}
