"""When histories are refreshed, which terms join the loss, and whose scores count."""

from typing import Any

import pytest
import torch
from torch_geometric.nn import GraphSAGE

from torch_geometric_autoscale import ScalableGNN, models
from torch_geometric_autoscale.conversion.as_model import ConvertedGNN
from torch_geometric_autoscale.conversion.autoscaled import AutoScaled
from torch_geometric_autoscale.training import TrainSettings, train

from .tiny import CLASSES, N, tiny_data, tiny_model, tiny_ptr, tiny_settings


def refreshes_during(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> int:
    """How often a training of six epochs refreshes, its very end left out."""
    count = 0
    refresh = ScalableGNN.refresh

    def counted(self: ScalableGNN, loader: Any) -> torch.Tensor:
        nonlocal count
        count += 1
        return refresh(self, loader)

    monkeypatch.setattr(ScalableGNN, 'refresh', counted)
    settings = tiny_settings(epochs=6, **changes)
    run = train(tiny_model(), tiny_data(), tiny_ptr(), settings, log=False)
    assert run.test is not None
    return count - 1  # histories are always left exact


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        ({}, 1 + 6),
        ({'eval_every': 3}, 1 + 2),
        ({'refresh': 'never'}, 0),
        ({'refresh': 1}, 1 + 6),
        ({'refresh': 2, 'eval_every': 3}, 1 + 3),
        ({'refresh': 6}, 1 + 1),
        ({'mode': 'full', 'refresh': 2}, -1),
    ],
)
def test_histories_are_refreshed_when_told(monkeypatch, changes, expected):
    assert refreshes_during(monkeypatch, **changes) == expected


@pytest.mark.parametrize('refresh', ['evaluation', 2, 'never'])
def test_larger_batches_of_an_evaluation_change_no_number(refresh):
    def trained(size: int | None) -> Any:
        model = tiny_model(num_layers=3).double()
        data = tiny_data()
        data.x = data.x.double()
        settings = tiny_settings(epochs=4, eval_batch_size=size, refresh=refresh)
        return model, train(model, data, tiny_ptr(), settings, log=False)

    (model, run), (other, larger) = trained(None), trained(6)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-12)
    for one, two in zip(model.histories, other.histories, strict=True):
        torch.testing.assert_close(one.pull(), two.pull(), rtol=1e-9, atol=1e-12)
    assert [e.val for e in run.epochs] == [e.val for e in larger.epochs]


def test_converted_modules_are_evaluated_in_larger_batches_too(monkeypatch):
    sizes = []
    refresh = AutoScaled.refresh

    def noted(self: AutoScaled, batch_size: int = 1) -> torch.Tensor:
        sizes.append(batch_size)
        return refresh(self, batch_size)

    monkeypatch.setattr(AutoScaled, 'refresh', noted)
    torch.manual_seed(0)
    model = ConvertedGNN(GraphSAGE(5, 8, 3, CLASSES), tiny_data(), tiny_ptr())
    train(model, tiny_data(), tiny_ptr(), tiny_settings(eval_batch_size=6), log=False)
    assert set(sizes) == {6}


@pytest.mark.parametrize('refresh', ['sometimes', 0, -1])
def test_refresh_is_a_word_or_a_number_of_epochs(refresh):
    with pytest.raises(ValueError, match="'refresh' must be"):
        TrainSettings(refresh=refresh)


def gradient_of_a_step(perturbation: float) -> torch.Tensor:
    torch.manual_seed(0)
    model = models.GIN(N, 5, 8, CLASSES, 2, batch_norm=False, perturbation=perturbation)
    settings = tiny_settings(epochs=1, mode='full', lr=1e-12)
    train(model, tiny_data(), tiny_ptr(), settings, log=False)
    return model.convs[1].nn[0].weight.grad


def test_what_a_model_returns_besides_its_output_is_added_to_the_loss():
    assert not torch.allclose(gradient_of_a_step(0.0), gradient_of_a_step(1.0))


def test_scores_may_come_from_elsewhere():
    data = tiny_data()
    data.val_mask = data.test_mask = None  # nothing of this graph is looked at
    seen = []

    def evaluate(model: ScalableGNN, logits: torch.Tensor) -> dict[str, float]:
        seen.append(logits.shape)
        return {'train': 1.0, 'val': float(len(seen)), 'test': 10.0 * len(seen)}

    run = train(tiny_model(), data, tiny_ptr(), tiny_settings(), log=False, evaluate=evaluate)
    assert seen == [(N, CLASSES)] * 3
    assert (run.val, run.test, run.best.epoch) == (3.0, 30.0, 3)
