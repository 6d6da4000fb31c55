"""The check of a conversion finds modules that would compute something else, and says where."""

import re
import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Linear, Module
from torch_geometric.nn import (
    ChebConv,
    DirGNNConv,
    GCNConv,
    GPSConv,
    GraphNorm,
    HypergraphConv,
    InstanceNorm,
    LayerNorm,
    MeanSubtractionNorm,
    MessagePassing,
    PairNorm,
    PDNConv,
    SAGEConv,
    global_mean_pool,
)
from torch_geometric.utils import add_self_loops, degree, get_laplacian, to_dense_adj

from torch_geometric_autoscale import VerificationError

from .oracle import check, convert, graph, seeded, sweep

D = 4


class Two(Module):
    """Two layers with something in between; subclasses say what."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

    def between(self, h: Tensor, edge_index: Tensor) -> Tensor:
        return h

    def forward(self, x, edge_index):
        return self.last(self.between(self.first(x, edge_index), edge_index), edge_index)


class MeanOverNodes(Two):
    def between(self, h, edge_index):
        return h - h.mean(dim=0)


class BroadcastPool(Two):
    def between(self, h, edge_index):
        pooled = global_mean_pool(h, torch.zeros(h.size(0), dtype=torch.long))
        return h + pooled


class NumberOfNodes(Two):
    def between(self, h, edge_index):
        return h / h.size(0)


class NumberOfEdges(Two):
    def between(self, h, edge_index):
        return h / edge_index.size(1)


class SoftmaxOverNodes(Two):
    def between(self, h, edge_index):
        return h * torch.softmax(h[:, :1], dim=0)


class Sorts(Two):
    def between(self, h, edge_index):
        return h.sort(dim=0)[0]


class Shifts(Two):
    """Reads the row of another node."""

    def between(self, h, edge_index):
        return h + h.roll(1, dims=0)


class SourceDegrees(Two):
    def between(self, h, edge_index):
        return h / degree(edge_index[0], h.size(0), h.dtype).clamp(min=1).view(-1, 1)


class TargetDegreesOfSources(MessagePassing):
    """PyG's tutorial of a GCN: counts in-degrees, and reads those of sources."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(aggr='add')
        self.lin = Linear(i, o)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        edge_index, _ = add_self_loops(edge_index, num_nodes=x.size(0))
        source, target = edge_index
        scale = degree(target, x.size(0), x.dtype).pow(-0.5)
        norm = scale[source] * scale[target]
        return self.propagate(edge_index, x=self.lin(x), norm=norm)

    def message(self, x_j: Tensor, norm: Tensor) -> Tensor:
        return norm.view(-1, 1) * x_j


class TutorialGCN(Two):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = TargetDegreesOfSources(D, 6), TargetDegreesOfSources(6, 3)


class OneTutorialLayer(Module):
    """No boundary at all: only the output can tell."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = TargetDegreesOfSources(D, 3)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index)


class Laplacian(Two):
    def between(self, h, edge_index):
        index, weight = get_laplacian(edge_index, normalization='sym', num_nodes=h.size(0))
        return torch.zeros_like(h).index_add(0, index[1], weight.view(-1, 1) * h[index[0]])


class Dense(Two):
    """Squares the adjacency: reads nodes two steps away."""

    def between(self, h, edge_index):
        adj = to_dense_adj(edge_index, max_num_nodes=h.size(0))[0].to(h.dtype).t()
        return adj @ (adj @ h)


class TwoHops(Two):
    """Aggregates twice with the same indices, gathered before."""

    def between(self, h, edge_index):
        source, target = edge_index
        once = torch.zeros_like(h).index_add(0, target, h[source])
        return torch.zeros_like(h).index_add(0, source, once[target])


class Counter(Two):
    """Does something else on every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def between(self, h, edge_index):
        self.calls += 1
        return h * self.calls


class RandomInEval(Two):
    def between(self, h, edge_index):
        return F.dropout(h, 0.5)


class NoiseInEval(Two):
    def between(self, h, edge_index):
        return h + torch.randn_like(h)


class BatchStatistics(Two):
    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(6, track_running_stats=False)

    def between(self, h, edge_index):
        return self.norm(h)


class FunctionalBatchNorm(Two):
    def between(self, h, edge_index):
        return F.batch_norm(h, None, None, training=True)


class Keeps(Two):
    """Keeps what it computed first, for a graph of that size."""

    kept = None

    def between(self, h, edge_index):
        if self.kept is None:
            self.kept = h.detach()
        return h + self.kept[: h.size(0)]


class DetachesHalo(Two):
    """Its gradients depend on which rows are at hand."""

    def between(self, h, edge_index):
        half = h.size(0) // 2
        return torch.cat([h[:half].detach(), h[half:]])


def refused(module: Module, data=None, match: str | None = None, **kwargs) -> Exception:
    with pytest.raises(ValueError, match=match) as caught:
        convert(module, graph() if data is None else data, **kwargs)
    return caught.value


WRONG = [
    MeanOverNodes, BroadcastPool, NumberOfNodes, NumberOfEdges, SoftmaxOverNodes, Sorts, Shifts,
    TutorialGCN, Dense, Counter, FunctionalBatchNorm, Keeps, DetachesHalo,
]  # fmt: skip


@pytest.mark.parametrize('kind', WRONG)
def test_what_batches_cannot_compute_is_refused(kind):
    refused(seeded(kind))


@pytest.mark.parametrize('kind', [MeanOverNodes, NumberOfNodes, TutorialGCN, DetachesHalo])
def test_it_is_refused_on_a_large_graph_as_well(kind):
    data = large()
    refused(seeded(kind), data, partition=torch.arange(data.num_nodes) * 7 % 4)


def large(num_nodes: int = 3000):
    rng = torch.Generator().manual_seed(0)
    data = graph()
    edges = torch.randint(0, num_nodes, (2, 4 * num_nodes), generator=rng)
    near = torch.stack([torch.arange(num_nodes - 1), torch.arange(1, num_nodes)])
    data.edge_index = torch.cat([edges[:, : num_nodes // 2], near, near.flip(0)], dim=1)
    data.x = torch.randn(num_nodes, D, generator=rng, dtype=torch.float64)
    data.y = torch.zeros(num_nodes, dtype=torch.long)
    data.num_nodes = num_nodes
    return data


def test_an_error_names_the_module_the_place_and_its_size():
    error = refused(seeded(MeanOverNodes))
    assert isinstance(error, VerificationError)
    pattern = (
        r'MeanOverNodes: on a batch it must compute what it computes on the whole graph \(got a '
        r"relative error of \d\.\de[+-]\d\d at the output \(what came before, SAGEConv 'first', "
        r'was right\)\)\. '
    )
    assert re.match(pattern, str(error)), error


def test_an_error_at_a_boundary_names_the_operator():
    class Three(Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = TargetDegreesOfSources(D, 6), SAGEConv(6, 3)

        def forward(self, x, edge_index):
            return self.last(self.first(x, edge_index), edge_index)

    refused(seeded(Three), match="at TargetDegreesOfSources 'first'")


def test_a_single_layer_is_checked_at_its_output():
    refused(seeded(OneTutorialLayer), match='at the output')


def test_gradients_are_checked():
    refused(seeded(DetachesHalo), match=r"gradients must be those .* at parameter '(first|last)\.")


@pytest.mark.parametrize('kind', [RandomInEval, NoiseInEval])
def test_random_output_in_eval_mode_is_refused(kind):
    refused(seeded(kind), match='in eval mode the output must not be random')


@pytest.mark.parametrize(
    ('norm', 'name'),
    [
        (lambda: GraphNorm(6), 'GraphNorm'),
        (lambda: PairNorm(), 'PairNorm'),
        (lambda: InstanceNorm(6), 'InstanceNorm'),
        (lambda: MeanSubtractionNorm(), 'MeanSubtractionNorm'),
        (lambda: LayerNorm(6), r"LayerNorm\(mode='graph'\)"),
        (lambda: torch.nn.BatchNorm1d(6, track_running_stats=False), 'BatchNorm1d'),
    ],
)  # fmt: skip
def test_norms_over_the_whole_graph_are_refused_by_name(norm, name):
    class Normed(Two):
        def __init__(self) -> None:
            super().__init__()
            self.norm = norm()

        def between(self, h, edge_index):
            return self.norm(h)

    refused(seeded(Normed), match=name, verify=False)


class Layers(Module):
    def __init__(self, first: Module, last: Module) -> None:
        super().__init__()
        self.first, self.last = first, last

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index).relu(), edge_index)


def test_operators_whose_attention_spans_the_graph_are_refused_by_name():
    module = seeded(lambda: Layers(GPSConv(D, SAGEConv(D, D)), SAGEConv(D, 3)))
    refused(module, match='GPSConv .*whose attention spans the whole graph', verify=False)


def test_hyperedges_that_are_no_nodes_are_refused():
    refused(seeded(lambda: Layers(HypergraphConv(D, 6), SAGEConv(6, 3))))


class EdgeFeatured(Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = PDNConv(D, 6, edge_dim=2, hidden_channels=4)
        self.last = PDNConv(6, 3, edge_dim=2, hidden_channels=4)

    def forward(self, x, edge_index, edge_attr):
        return self.last(self.first(x, edge_index, edge_attr).relu(), edge_index, edge_attr)


def test_learned_edge_weights_that_are_normalised_over_the_graph_are_refused():
    refused(seeded(EdgeFeatured), graph(attr=2), match='PDNConv|gcn_norm')


@pytest.mark.parametrize(
    'make',
    [
        lambda: Layers(SAGEConv(D, 6, flow='target_to_source'), SAGEConv(6, 3)),
        lambda: Layers(DirGNNConv(SAGEConv(D, 6)), DirGNNConv(SAGEConv(6, 3))),
        lambda: Layers(ChebConv(D, 6, K=3), ChebConv(6, 3, K=3)),
    ],
    ids=['flow', 'DirGNNConv', 'ChebConv'],
)
def test_operators_that_read_more_than_edges_into_a_node_are_given_it_and_exact(make):
    check(seeded(make), graph())


class Reverses(Two):
    def forward(self, x, edge_index):
        h = self.first(x, edge_index.flip(0)).relu()
        return self.last(h, edge_index)


@pytest.mark.parametrize('kind', [SourceDegrees, Laplacian, TwoHops, Reverses])
def test_modules_that_read_edges_out_of_nodes_themselves_are_given_them_and_exact(kind):
    check(seeded(kind), graph(), part_gradients=False)


def test_the_check_can_be_left_out_and_nothing_crashes():
    gas = convert(seeded(MeanOverNodes), graph(), verify=False)
    assert sweep(gas).shape == (20, 3)
    assert gas.inference().shape == (20, 3)


def test_the_check_leaves_attributes_of_the_module_alone():
    module = seeded(Counter)
    refused(module)
    assert module.calls == 0
    module = seeded(Keeps)
    refused(module)
    assert module.kept is None


class Clean(Two):
    """Refused by nobody: batch statistics in training are what batches are."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(6)

    def between(self, h, edge_index):
        return F.dropout(self.norm(h), 0.5, self.training)


def test_dropout_and_batch_norm_in_training_are_no_reason_to_refuse():
    convert(seeded(Clean), graph())


class ScaledInTraining(Clean):
    def between(self, h, edge_index):
        h = super().between(h, edge_index)
        return h / h.norm(dim=0) if self.training else h


def test_code_that_runs_in_training_only_is_checked_beside_batch_norm():
    refused(seeded(ScaledInTraining), match='on a batch it must compute')


class Counts(torch.nn.BatchNorm1d):
    """Calls one function more in training."""

    def forward(self, input):
        if self.training:
            torch.zeros(1).index_add(0, torch.zeros(1, dtype=torch.long), torch.ones(1))
        return super().forward(input)


class SumsByHand(Two):
    def __init__(self) -> None:
        super().__init__()
        self.norm = Counts(6)

    def between(self, h, edge_index):
        h = self.norm(h)
        return torch.zeros_like(h).index_add(0, edge_index[1], h[edge_index[0]])


def test_batch_norm_may_call_other_functions_in_training():
    gas = convert(seeded(SumsByHand), graph())
    assert [str(b) for b in gas.boundaries] == ["SAGEConv 'first'", "function 'index_add'"]


def test_weights_of_zero_do_not_hide_an_error():
    module = seeded(TutorialGCN)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1e-3)
    refused(module)


def test_an_error_in_a_module_on_float_only_weights_is_found_in_single_precision():
    class Single(Two):
        def between(self, h, edge_index):
            return h + torch.ones(h.size(0), 6, dtype=torch.float32).to(h.dtype) * h.mean()

    data = graph()
    data.x = data.x.float()
    torch.manual_seed(0)
    with pytest.raises(VerificationError):
        convert(Single(), data)


def test_gcn_in_single_precision_passes_the_check():
    data = graph()
    data.x = data.x.float()
    torch.manual_seed(0)
    module = Layers(GCNConv(D, 6), GCNConv(6, 3))
    gas = convert(module, data)
    torch.testing.assert_close(
        gas.inference(), module.eval()(data.x, data.edge_index).detach(), rtol=1e-4, atol=1e-5
    )


def test_the_check_takes_a_moment_on_a_graph_of_100_000_nodes():
    data = large(100_000)
    partition = torch.arange(data.num_nodes) // 2000
    module = seeded(lambda: Layers(GCNConv(D, 64), GCNConv(64, 40)))
    seconds = {}
    for verify in (True, False):
        start = time.perf_counter()
        convert(module, data, partition=partition, verify=verify)
        seconds[verify] = time.perf_counter() - start
    print(f'with the check {seconds[True]:.2f} s, without {seconds[False]:.2f} s')
