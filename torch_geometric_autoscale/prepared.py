"""What operators ask a batch's adjacency for, and preparing that before they do.

Batches of one loader are asked for the same things: the arrays of a normalised variant, its
transpose, edge attributes. What the last batch was asked for is prepared for the next.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .adjacency import Adjacency
from .batch import SubgraphBatch
from .graph import VariantKey
from .torch_csr import csr_matrix

# Of an adjacency: key, square and dtype of each form on the way from the batch's own.
Path = tuple[tuple[VariantKey | None, bool, torch.dtype], ...]
Moves = Callable[[list[Tensor]], list[Tensor]]


class Uses(NamedTuple):
    """What a batch was asked for.

    Attributes:
        forms: Names of kept values for each form of its adjacency.
        cut: Names of edge-level attributes.
    """

    forms: dict[Path, set[Any]]
    cut: tuple[str, ...]


def uses_of(batch: SubgraphBatch) -> Uses:
    """What a batch was asked for so far."""
    adj = batch._store.get('adj_t')
    if not isinstance(adj, Adjacency):
        return Uses({}, ())
    forms = {}
    for path, form in _family(adj):
        names = {_general(name, form) for name, value in _kept(form).items()}
        if names:
            forms[path] = names
    edge_level = ['edge_index', 'edge_weight', *batch.__dict__.get('_whole_edges', {})]
    return Uses(forms, tuple(name for name in edge_level if name in batch._store))


def prepare(batch: SubgraphBatch, uses: Uses) -> None:
    """Compute on the CPU what a batch will probably be asked for."""
    for path, names in uses.forms.items():
        form = _follow(batch.adj_t, path)
        for name in names:
            _compute(form, name)
        wanted = {_special(name, form) for name in names}
        for name, value in _kept(form).items():  # which nobody has asked for yet
            del form._cache[name]
            if name in wanted:
                form._prepared[name] = value
    for name in uses.cut:
        if name != 'edge_index':  # tied to its adjacency, and cut in no time
            batch._edge_level(name)


def move_prepared(adj: Adjacency, to: Adjacency, uses: Uses, move: Moves) -> None:
    """Hand what was prepared on the CPU to the same adjacency elsewhere.

    Args:
        adj: On the CPU.
        to: The same batch on a device.
        uses: What was prepared.
        move: Gives copies of tensors there.
    """
    found: list[tuple[Adjacency, Any, Any]] = []
    for path in uses.forms:
        target = _follow(to, path)
        found += [(target, *item) for item in _follow(adj, path)._prepared.items()]
    parts = iter(move([part for _, _, value in found for part in _parts(value)]))
    for target, name, value in found:
        target._prepared[name] = _joined(value, parts)


def _family(adj: Adjacency) -> Iterator[tuple[Path, Adjacency]]:
    """An adjacency and the forms that were made from it on its device."""
    left: list[tuple[Path, Adjacency]] = [((), adj)]
    while left:
        path, form = left.pop()
        yield path, form
        for other in form._cache.values():
            if isinstance(other, Adjacency) and other.device == adj.device:
                left.append(((*path, (other.key, other.is_square, other.dtype)), other))


def _follow(adj: Adjacency, path: Path) -> Adjacency:
    for key, square, dtype in path:
        adj = adj.with_(key=key, square=square, dtype=dtype)
    return adj


def _kept(adj: Adjacency) -> dict[Any, Any]:
    """What an adjacency keeps besides other forms of itself."""
    return {k: value for k, value in adj._cache.items() if not isinstance(value, Adjacency)}


def _general(name: Any, adj: Adjacency) -> Any:
    """A name without what is of this batch alone."""
    if isinstance(name, tuple) and name[0] == 'transpose':
        return ('transpose', name[1], 'batch' if name[2] == adj.batch_size else 'all')
    return name


def _special(name: Any, adj: Adjacency) -> Any:
    if isinstance(name, tuple) and name[0] == 'transpose':
        return ('transpose', name[1], _num_sources(name, adj))
    return name


def _num_sources(name: Any, adj: Adjacency) -> int:
    return adj.batch_size if name[2] == 'batch' else adj.size(1)


def _compute(adj: Adjacency, name: Any) -> None:
    if name == 'arrays':
        adj._arrays()
    elif name == 'target':
        adj._target()
    elif name == 'csr':
        adj.to_csr()
    elif isinstance(name, tuple) and name[0] == 'values':
        adj.values_as(name[1])
    elif isinstance(name, tuple) and name[0] == 'transpose':
        adj._backward_matrix(name[1], _num_sources(name, adj))


def _parts(value: Any) -> list[Tensor]:
    """The dense tensors that a kept value consists of."""
    if isinstance(value, tuple):
        return list(value)
    if value.layout == torch.sparse_csr:
        return [value.crow_indices(), value.col_indices(), value.values()]
    return [value]


def _joined(value: Any, parts: Iterator[Tensor]) -> Any:
    """The like of ``value`` from the next of ``parts``."""
    if isinstance(value, tuple):
        return tuple(next(parts) for _ in value)
    if value.layout == torch.sparse_csr:
        crow, col, values = (next(parts) for _ in range(3))
        return csr_matrix(crow, col, values, tuple(value.shape))
    return next(parts)
