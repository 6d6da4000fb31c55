"""What a model's ``forward`` takes, and how a call's arguments fit it."""

import inspect
from collections.abc import Iterable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from .adjacency import Adjacency
from .batch import SubgraphBatch
from .calls import BatchCall
from .errors import explain
from .tags import adjacency_of

ARGUMENTS = ('x', 'adj_t', 'batch_size', 'n_id', 'offset', 'count')
OF_THE_BATCH = ARGUMENTS[2:]


class ForwardForm:
    """What a ``forward`` takes."""

    def __init__(self, forward: Any) -> None:
        parameters = list(inspect.signature(forward).parameters.values())
        plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
        self.positional = [p.name for p in plain if p.kind != p.KEYWORD_ONLY]
        self.keyword_only = {p.name for p in plain if p.kind == p.KEYWORD_ONLY}
        self.names = {p.name: None for p in plain}.keys()  # in order
        self.required = {p.name for p in plain if p.default is p.empty}
        self.any_position = any(p.kind == p.VAR_POSITIONAL for p in parameters)
        self.any_name = any(p.kind == p.VAR_KEYWORD for p in parameters)
        own = len(self.positional) >= 4 and not {'batch_size', 'n_id'} & self.names
        self.has_own_names = own
        # What describes the batch, and is None on a whole graph.
        self.described = {*OF_THE_BATCH, *(self.positional[2:6] if own else [])}


_forms: WeakKeyDictionary[Any, ForwardForm] = WeakKeyDictionary()


def form_of(forward: Any) -> ForwardForm:
    """What a ``forward``, a bound method, takes; read once for each function."""
    function = getattr(forward, '__func__', None)
    if function is None:  # a function of the model's own, or something else that can be called
        return ForwardForm(forward)
    if function not in _forms:
        _forms[function] = ForwardForm(forward)
    return _forms[function]


def _from_batch(
    batch: SubgraphBatch, form: ForwardForm, kwargs: Any
) -> tuple[tuple, dict[str, Any]]:
    """What ``forward`` takes of a batch, by name; its description where a name is its own."""
    described = dict(kwargs)
    for i, name in enumerate(form.positional):
        if name in kwargs:
            continue
        value = batch.edge_weight if name == 'edge_weight' else batch.get(name)
        if value is not None:
            described[name] = value
        elif name in form.required and i < len(ARGUMENTS) and ARGUMENTS[i] not in form.names:
            described[name] = batch[ARGUMENTS[i]]
    for name in form.keyword_only - kwargs.keys():
        if name in batch:
            described[name] = batch[name]
    args: list[Any] = []
    for name in form.positional:
        if name not in described:
            break
        args.append(described.pop(name))
    if form.any_position:
        args += [batch[name] for name in ARGUMENTS[len(args) :] if name not in form.names]
    else:
        taken = form.positional[: len(args)]
        rest = [name for name in OF_THE_BATCH if name not in taken and name not in described]
        described.update({name: batch[name] for name in rest})
    return tuple(args), described


def adjacency_among(values: Iterable[Any]) -> Adjacency | None:
    """The batch's adjacency among arguments, itself or as the ``edge_index`` made from it."""
    found = (v if isinstance(v, Adjacency) else adjacency_of(v) for v in values)
    return next((adj for adj in found if adj is not None), None)


def fit_arguments(
    model: torch.nn.Module, args: Any, kwargs: Any
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Fit what was passed to the parameters of ``forward``.

    Returns:
        What to pass by position, what by name, and all that was given, by name.
    """
    form = form_of(model.forward)
    who = type(model).__name__
    if args and isinstance(args[0], SubgraphBatch):
        if len(args) > 1:
            raise TypeError(
                explain(who, 'a batch comes alone or with keywords', f'{len(args)} arguments',
                        'Call model(batch) or model(batch, name=value).')
            )  # fmt: skip
        args, kwargs = _from_batch(args[0], form, kwargs)
    # Positional arguments beyond forward's own are the rest of the batch's description.
    rest = [n for n in ARGUMENTS[len(form.positional) :] if n not in form.positional]
    order = [*form.positional, *rest]
    if len(args) > len(order) and not form.any_position:
        raise TypeError(
            explain(who, f"takes at most {len(order)} arguments: {', '.join(order)}", len(args),
                    'Call model(x, adj_t, batch_size, n_id, offset, count) or model(batch).')
        )  # fmt: skip
    by_position = dict(zip(order, args, strict=False))
    twice = [name for name in kwargs if name in by_position]
    given = {**by_position, **kwargs}
    if not form.any_position:
        args = args[: len(form.positional)]
    if not form.any_name:
        kwargs = {k: v for k, v in kwargs.items() if k in form.names or k not in OF_THE_BATCH}
        if not form.any_position:  # keyword-only parameters may be given by position
            more = {k: v for k, v in by_position.items() if k in form.keyword_only}
            kwargs = {**more, **kwargs}
    elif not form.any_position:
        more = {k: v for k, v in by_position.items() if k not in form.positional}
        kwargs = {**more, **kwargs}
    absent = form.described - given.keys()
    kwargs = {**{k: None for k in form.names if k in absent & form.required}, **kwargs}
    missing = sorted(form.required - given.keys() - kwargs.keys())
    unknown = [] if form.any_name else [k for k in kwargs if k not in form.names]
    if missing or unknown or twice:
        came = f"missing {', '.join(missing)}" if missing else (
            f"unknown {', '.join(unknown)}" if unknown else f"{', '.join(twice)} twice"
        )  # fmt: skip
        raise TypeError(
            explain(who, f"forward takes {', '.join(form.names)}", came,
                    'Call model(x, adj_t, batch_size, n_id, offset, count), or '
                    'model(x, adj_t) for a whole graph.')
        )  # fmt: skip
    return tuple(args), kwargs, given


def batch_among(model: torch.nn.Module, given: dict[str, Any]) -> BatchCall | None:
    """The batch among the arguments, or ``None`` for a whole graph."""
    batch_size: Any = given.get('batch_size')
    n_id: Any = given.get('n_id')
    form = form_of(model.forward)
    if form.has_own_names and not {'batch_size', 'n_id'} & given.keys():
        # The third and fourth argument, if they look it.
        third, fourth = (given.get(name) for name in form.positional[2:4])
        if isinstance(third, int) and isinstance(fourth, Tensor):
            batch_size, n_id = third, fourth
    if batch_size is None and n_id is None:
        return None
    integer = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    if not integer or not isinstance(n_id, Tensor):
        raise TypeError(
            explain(type(model).__name__, "'batch_size' must be an int and 'n_id' a tensor",
                    f'{type(batch_size).__name__} and {type(n_id).__name__}',
                    'Pass both as the loader gives them, or neither for a whole graph.')
        )  # fmt: skip
    adj_t = adjacency_among(given.values())
    return BatchCall(batch_size, n_id, given.get('offset'), given.get('count'), adj_t)
