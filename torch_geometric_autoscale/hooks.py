"""Hooks that users have put on modules."""

from collections.abc import Callable

import torch
from torch.nn.modules import module as torch_module

_AROUND_CALLS = ('_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks')


def hooks_of(module: torch.nn.Module) -> list[Callable]:
    """All hooks of a module, those of its propagations and its state included."""
    return [
        hook
        for name, hooks in vars(module).items()
        if name.endswith('_hooks')
        for hook in hooks.values()
    ]


def is_called_with_hooks(module: torch.nn.Module) -> bool:
    """Whether somebody sees what a module is called with, or what it gives."""
    return any(vars(module).get(name) for name in _AROUND_CALLS) or has_global_hook()


def has_global_hook() -> bool:
    """Whether there are hooks on all modules."""
    return torch_module._has_any_global_hook()
