"""What is taken over all nodes is refused, however dense the graph, by how a piece is cut."""

import pytest
import torch
from torch import Tensor
from torch.nn import Linear, Module
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import GraphSAGE, SAGEConv, to_hetero
from torch_geometric.utils import degree, to_undirected

from torch_geometric_autoscale import VerificationError, autoscale
from torch_geometric_autoscale.conversion.parts import cut_into_parts

D = 4


def cliques(count: int = 40, size: int = 50) -> Tensor:
    nodes = torch.arange(count * size).view(count, size)
    ends = [nodes.repeat_interleave(size, 1).view(-1), nodes.repeat(1, size).view(-1)]
    edge_index = torch.stack(ends)
    return edge_index[:, edge_index[0] != edge_index[1]]


def blocks(size: int = 60, count: int = 20) -> Tensor:
    """Each node has about 18 neighbours, most of them in its block."""
    rng = torch.Generator().manual_seed(0)
    inside = [(torch.rand(size, size, generator=rng) < 0.15).nonzero().t() for _ in range(count)]
    across = torch.randint(0, size * count, (2, size * count), generator=rng)
    shifted = [edges + size * block for block, edges in enumerate(inside)]
    return to_undirected(torch.cat([*shifted, across], dim=1))


def tree(num_nodes: int = 1000) -> Tensor:
    """Preferential attachment: a few nodes have very many neighbours, most have one."""
    rng = torch.Generator().manual_seed(0)
    ends, edges = [0, 1], [(0, 1)]
    for node in range(2, num_nodes):
        other = ends[int(torch.randint(0, len(ends), (1,), generator=rng))]
        edges.append((node, other))
        ends += [node, other]
    return to_undirected(torch.tensor(edges).t())


def chance(num_nodes: int = 1000) -> Tensor:
    return torch.randint(0, num_nodes, (2, 8 * num_nodes), generator=torch.Generator())


class Layers(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last, self.node = SAGEConv(D, 6), SAGEConv(6, 3), Linear(D, D)

    def before(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return x

    def between(self, h: Tensor) -> Tensor:
        return h

    def forward(self, x, edge_index):
        h = self.first(self.before(x, edge_index), edge_index).relu()
        return self.last(self.between(h), edge_index)


class Centred(Layers):
    def between(self, h):
        return h - h.mean(0)


class VirtualNode(Layers):
    def before(self, x, edge_index):
        return x + self.node(x.mean(0, keepdim=True))


class OfLargestValue(Layers):
    def before(self, x, edge_index):
        return x / x.abs().max()


class OfLargestDegree(Layers):
    def before(self, x, edge_index):
        deg = degree(edge_index[1], x.size(0), x.dtype)
        return x * (deg / deg.max()).view(-1, 1)


def data_of(edge_index: Tensor) -> Data:
    num_nodes = int(edge_index.max()) + 1
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(num_nodes, D, generator=rng, dtype=torch.float64) + 1
    return Data(x=x, edge_index=edge_index)


def convert(kind, edge_index: Tensor):
    data = data_of(edge_index)
    torch.manual_seed(0)
    part = torch.arange(data.x.size(0)) * 8 // data.x.size(0)
    return autoscale(kind().double().eval(), data, partition=part)


@pytest.mark.parametrize(
    ('kind', 'make'),
    [
        (Centred, cliques), (VirtualNode, cliques), (OfLargestValue, cliques),
        (OfLargestValue, blocks), (OfLargestDegree, tree), (OfLargestDegree, chance),
    ],
)  # fmt: skip
def test_what_is_taken_over_all_nodes_is_refused_on_dense_and_on_sparse_graphs(kind, make):
    with pytest.raises(VerificationError, match='on a batch it must compute'):
        convert(kind, make())


@pytest.mark.parametrize('make', [cliques, blocks, tree, chance])
def test_a_module_that_reads_neighbours_alone_is_accepted_on_them(make):
    convert(Layers, make())


class HeteroLayers(Module):
    def __init__(self, metadata, centred: bool) -> None:
        super().__init__()
        self.gnn = to_hetero(GraphSAGE(D, 6, 1, 6), metadata)
        self.last = to_hetero(GraphSAGE(6, 6, 1, 3), metadata)
        self.centred = centred

    def forward(self, x_dict, edge_index_dict):
        h = self.gnn(x_dict, edge_index_dict)
        h = {node_type: rows.relu() for node_type, rows in h.items()}
        if self.centred:
            h = {node_type: rows - rows.mean(0) for node_type, rows in h.items()}
        return self.last(h, edge_index_dict)


def test_several_node_types_are_cut_alike():
    data = HeteroData()
    rng = torch.Generator().manual_seed(0)
    for node_type, count in (('a', 1000), ('b', 500)):
        data[node_type].x = torch.randn(count, D, generator=rng, dtype=torch.float64) + 1
    near = cliques(20, 50)
    data['a', 'near', 'a'].edge_index = near
    within = torch.stack([near[0], near[1] // 2])
    data['a', 'in', 'b'].edge_index = within
    data['b', 'of', 'a'].edge_index = within.flip(0)
    part = torch.cat([torch.arange(1000) // 250, torch.arange(500) // 125])
    torch.manual_seed(0)
    autoscale(HeteroLayers(data.metadata(), False).double(), data, partition=part)
    with pytest.raises(VerificationError, match='on a batch it must compute'):
        autoscale(HeteroLayers(data.metadata(), True).double(), data, partition=part)


def neighbours(edge_index: Tensor, nodes: Tensor) -> set[int]:
    into, out = torch.isin(edge_index[1], nodes), torch.isin(edge_index[0], nodes)
    return {*edge_index[0, into].tolist(), *edge_index[1, out].tolist()} - {*nodes.tolist()}


def parts_of(edge_index: Tensor, kind: Tensor) -> list[Tensor]:
    perm, ptr = cut_into_parts(edge_index, kind)
    assert perm.sort()[0].tolist() == list(range(kind.numel()))
    assert ptr[0] == 0
    return [perm[a:b] for a, b in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)]


def test_tiny_parts_hold_nodes_that_hear_from_few_and_stay_away_from_hubs():
    ring = torch.stack([torch.arange(20), (torch.arange(20) + 1) % 20])
    hub = torch.stack([torch.arange(20, 35), torch.full((15,), 35)])
    parts = parts_of(torch.cat([ring, hub], dim=1), torch.zeros(38, dtype=torch.long))
    assert [part.numel() for part in parts] == [9, 9, 10, 2, 2, 2, 2, 2]
    for part in parts[3:]:
        assert int(part.max()) < 20


def test_nodes_without_an_edge_into_them_are_in_large_parts():
    edge_index = torch.tensor([[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]])
    parts = parts_of(edge_index, torch.zeros(12, dtype=torch.long))
    assert [part.numel() for part in parts] == [2, 3, 3, 2, 2]
    assert all(6 <= node <= 11 for part in parts[3:] for node in part.tolist())


def test_tiny_parts_hold_two_nodes_of_every_type_that_has_six():
    kind = torch.tensor([0] * 20 + [1] * 12 + [2] * 3)
    parts = parts_of(torch.randint(0, 35, (2, 80), generator=torch.Generator()), kind)
    assert [kind[part].tolist() for part in parts[3:]] == [[0, 0, 1, 1]] * 2


@pytest.mark.parametrize('num_nodes', [1, 3, 5])
def test_very_small_pieces_have_no_tiny_parts(num_nodes):
    edge_index = torch.zeros(2, 0, dtype=torch.long)
    parts = parts_of(edge_index, torch.zeros(num_nodes, dtype=torch.long))
    assert [part.numel() > 0 for part in parts] == [True] * min(num_nodes, 3)
