import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from torch_geometric_autoscale import models
from torch_geometric_autoscale.history import move_histories
from torch_geometric_autoscale.training import step_peak_bytes
from torch_geometric_autoscale.training.allocated import allocated_in


def test_peak_is_the_largest_running_sum_of_allocations():
    x = torch.ones(1000)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        a = x + 1  # 4,000 bytes
        b = a + 1  # 8,000
        del a  # 4,000
        c = b + 1  # 8,000
        del b, c
    assert 8000 <= allocated_in(profiler).peak <= 8200


def test_a_step_counts_activations_and_gradients_but_not_the_parameters():
    model = torch.nn.Linear(100, 100, bias=False)  # 40,000 bytes
    x = torch.ones(10, 100)

    def step(model):
        model(x).square().sum().backward()

    peak = step_peak_bytes(
        model, lambda m: torch.optim.SGD(m.parameters(), lr=0.1), step, torch.device('cpu')
    )
    assert 40_000 + 4_000 <= peak <= 60_000


def test_a_measurement_leaves_model_and_random_state_alone():
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(), torch.nn.BatchNorm1d(4))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    step_peak_bytes(
        model,
        lambda m: torch.optim.Adam(m.parameters(), lr=0.1),
        lambda m: m(torch.rand(8, 4)).square().sum().backward(),
        torch.device('cpu'),
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize('tier', ['ram', 'disk'])
def test_histories_are_neither_copied_nor_changed(tier):
    model = models.GCN(50, 4, 8, 2, 2)
    move_histories(model, tier)
    (history,) = model.histories
    history.push(torch.ones(50, 8))
    seen = []

    def step(copied):
        (other,) = copied.histories
        seen.append(float(other.emb.abs().sum()))
        other.push(torch.full((1, 8), 3.0), torch.tensor([7]))
        sum(parameter.sum() for parameter in copied.parameters()).backward()

    build = lambda m: torch.optim.SGD(m.parameters(), lr=0.1)  # noqa: E731
    step_peak_bytes(model, build, step, torch.device('cpu'))
    assert seen == [0.0, 24.0, 24.0]
    assert history.emb.equal(torch.ones(50, 8))
