"""Modules that users put together from operators."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import BatchNorm1d, LayerNorm, Linear, Module, ModuleList
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch_geometric import nn as pyg

from ..graphs import RELATIONS
from ..recipe import IN, OUT, Options, Recipe
from .convs import Convs, of


class Residual(Convs):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = x + conv(x, edge_index).relu()
        return self.lin(x)


class FarSkip(Convs):
    """The last layer also reads what every layer before it gave."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        total = first = x
        for conv in self.convs:
            x = conv(x + 0.5 * first, edge_index).tanh()
            total = total + x
        return self.lin(total)


class Normed(Convs):
    def __init__(self, depth: int, norm: Any) -> None:
        super().__init__(depth, pyg.GCNConv)
        self.dropout = 0.5
        self.norms = ModuleList([norm(IN) for _ in range(depth)])

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.dropout(norm(conv(x, edge_index)).relu(), self.dropout, self.training)
        return self.lin(x)


class NormedInput(Convs):
    """A norm and a linear layer before the first operator."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth)
        self.norm, self.first = BatchNorm1d(IN), Linear(IN, IN)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.first(self.norm(x)).relu()
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(x)


class Shared(Module):
    """One operator called in every layer."""

    def __init__(self, depth: int, kind: Any) -> None:
        super().__init__()
        self.depth, self.conv = depth, kind(IN, IN)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for _ in range(self.depth):
            x = self.conv(x, edge_index).tanh()
        return x


class Branches(Module):
    """Two different operators side by side in each layer."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.left = ModuleList([pyg.GCNConv(IN, 4) for _ in range(depth)])
        self.right = ModuleList([pyg.GATConv(IN, 4) for _ in range(depth)])

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for left, right in zip(self.left, self.right, strict=True):
            x = torch.cat([left(x, edge_index), right(x, edge_index)], dim=-1).tanh()
        return x


class Checkpointed(Convs):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = checkpoint(conv, x, edge_index, use_reentrant=False).tanh()
        return self.lin(x)


class WithExtras(Convs):
    """Also returns a regularisation term."""

    def forward(self, x: Tensor, edge_index: Tensor) -> tuple[Tensor, Tensor]:
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(x), self.lin.weight.square().sum()


class Blocks(Module):
    """Modules within modules: each block is a GNN of its own."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.blocks = torch.nn.ModuleDict(
            {f'block{i}': pyg.GraphSAGE(IN, 6, 2, IN, norm='batch_norm') for i in range(depth)}
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for block in self.blocks.values():
            x = x + block(x, edge_index).tanh()
        return x


class Interleaved(Convs):
    """The second layer's input mixes the outputs of the first and an MLP of the input."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth, pyg.GraphConv)
        self.side = Linear(IN, IN)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        side = self.side(x)
        for conv in self.convs:
            x = torch.where(side > 0, conv(x, edge_index, edge_weight).tanh(), side)
        return self.lin(x)


class Normalised(Convs):
    """Rows of unit length, and log-probabilities at the end."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = F.normalize(conv(x, edge_index), dim=-1)
        return self.lin(x).log_softmax(dim=-1)


class TableByNode(Convs):
    """A learned embedding for each node, looked up with ``n_id``, which the data holds."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth)
        self.table = torch.nn.Embedding(9, IN)

    def forward(self, z: Tensor, edge_index: Tensor) -> Tensor:
        x = self.table(z)
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
        return self.lin(x)


def sequential(depth: int) -> Module:
    """PyG's ``Sequential``."""
    layers: list[Any] = []
    for _ in range(depth - 1):
        layers += [(pyg.GCNConv(IN, IN), 'x, edge_index -> x'), torch.nn.ReLU(inplace=True)]
    layers += [(pyg.SAGEConv(IN, OUT), 'x, edge_index -> x'), Linear(OUT, OUT)]
    return pyg.Sequential('x, edge_index', layers)


def sequential_with_jumps(depth: int) -> Module:
    """PyG's ``Sequential`` with edge weights and a list of all layers' outputs."""
    names = [f'x{i}' for i in range(1, depth + 1)]
    layers: list[Any] = []
    for before, after in zip(['x', *names], names, strict=False):
        layers.append((pyg.GCNConv(IN, IN), f'{before}, edge_index, edge_weight -> {after}'))
    layers += [
        (lambda *xs: list(xs), f'{", ".join(names)} -> xs'),
        (pyg.JumpingKnowledge('cat', IN, depth), 'xs -> x'),
        Linear(depth * IN, OUT),
    ]
    return pyg.Sequential('x, edge_index, edge_weight', layers)


class ToConvert(Module):
    """A homogeneous model for ``to_hetero``."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.convs = ModuleList([pyg.SAGEConv((-1, -1), 6) for _ in range(depth)])
        self.lin = Linear(6, OUT)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).relu()
        return self.lin(x)


def converted(depth: int) -> Module:
    """A model made heterogeneous, its lazy layers initialised."""
    from ..graphs import hetero_graph

    data = hetero_graph()
    model = pyg.to_hetero(ToConvert(depth), (['paper', 'author'], RELATIONS), debug=False)
    with torch.no_grad():
        model.double()(data.x_dict, data.edge_index_dict)
    return model


def compositions() -> dict[str, Options]:
    """Options of each module."""
    edges = ('x', 'edge_index')
    weighted = (*edges, 'edge_weight')
    return {
        'Residual connections': {
            'SAGE': of(Residual),
            'GCN': of(Residual, pyg.GCNConv),
            'GAT': of(Residual, pyg.GATConv),
        },
        'Skip connections of any reach': {'SAGE': of(FarSkip), 'GCN': of(FarSkip, pyg.GCNConv)},
        'Norms and dropout between layers': {
            'BatchNorm': of(Normed, BatchNorm1d),
            'BatchNorm of PyG': of(Normed, pyg.BatchNorm),
            'LayerNorm': of(Normed, LayerNorm),
            'LayerNorm of PyG, graph': of(Normed, pyg.LayerNorm),
            'GraphNorm': of(Normed, pyg.GraphNorm),
            'BatchNorm without running statistics': of(
                Normed, lambda c: BatchNorm1d(c, track_running_stats=False)
            ),
            'of the input': of(NormedInput),
        },
        'One operator in every layer': {
            'SAGE': of(Shared, pyg.SAGEConv),
            'GCN': of(Shared, pyg.GCNConv),
            'GAT': of(Shared, pyg.GATConv),
            'TAG': of(Shared, pyg.TAGConv),
        },
        'Two operators side by side': {'GCN and GAT': of(Branches)},
        'Checkpointed gradients': {'SAGE': of(Checkpointed)},
        'Output and regularisation term': {'SAGE': of(WithExtras)},
        'Models within a model': {'GraphSAGE blocks': of(Blocks)},
        'Values chosen row by row': {'GraphConv': of(Interleaved)},
        'Rows of unit length, log_softmax': {'GCN': of(Normalised, pyg.GCNConv)},
        'Embedding of an integer feature': {'SAGE': of(TableByNode)},
        'Sequential': {
            'GCN, SAGE': Recipe(sequential, edges, inputs=None),
            'jumping knowledge, edge weights': Recipe(sequential_with_jumps, weighted),
        },
        'to_hetero': {'SAGE': Recipe(converted, ('x', 'edge_index'), 'hetero')},
    }
