"""What PyG's operators need to know about a batch's :class:`Adjacency`.

Unmodified operators go wrong on a part of a graph in four ways. All are mended here, at the places
every operator passes through:

* ``gcn_norm`` would count degrees in the batch, where halo nodes have too few. On a batch it is
  answered from the whole graph.
* Most operators called with one ``x`` expect a square matrix. On a rectangular adjacency they are
  given the pair ``(x, x[:B])`` where that is known to mean the same, else the square form, whose
  extra rows are dropped again.
* Operators that rewrite a sparse matrix (PyG's way to add self-loops merges duplicate edges) or
  have no sparse path are given the batch's ``edge_index``.
* Aggregations over padded sequences (``LSTMAggregation``) depend on the largest degree, which is
  that of the whole graph.

Beyond that, ``GCNConv`` multiplies by its weight before it aggregates; where a layer does not
narrow, the other order does the same on fewer rows. An operator that meets neither an
:class:`Adjacency` nor a batch's ``edge_index`` runs exactly as PyG wrote it.
"""

import inspect
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any
from weakref import WeakSet

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules import module as torch_module
from torch_geometric.nn import Aggregation, MessagePassing
from torch_geometric.nn import conv as pyg
from torch_geometric.nn.aggr import QuantileAggregation

from .adjacency import Adjacency
from .calls import current_call
from .chebyshev import scaled_laplacian
from .errors import NeedsBothDirections, explain
from .gcn_norm import gcn_norm
from .graph import original_gcn_norm
from .guard import current_guard, guard_operator
from .quantiles import quantiles_of_a_batch
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

# Read more of the graph than a batch holds, in ways that no boundary makes right.
_WHOLE_GRAPH = {
    'DynamicEdgeConv': 'which looks for neighbours in the whole graph',
    'GravNetConv': 'which looks for neighbours in the whole graph',
    'XConv': 'which looks for neighbours in the whole graph',
    'GPSConv': 'whose attention spans the whole graph',
    'PatchTransformerAggregation': 'which pads to the largest degree of the whole graph',
    'PerformerAttention': 'whose attention spans the whole graph',
    'PolynormerAttention': 'whose attention spans the whole graph',
    'QFormer': 'whose attention spans the whole graph',
    'SGFormerAttention': 'whose attention spans the whole graph',
    'WLConv': 'which numbers the colours of the whole graph',
}

_known_modules: WeakSet[Any] = WeakSet()
_original_to_dense_batch = Aggregation.to_dense_batch
_running: ContextVar[Adjacency | None] = ContextVar('running_operator', default=None)


def teach_pyg() -> None:
    """Make PyG's operators understand batches; done once, when one is first needed."""
    if MessagePassing.__call__ is not _call_operator:
        _say_once_that_csr_is_in_beta()
        MessagePassing.__call__ = _call_operator
        Aggregation.to_dense_batch = _to_dense_batch
        pyg.ChebConv.__norm__ = scaled_laplacian
        QuantileAggregation.forward = quantiles_of_a_batch
    for name, module in list(sys.modules.items()):
        if module in _known_modules or name.startswith(__package__):
            continue
        _replace_gcn_norm(module)
        if not getattr(getattr(module, '__spec__', None), '_initializing', False):
            _known_modules.add(module)


def _say_once_that_csr_is_in_beta() -> None:
    """Let PyTorch give its only warning about sparse CSR tensors now, unheard."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.sparse_csr_tensor([0, 1], [0], [1.0], (1, 1))


def _replace_gcn_norm(module: Any) -> None:
    """Replace ``gcn_norm`` in a module, whatever it is called there."""
    for name, value in list(getattr(module, '__dict__', {}).items()):
        if value is original_gcn_norm:
            setattr(module, name, gcn_norm)


# Operator calls ##################################################################


def _call_operator(self: MessagePassing, *args: Any, **kwargs: Any) -> Any:
    watcher = current_watcher()
    if watcher is None:
        return _run_operator(self, args, kwargs)
    return watcher.operator(self, lambda: _run_operator(self, args, kwargs))


def _run_operator(self: MessagePassing, args: Any, kwargs: Any) -> Any:
    call = torch.nn.Module.__call__
    if '_call_impl' in vars(self):  # answered by a layer-wise inference
        return call(self, *args, **kwargs)
    args, kwargs = _matrix_for_edges(self, args, kwargs)
    values = [value for value in (*args, *kwargs.values()) if value is not None]
    adj = next((value for value in values if isinstance(value, Adjacency)), None)
    if adj is None:
        adj = next((a for a in map(adjacency_of, values) if a is not None), None)
        if adj is None:
            return _call_on_other_edges(self, args, kwargs)
        _refuse_cached(self)
        _refuse_reverse(self, adj)
        with _operator_on(adj), guard_operator(self):
            return call(self, *args, **kwargs)
    _refuse_cached(self)
    with _operator_on(adj), guard_operator(self):
        if type(self) in _FASTER and len(values) == 2 and _may_reorder(self):
            x = next(value for value in values if value is not adj)
            if isinstance(x, Tensor) and x.dim() == 2:
                return _call_faster(self, x, adj)
        _refuse_reverse(self, adj)
        return _call_in_form(self, adj, args, kwargs)


def _matrix_for_edges(self: MessagePassing, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Put the batch's rectangular adjacency in the place of its ``edge_index``, if preferred."""
    batch = current_call()
    if batch is None or not batch.prefers_matrix or type(self) not in _BOTH_FORMS:
        return args, kwargs
    watcher = current_watcher()
    nested = watcher is not None and watcher.is_inside_nested_operator
    if self.flow != 'source_to_target' or nested or _is_hooked(self):
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


def _is_hooked(module: torch.nn.Module) -> bool:
    hooks = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')
    return any(vars(module).get(name) for name in hooks) or torch_module._has_any_global_hook()


def _replaced(args: Any, kwargs: Any, old: Any, new: Any) -> tuple[Any, Any]:
    args = tuple(new if value is old else value for value in args)
    return args, {name: new if value is old else value for name, value in kwargs.items()}


def _call_faster(self: MessagePassing, x: Tensor, adj: Adjacency) -> Tensor:
    def compute() -> Tensor:
        return _FASTER[type(self)](self, x, adj)

    guard = current_guard()
    return compute() if guard is None else guard.watch(self, (adj, None, x), compute)


def _call_on_other_edges(self: MessagePassing, args: Any, kwargs: Any) -> Any:
    """Call an operator with edges of the user's making, on a batch or on a whole graph."""
    call = torch.nn.Module.__call__
    batch = current_call()
    if batch is None or batch.adj_t is None:
        return call(self, *args, **kwargs)
    _refuse_reverse(self, batch.adj_t)
    with _operator_on(batch.adj_t), guard_operator(self):
        return call(self, *args, **kwargs)


def _call_in_form(self: MessagePassing, adj: Adjacency, args: Any, kwargs: Any) -> Any:
    """Call an operator with the adjacency, or its edges, in the form that it understands."""
    call = torch.nn.Module.__call__
    first = args[0] if args else kwargs.get('x')
    takes_matrix = type(self) in _SPARSE or (self.fuse and not _is_pyg(self))
    args, kwargs, own_weight = _without_known_weight(self, adj, args, kwargs)
    given, adj = adj, _as_read(self, adj)
    args, kwargs = _replaced(args, kwargs, given, adj)
    deep = isinstance(first, Tensor) and first.dim() > 2
    takes_matrix = takes_matrix and not own_weight and not deep  # a product takes neither
    single = _has_rows(self, first, adj.size(1)) and not isinstance(first, (tuple, list))
    if takes_matrix and (type(self) in _RECTANGULAR or adj.is_square):
        form = adj
    elif single and not adj.is_square and type(self) not in _PAIRS:
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


def _as_read(self: MessagePassing, adj: Adjacency) -> Adjacency:
    """The adjacency without weights, for PyG's operators that read none from ``edge_index``."""
    reads_weight = 'edge_weight' in _parameters(self)
    if reads_weight or not _is_pyg(self) or adj.weight is None or adj.has_own_values:
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


def _is_pyg(module: torch.nn.Module) -> bool:
    return type(module).__module__.startswith('torch_geometric.')


def _has_rows(self: MessagePassing, value: Any, rows: int) -> bool:
    at = self.node_dim
    return isinstance(value, Tensor) and value.dim() >= -at and value.size(at) == rows


def _refuse_cached(module: MessagePassing) -> None:
    if getattr(module, 'cached', False):
        raise ValueError(
            explain(type(module).__name__, "'cached' must be False on batches", 'cached=True',
                    'It would keep the first batch and use it for every other; the normalisation '
                    'of the whole graph is kept between batches anyway.')
        )  # fmt: skip


def _refuse_reverse(module: MessagePassing, adj: Adjacency) -> None:
    """Refuse to aggregate at sources unless the batch has all edges out of its nodes."""
    partial = adj.batch_size < adj.graph.num_nodes
    if module.flow != 'source_to_target' and partial and not adj.edges.builder.both_directions:
        raise NeedsBothDirections(
            explain(type(module).__name__, "a batch holds the edges into its nodes, so 'flow' must "
                    "be 'source_to_target'", f"'{module.flow}'", "Make the loader with "
                    "direction='both', and pass batch.edge_index.")
        )  # fmt: skip


def refuse_whole_graph_operators(who: str, modules: Iterable[tuple[str, torch.nn.Module]]) -> None:
    """Raise for operators of PyG that read the whole graph at once, by name.

    Raises:
        ValueError: For operators that a batch cannot compute, with the reason.
    """
    for path, module in modules:
        if (
            isinstance(module, pyg.EGConv)
            and module.add_self_loops
            and 'symnorm' not in module.aggregators
        ):
            raise ValueError(
                explain(who, 'an operator must be computable from a batch', f"EGConv at '{path}', "
                        "which adds self-loops up to the largest id that has an edge",
                        "Add 'symnorm' to its aggregators, or use add_self_loops=False.")
            )  # fmt: skip
        for kind in type(module).__mro__:
            reason = _WHOLE_GRAPH.get(kind.__name__)
            if reason is None or not kind.__module__.startswith('torch_geometric.'):
                continue
            raise ValueError(
                explain(who, 'an operator must be computable from a batch',
                        f"{type(module).__name__} at '{path}', {reason}",
                        'Use another operator, or run the model on the whole graph.')
            )  # fmt: skip


@contextmanager
def _operator_on(adj: Adjacency) -> Iterator[None]:
    token = _running.set(adj)
    try:
        yield
    finally:
        _running.reset(token)


# Cheaper orders ##################################################################


def _may_reorder(module: Any) -> bool:
    """Whether the operator is linear, and nobody watches or replaced the steps left out."""
    linear = module.aggr in ('add', 'sum') or (module.aggr == 'mean' and hasattr(module, 'lin_l'))
    return linear and not getattr(module, 'project', False) and _is_unobserved(module)


def _is_unobserved(module: MessagePassing) -> bool:
    """Whether nobody watches or replaced the steps that a faster order would skip."""
    guard = current_guard()
    ours = () if guard is None else guard.hooks_of(module)
    hooks = [
        hook
        for name, value in vars(module).items()
        if name.endswith('_hooks')
        for hook in value.values()
        if hook not in ours
    ]
    return (
        not hooks
        and not torch_module._has_any_global_hook()
        and not {'forward', 'propagate', '_call_impl'} & vars(module).keys()
        and not module.explain
        and module.flow == 'source_to_target'
        and module.decomposed_layers == 1
        and not any(_is_changed(child) for child in module.children())
    )


def _is_changed(module: torch.nn.Module) -> bool:
    """Whether a part of an operator is hooked, parametrised or no layer or aggregation of PyG's."""
    hooks = [value for name, value in vars(module).items() if name.endswith('_hooks')]
    return any(hooks) or 'parametrizations' in module._modules or not _is_pyg(module)


def _gcn(conv: Any, x: Tensor, adj: Adjacency) -> Tensor:
    """``GCNConv`` (Kipf & Welling 2017, eq. 2) in the cheaper order of its two products."""
    if conv.normalize:
        adj = adj.gcn_norm(conv.improved, conv.add_self_loops, x.dtype)
    if adj.knows_product(x):
        out = conv.lin(adj.known_product())
    elif conv.in_channels <= conv.out_channels:
        out = conv.lin(adj.propagate(x, conv.aggr))
    else:
        out = adj.propagate(conv.lin(x), conv.aggr)
    return out if conv.bias is None else out + conv.bias


def _sage(conv: Any, x: Tensor, adj: Adjacency) -> Tensor:
    """``SAGEConv`` (Hamilton et al. 2017) in the cheaper order; it reads no edge weights."""
    adj = _as_read(conv, adj)
    if conv.lin_l.in_channels > conv.lin_l.out_channels and not adj.knows_product(x):
        out = adj.propagate(F.linear(x, conv.lin_l.weight), conv.aggr)
        out = out if conv.lin_l.bias is None else out + conv.lin_l.bias
    else:
        out = conv.lin_l(adj.propagate(x, conv.aggr))
    if conv.root_weight:
        out = out + conv.lin_r(x[: adj.size(0)])
    return F.normalize(out, p=2.0, dim=-1) if conv.normalize else out


_FASTER = {pyg.GCNConv: _gcn, pyg.SAGEConv: _sage}


# Aggregations over padded sequences ##############################################


def _to_dense_batch(
    self: Aggregation,
    x: Tensor,
    index: Tensor | None = None,
    ptr: Tensor | None = None,
    dim_size: int | None = None,
    dim: int = -2,
    fill_value: float = 0.0,
    max_num_elements: int | None = None,
) -> Any:
    if max_num_elements is None and index is not None:
        max_num_elements = _longest_sequence(self, index)
    return _original_to_dense_batch(
        self, x, index, ptr, dim_size, dim, fill_value, max_num_elements
    )


def _longest_sequence(self: Aggregation, index: Tensor) -> int | None:
    """The largest number of edges into one node of the whole graph; ``None`` outside of batches.

    Raises:
        ValueError: If ``index`` does not hold the targets of the batch's own edges: how many other
            edges a node has at most is not known then.
    """
    call = current_call()
    adj = _running.get()
    if adj is None:
        if call is None:
            return None
        adj = call.adj_t
    if adj is not None:
        crow = adj.edges.slice(None).crow.to(index.device)
        count = torch.bincount(index, minlength=adj.batch_size)
        if torch.equal(count[: adj.batch_size], (crow[1:] - crow[:-1])[: adj.batch_size].long()):
            here = int(count.max()) if count.numel() else 0
            return max(adj.graph.max_degree, here)
    raise ValueError(
        explain(type(self).__name__, 'on a batch, what is padded to the largest number of edges of '
                "a node must aggregate the batch's own edges, all of them",
                'some of them, or others', 'Use another aggregation, or one graph with all edges.')
    )  # fmt: skip
