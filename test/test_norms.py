"""On a batch, batch normalisation sees batch rows only; what spans the graph is refused by name."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch_geometric import nn as pyg

from torch_geometric_autoscale.norms import BatchRowStatistics, refuse_graph_statistics

B, N = 5, 8


def rows(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N, *shape, generator=generator, dtype=torch.float64)


def fresh(norm: torch.nn.Module) -> torch.nn.Module:
    norm = norm.double()
    for i, parameter in enumerate(norm.parameters()):
        torch.nn.init.uniform_(parameter, 0.5 + i, 1.5 + i)
    return norm


@pytest.mark.parametrize(
    'make',
    [
        lambda: torch.nn.BatchNorm1d(3), lambda: torch.nn.BatchNorm1d(3, affine=False),
        lambda: torch.nn.BatchNorm1d(3, momentum=None), lambda: pyg.BatchNorm(3),
    ],
)  # fmt: skip
def test_batch_rows_and_running_statistics_are_those_of_batch_rows_alone(make):
    norm = fresh(make())
    alone, x = copy.deepcopy(norm), rows(3)
    for scale in (1.0, 2.0):
        expected = alone(scale * x[:B])
        with BatchRowStatistics({N: B}):
            out = norm(scale * x)
        assert torch.allclose(out[:B], expected, rtol=0, atol=1e-12)
    for name, value in alone.state_dict().items():
        assert torch.equal(norm.state_dict()[name], value), name


@pytest.mark.parametrize(('make', 'shape'), [
    (lambda: torch.nn.BatchNorm1d(3), (3,)), (lambda: torch.nn.BatchNorm1d(3), (3, 4)),
    (lambda: torch.nn.BatchNorm2d(3), (3, 2, 2)),
])  # fmt: skip
def test_halo_rows_are_normalised_with_the_statistics_of_batch_rows(make, shape):
    norm, x = fresh(make()), rows(*shape)
    with BatchRowStatistics({N: B}):
        out = norm(x)
    over = [0, *range(2, x.dim())]
    mean = x[:B].mean(over, keepdim=True)
    var = x[:B].var(over, unbiased=False, keepdim=True)
    view = (1, 3, *[1] * (x.dim() - 2))
    expected = (x - mean) / (var + norm.eps).sqrt() * norm.weight.view(view) + norm.bias.view(view)
    assert torch.allclose(out, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize('affine', [False, True])
def test_gradients_reach_every_input(affine):
    x = rows(2).requires_grad_()
    weight = torch.tensor([0.5, 2.0], dtype=torch.float64, requires_grad=affine)
    bias = torch.tensor([1.0, -1.0], dtype=torch.float64, requires_grad=affine)

    def normalise(x, weight, bias):
        with BatchRowStatistics({N: B}):
            return F.batch_norm(x, None, None, weight, bias, training=True)

    assert torch.autograd.gradcheck(normalise, (x, weight, bias))


def test_halo_rows_leave_no_trace():
    x, norm = rows(3), fresh(torch.nn.BatchNorm1d(3))
    other, y = copy.deepcopy(norm), x.clone()
    y[B:] = 1e6
    with BatchRowStatistics({N: B}):
        assert torch.equal(norm(x)[:B], other(y)[:B])
    assert torch.equal(norm.running_var, other.running_var)


@pytest.mark.parametrize('count', [B, N - 1])
def test_other_numbers_of_rows_are_normalised_as_they_are(count):
    norm, x = fresh(torch.nn.BatchNorm1d(3)), rows(3)[:count]
    expected = copy.deepcopy(norm)(x)
    with BatchRowStatistics({N: B}):
        assert torch.equal(norm(x), expected)


def test_evaluation_uses_running_statistics():
    norm, x = fresh(torch.nn.BatchNorm1d(3)), rows(3)
    norm(x)
    norm.eval()
    expected = norm(x)
    with BatchRowStatistics({N: B}):
        assert torch.equal(norm(x), expected)


def test_the_mode_ends_with_its_block():
    norm, x = fresh(torch.nn.BatchNorm1d(3)), rows(3)
    expected = copy.deepcopy(norm)(x)
    with BatchRowStatistics({N: B}):
        pass
    assert torch.equal(norm(x), expected)


def test_low_precision_stays_low():
    norm = torch.nn.BatchNorm1d(3)
    with BatchRowStatistics({N: B}):
        out = norm(rows(3).bfloat16())
    assert out.dtype == torch.bfloat16


# What spans the graph ############################################################


class MyGraphNorm(pyg.GraphNorm):
    """A class of one's own, which does what its parent does."""


@pytest.mark.parametrize(
    ('layer', 'name'),
    [
        (pyg.LayerNorm(3), r"LayerNorm\(mode='graph'\)"),
        (pyg.GraphNorm(3), 'GraphNorm'),
        (MyGraphNorm(3), 'MyGraphNorm'),
        (pyg.PairNorm(), 'PairNorm'),
        (pyg.InstanceNorm(3), 'InstanceNorm'),
        (pyg.MeanSubtractionNorm(), 'MeanSubtractionNorm'),
        (pyg.GraphSizeNorm(), 'GraphSizeNorm'),
        (pyg.DiffGroupNorm(3, 2), 'DiffGroupNorm'),
        (pyg.HANConv(3, 3, (['a'], [('a', 'to', 'a')])), 'HANConv'),
        (torch.nn.InstanceNorm1d(3), 'InstanceNorm1d'),
        (
            torch.nn.BatchNorm1d(3, track_running_stats=False),
            r'BatchNorm1d\(track_running_stats=False\)',
        ),
        (pyg.BatchNorm(3, track_running_stats=False), r'BatchNorm1d\(track_running_stats=False\)'),
    ],
)
def test_layers_that_span_the_graph_are_refused_by_name(layer, name):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ModuleDict({'norm': layer}))
    with pytest.raises(ValueError, match=rf"who: .* \(got {name} at '1.norm[.a-z]*', whose stat"):
        refuse_graph_statistics('who', model.named_modules())


def test_layers_that_a_batch_can_compute_are_welcome():
    model = torch.nn.Sequential(
        torch.nn.LayerNorm(3), torch.nn.BatchNorm1d(3), pyg.BatchNorm(3), pyg.MessageNorm(),
        pyg.LayerNorm(3, mode='node'), torch.nn.GroupNorm(1, 3), pyg.GCNConv(3, 3),
    )  # fmt: skip
    refuse_graph_statistics('who', model.named_modules())


class GraphNorm(torch.nn.Linear):
    """Shares no more than its name with PyG's layer."""


def test_a_name_alone_is_no_reason():
    refuse_graph_statistics('who', GraphNorm(3, 3).named_modules())
