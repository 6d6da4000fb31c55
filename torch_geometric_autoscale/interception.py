"""Puts answers in the place of what a model's units compute.

A *unit* is an operator, or a module with parameters and nothing inside. Only the outermost calls
are answered: what a unit calls inside belongs to it.
"""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch_geometric.nn import MessagePassing

# ``answer(module, args, kwargs)``: what a unit was called with, and what goes on in its place.
Answer = Callable[[torch.nn.Module, Any, Any], Any]


class Interception:
    """Routes the outermost calls of a model's units while it is entered.

    Args:
        model: The model; module hooks do not run for calls that are answered.
        answer: Answers them.
        opened: Paths of operators that are none.
    """

    def __init__(
        self, model: torch.nn.Module, answer: Answer, opened: Collection[str] = ()
    ) -> None:
        self._answer = answer
        self._units = [
            module
            for path, module in model.named_modules()
            if _is_unit(module) and path not in opened
        ]
        self._inside: dict[torch.nn.Module, list[torch.nn.Module]] = {}

    def __enter__(self) -> None:
        for module in self._units:
            self._install(module)

    def __exit__(self, *_: object) -> None:
        for module in self._units:
            vars(module).pop('_call_impl', None)

    def compute(
        self, module: torch.nn.Module, args: Any, kwargs: Any, method: Callable | None = None
    ) -> Any:
        """What ``module``, or ``method`` of it, gives, with all that it calls."""
        inside = self._inside.get(module)
        if inside is None:
            units = set(self._units)
            inside = self._inside[module] = [m for m in module.modules() if m in units]
        inside = [m for m in inside if '_call_impl' in vars(m)]
        for m in inside:
            del vars(m)['_call_impl']
        try:
            return (method or module)(*args, **kwargs)
        finally:
            for m in inside:
                self._install(m)

    def _install(self, module: torch.nn.Module) -> None:
        answer = self._answer
        vars(module)['_call_impl'] = lambda *args, **kwargs: answer(module, args, kwargs)


def _is_unit(module: torch.nn.Module) -> bool:
    if isinstance(module, MessagePassing):
        return True
    is_leaf = next(module.children(), None) is None
    return is_leaf and next(module.parameters(), None) is not None
