"""The key of a forward changes with everything that decides its way, and with nothing else."""

import copy
import functools
import os
import sys
import threading
import types
from dataclasses import dataclass

import pytest
import torch
from torch.nn import BatchNorm1d, Linear, ModuleList
from torch_geometric.nn import GAT, GCN, PNA, GCNConv, GraphSAGE

from torch_geometric_autoscale.forward_key import forward_key

SWITCH = True


@dataclass
class Config:
    skip: bool = True


class Options:
    depth = 3


def helper(x, scale=2):
    return x * scale


def other_helper(x, scale=2):
    return x + scale


def wrapped(times):
    def forward(x):
        return helper(x) if times else x

    return forward


class Model(torch.nn.Module):
    kind = 'plain'

    def __init__(self):
        super().__init__()
        self.lins = ModuleList(Linear(2, 2) for _ in range(3))
        self.norm = BatchNorm1d(2)
        self.skip = True
        self.names = ['a', 'b']
        self.table = {'a': {1, 2}, 'b': (1.5, None)}
        self.config = Config()
        self.space = types.SimpleNamespace(inner=[Config()])
        self.act = torch.relu
        self.post = functools.partial(helper, scale=3)
        self.wrapped = wrapped(True)
        self.mask = torch.ones(3)
        self.hidden = (Linear(1, 1),)

    def forward(self, x):
        if SWITCH and Options.depth:
            x = helper(x)
        return self.lins[0](x)


def replace_helper(model, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'helper', other_helper)


CHANGES = {
    'an option': lambda m, p: setattr(m, 'skip', False),
    'a new option': lambda m, p: setattr(m, 'more', 1),
    'another type': lambda m, p: setattr(m, 'skip', 1),
    'a list': lambda m, p: m.names.append('c'),
    'an order': lambda m, p: m.names.reverse(),
    'a nested set': lambda m, p: m.table['a'].add(3),
    'an order of a dictionary': lambda m, p: m.table.update(a=m.table.pop('a')),
    'an object': lambda m, p: setattr(m.config, 'skip', False),
    'an object inside of others': lambda m, p: setattr(m.space.inner[0], 'skip', False),
    'a class attribute': lambda m, p: p.setattr(Model, 'kind', 'other'),
    'an attribute of a class by its name': lambda m, p: p.setattr(Options, 'depth', 0),
    'a function': lambda m, p: setattr(m, 'act', torch.tanh),
    'a part of a partial function': lambda m, p: m.post.keywords.update(scale=4),
    'an enclosed value': lambda m, p: setattr(m, 'wrapped', wrapped(False)),
    'a default': lambda m, p: p.setattr(helper, '__defaults__', (5,)),
    'a global': lambda m, p: p.setattr(sys.modules[__name__], 'SWITCH', False),
    'a function by its name': replace_helper,
    'a module': lambda m, p: m.lins.__setitem__(1, Linear(2, 2)),
    'the order of modules': lambda m, p: setattr(m, 'lins', ModuleList(list(m.lins)[::-1])),
    'one module more': lambda m, p: m.add_module('new', Linear(1, 1)),
    'a module inside of a tuple': lambda m, p: setattr(m.hidden[0], 'bias', None),
    'a parameter less': lambda m, p: setattr(m.lins[0], 'bias', None),
    'an option of a part': lambda m, p: setattr(m.norm, 'affine', False),
    'the shape of a tensor': lambda m, p: setattr(m, 'mask', torch.ones(4)),
    'the type of parameters': lambda m, p: m.double(),
    'a forward of the class': lambda m, p: p.setattr(Model, 'forward', lambda self, x: x),
    'a forward of its own': lambda m, p: setattr(m, 'forward', lambda x: x),
    'a forward of a part': lambda m, p: p.setattr(Linear, 'forward', lambda self, x: x),
}  # fmt: skip


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_a_change_shows(change, monkeypatch):
    model = Model()
    before = forward_key(model)
    assert before is not None
    assert forward_key(model) == before
    assert hash(forward_key(model)) == hash(before)
    change(model, monkeypatch)
    after = forward_key(model)
    assert after is not None
    assert after != before


SAME = {
    'a training step': lambda m: [p.data.mul_(2) for p in m.parameters()],
    'running statistics': lambda m: m.norm(torch.randn(4, 2)),
    'the mode': lambda m: m.eval(),
    'a hook': lambda m: m.register_forward_hook(lambda *_: None),
    'gradients': lambda m: m(torch.ones(1, 2)).sum().backward(),
}


@pytest.mark.parametrize('change', SAME.values(), ids=SAME)
def test_what_decides_nothing_does_not_show(change):
    model = Model()
    before = forward_key(model)
    change(model)
    assert forward_key(model) == before


def test_another_model_has_another_key():
    model = Model()
    assert forward_key(model) != forward_key(copy.deepcopy(model))


@pytest.mark.parametrize(
    'content',
    [os, threading.Lock(), iter([1]), bytearray(b'1'), memoryview(b'1'), object()],
    ids=lambda content: type(content).__name__,
)
def test_there_is_no_key_where_content_cannot_be_told(content):
    model = Model()
    model.content = content
    assert forward_key(model) is None
    model.content = {'inside': [content]}
    assert forward_key(model) is None


def test_there_is_no_key_where_a_function_reads_a_package_of_the_users():
    package = types.ModuleType('settings_of_the_user')
    code = 'def forward(x):\n    return x if settings.flag else -x'
    space = {'__name__': 'code_of_the_user', 'settings': package}
    exec(code, space)
    model = Model()
    model.forward = space['forward']
    assert forward_key(model) is None


def test_a_decorator_of_pytorch_hides_nothing():
    class Decorated(torch.nn.Module):
        @torch.no_grad()
        def forward(self, x):
            return helper(x)

    class Other(torch.nn.Module):
        forward = Decorated.forward

    model = Decorated()
    before = forward_key(model)
    assert before is not None
    Decorated.forward = torch.no_grad()(lambda self, x: x)
    assert forward_key(model) != before
    Decorated.forward = Other.forward
    assert forward_key(model) == before


DEG = torch.tensor([0, 4, 2])


@pytest.mark.parametrize(
    'module',
    [
        GCN(4, 4, 2, 2), GAT(4, 4, 2, 2, jk='lstm'), GraphSAGE(4, 4, 2, 2, norm='batch_norm'),
        PNA(4, 4, 2, 2, aggregators=['mean', 'std'], scalers=['identity'], deg=DEG),
    ],
    ids=lambda module: type(module).__name__,
)  # fmt: skip
def test_models_of_pyg_have_keys(module):
    before = forward_key(module)
    assert before is not None
    assert forward_key(module) == before
    module.convs[0].flow = 'target_to_source'
    assert forward_key(module) != before


def test_a_cycle_ends():
    model = Model()
    model.itself = [model]
    model.loop = {}
    model.loop['loop'] = model.loop
    assert forward_key(model) == forward_key(model) is not None


def test_lazy_modules_are_left_to_others():
    conv = GCNConv(-1, 4)
    assert forward_key(conv) is None
    conv(torch.ones(2, 3), torch.tensor([[0], [1]]))
    assert forward_key(conv) is not None
