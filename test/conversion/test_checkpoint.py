"""States move freely between the plain module, the converted one and whatever is around it."""

import io

import pytest
import torch
from torch import Tensor
from torch.nn import Linear, Module
from torch_geometric.nn import GCN, SAGEConv

from test.oracle import assert_close

from .oracle import convert, graph, seeded, tables

D = 4


def model(seed: int = 0) -> Module:
    return seeded(lambda: GCN(D, 8, 3, 3, norm='BatchNorm'), seed)


class Task(Module):
    """A converted model as a part of something larger, as in a LightningModule."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.gas = convert(model(seed), graph())
        self.head = Linear(3, 2).double()


class PlainTask(Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.gas = model(seed)
        self.head = Linear(3, 2).double()


def through_a_file(state: dict) -> dict:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def as_it_is(state: dict) -> dict:
    return state


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(map(torch.equal, one, other))


through = pytest.mark.parametrize('through', [as_it_is, through_a_file])


@through
def test_the_state_is_that_of_the_plain_module(through):
    plain = model()
    gas = convert(model(), graph())
    gas.refresh()
    state = through(gas.state_dict())
    assert list(state) == list(plain.state_dict())
    assert all(isinstance(value, Tensor) for value in state.values())


@through
def test_a_plain_module_loads_the_state_of_a_converted_one(through):
    plain, gas, data = model(1), convert(model(), graph()), graph()
    gas.refresh()
    plain.load_state_dict(through(gas.state_dict()), strict=True)
    assert_close(plain.eval()(data.x, data.edge_index), gas.inference())


@through
def test_a_converted_module_loads_the_state_of_a_plain_one_and_keeps_its_histories(through):
    plain, gas, data = model(1), convert(model(), graph()), graph()
    gas.refresh()
    before = tables(gas)
    gas.load_state_dict(through(plain.state_dict()), strict=True)
    assert same(tables(gas), before)
    assert_close(gas.inference(), plain.eval()(data.x, data.edge_index))


@through
def test_histories_travel_along(through):
    gas, other = convert(model(), graph()), convert(model(1), graph())
    gas.refresh()
    result = other.load_state_dict(through(gas.state_dict()), strict=True)
    assert result.missing_keys == result.unexpected_keys == []
    assert same(tables(gas), tables(other))
    assert [h.graph for h in gas.histories] == [h.graph for h in other.histories]


@through
def test_histories_travel_along_inside_another_module(through):
    task, other = Task(), Task(1)
    task.gas.refresh()
    other.load_state_dict(through(task.state_dict()), strict=True)
    assert same(tables(task.gas), tables(other.gas))
    assert_close(task.gas.inference(), other.gas.inference())
    assert torch.equal(task.head.weight, other.head.weight)


@through
def test_checkpoints_of_modules_around_a_plain_and_a_converted_one_are_alike(through):
    task, plain, data = Task(), PlainTask(1), graph()
    task.gas.refresh()
    assert list(task.state_dict()) == list(plain.state_dict())
    plain.load_state_dict(through(task.state_dict()), strict=True)
    assert_close(plain.gas.eval()(data.x, data.edge_index), task.gas.inference())
    other = Task(2)
    other.load_state_dict(through(plain.state_dict()), strict=True)
    assert_close(other.gas.inference(), task.gas.inference())


def test_a_state_keeps_what_histories_held_when_it_was_taken():
    gas = convert(model(), graph())
    gas.refresh()
    before = tables(gas)
    state = through_a_file(gas.state_dict())
    gas.reset_histories()
    gas.load_state_dict(state)
    assert same(tables(gas), before)


@pytest.mark.parametrize('make', [lambda seed: convert(model(seed), graph()), Task])
def test_missing_and_unexpected_names_are_reported_in_strict_mode(make):
    gas = make(0)
    state = gas.state_dict()
    name = next(name for name in state if name.endswith('convs.0.lin.weight'))
    state[name + '2'] = state.pop(name)
    with pytest.raises(RuntimeError, match=r'Missing key.*convs\.0\.lin\.weight[^2]'):
        gas.load_state_dict(state)
    with pytest.raises(RuntimeError, match=r'Unexpected key.*convs\.0\.lin\.weight2'):
        gas.load_state_dict(state)


def test_loading_without_strictness_says_what_was_left_out():
    gas = convert(model(), graph())
    state = gas.state_dict()
    del state['convs.0.bias']
    result = gas.load_state_dict(state, strict=False)
    assert result.missing_keys == ['convs.0.bias']


def test_histories_of_another_model_are_refused():
    gas = convert(model(), graph())
    state = gas.state_dict()
    state._metadata['']['histories'].pop()
    with pytest.raises(ValueError, match=r'must hold 2 histories \(got 1\)'):
        gas.load_state_dict(state)


def test_histories_of_another_graph_are_refused_and_nothing_is_loaded():
    gas, other = convert(model(), graph()), graph()
    other.edge_index = other.edge_index.flip(0)
    foreign = convert(model(), other)
    foreign.refresh()
    before = {name: value.clone() for name, value in gas.state_dict().items()}
    with pytest.raises(ValueError, match='must be of this graph and partition'):
        gas.load_state_dict(foreign.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in gas.state_dict().items())


def test_states_can_be_assigned():
    gas, other = convert(model(), graph()), convert(model(1), graph())
    gas.refresh()
    other.load_state_dict(gas.state_dict(), assign=True)
    assert_close(other.inference(), gas.inference())


def test_a_part_called_module_keeps_its_name():
    class Wrapper(Module):
        def __init__(self) -> None:
            super().__init__()
            self.module, self.last = SAGEConv(D, 6), SAGEConv(6, 3)

        def forward(self, x, edge_index):
            return self.last(self.module(x, edge_index).relu(), edge_index)

    class Around(Module):
        def __init__(self, seed: int) -> None:
            super().__init__()
            self.gas = convert(seeded(Wrapper, seed), graph())

    one, other = Around(0), Around(1)
    assert next(iter(one.state_dict())) == 'gas.module.lin_l.weight'
    other.load_state_dict(one.state_dict(), strict=True)
    assert_close(other.gas.inference(), one.gas.inference())


def test_a_state_with_a_prefix_is_the_plain_modules():
    gas, plain = convert(model(), graph()), model()
    assert list(gas.state_dict(prefix='net.')) == list(plain.state_dict(prefix='net.'))


def test_loading_leaves_the_callers_state_as_it_was():
    task = Task()
    state = task.state_dict()
    names = list(state)
    task.load_state_dict(state)
    task.gas.load_state_dict(task.gas.state_dict())
    assert list(state) == names
