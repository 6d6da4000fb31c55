"""Plain containers with tensors in them, as JSON and a list of tensors, and back to the bit."""

import math
from typing import Any

import torch
from torch import Tensor

from ..errors import explain


def encode(value: Any, tensors: list[Tensor], place: str = 'state') -> Any:
    """What ``json.dumps`` takes, with tensors appended to ``tensors`` in the order met.

    Args:
        value: ``None``, booleans, numbers, strings, lists, tuples, dictionaries and tensors.
        tensors: Filled.
        place: How to call ``value`` in an error.

    Raises:
        TypeError: For anything else, which a file without code cannot hold.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {'float': str(float(value))}
    if isinstance(value, Tensor) and value.layout == torch.strided and not value.is_quantized:
        tensors.append(value)
        return {'tensor': len(tensors) - 1}
    if isinstance(value, (list, tuple)):
        items = [encode(item, tensors, f'{place}[{i}]') for i, item in enumerate(value)]
        return items if isinstance(value, list) else {'tuple': items}
    if isinstance(value, dict):
        pairs = [
            [encode(key, tensors, place), encode(item, tensors, f'{place}[{key!r}]')]
            for key, item in value.items()
        ]
        return {'dict': pairs}
    raise TypeError(
        explain('save_checkpoint', f'{place} must be made of plain containers, numbers, text and '
                'dense tensors', type(value).__name__,
                'Convert it, in get_extra_state for instance: a checkpoint holds no code.')
    )  # fmt: skip


def decode(value: Any, tensors: list[Tensor]) -> Any:
    """The value that :func:`encode` was given.

    Raises:
        ValueError, TypeError, LookupError: For what :func:`encode` cannot have written.
    """
    if isinstance(value, list):
        return [decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == 'tensor':
        return tensors[content]
    if kind == 'float':
        return float(content)
    if kind == 'tuple':
        return tuple(decode(item, tensors) for item in content)
    if kind == 'dict':
        return {decode(key, tensors): decode(item, tensors) for key, item in content}
    raise ValueError(kind)
