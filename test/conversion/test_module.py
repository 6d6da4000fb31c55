"""What ``autoscale`` returns behaves as any module does, and leaves the plain one as it was."""

import copy
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from torch.nn import Module
from torch.utils.checkpoint import checkpoint
from torch_geometric.nn import GCN, GraphSAGE, SAGEConv

from test.oracle import assert_close, gradients, loss_of

from .oracle import check, convert, graph, seeded, sweep, tables

D = 4


def model(**kwargs) -> Module:
    return seeded(lambda: GCN(D, 8, 3, 3, **kwargs))


def noisy(**kwargs) -> Module:
    return model(dropout=0.5, norm='BatchNorm', **kwargs)


def state_of(module: Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_same_state(module: Module, before: dict[str, torch.Tensor]) -> None:
    after = module.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


# The plain module ################################################################


@pytest.mark.parametrize('training', [True, False])
def test_conversion_leaves_the_module_and_the_random_numbers_alone(training):
    module = noisy().train(training)
    module.convs[1].eval()
    before = state_of(module)
    modes = [m.training for m in module.modules()]
    torch.manual_seed(4)
    randomness = torch.get_rng_state()
    gas = convert(module, graph())
    assert gas.module is module
    assert torch.equal(torch.get_rng_state(), randomness)
    assert_same_state(module, before)
    assert [m.training for m in module.modules()] == modes
    assert gas.training is training
    assert all(p.grad is None for p in module.parameters())
    assert not any(vars(m).get('propagate') for m in module.modules())


def test_conversion_keeps_gradients_that_are_there():
    module, data = model(), graph()
    loss_of(module(data.x, data.edge_index)).backward()
    before = gradients(module)
    convert(module, data)
    assert all(torch.equal(p.grad, before[n]) for n, p in module.named_parameters())


def test_the_plain_module_still_runs_on_whole_graphs():
    module, data = model().eval(), graph()
    expected = module(data.x, data.edge_index)
    gas = convert(module, data)
    sweep(gas)
    gas.refresh()
    assert torch.equal(gas.module(data.x, data.edge_index), expected)


def test_two_conversions_of_one_module_have_histories_of_their_own():
    module, data = model(), graph()
    one, other = convert(module, data), convert(module, data)
    one.refresh()
    assert all(float(table.abs().sum()) > 0 for table in tables(one))
    assert all(float(table.abs().sum()) == 0 for table in tables(other))
    assert_close(other.inference(), one.inference())


# Parameters and modes ############################################################


def test_parameters_are_those_of_the_plain_module_each_once():
    module = noisy()
    gas = convert(module, graph())
    assert [id(p) for p in gas.parameters()] == [id(p) for p in module.parameters()]
    assert [id(b) for b in gas.buffers()] == [id(b) for b in module.buffers()]


def test_train_and_eval_reach_the_plain_module():
    gas = convert(noisy(), graph())
    assert gas.eval().module.training is False
    assert gas.train().module.norms[0].module.training is True


@pytest.mark.parametrize('call', ['inference', 'refresh'])
def test_exact_passes_run_in_eval_mode_and_restore_every_mode(call):
    gas = convert(noisy(), graph())
    gas.train()
    gas.module.convs[1].eval()
    modes = [m.training for m in gas.modules()]
    before = state_of(gas.module)
    torch.manual_seed(2)
    randomness = torch.get_rng_state()
    first = getattr(gas, call)()
    assert torch.equal(getattr(gas, call)(), first)  # no dropout
    assert not first.requires_grad
    assert torch.equal(torch.get_rng_state(), randomness)
    assert [m.training for m in gas.modules()] == modes
    assert_same_state(gas.module, before)


def test_modes_are_restored_when_inference_fails():
    gas = convert(noisy(), graph())
    gas.train()
    handle = gas.module.convs[1].register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gas.inference()
    handle.remove()
    assert gas.module.training
    assert gas.inference().shape == (20, 3)


def test_inference_writes_no_history_and_refresh_does():
    gas = convert(model(), graph())
    gas.inference()
    assert all(float(table.abs().sum()) == 0 for table in tables(gas))
    gas.refresh()
    assert all(float(table.abs().sum()) > 0 for table in tables(gas))


def test_an_eval_call_on_a_batch_pushes_as_well():
    gas = convert(model(), graph()).eval()
    sweep(gas)
    assert all(float(table.abs().sum()) > 0 for table in tables(gas))


def test_an_optimiser_on_gas_trains_the_plain_module():
    torch.manual_seed(0)
    data = graph()
    module = GraphSAGE(D, 16, 2, 3).double()
    gas = convert(module, data)
    optimizer = torch.optim.Adam(gas.parameters(), lr=0.05)
    losses = []
    for _ in range(15):
        total = 0.0
        for batch in gas.loader(batch_size=2, shuffle=True):
            optimizer.zero_grad()
            out = gas(batch)
            loss = F.cross_entropy(out, batch.y[: batch.batch_size])
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * batch.batch_size
        losses.append(total / 20)
    assert losses[-1] < 0.5 * losses[0]
    exact = F.cross_entropy(gas.inference(), data.y)
    plain = F.cross_entropy(module.eval()(data.x, data.edge_index).detach(), data.y)
    torch.testing.assert_close(exact, plain)


def test_frozen_parameters_stay_frozen():
    module = model()
    module.convs[0].lin.weight.requires_grad_(False)
    gas = convert(module, graph())
    assert module.convs[0].lin.weight.requires_grad is False
    loss_of(gas(next(iter(gas.loader())))).backward()
    assert module.convs[0].lin.weight.grad is None
    assert module.convs[1].lin.weight.grad is not None


def test_a_module_without_parameters_that_learn_can_be_converted():
    gas = convert(model().requires_grad_(False), graph())
    assert gas(next(iter(gas.loader()))).requires_grad is False


# Hooks ###########################################################################


def test_every_hook_runs_exactly_once_per_batch():
    gas = convert(model(), graph())
    calls = Counter()

    def counting(name):
        def hook(*_):
            calls[name] += 1

        return hook

    places = {'gas': gas, 'module': gas.module, 'conv': gas.module.convs[0],
              'lin': gas.module.convs[0].lin}  # fmt: skip
    for name, place in places.items():
        place.register_forward_pre_hook(counting(f'{name} before'))
        place.register_forward_hook(counting(f'{name} after'))
    gas.module.convs[1].register_propagate_forward_hook(counting('propagate'))
    num_batches = 0
    for batch in gas.loader():
        gas(batch)
        num_batches += 1
    wanted = [f'{name} {when}' for name in places for when in ('before', 'after')]
    assert calls == dict.fromkeys([*wanted, 'propagate'], num_batches)


@pytest.mark.parametrize('place', ['module.convs.1', 'module.convs.1.lin'])
def test_backward_hooks_run_once_per_batch(place):
    gas = convert(model(), graph())
    calls = []
    gas.get_submodule(place).register_full_backward_hook(lambda *_: calls.append(place))
    for batch in gas.loader():
        loss_of(gas(batch)).backward()
    assert calls == [place] * 4


def test_hooks_run_at_most_once_per_batch_of_an_inference():
    gas = convert(model(), graph())
    calls = Counter()
    for k, conv in enumerate(gas.module.convs):
        conv.register_forward_hook(lambda *_, k=k: calls.update([k]))
    gas.inference()
    assert calls == {0: 4, 1: 4, 2: 4}


def test_a_hook_may_change_what_an_operator_gives():
    module, data = model(), graph()
    module.convs[0].register_forward_hook(lambda _, __, out: out * 2)
    with torch.no_grad():
        expected = module.eval()(data.x, data.edge_index)
    gas = convert(module, data)
    assert_close(gas.inference(), expected)
    gas.refresh()
    with torch.no_grad():
        assert_close(sweep(gas), expected)


# Copies and types ################################################################


def test_a_deep_copy_shares_nothing():
    data = graph()
    gas = convert(model(), data).eval()
    gas.refresh()
    expected = gas.inference()
    twin = copy.deepcopy(gas)
    with torch.no_grad():
        for parameter in gas.parameters():
            parameter.mul_(2)
    gas.reset_histories()
    assert_close(sweep(twin), expected)
    assert_close(twin.inference(), expected)
    batch = next(iter(gas.loader()))
    twin(batch)  # the same graph


def test_a_copy_of_a_trained_module_can_be_taken_after_a_backward():
    gas = convert(model(), graph())
    loss_of(gas(next(iter(gas.loader())))).backward()
    copy.deepcopy(gas)


def test_a_module_in_double_precision_widens_its_histories():
    data = graph()
    data.x = data.x.float()
    gas = convert(model().float(), data)
    assert gas.refresh().dtype == torch.float32
    assert {history.dtype for history in gas.histories} == {torch.float32}
    gas.double()
    data.x = data.x.double()
    gas.refresh()
    assert {history.dtype for history in gas.histories} == {torch.float64}
    with torch.no_grad():
        assert_close(sweep(gas.eval()), gas.module(data.x, data.edge_index))


def test_the_type_of_histories_can_be_chosen():
    gas = convert(model(), graph(), dtype=torch.float32)
    gas.refresh()
    assert {history.dtype for history in gas.histories} == {torch.float32}
    with torch.no_grad():
        out = sweep(gas.eval())
    assert out.dtype == torch.float64
    torch.testing.assert_close(out, gas.inference(), rtol=1e-4, atol=1e-4)


def test_the_device_of_histories_can_be_chosen():
    gas = convert(model(), graph(), device='cpu')
    assert {history.device.type for history in gas.histories} == {'cpu'}
    with pytest.raises((ValueError, RuntimeError), match='device'):
        convert(model(), graph(), device='nowhere')


def test_reset_parameters_resets_histories_as_well():
    gas = convert(model(), graph())
    gas.refresh()
    before = state_of(gas.module)
    gas.reset_parameters()
    assert all(float(table.abs().sum()) == 0 for table in tables(gas))
    assert not torch.equal(gas.module.convs[0].lin.weight, before['convs.0.lin.weight'])


# Ways to call ####################################################################


def test_batches_may_be_added_up_before_one_backward():
    module = model()
    gas = convert(module, graph())
    gas.refresh()
    batches = list(gas.loader())
    each = []
    for batch in batches:
        module.zero_grad()
        loss_of(gas(batch)).backward()
        each.append(module.convs[0].lin.weight.grad.clone())
    module.zero_grad()
    torch.stack([loss_of(gas(batch)) for batch in batches]).sum().backward()
    assert_close(module.convs[0].lin.weight.grad, torch.stack(each).sum(dim=0))


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_conversion_does_not_depend_on_the_gradient_mode(mode):
    plain, data = model(), graph()
    with mode():
        gas = convert(plain, data)
        expected = gas.refresh()
    assert_close(gas.inference(), expected)
    loss_of(gas.train()(next(iter(gas.loader())))).backward()


def test_inference_mode_leaves_histories_that_can_be_trained_with():
    gas = convert(model(), graph()).eval()
    expected = gas.refresh()
    with torch.inference_mode():
        assert_close(sweep(gas), expected)
    loss_of(gas.train()(next(iter(gas.loader())))).backward()


def test_autocast_keeps_histories_in_their_type():
    data = graph()
    data.x = data.x.float()
    gas = convert(seeded(lambda: GraphSAGE(D, 8, 2, 3)).float(), data)
    exact = gas.refresh()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = sweep(gas.eval())
    assert {history.dtype for history in gas.histories} == {torch.float32}
    torch.testing.assert_close(out.float(), exact, rtol=0.1, atol=0.1)


class Checkpointed(Module):
    """Saves memory by computing its first layer again in the backward."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.last, self.reentrant = SAGEConv(D, 6), SAGEConv(6, 3), reentrant

    def forward(self, x, edge_index):
        x = x.clone().requires_grad_()
        h = checkpoint(self.compute, x, edge_index, use_reentrant=self.reentrant)
        return self.last(h, edge_index)

    def compute(self, x, edge_index):
        return self.first(x, edge_index).relu()


@pytest.mark.parametrize('reentrant', [True, False])
def test_checkpointed_layers_have_exact_gradients_or_are_refused(reentrant):
    try:
        convert(seeded(lambda: Checkpointed(reentrant)), graph())
    except ValueError:
        return
    data = graph()

    def without_checkpoint(module):
        return module.last(module.compute(data.x, data.edge_index), data.edge_index)

    check(seeded(lambda: Checkpointed(reentrant)), data, without_checkpoint)


def test_its_text_says_where_histories_are():
    text = repr(convert(model(), graph()))
    assert '4 partitions, histories at' in text
    assert "GCNConv 'convs.0': 8 channels" in text
    assert '(module): GCN(4, 3, num_layers=3)' in text


def test_batch_that_joins_a_partition_twice_is_refused_with_the_way_out():
    gas = convert(model(), graph())
    loader = gas.loader(batch_size=2, sampler=[1, 1])
    with pytest.raises(ValueError, match=r'joins a partition twice, draw .* without replacement'):
        gas(next(iter(loader)))
