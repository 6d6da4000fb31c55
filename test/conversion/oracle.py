"""Holds a converted module against PyG's own full-batch run of an equal module.

``full_batch(module)`` calls the plain module as PyG's users do, on ``data.edge_index``: no batch,
no adjacency and no history takes part. What batches must give:

* right after a refresh, in any order of the batches, the full-batch outputs;
* from zeroed histories, the full-batch outputs after one sweep for each boundary, not before;
* layer-wise inference gives them at once and writes nothing;
* the gradients of a loss on a batch are those of the full batch in which the rows of all other
  nodes are constants wherever an operator or a propagation gives them; on one batch that holds
  every part, they are those of the full batch.
"""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing

from test.oracle import NODES, assert_close, error, gradients, loss_of, nasty_graph, with_edges
from torch_geometric_autoscale import autoscale

# Four parts, scattered over the ids: most edges are cut, and the caller's order is not ours.
PART = torch.arange(NODES) * 7 % 4
NUM_PARTS = 4

FullBatch = Callable[[torch.nn.Module], Any]


def graph(**kwargs: Any) -> Data:
    """The hand-sized graph of the other tests, with edge weights or attributes on demand."""
    return with_edges(nasty_graph(), **kwargs)


def seeded(make: Callable[[], torch.nn.Module], seed: int = 0) -> torch.nn.Module:
    """A module in double precision."""
    torch.manual_seed(seed)
    return make().double()


def convert(module: torch.nn.Module, data: Data, **kwargs: Any) -> Any:
    kwargs.setdefault('partition', PART)
    return autoscale(module, data, **kwargs)


def rows_of(out: Any) -> Tensor:
    return out[0] if isinstance(out, (tuple, list)) else out


def sweep(gas: Any, loader: Iterable | None = None) -> Tensor:
    """The batch rows of one pass over all batches, in the caller's order."""
    out: Tensor | None = None
    for batch in gas.loader() if loader is None else loader:
        rows = rows_of(gas(batch)).detach()
        assert rows.size(0) == batch.batch_size
        if out is None:
            out = rows.new_full((gas.perm.numel(), *rows.shape[1:]), float('nan'))
        out[batch.n_id[: batch.batch_size]] = rows
    assert out is not None
    return out


def tables(gas: Any) -> list[Tensor]:
    return [history.emb.clone() for history in gas.histories]


def check(
    module: torch.nn.Module,
    data: Data,
    full_batch: FullBatch | None = None,
    *,
    boundaries: list[str] | None = None,
    stale: bool = True,
    train: bool = True,
    part_gradients: bool = True,
    **kwargs: Any,
) -> Any:
    """All parts; returns what ``autoscale`` gave.

    Args:
        module: The module to convert.
        data: The graph.
        full_batch: How PyG's users call the module (default: with ``x`` and ``edge_index``).
        boundaries: What ``str`` gives for each boundary, if that is to be checked.
        stale: Whether zeroed histories must show, where there are histories.
        train: Whether the module computes the same in training.
        part_gradients: Whether all its propagations are operators'.
        **kwargs: For ``autoscale``.
    """
    full_batch = full_batch or (lambda m: m(data.x, data.edge_index))
    module.eval()
    gas = convert(module, data, **kwargs)
    twin = copy.deepcopy(module)  # lazy parameters have their shapes now
    if boundaries is not None:
        assert [str(b) for b in gas.boundaries] == boundaries
    assert [h.embedding_dim for h in gas.histories] == [b.width for b in gas.boundaries]
    with torch.no_grad():
        expected = rows_of(full_batch(twin))
    loader = gas.loader()
    _check_outputs(gas, loader, expected, stale)
    if any(p.requires_grad for p in module.parameters()):
        gas.eval()
        twin.eval()
        _check_one_batch(gas, module, twin, full_batch)
        if part_gradients:
            _check_parts(gas, loader, module, twin, full_batch)
    if train:
        gas.train()
        with torch.no_grad():
            expected = rows_of(full_batch(twin.train()))
            for _ in gas.histories:
                sweep(gas, loader)
            assert_close(sweep(gas, loader), expected, 'outputs in training mode')
    gas.eval()
    return gas


@torch.no_grad()
def _check_outputs(gas: Any, loader: Iterable, expected: Tensor, stale: bool) -> None:
    gas.reset_histories()
    before = tables(gas)
    assert_close(gas.inference(batch_size=3), expected, 'layer-wise outputs')
    assert all(map(torch.equal, before, tables(gas)))
    out = sweep(gas, loader)
    if len(gas.histories) and stale:
        stays = error(out, expected)
        assert stays > 1e-3, f'zeroed histories change outputs by {stays:.1e} only'
    for _ in gas.histories:
        out = sweep(gas, loader)
    assert_close(out, expected, 'outputs after sweeps from zero')
    exact = tables(gas)
    gas.reset_histories()
    assert_close(gas.refresh(), expected, 'refreshed outputs')
    for found, wanted in zip(tables(gas), exact, strict=True):
        assert_close(found, wanted, 'refreshed histories')
    torch.manual_seed(3)
    shuffled = gas.loader(batch_size=2, shuffle=True)
    assert_close(sweep(gas, shuffled), expected, 'outputs right after a refresh')


def _check_one_batch(
    gas: Any, module: torch.nn.Module, twin: torch.nn.Module, full_batch: FullBatch
) -> None:
    (batch,) = list(gas.loader(batch_size=NUM_PARTS))
    found = _gradients(module, rows_of(gas(batch)))
    expected = rows_of(full_batch(twin))[batch.n_id]
    _compare(found, _gradients(twin, expected))


def _check_parts(
    gas: Any,
    loader: Iterable,
    module: torch.nn.Module,
    twin: torch.nn.Module,
    full_batch: FullBatch,
) -> None:
    for batch in islice(loader, 2):
        ids = batch.n_id[: batch.batch_size]
        found = _gradients(module, rows_of(gas(batch)))
        with constants_elsewhere(twin, ids):
            expected = rows_of(full_batch(twin))[ids]
        _compare(found, _gradients(twin, expected))


def _gradients(module: torch.nn.Module, rows: Tensor) -> dict[str, Tensor]:
    module.zero_grad()
    loss_of(rows).backward()
    found = gradients(module)
    module.zero_grad()
    return found


def _compare(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert expected, 'no parameter has a gradient'
    largest = max(float(grad.abs().max()) for grad in expected.values())
    for name in found.keys() | expected.keys():
        one, other = found.get(name, torch.zeros(())), expected.get(name, torch.zeros(()))
        worst = float((one - other).abs().max()) / largest
        assert worst <= 1e-9, f'gradients of {name} differ by {worst:.1e}'


@contextmanager
def constants_elsewhere(module: torch.nn.Module, ids: Tensor) -> Iterator[None]:
    """Inside, rows of nodes not in ``ids`` carry no gradient out of operators and propagations."""
    inside = torch.zeros(NODES, dtype=torch.bool)
    inside[ids] = True

    def detached(out: Any, dim: int) -> Any:
        if isinstance(out, (tuple, list)):
            return type(out)([detached(out[0], dim), *out[1:]])
        if out.size(dim) != NODES:
            return out
        mask = inside.view([NODES if i == dim % out.dim() else 1 for i in range(out.dim())])
        return torch.where(mask, out, out.detach())

    handles = []
    for operator in (m for m in module.modules() if isinstance(m, MessagePassing)):
        dim = operator.node_dim
        handles += [
            operator.register_propagate_forward_hook(
                lambda _, __, out, dim=dim: detached(out, dim)
            ),
            operator.register_forward_hook(lambda _, __, out, dim=dim: detached(out, dim)),
        ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
