"""GCN passes the oracle with every option, and has the options of the paper's scripts."""

from typing import Any

import pytest
import torch

from test.oracle import NODES, check_oracle, error, nasty_graph, plain, sweep_loader
from torch_geometric_autoscale import gcn_normalize, models

DATA = gcn_normalize(nasty_graph())


def gcn(layers: int = 3, **options: Any) -> models.GCN:
    torch.manual_seed(8)
    return models.GCN(NODES, 4, 6, 3, layers, **options).double()


@pytest.mark.parametrize('bipartite', [True, False])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'drop_input': False},
        {'residual': True},
        {'linear': True},
        {'batch_norm': True},
        {'batch_norm': True, 'residual': True, 'linear': True, 'layers': 4},
        {'layers': 2},
    ],
    ids=lambda options: '-'.join(options) or 'plain',
)
def test_every_option_passes_the_oracle(options: dict, bipartite: bool) -> None:
    loader = sweep_loader(DATA, bipartite=bipartite)
    check_oracle(gcn(**options), DATA, loader, statistics='batch_norm' in options)


@pytest.mark.parametrize('options', [{}, {'linear': True}, {'batch_norm': True}])
def test_one_layer_is_a_model_too(options: dict) -> None:
    model = gcn(1, **options).eval()
    expected = plain(model, DATA).detach()
    assert error(model(loader=sweep_loader(DATA)), expected) < 1e-9
    assert len(model.histories) == 0


def test_dropout_acts_in_training_only() -> None:
    model = gcn(dropout=0.5)
    batch = next(iter(sweep_loader(DATA)))
    torch.manual_seed(0)
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))


def test_input_is_kept_whole_without_drop_input() -> None:
    model = gcn(2, dropout=0.9, drop_input=False)
    batch = next(iter(sweep_loader(DATA)))
    seen = []
    model.convs[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(batch)
    assert torch.equal(seen[0], batch.x)


@pytest.mark.parametrize('options', [{}, {'linear': True}, {'batch_norm': True}])
def test_the_two_weight_decays_cover_every_parameter_once(options: dict) -> None:
    model = gcn(**options)
    decayed = [*model.reg_modules.parameters(), *model.nonreg_modules.parameters()]
    assert sorted(map(id, decayed)) == sorted(map(id, model.parameters()))


def test_reset_draws_new_parameters_and_empties_histories() -> None:
    model = gcn(batch_norm=True, linear=True)
    model.refresh(sweep_loader(DATA))
    before = [conv.lin.weight.clone() for conv in model.convs]
    model.reset_parameters()
    assert not any(history.emb.any() for history in model.histories)
    for old, conv in zip(before, model.convs, strict=True):
        assert not torch.equal(old, conv.lin.weight)


@pytest.mark.parametrize('options', [{'pool_size': 2, 'buffer_size': 100, 'device': 'cpu'}])
def test_sizes_of_buffers_are_accepted(options: dict) -> None:
    assert gcn(**options).buffer_size == 100
