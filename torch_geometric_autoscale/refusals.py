"""Operators that a batch cannot compute, refused by name."""

from collections.abc import Iterable

import torch
from torch_geometric.nn import MessagePassing
from torch_geometric.nn import conv as pyg

from .adjacency import Adjacency
from .errors import NeedsBothDirections, explain

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


def refuse_cached(module: MessagePassing) -> None:
    """Refuse an operator that would keep one batch's normalisation for all others."""
    if getattr(module, 'cached', False):
        raise ValueError(
            explain(type(module).__name__, "'cached' must be False on batches", 'cached=True',
                    'It would keep the first batch and use it for every other; the normalisation '
                    'of the whole graph is kept between batches anyway.')
        )  # fmt: skip


def refuse_reverse(module: MessagePassing, adj: Adjacency) -> None:
    """Refuse to aggregate at sources unless the batch has all edges out of its nodes."""
    partial = adj.batch_size < adj.graph.num_nodes
    if module.flow != 'source_to_target' and partial and not adj.edges.builder.both_directions:
        raise NeedsBothDirections(
            explain(type(module).__name__, "a batch holds the edges into its nodes, so 'flow' must "
                    "be 'source_to_target'", f"'{module.flow}'", "Make the loader with "
                    "direction='both', and pass batch.edge_index.")
        )  # fmt: skip
