"""The node-level models of ``torch_geometric.nn.models`` in their options."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleList
from torch_geometric import nn as pyg
from torch_geometric.nn import models
from torch_geometric.typing import OptTensor
from torch_geometric.utils import scatter

from ..graphs import CLASSES, NODES, RELATIONS
from ..graphs import EDGE_CHANNELS as E
from ..recipe import IN, OUT, Options, Recipe
from ..stacks import mlp
from .basic_gnns import EDGES, FEATURED, WEIGHTED, basic_gnns


class Deep(Module):
    """DeepGCN: an encoder, ``DeepGCNLayer``s, a decoder."""

    def __init__(self, depth: int, block: str, norm: Any, **kwargs: Any) -> None:
        super().__init__()
        self.encoder = Linear(IN, 6)
        widths = [6 * 2**i if block == 'dense' else 6 for i in range(depth + 1)]
        self.layers = ModuleList()
        for width in widths[:-1]:
            conv = pyg.GENConv(width, width, norm='layer')
            self.layers.append(
                pyg.DeepGCNLayer(conv, norm(width), torch.nn.ReLU(), block, **kwargs)
            )
        self.decoder = Linear(widths[-1], OUT)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.encoder(x)
        for layer in self.layers:
            x = layer(x, edge_index)
        return self.decoder(x)


def deep(block: str, norm: Any = torch.nn.LayerNorm, **kwargs: Any) -> Recipe:
    return Recipe(lambda depth: Deep(depth, block, norm, **kwargs))


class Jumps(Module):
    """``JumpingKnowledge`` over the outputs of different operators."""

    def __init__(self, depth: int, mode: str) -> None:
        super().__init__()
        kinds = [pyg.SAGEConv, pyg.GCNConv, pyg.GATConv]
        self.convs = ModuleList([kinds[i](IN, IN) for i in range(depth)])
        self.jump = pyg.JumpingKnowledge(mode, IN, depth)
        self.lin = Linear(IN * (depth if mode == 'cat' else 1), OUT)
        self.last = pyg.SAGEConv(OUT, OUT)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        seen = []
        for conv in self.convs:
            x = conv(x, edge_index).tanh()
            seen.append(x)
        return self.last(self.lin(self.jump(seen)), edge_index)


class HeteroJumps(Module):
    """``HeteroJumpingKnowledge`` over the layers of a heterogeneous model."""

    def __init__(self, depth: int, relations: list[Any]) -> None:
        super().__init__()
        self.convs = ModuleList(
            pyg.HeteroConv({r: pyg.SAGEConv((IN, IN), IN) for r in relations}) for _ in range(depth)
        )
        self.jump = pyg.HeteroJumpingKnowledge(['paper', 'author'], 'max')

    def forward(self, x_dict: dict[str, Tensor], edge_index_dict: Any) -> dict[str, Tensor]:
        seen: dict[str, list[Tensor]] = {key: [] for key in x_dict}
        for conv in self.convs:
            x_dict = {key: x.tanh() for key, x in conv(x_dict, edge_index_dict).items()}
            for key, x in x_dict.items():
                seen[key].append(x)
        return self.jump(seen)


class NodeModel(Module):
    """A node update of a user's own: a mean over incoming edges, without ``MessagePassing``."""

    def __init__(self) -> None:
        super().__init__()
        self.message, self.update = mlp(IN + E, 6), mlp(IN + 6, IN)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, u: Any, batch: Any
    ) -> Tensor:
        row, col = edge_index
        out = self.message(torch.cat([x[row], edge_attr], dim=1))
        out = scatter(out, col, dim=0, dim_size=x.size(0), reduce='mean')
        return self.update(torch.cat([x, out], dim=1))


class EdgeModel(Module):
    """An edge update of a user's own: edges keep a state from layer to layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp(2 * IN + E, E)

    def forward(self, src: Tensor, dst: Tensor, edge_attr: Tensor, u: Any, batch: Any) -> Tensor:
        return self.net(torch.cat([src, dst, edge_attr], dim=1))


class Meta(Module):
    def __init__(self, depth: int, edges: bool) -> None:
        super().__init__()
        self.layers = ModuleList(
            pyg.MetaLayer(EdgeModel() if edges else None, NodeModel()) for _ in range(depth)
        )

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        for layer in self.layers:
            x, edge_attr, _ = layer(x, edge_index, edge_attr)
        return x


class Infomax(Module):
    """``DeepGraphInfomax`` with a corruption that is the same on every run."""

    def __init__(self, depth: int, scores: bool) -> None:
        super().__init__()
        self.scores = scores
        self.infomax = pyg.DeepGraphInfomax(
            6,
            pyg.GraphSAGE(IN, 6, depth, 6),
            summary=lambda z, *_: z.mean(dim=0).sigmoid(),
            corruption=lambda x, edge_index: (x.flip(0), edge_index),
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        found, _, summary = self.infomax(x, edge_index)
        return found * (self.infomax.weight @ summary) if self.scores else found


class Embeddings(Module):
    """The embeddings of ``LightGCN``, one row a node."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.model = pyg.LightGCN(NODES, 6, depth)

    def forward(self, edge_index: Tensor, edge_weight: OptTensor = None) -> Tensor:
        return self.model.get_embedding(edge_index, edge_weight)


class Masked(Module):
    """Labels of some nodes are added to, or put beside, the input of a GNN."""

    def __init__(self, depth: int, method: str) -> None:
        super().__init__()
        self.mask_label = pyg.MaskLabel(CLASSES, IN, method)
        self.gnn = pyg.GraphSAGE(IN * (1 if method == 'add' else 2), 6, depth, OUT)

    def forward(self, x: Tensor, edge_index: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        return self.gnn(self.mask_label(x, y, mask), edge_index)


class SoftLabels(Module):
    """Label propagation of probabilities."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.propagation = pyg.LabelPropagation(depth, 0.7)

    def forward(
        self, x: Tensor, edge_index: Tensor, mask: Tensor, edge_weight: OptTensor = None
    ) -> Tensor:
        weight = None if edge_weight is None else edge_weight / 20
        return self.propagation(x.sigmoid(), edge_index, mask, weight)


class Corrected(Module):
    """``CorrectAndSmooth`` after an MLP."""

    def __init__(self, depth: int, autoscale: bool) -> None:
        super().__init__()
        self.lin = Linear(IN, CLASSES)
        self.post = pyg.CorrectAndSmooth(depth, 0.8, depth, 0.6, autoscale)

    def forward(self, x: Tensor, edge_index: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        soft = self.lin(x).softmax(dim=-1)
        weight = torch.full_like(edge_index[0], 1, dtype=x.dtype) / 10
        return self.post(soft, y[mask], mask, edge_index, weight)


class Reversible(Module):
    """``GroupAddRev`` between two linear layers."""

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__()
        self.first, self.last = Linear(IN, 8), Linear(8, OUT)
        self.layers = ModuleList(
            pyg.GroupAddRev(pyg.SAGEConv(4, 4), num_groups=2, **kwargs) for _ in range(depth)
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            x = layer(x, edge_index)
        return self.last(x)


def polynormer(depth: int, whole_graph: bool = False, **kwargs: Any) -> Module:
    model = models.Polynormer(IN, 6, OUT, depth, 1, **{'heads': 2, **kwargs})
    model._global = whole_graph
    return model


def sgformer(depth: int, **kwargs: Any) -> Module:
    return models.SGFormer(IN, 6, OUT, 1, gnn_num_layers=depth, **kwargs)


def pmlp(depth: int, **kwargs: Any) -> Module:
    return pyg.PMLP(IN, 6, OUT, depth, **kwargs)


def others() -> dict[str, Options]:
    by_graph = (*EDGES, 'batch')
    labelled = (*EDGES, 'y', 'mask')
    points = ('z', 'pos', 'batch')
    return {
        'MLP': {'default': Recipe(lambda d: pyg.MLP([IN] + [6] * (d - 1) + [OUT]), ('x',))},
        'JumpingKnowledge': {
            mode: Recipe(partial(Jumps, mode=mode)) for mode in ('cat', 'max', 'lstm')
        },
        'HeteroJumpingKnowledge': {
            'max': Recipe(
                lambda d: HeteroJumps(d, RELATIONS), ('x_dict', 'edge_index_dict'), 'hetero'
            )
        },
        'DeepGCNLayer': {
            'res+': deep('res+'),
            'res': deep('res'),
            'dense': deep('dense'),
            'plain': deep('plain'),
            'res+, BatchNorm': deep('res+', torch.nn.BatchNorm1d),
            'res+, dropout': deep('res+', dropout=0.3),
            'res+, checkpointed gradients': deep('res+', ckpt_grad=True),
        },
        'MetaLayer': {
            'node model by scatter': Recipe(lambda d: Meta(d, False), FEATURED),
            'node and edge model by scatter': Recipe(lambda d: Meta(d, True), FEATURED),
        },
        'GAE': {
            'GCN': Recipe(lambda d: pyg.GAE(pyg.GCN(IN, 6, d, OUT)), EDGES, inputs=EDGES),
            'GAT, edge features': Recipe(
                lambda d: pyg.GAE(pyg.GAT(IN, 6, d, OUT, edge_dim=E)), FEATURED, inputs=FEATURED
            ),
        },
        'ARGA': {
            'SAGE': Recipe(
                lambda d: pyg.ARGA(pyg.GraphSAGE(IN, 6, d, OUT), mlp(OUT, 1)), EDGES, inputs=EDGES
            )
        },
        'DeepGraphInfomax': {
            'embeddings': Recipe(lambda d: Infomax(d, False)),
            'scores against the summary': Recipe(lambda d: Infomax(d, True)),
        },
        'SignedGCN': {
            'pos_edge_index and neg_edge_index': Recipe(
                lambda d: pyg.SignedGCN(IN, 8, d), ('x', 'pos_edge_index', 'neg_edge_index')
            )
        },
        'GraphUNet': {
            'default': Recipe(lambda d: pyg.GraphUNet(IN, 6, OUT, d), EDGES, 'simple'),
            'sum_res=False': Recipe(
                lambda d: pyg.GraphUNet(IN, 6, OUT, d, sum_res=False), EDGES, 'simple'
            ),
        },
        'LabelPropagation': {
            'labels': Recipe(lambda d: pyg.LabelPropagation(d, 0.7), ('y', 'edge_index', 'mask')),
            'probabilities': Recipe(SoftLabels, (*EDGES, 'mask'), dtype=torch.float32),
            'probabilities, edge weights': Recipe(SoftLabels, (*EDGES, 'mask', 'edge_weight')),
        },
        'CorrectAndSmooth': {
            'autoscale=False': Recipe(lambda d: Corrected(d, False), labelled),
            'autoscale': Recipe(lambda d: Corrected(d, True), labelled),
        },
        'MaskLabel': {
            'add': Recipe(lambda d: Masked(d, 'add'), labelled),
            'concat': Recipe(lambda d: Masked(d, 'concat'), labelled),
        },
        'RECT_L': {
            'default': Recipe(lambda _: pyg.RECT_L(IN, 6), EDGES, depths=(1,)),
            'edge weights': Recipe(lambda _: pyg.RECT_L(IN, 6), WEIGHTED, depths=(1,)),
            'normalize=False': Recipe(
                lambda _: pyg.RECT_L(IN, 6, normalize=False), EDGES, depths=(1,)
            ),
        },
        # It propagates once: no history takes part.
        'LINKX': {
            'default': Recipe(lambda _: pyg.LINKX(NODES, IN, 6, OUT, 2), depths=(1,)),
            'edge weights, deeper': Recipe(
                lambda _: pyg.LINKX(NODES, IN, 6, OUT, 2, 2, 2), WEIGHTED, depths=(1,)
            ),
        },
        'LightGCN': {
            'get_embedding': Recipe(Embeddings, ('edge_index',)),
            'get_embedding, edge weights': Recipe(Embeddings, ('edge_index', 'edge_weight')),
        },
        'GroupAddRev': {
            'disable': Recipe(lambda d: Reversible(d, disable=True)),
            'invertible': Recipe(Reversible),
        },
        'PMLP': {
            'norm=False': Recipe(lambda d: pmlp(d, norm=False)),
            'norm=False, dropout': Recipe(lambda d: pmlp(d, norm=False, dropout=0.5)),
            'default': Recipe(pmlp),
        },
        'Polynormer': {
            'local': Recipe(polynormer, by_graph),
            'local, attention': Recipe(lambda d: polynormer(d, local_attn=True), by_graph),
            'local, pre_ln, post_bn=False': Recipe(
                lambda d: polynormer(d, pre_ln=True, post_bn=False), by_graph
            ),
            'global': Recipe(lambda d: polynormer(d, whole_graph=True, heads=1), by_graph),
        },
        'SGFormer': {
            'default': Recipe(sgformer, by_graph, dtype=torch.float32),
            'aggregate=cat': Recipe(
                lambda d: sgformer(d, aggregate='cat'), by_graph, dtype=torch.float32
            ),
        },
        'AttentiveFP': {
            'default': Recipe(lambda d: pyg.AttentiveFP(IN, 6, OUT, E, d, 2), (*FEATURED, 'batch'))
        },
        'NeuralFingerprint': {
            'default': Recipe(lambda d: pyg.NeuralFingerprint(IN, 6, OUT, d), by_graph)
        },
        'SchNet': {'default': Recipe(lambda d: pyg.SchNet(6, 6, d, 5), points)},
        'DimeNet': {'default': Recipe(lambda d: pyg.DimeNet(6, 1, d, 2, 3, 3), points)},
        'DimeNetPlusPlus': {
            'default': Recipe(lambda d: pyg.DimeNetPlusPlus(6, 1, d, 4, 4, 6, 3, 3), points)
        },
        'GNNFF': {'default': Recipe(lambda d: pyg.GNNFF(6, 6, d), points)},
        'ViSNet': {
            'default': Recipe(
                lambda d: models.ViSNet(num_heads=2, num_layers=d, hidden_channels=8, num_rbf=4),
                points,
            )
        },
    }


def node_models() -> dict[str, Options]:
    """Options of each model."""
    return {**basic_gnns(), **others()}
