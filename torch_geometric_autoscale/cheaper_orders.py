"""Operators in the cheaper order of their two products.

``GCNConv`` and ``SAGEConv`` multiply by a weight and by the adjacency. Both orders give the same;
where a layer does not narrow, aggregating first does it on fewer rows.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch_geometric.nn import Linear, MessagePassing
from torch_geometric.nn import conv as pyg

from .adjacency import Adjacency
from .guard import current_guard
from .hooks import has_global_hook, hooks_of
from .operator_forms import as_read, is_pyg
from .sparse_rows import is_kept_sparse


def call_in_cheaper_order(self: MessagePassing, adj: Adjacency, values: list[Any]) -> Tensor | None:
    """What an operator gives for ``values``, ``adj`` among them; ``None`` if its order is fixed."""
    if type(self) not in _CHEAPER or len(values) != 2 or not _may_reorder(self):
        return None
    x = next(value for value in values if value is not adj)
    if not isinstance(x, Tensor) or x.dim() != 2:
        return None

    def compute() -> Tensor:
        return _CHEAPER[type(self)](self, x, adj)

    guard = current_guard()
    return compute() if guard is None else guard.watch(self, (adj, None, x), compute)


def _may_reorder(module: Any) -> bool:
    """Whether the operator is linear, and nobody watches or replaced the steps left out."""
    is_sage = type(module) is pyg.SAGEConv
    linear = module.aggr in ('add', 'sum') or (module.aggr == 'mean' and is_sage)
    # SAGEConv aggregates first, so that a bias of its comes last in any case; GCNConv's would not.
    linear = linear and (_multiplies(module.lin_l) if is_sage else _multiplies_alone(module.lin))
    return linear and not getattr(module, 'project', False) and _is_unobserved(module)


def _multiplies(lin: Any) -> bool:
    """Whether a part is PyG's product with a weight, and a bias; it may have been replaced."""
    return type(lin) is Linear and 'forward' not in vars(lin)


def _multiplies_alone(lin: Any) -> bool:
    return _multiplies(lin) and lin.bias is None


def _is_unobserved(module: MessagePassing) -> bool:
    """Whether nobody watches or replaced the steps that another order would skip."""
    guard = current_guard()
    ours = () if guard is None else guard.hooks_of(module)
    return (
        all(hook in ours for hook in hooks_of(module))
        and not has_global_hook()
        and not {'forward', 'propagate', '_call_impl'} & vars(module).keys()
        and not module.explain
        and module.flow == 'source_to_target'
        and module.decomposed_layers == 1
        and not any(_is_changed(child) for child in module.children())
    )


def _is_changed(module: torch.nn.Module) -> bool:
    """Whether a part of an operator is hooked, parametrised or no layer or aggregation of PyG's."""
    return bool(hooks_of(module)) or 'parametrizations' in module._modules or not is_pyg(module)


def _gcn(conv: Any, x: Tensor, adj: Adjacency) -> Tensor:
    """``GCNConv`` (Kipf & Welling 2017, eq. 2) in the cheaper order of its two products."""
    if conv.normalize:
        adj = adj.gcn_norm(conv.improved, conv.add_self_loops, x.dtype)
    if adj.knows_product(x):
        out = conv.lin(adj.known_product())
    elif conv.in_channels <= conv.out_channels and not is_kept_sparse(x):
        out = conv.lin(adj.propagate(x, conv.aggr))
    else:
        out = adj.propagate(conv.lin(x), conv.aggr)
    return out if conv.bias is None else out + conv.bias


def _sage(conv: Any, x: Tensor, adj: Adjacency) -> Tensor:
    """``SAGEConv`` (Hamilton et al. 2017) in the cheaper order; it reads no edge weights."""
    adj = as_read(conv, adj)
    narrows = conv.lin_l.in_channels > conv.lin_l.out_channels
    if not adj.knows_product(x) and (narrows or is_kept_sparse(x)):
        out = adj.propagate(F.linear(x, conv.lin_l.weight), conv.aggr)
        out = out if conv.lin_l.bias is None else out + conv.lin_l.bias
    else:
        out = conv.lin_l(adj.propagate(x, conv.aggr))
    if conv.root_weight:
        out = out + conv.lin_r(x[: adj.size(0)])
    return F.normalize(out, p=2.0, dim=-1) if conv.normalize else out


_CHEAPER = {pyg.GCNConv: _gcn, pyg.SAGEConv: _sage}
