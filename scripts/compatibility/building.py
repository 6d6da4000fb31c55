"""The module and the data of a case, the same on every run."""

import zlib
from typing import Any

import torch
from torch.nn import Module
from torch_geometric.data import Data, HeteroData

from .cases import Case
from .graphs import graph, hetero_graph


def build(case: Case) -> Module:
    """The module of a case in float64 and ``eval`` mode, without parameters that hide errors."""
    torch.manual_seed(zlib.crc32(str(case).encode()))
    module = case.recipe.build(case.depth).to(case.recipe.dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            if not parameter.any():
                parameter.uniform_(-0.6, 0.6).add_(parameter.sign() * 0.2)
        for name, buffer in module.named_buffers():
            if name.endswith('running_mean'):
                buffer.uniform_(-0.3, 0.3)
            elif name.endswith('running_var'):
                buffer.uniform_(0.5, 1.5)
    return module.eval()


def data_of(case: Case) -> Data | HeteroData:
    """The graph that a case runs on, with what its ``forward`` asks for."""
    dtype = case.recipe.dtype
    if case.recipe.graph == 'hetero':
        return hetero_graph().clone()
    data = graph(case.recipe.graph, case.recipe.attrs).clone()
    return data.apply(lambda value: value.to(dtype) if value.is_floating_point() else value)


def arguments(case: Case, data: Data | HeteroData) -> dict[str, Any]:
    """What ``forward`` gets on the whole graph, by name."""
    if isinstance(data, HeteroData):
        return {name: data.collect(name.removesuffix('_dict')) for name in case.recipe.attrs}
    return {name: data[name] for name in case.recipe.attrs}


def full_batch(module: Module, case: Case, data: Data | HeteroData) -> Any:
    """The plain run on the whole graph; of several outputs the first."""
    out = module(**arguments(case, data))
    return out[0] if isinstance(out, tuple) else out


def without_dropout(module: Module) -> Module:
    """The module in training mode, with every dropout off."""
    module.train()
    for part in module.modules():
        if isinstance(part, torch.nn.modules.dropout._DropoutNd):
            part.p = 0.0
        for name in ('dropout', 'in_drop'):
            if isinstance(part.__dict__.get(name), float):
                setattr(part, name, 0.0)
    return module


def takes_batch_statistics(module: Module) -> bool:
    """Whether a layer normalises with statistics of the rows it is given in training."""
    kinds = (torch.nn.modules.batchnorm._NormBase,)
    return any(isinstance(part, kinds) for part in module.modules())
