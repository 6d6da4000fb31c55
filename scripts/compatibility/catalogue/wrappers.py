"""Operators that call other operators."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn import Module
from torch_geometric import nn as pyg

from ..recipe import IN, Options, layered, level
from ..stacks import Stack


class WithGraphIds(Stack):
    """Hands on which graph of a union each node belongs to."""

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.run(x, lambda conv, x: conv(x, edge_index, batch))


def gps(conv: Callable[[], Module | None], **kwargs: Any) -> Callable[[], Module]:
    return lambda: pyg.GPSConv(IN, conv(), heads=2, **{'norm': None, **kwargs})


def wrappers() -> dict[str, Options]:
    """Options of each operator."""
    return {
        'GPSConv': {
            'attention and GCN': level(gps(lambda: pyg.GCNConv(IN, IN))),
            'attention alone': level(gps(lambda: None)),
            'attention and SAGE, BatchNorm': level(
                gps(lambda: pyg.SAGEConv(IN, IN), norm='batch_norm')
            ),
            'performer and SAGE': level(gps(lambda: pyg.SAGEConv(IN, IN), attn_type='performer')),
            'attention by graph': level(gps(lambda: pyg.SAGEConv(IN, IN)), WithGraphIds),
        },
        'AntiSymmetricConv': {
            'default': level(lambda: pyg.AntiSymmetricConv(IN)),
            'three iterations': level(lambda: pyg.AntiSymmetricConv(IN, num_iters=3)),
            'SAGE': level(lambda: pyg.AntiSymmetricConv(IN, pyg.SAGEConv(IN, IN), num_iters=2)),
            'GAT, bias=False': level(
                lambda: pyg.AntiSymmetricConv(IN, pyg.GATConv(IN, IN), bias=False)
            ),
            'act=relu': level(lambda: pyg.AntiSymmetricConv(IN, num_iters=2, act='relu')),
        },
        'DirGNNConv': {
            'SAGE': layered(lambda i, o: pyg.DirGNNConv(pyg.SAGEConv(i, o))),
            'SAGE, alpha=0.2': layered(lambda i, o: pyg.DirGNNConv(pyg.SAGEConv(i, o), alpha=0.2)),
            'SAGE, root_weight=False': layered(
                lambda i, o: pyg.DirGNNConv(pyg.SAGEConv(i, o), root_weight=False)
            ),
            'GCN': layered(lambda i, o: pyg.DirGNNConv(pyg.GCNConv(i, o))),
            'GAT': layered(lambda i, o: pyg.DirGNNConv(pyg.GATConv(i, o))),
        },
    }
