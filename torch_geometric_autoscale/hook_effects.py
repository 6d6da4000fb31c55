"""Notices hooks that change what modules are given or give."""

from types import TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

# What a hook may replace, or write to: each leaf, and the version of a tensor.
_Seen = list[tuple[Any, int]]


class HookEffects:
    """While entered, watches the hooks of a model's modules.

    A hook of one module may hand on what a hook of another has seen, e.g. a skip connection. Where
    a module is answered from a table its hooks do not run, and a trace runs none.

    Args:
        model: The model.

    Attributes:
        hooked: The modules with hooks.
        found: Whether a hook has changed an argument or an output.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.hooked = {m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks}
        self.found = False
        self._handles: list[Any] = []
        self._before: list[_Seen] = []

    def __enter__(self) -> 'HookEffects':
        if len(self.hooked) < 2:  # there is nothing to hand on, or nobody to take it
            return self
        for module in self.hooked:
            for register in (module.register_forward_pre_hook, module.register_forward_hook):
                self._handles.append(register(self._first, prepend=True, with_kwargs=True))
                self._handles.append(register(self._last, with_kwargs=True))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self._before.clear()

    # Before and after the hooks of one kind; ``passed`` ends with the output of forward hooks.

    def _first(self, _: torch.nn.Module, *passed: Any) -> None:
        self._before.append(_seen(passed))

    def _last(self, _: torch.nn.Module, *passed: Any) -> None:
        before, after = self._before.pop(), _seen(passed)
        same = len(before) == len(after) and all(
            one is other and version == now
            for (one, version), (other, now) in zip(before, after, strict=True)
        )
        self.found |= not same


def _seen(passed: tuple[Any, ...]) -> _Seen:
    return [
        (leaf, leaf._version if isinstance(leaf, Tensor) and not leaf.is_inference() else 0)
        for leaf in tree_leaves(passed)
    ]
