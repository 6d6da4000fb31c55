"""Where boundaries are put: as few and as narrow as can be, right behind what is propagated."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleList, Parameter
from torch_geometric.nn import (
    APPNP,
    GAT,
    GCN,
    ARMAConv,
    ChebConv,
    GATConv,
    GCNConv,
    GraphConv,
    GraphSAGE,
    MixHopConv,
    SAGEConv,
    Sequential,
    SGConv,
    TAGConv,
)

from .oracle import check, convert, graph, seeded

D = 4


def found(make, data=None, **kwargs) -> list[tuple[str, int]]:
    """Name and width of each boundary, in the order of the forward."""
    gas = convert(seeded(make), graph() if data is None else data, **kwargs)
    assert [(h.num_embeddings, h.embedding_dim) for h in gas.histories] == [
        (20, b.width) for b in gas.boundaries
    ]
    return [(str(b), b.width) for b in gas.boundaries]


@pytest.mark.parametrize(
    ('make', 'expected'),
    [
        (lambda: GCN(D, 8, 1, 3), []),
        (lambda: GCN(D, 8, 2, 3), [("GCNConv 'convs.0'", 8)]),
        (lambda: GCN(D, 8, 4, 3), [("GCNConv 'convs.0'", 8), ("GCNConv 'convs.1'", 8),
                                   ("GCNConv 'convs.2'", 8)]),
        (lambda: GraphSAGE(D, 8, 2, 3, jk='cat'), [("SAGEConv 'convs.0'", 8)]),
        (lambda: GAT(D, 8, 2, 3, heads=4), [("GATConv 'convs.0'", 8)]),
        (lambda: GCNConv(D, 3), []),
        (lambda: GATConv(D, 3, heads=2), []),
        (lambda: APPNP(K=1, alpha=0.1), []),
        (lambda: SGConv(D, 3, K=1), []),
        (lambda: APPNP(K=3, alpha=0.1), [("propagation inside APPNP '', call 1", D),
                                         ("propagation inside APPNP '', call 2", D)]),
        (lambda: SGConv(D, 3, K=2), [("propagation inside SGConv '', call 1", D)]),
        (lambda: TAGConv(D, 3, K=2), [("propagation inside TAGConv '', call 1", D)]),
        (lambda: ChebConv(D, 3, K=3), [("propagation inside ChebConv '', call 1", D)]),
        (lambda: ChebConv(D, 3, K=2), []),
        (lambda: ARMAConv(D, 3, num_stacks=2, num_layers=2),
         [("propagation inside ARMAConv '', call 1", 6)]),
        (lambda: MixHopConv(D, 3, powers=[0, 1, 2]),
         [("propagation inside MixHopConv '', call 1", D)]),
    ],
    ids=['GCN-1', 'GCN-2', 'GCN-4', 'SAGE-jk', 'GAT', 'GCNConv', 'GATConv', 'APPNP-1', 'SGC-1',
         'APPNP-3', 'SGC-2', 'TAG-2', 'Cheb-3', 'Cheb-2', 'ARMA', 'MixHop'],
)  # fmt: skip
def test_boundaries_of_models_of_pyg(make, expected):
    assert found(make) == expected


def test_sequential_names_its_modules():
    assert found(lambda: Sequential('x, edge_index', [
        (TAGConv(D, 5, K=2), 'x, edge_index -> x'), torch.nn.ReLU(),
        (GATConv(5, 6, heads=2), 'x, edge_index -> x'), torch.nn.ReLU(),
        (SAGEConv(12, 3), 'x, edge_index -> x'), Linear(3, 2),
    ])) == [
        ("propagation inside TAGConv 'module_0', call 1", D),
        ("TAGConv 'module_0'", 5),
        ("GATConv 'module_2'", 12),
    ]  # fmt: skip


class Relations(Module):
    """One operator for each relation, summed: what ``HeteroConv`` does on one node type."""

    def __init__(self, num_relations: int, join) -> None:
        super().__init__()
        self.first = ModuleList([GraphConv(D, 6) for _ in range(num_relations)])
        self.last = ModuleList([GraphConv(6, 3) for _ in range(num_relations)])
        self.join = join

    def forward(self, x, edge_index):
        x = self.join([conv(x, edge_index) for conv in self.first]).relu()
        return self.join([conv(x, edge_index) for conv in self.last])


@pytest.mark.parametrize('join', [
    sum, lambda outs: torch.stack(outs).sum(dim=0), lambda outs: torch.stack(outs, dim=1).mean(1),
    lambda outs: torch.stack(outs, dim=-1).amax(dim=-1),
], ids=['sum', 'stack', 'mean', 'max'])  # fmt: skip
def test_a_sum_over_relations_has_one_boundary_for_a_layer(join):
    gas = check(seeded(lambda: Relations(4, join)), graph())
    assert [b.width for b in gas.boundaries] == [6]


def test_concatenated_relations_keep_a_boundary_each():
    class Wide(Relations):
        def __init__(self) -> None:
            super().__init__(2, lambda outs: torch.cat(outs, dim=-1))
            self.last = ModuleList([GraphConv(12, 3) for _ in range(2)])

    assert found(Wide) == [("GraphConv 'first.0'", 6), ("GraphConv 'first.1'", 6)]


class Unread(Module):
    """One of two branches is never propagated again."""

    def __init__(self) -> None:
        super().__init__()
        self.side, self.first, self.last = SAGEConv(D, 3), SAGEConv(D, 6), SAGEConv(6, 3)

    def forward(self, x, edge_index):
        side = self.side(x, edge_index)
        return self.last(self.first(x, edge_index).relu(), edge_index) + side


def test_what_no_propagation_reads_has_no_history():
    assert found(Unread) == [("SAGEConv 'first'", 6)]
    check(seeded(Unread), graph())


class OnlyTargets(Module):
    """A wide operator, narrowed by a linear layer before it is propagated."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.lin, self.last = SAGEConv(D, 16), Linear(16, 2), SAGEConv(2, 3)

    def forward(self, x, edge_index):
        return self.last(self.lin(self.first(x, edge_index)).relu(), edge_index)


def test_the_boundary_is_the_operators_output_not_what_is_made_of_it():
    assert found(OnlyTargets) == [("SAGEConv 'first'", 16)]


class ReadTwice(Module):
    """Two operators read one output."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.one, self.other = SAGEConv(D, 6), SAGEConv(6, 3), GCNConv(6, 3)

    def forward(self, x, edge_index):
        h = self.first(x, edge_index).relu()
        return self.one(h, edge_index) + self.other(h.tanh(), edge_index)


def test_an_output_that_two_operators_read_has_one_history():
    assert found(ReadTwice) == [("SAGEConv 'first'", 6)]
    check(seeded(ReadTwice), graph())


class Shared(Module):
    """The same operator under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.one = GCNConv(D, D)
        self.other = self.one

    def forward(self, x, edge_index):
        return self.other(self.one(x, edge_index).relu(), edge_index)


def test_an_operator_under_two_names_goes_by_its_first():
    gas = check(seeded(Shared), graph())
    assert [str(b) for b in gas.boundaries] == ["GCNConv 'one'"]


class Gate(Module):
    """Its first propagation is read through a softmax over channels only."""

    def __init__(self) -> None:
        super().__init__()
        self.score, self.last = SAGEConv(D, 1), SAGEConv(D, 3)
        self.scale = Parameter(torch.ones(1))

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        gate = self.score(x, edge_index).sigmoid() * self.scale
        return self.last(x * gate, edge_index)


def test_a_narrow_gate_needs_a_narrow_history_only():
    assert found(Gate) == [("SAGEConv 'score'", 1)]
    check(seeded(Gate), graph())


class Normalised(Module):
    """Divides by in-degrees that it counts itself: every batch has them in full."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

    def forward(self, x, edge_index):
        ones = torch.ones(edge_index.size(1), dtype=x.dtype)
        degree = torch.zeros(x.size(0), dtype=x.dtype).index_add(0, edge_index[1], ones)
        h = self.first(x, edge_index) / degree.clamp(min=1).view(-1, 1)
        return self.last(h.relu(), edge_index)


def test_degrees_that_a_module_counts_are_right_for_halo_nodes_as_well():
    check(seeded(Normalised), graph(), part_gradients=False)


def test_the_widths_of_a_model_are_those_of_its_layers():
    class Narrowing(Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [D, 12, 7, 2, 3]
            pairs = pairwise(widths)
            self.convs = ModuleList([SAGEConv(i, o) for i, o in pairs])

        def forward(self, x, edge_index):
            for conv in self.convs[:-1]:
                x = conv(x, edge_index).tanh()
            return self.convs[-1](x, edge_index)

    gas = check(seeded(Narrowing), graph())
    assert [history.embedding_dim for history in gas.histories] == [12, 7, 2]
