"""Checks a conversion on a small piece of the user's own graph, before it is trusted.

The piece is a graph of its own. Its full-batch pass, run by PyG alone, is the definition. The same
piece cut into parts must give the same: every boundary's batch rows, the output, and the gradients
of a loss on batch rows, when the histories hold the full pass's values (the frozen-weights oracle).
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from ..boundary import push_and_pull_rows
from ..errors import explain
from ..history import History
from .boundaries import Boundary, Plan
from .conversion import Conversion, rows_of_batch
from .passes import BoundaryPass
from .whole import Whole

# Largest error relative to the largest value.
_TOLERANCE = {torch.float64: 1e-8, torch.float32: 2e-4}


class VerificationError(ValueError):
    """A converted module does not compute on batches what it computes on the whole graph."""


@dataclass
class Reference:
    """What the full-batch pass of one mode gave.

    Attributes:
        out: ``(n, *)`` rows of all nodes.
        values: The rows of every boundary, ``(n, C)``.
    """

    out: Tensor
    values: list[Tensor]


def verify(module: torch.nn.Module, whole: Whole, conversion: Conversion) -> None:
    """Compare a module on batches of a piece with the module on the piece as a whole.

    Args:
        module: A copy to work with; its modes and gradients are changed.
        whole: The piece.
        conversion: How the module runs on batches of the piece.

    Raises:
        VerificationError: If a boundary, the output or a gradient differs; names the place.
    """
    who = type(module).__name__
    for training in (False, True):
        if training and any(isinstance(m, _BatchNorm) for m in module.modules()):
            continue  # takes statistics of the batch: other ones than full batch does
        module.train(training)
        with NoDropout() if training else _nothing():
            reference = _reference(module, whole, conversion.plan)
            if reference is None:
                if training:
                    continue  # draws random numbers of its own
                raise VerificationError(
                    explain(who, 'in eval mode the output must not be random',
                            'two results in two runs on the same graph', 'Make dropout follow the '
                            "mode: F.dropout(x, p, training=self.training).")
                )  # fmt: skip
            _Check(module, whole, conversion, reference).run()


def _reference(module: torch.nn.Module, whole: Whole, plan: Plan) -> Reference | None:
    """The full-batch pass; ``None`` if it comes out differently the second time."""
    results = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        values: list[Tensor] = []

        def keep(_: int, __: Boundary, rows: Tensor, values: list[Tensor] = values) -> Tensor:
            values.append(rows.detach().clone())
            return rows

        with torch.no_grad():
            results.append(Reference(_full_pass(module, whole, plan, keep), values))
    first, second = results
    tolerance = _TOLERANCE[first.out.dtype]
    return first if _error(second.out, first.out) <= tolerance else None


def _full_pass(module: torch.nn.Module, whole: Whole, plan: Plan, handle: Callable) -> Tensor:
    watcher = BoundaryPass(module, plan.boundaries[module.training], handle)
    with watcher.watching():
        out = whole.run(module)
    watcher.check_finished()
    return rows_among(type(module).__name__, out, whole.num_nodes)


def rows_among(who: str, out: Any, num_nodes: int) -> Tensor:
    """The rows of an output, which must be one per node.

    Raises:
        ValueError: If there are none.
    """
    rows = out[0] if isinstance(out, (tuple, list)) and out else out
    if not isinstance(rows, Tensor) or rows.dim() == 0 or rows.size(0) != num_nodes:
        came = f'shape {tuple(rows.shape)}' if isinstance(rows, Tensor) else type(rows).__name__
        raise ValueError(
            explain(who, f'forward must return one row per node, {num_nodes} on a piece of the '
                    'graph', came, 'Pool rows, or score pairs of nodes, outside of the module.')
        )  # fmt: skip
    return rows


class _Check:
    def __init__(
        self, module: torch.nn.Module, whole: Whole, conversion: Conversion, reference: Reference
    ) -> None:
        self.module, self.whole, self.conversion = module, whole, conversion
        self.reference = reference
        self.boundaries = conversion.plan.boundaries[module.training]
        self.histories = []
        for boundary, rows in zip(self.boundaries, reference.values, strict=True):
            history = History(whole.num_nodes, boundary.width, dtype=rows.dtype)
            history.push(rows[whole.perm])
            self.histories.append(history)

    def run(self) -> None:
        loader = self.whole.loader(self.conversion.plan.direction)
        for number, batch in enumerate(loader):
            nodes = batch.adj_t.edges.nodes
            ids = self.whole.perm[nodes.n_id[: nodes.batch_size]]
            if number > 0:
                with torch.no_grad():
                    self._compare(self._batch_rows(batch, ids), ids)
                continue
            rows = self._batch_rows(batch, ids)
            self._compare(rows.detach(), ids)
            self._compare_gradients(rows, ids)

    def _batch_rows(self, batch: Any, ids: Tensor) -> Tensor:
        nodes = batch.adj_t.edges.nodes

        def exchange(k: int, boundary: Boundary, rows: Tensor) -> Tensor:
            self._refuse_difference(
                rows[: nodes.batch_size].detach(), self.reference.values[k][ids], str(boundary), k
            )
            return push_and_pull_rows(
                'autoscale', self.histories[k], rows, nodes.batch_size, nodes.n_id, nodes.offset,
                nodes.count,
            )  # fmt: skip

        out = self.conversion.run(self.module, batch, exchange)
        out = rows_of_batch(out, nodes.batch_size, nodes.n_id.numel())
        return out[0] if isinstance(out, (tuple, list)) else out

    def _compare(self, rows: Tensor, ids: Tensor) -> None:
        self._refuse_difference(rows, self.reference.out[ids], 'the output', len(self.boundaries))

    def _refuse_difference(self, rows: Tensor, expected: Tensor, where: str, k: int) -> None:
        if rows.shape == expected.shape:
            error = _error(rows, expected)
            if error <= _TOLERANCE[expected.dtype]:
                return
            came = f'a relative error of {error:.1e} at {where}'
        else:
            came = f'shape {tuple(rows.shape)} instead of {tuple(expected.shape)} at {where}'
        since = f' (what came before, {self.boundaries[k - 1]}, was right)' if k else ''
        raise VerificationError(
            explain(type(self.module).__name__, 'on a batch it must compute what it computes on '
                    'the whole graph', came + since,
                    'Something there reads more of the graph than the edges into a node, e.g. '
                    'degrees of neighbours, edges out of a node, or statistics over all nodes: '
                    'compute it once for the whole graph and pass it as a node or edge attribute '
                    'of the data, or use another operator.')
        )  # fmt: skip

    def _compare_gradients(self, rows: Tensor, ids: Tensor) -> None:
        parameters = [p for p in self.module.parameters() if p.requires_grad]
        if not parameters or not rows.requires_grad:
            return
        inside = torch.zeros(self.whole.num_nodes, 1, dtype=torch.bool)
        inside[ids] = True

        def constant_outside(_: int, __: Boundary, value: Tensor) -> Tensor:
            return torch.where(inside, value, value.detach())

        full = _full_pass(self.module, self.whole, self.conversion.plan, constant_outside)[ids]
        weight = torch.linspace(0.5, 1.5, rows.numel(), dtype=rows.dtype).view(rows.shape)
        expected = torch.autograd.grad((full * weight).sum(), parameters, allow_unused=True)
        found = torch.autograd.grad((rows * weight).sum(), parameters, allow_unused=True)
        names = [name for name, p in self.module.named_parameters() if p.requires_grad]
        largest = max((float(g.abs().max()) for g in expected if g is not None), default=0.0)
        for name, one, other in zip(names, found, expected, strict=True):
            one = torch.zeros(()) if one is None else one
            other = torch.zeros(()) if other is None else other
            error = float((one - other).abs().max()) / max(largest, 1e-12)
            if not error <= 10 * _TOLERANCE[rows.dtype]:
                raise VerificationError(
                    explain(type(self.module).__name__, 'on a batch, gradients must be those of '
                            'the whole graph with the rows of other nodes as constants',
                            f"a relative error of {error:.1e} at parameter '{name}'",
                            'Do not detach or reuse values between layers in a way that depends '
                            'on the rows at hand.')
                )  # fmt: skip


def _error(rows: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value."""
    if not rows.numel():
        return 0.0
    if not bool(torch.isfinite(expected).all()):
        return 0.0 if torch.equal(rows.nan_to_num(), expected.nan_to_num()) else float('inf')
    if not rows.is_floating_point():
        return 0.0 if torch.equal(rows, expected) else float('inf')
    error = float((rows - expected).abs().max() / expected.abs().max().clamp(min=1e-12))
    return error if error == error else float('inf')


class NoDropout(TorchFunctionMode):
    """Turns every dropout into the identity."""

    _NAMES = (
        F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout,
    )  # fmt: skip

    def __torch_function__(
        self, func: Callable, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in self._NAMES:
            return args[0] if args else kwargs['input']
        return func(*args, **kwargs)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def working_copy(module: torch.nn.Module, whole: Whole) -> tuple[torch.nn.Module, Whole]:
    """A copy of the module and of the piece in double precision, if the module runs in it."""
    twin = copy_of(module)
    double, wide = copy.deepcopy(twin).double(), whole.double()
    double.eval()
    try:
        with torch.no_grad():
            wide.run(double)
    except RuntimeError:
        return twin, whole  # it makes tensors of a fixed type
    return double, wide


def copy_of(module: torch.nn.Module) -> torch.nn.Module:
    """A copy on the CPU, without gradients and without what earlier calls have left."""
    memo: dict[int, Any] = {}

    def detach(value: Any) -> Any:
        if isinstance(value, Tensor) and value.grad_fn is not None:
            memo[id(value)] = value.detach()
        return value

    for m in module.modules():
        tree_map(detach, dict(vars(m)))
    return copy.deepcopy(module, memo).cpu()
