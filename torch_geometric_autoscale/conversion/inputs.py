"""What a module's ``forward`` takes of a graph, by the names of its parameters."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch_geometric.nn import Sequential

from ..errors import explain

# What PyG's models take for loaders that trim or join graphs: nothing of a batch with a halo.
_LEFT_ALONE = {'batch_size', 'num_sampled_nodes_per_hop', 'num_sampled_edges_per_hop'}
_MATRICES = {'adj_t', 'adj'}

Inputs = Sequence[str] | Mapping[str, str] | None


class ForwardInputs:
    """Which attribute of a graph each parameter of a ``forward`` is given.

    Args:
        module: The model.
        available: Names of the graph's attributes.
        chosen: ``('x', 'edge_index')`` narrows what is filled in; ``{'feats': 'x'}`` names the
            attribute for a parameter.
        withheld: Names of attributes that hold node ids, which mean other nodes in a batch.

    Attributes:
        open: Whether ``forward`` takes any argument, and nobody has said which.

    Raises:
        ValueError: If a required parameter has no attribute of its name.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        available: Collection[str],
        chosen: Inputs = None,
        withheld: Collection[str] = (),
    ) -> None:
        who = type(module).__name__
        names, required, takes_any_name = parameters_of(module)
        self._by_name_only = names_only(module)
        renamed = dict(chosen) if isinstance(chosen, Mapping) else {}
        allowed = None if chosen is None else set(chosen)
        self.sources: dict[str, str] = {}
        held_back = []
        unknown = [name for name in allowed or () if name not in names and not takes_any_name]
        if unknown:
            raise ValueError(
                explain('autoscale', f"'inputs' must name parameters of {who}.forward: "
                        f'{", ".join(names)}', ', '.join(unknown), 'Correct the names.')
            )  # fmt: skip
        self.open = takes_any_name and allowed is None
        if takes_any_name and allowed is not None:
            more = [name for name in chosen or () if name not in names]
            self._by_name_only.update(more if takes_names(module) else ())
            names = [*names, *more]
        for name in names:
            source = renamed.get(name, name)
            if source in _MATRICES:
                source = 'adj_t'
            wanted = allowed is None or name in allowed or name in required
            if not wanted or (name in _LEFT_ALONE and name not in {*(allowed or ()), *required}):
                continue
            if source in available:
                self.sources[name] = source
            elif source in withheld:
                held_back.append(name)
        asked = [
            name for name in names
            if name in required or name in (allowed or ()) or name in held_back
        ]  # fmt: skip
        self._optional = set(held_back) - set(required)
        self._missing = {
            name: renamed.get(name, name) for name in asked if name not in self.sources
        }
        self._withheld = set(withheld)
        self._who = who
        self._available = sorted(available)
        self.names = names

    def check_complete(self, overridden: Collection[str] = ()) -> None:
        """Raise if a required parameter is neither filled in nor overridden."""
        missing = [name for name in self._missing if name not in overridden]
        ids = [name for name in missing if self._missing[name] in self._withheld]
        if ids:
            remedy = (
                'Keep all edges in data.edge_index, and tell kinds of edges apart by an edge '
                'attribute such as data.edge_type.'
            )
            if self._optional.issuperset(ids):
                remedy += f' Or leave it out: inputs={tuple(self.sources)}.'
            raise ValueError(
                explain(self._who, 'what a batch is given must not hold ids of nodes, which mean '
                        'other nodes there', f"'{self._missing[ids[0]]}'", remedy)
            )  # fmt: skip
        if missing:
            raise ValueError(
                explain(self._who, 'every required parameter of forward must be an attribute of '
                        'the data', f"no '{self._missing[missing[0]]}' among "
                        f'{", ".join(self._available)}', f'Set data.{self._missing[missing[0]]}, '
                        f"or name the attribute: inputs={{'{missing[0]}': 'x', ...}}.")
            )  # fmt: skip

    def fill(
        self, get: Callable[[str], Any], overrides: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments for one call: by position as far as there is no gap, the rest by name."""
        self.check_complete(overrides)
        unknown = [name for name in overrides if name not in self.names]
        if unknown:
            raise TypeError(
                explain(self._who, f'forward takes {", ".join(self.names)}', ', '.join(unknown),
                        'Correct the names of the arguments.')
            )  # fmt: skip
        named = {
            name: get(source) for name, source in self.sources.items() if name not in overrides
        }
        named = {name: value for name, value in named.items() if value is not None}
        named.update(overrides)
        args = []
        for name in self.names:
            if name not in named or name in self._by_name_only:
                break
            args.append(named.pop(name))
        return tuple(args), named


def names_only(module: torch.nn.Module) -> set[str]:
    """``forward``'s parameters that cannot be given by position."""
    parameters = inspect.signature(_called(module).forward).parameters.values()
    return {p.name for p in parameters if p.kind == p.KEYWORD_ONLY}


def takes_names(module: torch.nn.Module) -> bool:
    """Whether ``forward`` takes ``**kwargs``."""
    parameters = inspect.signature(_called(module).forward).parameters.values()
    return any(p.kind == p.VAR_KEYWORD for p in parameters)


def parameters_of(module: torch.nn.Module) -> tuple[list[str], list[str], bool]:
    """Names of ``forward``'s parameters, those that are required, and whether any name will do."""
    module = _called(module)
    if isinstance(module, Sequential):
        names = list(module.signature.param_dict)
        return names, names, False
    parameters = list(inspect.signature(module.forward).parameters.values())
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    names = [p.name for p in plain]
    required = [p.name for p in plain if p.default is p.empty]
    if not names and parameters:  # forward(*args): PyG's order
        return ['x', 'edge_index'], ['x', 'edge_index'], True
    return names, required, takes_names(module)


def _called(module: torch.nn.Module) -> torch.nn.Module:
    """What ``torch.compile`` has wrapped: its own ``forward`` takes anything."""
    while isinstance(inner := getattr(module, '_orig_mod', None), torch.nn.Module):
        module = inner
    return module
