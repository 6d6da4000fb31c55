"""What decides the way of a forward: code, options and structure of a module, as one key.

Two equal keys mean the same code on the same options, whatever the parameters hold. The key looks
into everything that a forward can read without leaving Python: attributes of every submodule and
its class, functions, what they enclose and the globals they name. Where it finds something whose
content it cannot tell, there is no key.
"""

import functools
import types
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping
from enum import Enum
from typing import Any

import torch
from torch import Tensor
from torch_geometric.inspector import Inspector

from .history import History

# Packages whose code stays as it is, but for methods that somebody replaces.
_FIXED = {
    'torch', 'torch_geometric', 'torch_geometric_autoscale', 'numpy', 'abc', 'builtins',
    'collections', 'contextlib', 'copy', 'dataclasses', 'enum', 'functools', 'itertools', 'math',
    'operator', 'types', 'typing', 'warnings',
}  # fmt: skip
_PLAIN = {
    bool, int, float, complex, str, bytes, range, type(None), type(Ellipsis),
    torch.dtype, torch.device, torch.layout, torch.memory_format,
}  # fmt: skip
# What is not an option: the mode is set by who calls, and hooks are not part of a forward.
_NO_OPTIONS = {'training', '_modules', '_is_full_backward_hook', '_traces'}
_BUILTIN = (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)


def forward_key(module: torch.nn.Module, *others: Any) -> Hashable | None:
    """The key of a module's forward, and of what else takes part in it.

    Returns:
        Something to compare; ``None`` if there is no telling.
    """
    try:
        return _Description().of((module, *others))
    except Exception:  # whatever it is that cannot be looked into
        return None


class Same:
    """Equal to another one of the very same object, which it keeps alive."""

    __slots__ = ('value',)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)


class _Unknown(Exception):
    """The content of something cannot be told."""


class _Description:
    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any]] = {}

    def of(self, value: Any) -> Hashable:
        """A description that is equal only if the content is."""
        kind = type(value)
        if kind in _PLAIN or isinstance(value, Enum):
            return kind, value
        if id(value) in self._seen:
            return ('seen', self._seen[id(value)][0])
        self._seen[id(value)] = (len(self._seen), value)  # keeps it, and with it its id
        for kinds, describe in self._KINDS:
            if isinstance(value, kinds):
                return kind, describe(self, value)
        return kind, self._object(value)

    def _items(self, values: Iterable[Any]) -> Hashable:
        return tuple(self.of(value) for value in values)

    def _set(self, values: Iterable[Any]) -> Hashable:
        return frozenset(self.of(value) for value in values)

    def _named(self, values: Mapping[Any, Any]) -> Hashable:
        return tuple((self.of(name), self.of(value)) for name, value in values.items())

    def _tensor(self, value: Tensor) -> Hashable:
        # The content of a tensor cannot decide without leaving PyTorch, and that is noticed.
        return tuple(value.shape), value.dtype, value.device

    def _module(self, module: torch.nn.Module) -> Hashable:
        options = {
            name: value
            for name, value in vars(module).items()
            if name not in _NO_OPTIONS and not name.endswith('_hooks')
        }  # fmt: skip
        return Same(module), self.of(type(module)), self._named(options), self.of(module._modules)

    def _function(self, function: types.FunctionType) -> Hashable:
        inside = [cell.cell_contents for cell in function.__closure__ or ()]
        if _root(function.__globals__.get('__name__')) in _FIXED:
            # A decorator of PyTorch's may have wrapped a function of the user's.
            return Same(function), self._items(v for v in inside if callable(v))
        names = _names(function.__code__)
        used = {n: function.__globals__[n] for n in names if n in function.__globals__}
        defaults = (function.__defaults__, function.__kwdefaults__)
        return Same(function.__code__), self.of(defaults), self._items(inside), self._named(used)

    def _method(self, method: types.MethodType) -> Hashable:
        return self.of(method.__func__), self.of(method.__self__)

    def _partial(self, value: functools.partial) -> Hashable:
        return self.of(value.func), self._items(value.args), self._named(value.keywords)

    def _wrapped(self, value: Any) -> Hashable:
        return self.of(value.__func__)

    def _property(self, value: property) -> Hashable:
        return self._items((value.fget, value.fset, value.fdel))

    def _class(self, cls: type) -> Hashable:
        kept = [kind for kind in cls.__mro__ if kind not in (object, torch.nn.Module, Tensor)]
        return Same(cls), tuple(self._attributes(kind) for kind in kept)

    def _attributes(self, cls: type) -> Hashable:
        if _root(cls.__module__) not in _FIXED:
            return self._named({n: v for n, v in vars(cls).items() if not _is_of_python(n, v)})
        # Of a fixed class only what somebody replaces would matter.
        return tuple(
            (name, Same(value) if isinstance(value, types.FunctionType) else self.of(value))
            for name, value in vars(cls).items()
            if isinstance(value, types.FunctionType) or type(value) in _PLAIN
        )

    def _package(self, value: types.ModuleType) -> Hashable:
        if _root(value.__name__) not in _FIXED:
            raise _Unknown
        return Same(value)

    def _reference(self, value: weakref.ReferenceType) -> Hashable:
        return self.of(value())

    def _itself(self, value: Any) -> Hashable:
        return Same(value)

    def _object(self, value: Any) -> Hashable:
        if type(value).__module__ == 'typing':
            return Same(value)
        plain = hasattr(value, '__dict__') and not hasattr(type(value), '__slots__')
        if not plain or type(value).__module__ == 'builtins':
            raise _Unknown
        return self.of(type(value)), self._named(vars(value))

    _KINDS: tuple[tuple[Any, Callable[..., Hashable]], ...] = (
        (Tensor, _tensor),
        (History, _itself),  # a table, whatever it holds
        (torch.nn.Module, _module),
        ((tuple, list), _items),
        ((set, frozenset), _set),
        (Mapping, _named),
        (types.FunctionType, _function),
        (types.MethodType, _method),
        (functools.partial, _partial),
        ((staticmethod, classmethod), _wrapped),
        (property, _property),
        (type, _class),
        (types.ModuleType, _package),
        (weakref.ReferenceType, _reference),
        # Signatures of an operator's methods, read when it was made.
        ((*_BUILTIN, Inspector), _itself),
    )


def _root(name: str | None) -> str:
    return (name or '').partition('.')[0]


def _is_of_python(name: str, value: Any) -> bool:
    """Whether a class has an attribute because it is one, such as ``__module__``."""
    special = name.startswith('__') and name.endswith('__')
    return name.startswith('_abc_') or (special and not isinstance(value, types.FunctionType))


def _names(code: types.CodeType) -> set[str]:
    """Names that a function, and those defined in it, may look up."""
    inner = [const for const in code.co_consts if isinstance(const, types.CodeType)]
    return {*code.co_names, *(name for each in inner for name in _names(each))}
