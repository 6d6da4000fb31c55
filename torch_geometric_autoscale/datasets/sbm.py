"""Graphs by the recipe of CLUSTER, for where its download is out of reach."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_autoscale.datasets.many_graphs import join_graphs

COMMUNITIES = 6
SMALLEST, LARGEST = 5, 35
INTRA, INTER = 0.55, 0.25


def generate_cluster(
    num_train: int = 1000, num_val: int = 100, num_test: int = 100, seed: int = 0
) -> Data:
    """Draw graphs like those of CLUSTER (Dwivedi et al. 2020, Sec. A.3), joined into one.

    A graph has six communities of 5 to 35 nodes. Two nodes are joined with probability 0.55 within
    a community, 0.25 between communities. In each community one node, drawn at random, shows its
    label; the task is to find the community of every node.

    These are not the graphs of CLUSTER, which were drawn with other random numbers and are ten
    times as many: numbers measured here belong to this stand-in alone.

    Args:
        num_train, num_val, num_test: Number of graphs of each split.
        seed: Of the generator; PyTorch's global one is left alone.

    Returns:
        One graph without edges between graphs: ``x`` (N, 7), a one-hot of the label that a node
        shows, its first column for nodes that show none; ``y`` (N,); both directions of every
        edge; masks by graph; ``graph_id`` (N,).
    """
    rng = torch.Generator().manual_seed(seed)
    sizes = {'train': num_train, 'val': num_val, 'test': num_test}
    return join_graphs({split: [_draw(rng) for _ in range(n)] for split, n in sizes.items()})


def _draw(rng: torch.Generator) -> Data:
    sizes = torch.randint(SMALLEST, LARGEST + 1, (COMMUNITIES,), generator=rng)
    y = torch.repeat_interleave(torch.arange(COMMUNITIES), sizes)
    shown = (torch.rand(COMMUNITIES, generator=rng) * sizes).long() + sizes.cumsum(0) - sizes
    x = torch.zeros(y.numel(), COMMUNITIES + 1)
    x[:, 0] = 1
    x[shown, 0] = 0
    x[shown, 1 + torch.arange(COMMUNITIES)] = 1
    return Data(x=x, edge_index=_draw_edges(y, rng), y=y)


def _draw_edges(y: Tensor, rng: torch.Generator) -> Tensor:
    """Both directions of every edge, ``(2, E)``, without self-loops."""
    probability = torch.where(y.view(-1, 1) == y, INTRA, INTER)
    draws = torch.rand(probability.shape, generator=rng) < probability
    one_way = draws.triu(1).nonzero().t()
    return torch.cat([one_way, one_way.flip(0)], dim=1)
