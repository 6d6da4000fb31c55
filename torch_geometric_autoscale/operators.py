"""What PyG's operators need to know about a batch's :class:`Adjacency`.

Unmodified operators go wrong on a part of a graph in three ways. All are mended here, at the places
every operator passes through:

* ``gcn_norm`` would count degrees in the batch, where halo nodes have too few. On a batch it is
  answered from the whole graph (``gcn_norm.py``).
* Most operators take a rectangular or a sparse matrix in another form (``operator_forms.py``).
* Aggregations over padded sequences depend on the largest degree (``sequences.py``).

Beyond that, some operators run in a cheaper order (``cheaper_orders.py``). An operator that meets
neither an :class:`Adjacency` nor a batch's ``edge_index`` runs exactly as PyG wrote it.
"""

import sys
from typing import Any
from weakref import WeakSet

import torch
from torch_geometric.nn import Aggregation, MessagePassing
from torch_geometric.nn import conv as pyg
from torch_geometric.nn.aggr import QuantileAggregation

from .adjacency import Adjacency
from .calls import current_call
from .cheaper_orders import call_in_cheaper_order
from .chebyshev import scaled_laplacian
from .gcn_norm import gcn_norm
from .graph import original_gcn_norm
from .guard import guard_operator, inside_operator
from .operator_forms import call_in_form, matrix_for_edges
from .quantiles import quantiles_of_a_batch
from .refusals import refuse_cached, refuse_reverse, refuse_whole_graph_operators
from .sequences import operator_on, to_dense_batch
from .tags import adjacency_of
from .torch_csr import hush_beta_warning
from .watcher import current_watcher
from .ways import note_step

__all__ = ['refuse_whole_graph_operators', 'teach_pyg']

_known_modules: WeakSet[Any] = WeakSet()


def teach_pyg() -> None:
    """Make PyG's operators understand batches; done once, when one is first needed."""
    if MessagePassing.__call__ is not _call_operator:
        hush_beta_warning()
        MessagePassing.__call__ = _call_operator
        Aggregation.to_dense_batch = to_dense_batch
        pyg.ChebConv.__norm__ = scaled_laplacian
        QuantileAggregation.forward = quantiles_of_a_batch
    for name, module in list(sys.modules.items()):
        if module is None or module in _known_modules or name.startswith(__package__):
            continue
        _replace_gcn_norm(module)
        if not getattr(getattr(module, '__spec__', None), '_initializing', False):
            _known_modules.add(module)


def _replace_gcn_norm(module: Any) -> None:
    """Replace ``gcn_norm`` in a module, whatever it is called there."""
    for name, value in list(getattr(module, '__dict__', {}).items()):
        if value is original_gcn_norm:
            setattr(module, name, gcn_norm)


# Operator calls ##################################################################


def _call_operator(self: MessagePassing, *args: Any, **kwargs: Any) -> Any:
    note_step(self)
    with inside_operator():
        return _call_watched(self, args, kwargs)


def _call_watched(self: MessagePassing, args: Any, kwargs: Any) -> Any:
    watcher = current_watcher()
    if watcher is None:
        answer = vars(self).get('_call_impl')  # of a layer-wise inference
        return _run_operator(self, args, kwargs) if answer is None else answer(*args, **kwargs)
    return watcher.operator(self, lambda: _run_operator(self, args, kwargs))


def _run_operator(self: MessagePassing, args: Any, kwargs: Any) -> Any:
    call = torch.nn.Module.__call__
    if '_call_impl' in vars(self):  # answered by a layer-wise inference
        return call(self, *args, **kwargs)
    args, kwargs = matrix_for_edges(self, args, kwargs)
    values = [value for value in (*args, *kwargs.values()) if value is not None]
    adj = next((value for value in values if isinstance(value, Adjacency)), None)
    if adj is None:
        adj = next((a for a in map(adjacency_of, values) if a is not None), None)
        if adj is None:
            return _call_on_other_edges(self, args, kwargs)
        refuse_cached(self)
        refuse_reverse(self, adj)
        with operator_on(adj), guard_operator(self):
            return call(self, *args, **kwargs)
    refuse_cached(self)
    with operator_on(adj), guard_operator(self):
        out = call_in_cheaper_order(self, adj, values)
        if out is not None:
            return out
        refuse_reverse(self, adj)
        return call_in_form(self, adj, args, kwargs)


def _call_on_other_edges(self: MessagePassing, args: Any, kwargs: Any) -> Any:
    """Call an operator with edges of the user's making, on a batch or on a whole graph."""
    call = torch.nn.Module.__call__
    batch = current_call()
    if batch is None or batch.adj_t is None:
        return call(self, *args, **kwargs)
    refuse_reverse(self, batch.adj_t)
    with operator_on(batch.adj_t), guard_operator(self):
        return call(self, *args, **kwargs)
