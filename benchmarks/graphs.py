"""Graphs that benchmarks share."""

import torch
from torch import Tensor
from torch_geometric.data import Data


def clustered_graph(
    num_nodes: int,
    num_edges: int,
    num_clusters: int,
    intra: float = 0.85,
    num_features: int = 0,
    num_classes: int = 40,
    seed: int = 0,
) -> Data:
    """Draw an undirected graph with planted communities and shuffled node ids.

    Every node belongs to one of ``num_clusters`` communities of about equal size. An edge's first
    end is uniform; the second lies in the same community with probability ``intra``, else
    anywhere. Self-loops and duplicates are drawn again.

    Args:
        num_nodes: Number of nodes ``N``.
        num_edges: Number of *directed* edges ``E``, even; each edge is stored in both directions.
        num_clusters: Number of communities.
        intra: Fraction of edges inside communities.
        num_features: Width of ``x``; 0: no ``x``.
        num_classes: Labels ``y`` say the community modulo ``num_classes``.
        seed: Seed; the global generator is not touched.

    Returns:
        ``edge_index`` ``(2, E)`` sorted by target, ``y`` ``(N,)``, ``cluster`` ``(N,)``,
        ``num_nodes``, and ``x`` ``(N, num_features)``: a random centre per class plus noise.
    """
    if not 1 <= num_clusters <= num_nodes or num_edges % 2 or not 0 <= intra <= 1:
        raise ValueError('clustered_graph: impossible sizes')
    rng = torch.Generator().manual_seed(seed)
    # Node u of the ordered numbering lies in community u * C // N; ids are shuffled at the end.
    bounds = (torch.arange(num_clusters + 1) * num_nodes + num_clusters - 1) // num_clusters
    cluster = torch.arange(num_nodes) * num_clusters // num_nodes

    wanted, keys = num_edges // 2, torch.empty(0, dtype=torch.long)
    for _ in range(100):
        missing = wanted - keys.numel()
        if missing <= 0:
            break
        drawn = _draw(missing + missing // 20 + 16, num_nodes, cluster, bounds, intra, rng)
        keys = torch.cat([keys, drawn]).unique()
    else:
        raise ValueError('clustered_graph: too many edges for so few nodes')
    keys = keys[torch.randperm(keys.numel(), generator=rng)[:wanted]]

    new_id = torch.randperm(num_nodes, generator=rng)
    low, high = new_id[keys // num_nodes], new_id[keys % num_nodes]
    both = torch.cat([high * num_nodes + low, low * num_nodes + high]).sort().values
    edge_index = torch.stack([both % num_nodes, both // num_nodes])
    shuffled = torch.empty_like(cluster)
    shuffled[new_id] = cluster
    y = shuffled % num_classes
    data = Data(edge_index=edge_index, y=y, cluster=shuffled, num_nodes=num_nodes)
    if num_features > 0:
        centre = torch.randn(num_classes, num_features, generator=rng)
        data.x = torch.randn(num_nodes, num_features, generator=rng).add_(centre[y])
    return data


def _draw(
    count: int,
    num_nodes: int,
    cluster: Tensor,
    bounds: Tensor,
    intra: float,
    rng: torch.Generator,
) -> Tensor:
    """Keys ``low * N + high`` of drawn edges without self-loops; duplicates may occur."""
    first = torch.randint(num_nodes, (count,), generator=rng)
    start, stop = bounds[cluster[first]], bounds[cluster[first] + 1]
    spot = torch.rand(count, generator=rng, dtype=torch.double)
    inside = start + (spot * (stop - start)).long()
    within = torch.rand(count, generator=rng) < intra
    second = torch.where(within, inside, (spot * num_nodes).long())
    low, high = torch.minimum(first, second), torch.maximum(first, second)
    return (low * num_nodes + high)[low != high]
