"""The four-part oracle that every model, operator and loader setting is held against.

The plain definition is the model's own ``forward``, run once on the whole graph with PyG's plain
modules on ``data.edge_index``: no batch, no adjacency and no history of this library takes part.
A boundary is ``x`` itself there, or, to define what a *batch* computes, a table of constants whose
batch rows are replaced by computed ones.

    check_oracle(model, data, loader)      # all parts that hold for any model

Parts: (1) forward after ``L - 1`` frozen sweeps, (2) not vacuous, (3) gradients, (4) batch norm in
training mode (:func:`check_batch_statistics`).
"""

import copy
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing

from torch_geometric_autoscale import EvalSubgraphLoader, ScalableGNN, SubgraphLoader

# Largest error relative to the largest output.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
NODES = 20
PTR = torch.tensor([0, 6, 11, 15, 20])

Boundary = Callable[[int, Tensor], Tensor]


def nasty_graph(dtype: torch.dtype = torch.float64, channels: int = 4, seed: int = 0) -> Data:
    """Directed edges, self-loops, duplicates, isolated nodes (5 and 19), every partition cut."""
    rng = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, NODES, (2, 50), generator=rng)
    edges = edges[:, ((edges != 5) & (edges != 19)).all(dim=0)]
    loops = torch.tensor([[2, 7, 12], [2, 7, 12]])
    edge_index = torch.cat([edges, edges[:, :6], loops, loops[:, :1]], dim=1)
    edge_index = edge_index[:, torch.randperm(edge_index.size(1), generator=rng)]
    return Data(
        x=torch.randn(NODES, channels, generator=rng, dtype=dtype),
        y=torch.randint(0, 3, (NODES,), generator=rng),
        edge_index=edge_index,
        num_nodes=NODES,
    )


def with_edges(data: Data, weight: bool = False, attr: int = 0, seed: int = 1) -> Data:
    """A copy of ``data`` with positive edge weights, or edge attributes, or both."""
    rng = torch.Generator().manual_seed(seed)
    data = copy.copy(data)
    if weight:
        data.edge_weight = 0.5 + torch.rand(data.num_edges, generator=rng, dtype=data.x.dtype)
    if attr:
        data.edge_attr = torch.randn(data.num_edges, attr, generator=rng, dtype=data.x.dtype)
    return data


def sweep_loader(data: Data, ptr: Tensor = PTR, **kwargs: Any) -> SubgraphLoader:
    return EvalSubgraphLoader(data, ptr, log=False, **kwargs)


# The plain definition ############################################################


def plain(model: ScalableGNN, data: Data, boundary: Boundary | None = None) -> Any:
    """``forward`` on the whole graph with plain PyG; ``boundary(i, x)`` answers the ``i``-th one.

    The parameters are those of ``model`` itself, so gradients arrive there.
    """
    count = iter(range(10**6))
    twin = copy.copy(model)  # shares parameters, but not the patched method
    twin.__dict__['push_and_pull'] = lambda history, x, *_, **__: (
        x if boundary is None else boundary(next(count), x)
    )
    weights = _WeightGiven(model, data) if 'adj_t' in _names(model) else _Nothing()
    with weights:
        out = type(model).forward(twin, **plain_arguments(model, data))
    return out[0] if isinstance(out, tuple) else out


def plain_arguments(model: ScalableGNN, data: Data) -> dict[str, Any]:
    given = {}
    for name, parameter in _names(model).items():
        if name == 'adj_t':
            given[name] = data.edge_index
        elif name in ('batch_size', 'n_id', 'offset', 'count'):
            given[name] = None
        elif name in data:
            given[name] = data[name]
        elif parameter.default is inspect.Parameter.empty:
            raise KeyError(name)
    return given


def _names(model: ScalableGNN) -> dict[str, inspect.Parameter]:
    _, *parameters = inspect.signature(type(model).forward).parameters.items()
    return dict(parameters)


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: Any) -> None: ...


class _WeightGiven(_Nothing):
    """Hands ``data.edge_weight`` to operators that a batch's ``adj_t`` gives its values."""

    def __init__(self, model: torch.nn.Module, data: Data) -> None:
        self.convs = []
        if data.get('edge_weight') is not None:
            self.convs = [
                m for m in model.modules()
                if isinstance(m, MessagePassing)
                and 'edge_weight' in inspect.signature(m.forward).parameters
            ]  # fmt: skip
        self.data = data

    def __enter__(self) -> None:
        for conv in self.convs:
            conv.__dict__['forward'] = self._weighted(conv.forward)

    def _weighted(self, forward: Callable) -> Callable:
        at = list(inspect.signature(forward).parameters).index('edge_weight')

        def weighted(*args: Any, **kwargs: Any) -> Any:
            if len(args) <= at:
                kwargs.setdefault('edge_weight', self.data.edge_weight)
            return forward(*args, **kwargs)

        return weighted

    def __exit__(self, *_: Any) -> None:
        for conv in self.convs:
            conv.__dict__.pop('forward', None)


# Measures ########################################################################


def error(out: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest expected entry."""
    assert out.shape == expected.shape, (out.shape, expected.shape)
    assert bool(torch.isfinite(expected).all())
    if not bool(torch.isfinite(out).all()):
        return float('inf')
    return float((out - expected).abs().max() / expected.abs().max().clamp(min=1e-12))


def assert_close(out: Tensor, expected: Tensor, what: str = 'outputs') -> None:
    worst = error(out.detach(), expected.detach())
    assert worst <= TOLERANCE[expected.dtype], f'{what} differ by {worst:.2e}'


def scramble(model: ScalableGNN) -> None:
    """Fill every history with noise, as large as embeddings are."""
    rng = torch.Generator().manual_seed(7)
    for history in model.histories:
        history.push(torch.randn(history.emb.shape, generator=rng).to(history.emb.dtype))


def rows_of(out: Any) -> Tensor:
    return out[0] if isinstance(out, tuple) else out


def sweep(model: ScalableGNN, loader: Iterable) -> Tensor:
    """One pass over all batches; the batch rows of every output, in the order of the data."""
    out: Tensor | None = None
    for batch in loader:
        rows = rows_of(model(batch))
        out = (
            rows.new_full((model.num_nodes, *rows.shape[1:]), float('nan')) if out is None else out
        )
        out[batch.n_id[: batch.batch_size]] = rows.detach()
    assert out is not None
    return out


def gradients(model: torch.nn.Module) -> dict[str, Tensor]:
    return {
        name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None
    }  # fmt: skip


def tables(model: ScalableGNN) -> list[Tensor]:
    return [history.emb.clone() for history in model.histories]


def loss_of(rows: Tensor) -> Tensor:
    """A loss in which every row and column counts, and differently."""
    weight = torch.linspace(0.5, 1.5, rows.numel(), dtype=rows.dtype).view(rows.shape)
    return (weight * rows).square().sum() + (weight * rows).sum()


# The four parts ##################################################################


def check_forward(model: ScalableGNN, data: Data, loader: Iterable) -> None:
    """After ``L - 1`` frozen sweeps from any history content, a sweep gives the full-batch run."""
    model.eval()
    with torch.no_grad():
        expected = plain(model, data)
        scramble(model)
        for _ in model.histories:
            sweep(model, loader)
        assert_close(sweep(model, loader), expected)


def check_not_vacuous(model: ScalableGNN, data: Data, loader: Iterable) -> None:
    """With zeroed histories and one sweep too few, outputs differ clearly."""
    model.eval()
    with torch.no_grad():
        expected = plain(model, data)
        for history in model.histories:
            history.reset()
        worst = error(sweep(model, loader), expected)
        assert worst > 1e-2, f'stale histories change outputs by {worst:.1e} only'


def check_gradients(model: ScalableGNN, data: Data, loader: Iterable) -> None:
    """Each batch's gradients are those of the plain definition with pulled rows as constants."""
    model.train()
    scramble(model)
    for batch in loader:
        before = tables(model)
        ids = batch.n_id[: batch.batch_size]

        def pulled(i: int, x: Tensor, before: list = before, ids: Tensor = ids) -> Tensor:
            return before[i].to(x.dtype).index_copy(0, ids, x[ids])

        model.zero_grad()
        rows = rows_of(model(batch))
        loss_of(rows).backward()
        found = gradients(model)
        model.zero_grad()
        expected = plain(model, data, pulled)[ids]
        assert_close(rows, expected, 'outputs on a batch')
        loss_of(expected).backward()
        _compare(found, gradients(model))


def check_one_batch_is_full_batch(model: ScalableGNN, data: Data, whole: Iterable) -> None:
    """One batch that holds every partition gives the full-batch outputs and gradients."""
    model.train()
    scramble(model)
    (batch,) = list(whole)
    model.zero_grad()
    rows = rows_of(model(batch))
    loss_of(rows).backward()
    found = gradients(model)
    model.zero_grad()
    expected = plain(model, data)[batch.n_id]
    assert_close(rows, expected)
    loss_of(expected).backward()
    _compare(found, gradients(model))


def _compare(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert found, 'no parameter has a gradient'
    largest = max(float(grad.abs().max()) for grad in expected.values())
    for name, grad in expected.items():
        worst = float((found[name] - grad).abs().max()) / largest
        assert worst <= TOLERANCE[grad.dtype], f'gradients of {name} differ by {worst:.1e}'


def check_inference(model: ScalableGNN, data: Data, loader: SubgraphLoader) -> None:
    """Layer-wise inference is exact and writes nothing; refresh is exact and fills histories."""
    model.eval()
    with torch.no_grad():
        expected = plain(model, data)
        exact: list[Tensor] = []

        def note(_: int, x: Tensor) -> Tensor:
            exact.append(x.clone())  # a forward may write into it
            return x

        plain(model, data, note)
        scramble(model)
        before = tables(model)
        assert_close(model(loader=loader), expected, 'layer-wise outputs')
        assert all(map(torch.equal, before, tables(model)))
        assert_close(model.refresh(loader), expected, 'refreshed outputs')
        if len(exact) == len(model.histories):
            for table, rows in zip(tables(model), exact, strict=True):
                assert_close(table, rows.to(table.dtype), 'refreshed histories')
        assert_close(sweep(model, loader), expected, 'outputs right after a refresh')


def check_batch_statistics(model: ScalableGNN, data: Data, loader: Iterable) -> None:
    """In training, each batch norm sees the batch rows of its input and nothing else."""
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert norms, 'the model has no BatchNorm1d'
    model.train()
    scramble(model)
    for batch in loader:
        B, ids = batch.batch_size, batch.n_id[: batch.batch_size]
        before = tables(model)
        twin = copy.deepcopy(model)
        for norm in (m for m in twin.modules() if isinstance(m, torch.nn.BatchNorm1d)):
            norm.__dict__['forward'] = _plain_batch_norm(norm, ids)

        def pulled(i: int, x: Tensor, before: list = before, ids: Tensor = ids) -> Tensor:
            return before[i].to(x.dtype).index_copy(0, ids, x[ids])

        expected = plain(twin, data, pulled)[ids]
        rows = rows_of(model(batch))
        assert rows.size(0) == B
        assert_close(rows, expected, 'outputs in training')
        for found, wanted in zip(model.buffers(), twin.buffers(), strict=True):
            torch.testing.assert_close(found, wanted)
        model.zero_grad()
        twin.zero_grad()
        loss_of(rows).backward()
        loss_of(expected).backward()
        _compare(gradients(model), gradients(twin))


def _plain_batch_norm(norm: torch.nn.BatchNorm1d, ids: Tensor) -> Callable[[Tensor], Tensor]:
    """Ioffe & Szegedy 2015, Alg. 1, with the statistics of the rows ``ids`` of the whole graph."""

    def forward(x: Tensor) -> Tensor:
        mean, var = x[ids].mean(0), x[ids].var(0, unbiased=False)
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean += norm.momentum * (mean - norm.running_mean)
            norm.running_var += norm.momentum * (x[ids].var(0) - norm.running_var)
        return (x - mean) / (var + norm.eps).sqrt() * norm.weight + norm.bias

    return forward


def check_oracle(
    model: ScalableGNN,
    data: Data,
    loader: SubgraphLoader,
    *,
    vacuous: bool = False,
    statistics: bool = False,
) -> None:
    """All parts. ``vacuous``: the model needs no history; ``statistics``: it has batch norm."""
    check_forward(model, data, loader)
    if not vacuous:
        check_not_vacuous(model, data, loader)
    if statistics:
        check_batch_statistics(model, data, loader)
    else:
        check_gradients(model, data, loader)
        whole = sweep_loader(data, torch.tensor([0, data.num_nodes]), bipartite=loader.bipartite)
        check_one_batch_is_full_batch(model, data, whole)
    check_inference(model, data, loader)
