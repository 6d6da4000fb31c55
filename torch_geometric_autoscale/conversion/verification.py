"""Checks a conversion on a small piece of the user's own graph, before it is trusted.

The piece is a graph of its own. Its full-batch pass, run by PyG alone, is the definition. The same
piece cut into parts must give the same: every boundary's batch rows, the output, and the gradients
of a loss on batch rows, when the histories hold the full pass's values (the frozen-weights oracle).
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from ..boundary import push_and_pull_rows
from ..errors import explain
from ..guard import passed_boundary
from ..history import History
from .boundaries import Boundary, Plan
from .conversion import Conversion
from .hetero_whole import HeteroWhole
from .parts import NUM_LARGE
from .passes import BoundaryPass, Handle
from .rows import Outputs, TypeRows, output_tensors, sure_extras
from .whole import Whole

# Largest error relative to the largest value; modules may hold constants in single precision.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-4}


# Parameters beyond which a second copy in double precision would take seconds.
_LARGE = 2**22


class VerificationError(ValueError):
    """A converted module does not compute on batches what it computes on the whole graph."""


@dataclass
class Reference:
    """What the full-batch pass of one mode gave.

    Attributes:
        out: Rows of all nodes, by node type.
        values: The rows of every boundary, ``(n, C)``.
    """

    out: list[tuple[str, Tensor]]
    values: list[Tensor]


def verify(
    module: torch.nn.Module,
    whole: Whole | HeteroWhole,
    conversion: Conversion,
    frozen: Sequence[Boundary] | None,
) -> None:
    """Compare a module on batches of a piece with the module on the piece as a whole.

    Batch normalisation in training takes statistics of the batch, other ones than full batch does:
    training mode is compared with those layers in eval mode.

    Args:
        module: A copy to work with; its modes and gradients are changed.
        whole: The piece.
        conversion: How the module runs on batches of the piece.
        frozen: The boundaries in training mode with batch normalisation in eval mode; ``None``
            leaves training mode out.

    Raises:
        VerificationError: If a boundary, the output or a gradient differs; names the place.
    """
    who = type(module).__name__
    for training in (False, True):
        if training:
            if frozen is None:
                continue
            plan = replace(conversion.plan, boundaries={True: tuple(frozen)})
            conversion = Conversion(conversion.inputs, plan, conversion.source)
        set_mode(module, training, freeze=True)
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


def set_mode(module: torch.nn.Module, training: bool, freeze: bool = False) -> bool:
    """Set a module's mode, but ``freeze`` batch normalisation; whether there is any."""
    module.train(training)
    norms = [m for m in module.modules() if isinstance(m, _BatchNorm)]
    for norm in norms if freeze else ():
        norm.eval()
    return bool(norms)


@torch.no_grad()
def try_batches(
    module: torch.nn.Module, whole: Whole | HeteroWhole, conversion: Conversion, training: bool
) -> None:
    """Run a module on the large batches of a piece, and compare nothing."""
    module.train(training)
    for batch in islice(whole.loader(conversion.plan.direction), NUM_LARGE):
        rows = conversion.source.rows_of(batch)
        conversion.run(module, batch, _filling_up(rows))


@torch.no_grad()
def outputs_on_batches(
    module: torch.nn.Module,
    whole: Whole | HeteroWhole,
    conversion: Conversion,
    extras: Mapping[bool, Outputs],
) -> dict[bool, Outputs]:
    """The outputs of a plan and those ``extras`` that hold rows of nodes on batches, too."""
    outputs = dict(conversion.plan.outputs)
    for training, sure in extras.items():
        if not sure:
            continue
        module.train(training)
        loader = whole.loader(conversion.plan.direction)
        # A tiny batch tells best, but batch normalisation cannot train on it.
        for batch in islice(loader, NUM_LARGE) if training else loader:
            rows = conversion.source.rows_of(batch)
            out = conversion.run(module, batch, _filling_up(rows))
            sure = sure_extras(out, sure, rows)
        outputs[training] += sure
    return outputs


def _filling_up(rows: Mapping[str, TypeRows]) -> Handle:
    """Answers boundaries with zeros for halo rows."""

    def fill_up(_: int, boundary: Boundary, value: Tensor) -> Tensor:
        here = rows[boundary.node_type]
        halo = value.new_zeros((here.num_nodes - here.batch_size, value.size(1)))
        return passed_boundary(torch.cat([value[: here.batch_size], halo]))

    return fill_up


def _reference(module: torch.nn.Module, whole: Whole | HeteroWhole, plan: Plan) -> Reference | None:
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
    same = all(
        _error(two, one) <= _tolerance(one)
        for (_, one), (_, two) in zip(first.out, second.out, strict=True)
    )
    return first if same else None


def _full_pass(
    module: torch.nn.Module, whole: Whole | HeteroWhole, plan: Plan, handle: Callable
) -> list[tuple[str, Tensor]]:
    watcher = BoundaryPass(module, plan.boundaries[module.training], handle)
    with watcher.watching():
        out = whole.run(module)
    watcher.check_finished()
    return output_tensors(out, plan.outputs[module.training])


class _Check:
    def __init__(
        self,
        module: torch.nn.Module,
        whole: Whole | HeteroWhole,
        conversion: Conversion,
        reference: Reference,
    ) -> None:
        self.module, self.whole, self.conversion = module, whole, conversion
        self.reference = reference
        self.plan = conversion.plan
        self.boundaries = self.plan.boundaries[module.training]
        self.order = whole.table_order
        self.histories = []
        for boundary, rows in zip(self.boundaries, reference.values, strict=True):
            history = History(rows.size(0), boundary.width, dtype=rows.dtype)
            history.push(rows[self.order[boundary.node_type]])
            self.histories.append(history)

    def run(self) -> None:
        for number, batch in enumerate(self.whole.loader(self.plan.direction)):
            rows = self.conversion.source.rows_of(batch)
            ids = {
                node_type: self.order[node_type][here.n_id[: here.batch_size]]
                for node_type, here in rows.items()
            }
            with torch.set_grad_enabled(number == 0):
                out = self._run_batch(batch, rows, ids)
            for (node_type, found), (_, whole) in zip(out, self.reference.out, strict=True):
                self._refuse_difference(
                    found.detach(), whole, ids[node_type], 'the output', len(self.boundaries)
                )
            if number == 0:
                self._compare_gradients(out, ids)

    def _run_batch(
        self, batch: Any, rows: dict[str, TypeRows], ids: dict[str, Tensor]
    ) -> list[tuple[str, Tensor]]:
        def exchange(k: int, boundary: Boundary, value: Tensor) -> Tensor:
            here = rows[boundary.node_type]
            self._refuse_difference(
                value[: here.batch_size].detach(), self.reference.values[k],
                ids[boundary.node_type], str(boundary), k,
            )  # fmt: skip
            return push_and_pull_rows(
                'autoscale', self.histories[k], value, here.batch_size, here.n_id, here.offset,
                here.count,
            )  # fmt: skip

        out = self.conversion.run(self.module, batch, exchange)
        return output_tensors(out, self.plan.outputs[self.module.training])

    def _refuse_difference(
        self, rows: Tensor, whole: Tensor, ids: Tensor, where: str, k: int
    ) -> None:
        expected = whole[ids]
        if rows.shape == expected.shape:
            error = _error(rows, expected, whole)
            if error <= _tolerance(expected):
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

    def _compare_gradients(self, out: list[tuple[str, Tensor]], ids: dict[str, Tensor]) -> None:
        named = [(n, p) for n, p in self.module.named_parameters() if p.requires_grad]
        named = [(name, p) for name, p in named if not is_lazy(p)]
        parameters = [p for _, p in named]
        if not parameters or not any(rows.requires_grad for _, rows in out):
            return
        inside = {}
        for node_type, order in self.order.items():
            inside[node_type] = torch.zeros(order.numel(), 1, dtype=torch.bool)
            inside[node_type][ids[node_type]] = True

        def constant_outside(_: int, boundary: Boundary, value: Tensor) -> Tensor:
            return torch.where(inside[boundary.node_type], value, value.detach())

        whole = _full_pass(self.module, self.whole, self.plan, constant_outside)
        full = [(node_type, rows[ids[node_type]]) for node_type, rows in whole]
        expected = _gradients(_loss(full), parameters)
        found = _gradients(_loss(out), parameters)
        tolerance = 10 * max(_tolerance(rows) for _, rows in out if rows.requires_grad)
        largest = max((float(g.abs().max()) for g in expected if g is not None), default=0.0)
        for (name, _), one, other in zip(named, found, expected, strict=True):
            one = torch.zeros(()) if one is None else one
            other = torch.zeros(()) if other is None else other
            error = float((one - other).abs().max()) / max(largest, 1e-12)
            if not error <= tolerance:
                raise VerificationError(
                    explain(type(self.module).__name__, 'on a batch, gradients must be those of '
                            'the whole graph with the rows of other nodes as constants',
                            f"a relative error of {error:.1e} at parameter '{name}'",
                            'Do not detach or reuse values between layers in a way that depends '
                            'on the rows at hand.')
                )  # fmt: skip


def _gradients(loss: Tensor, parameters: Sequence[Tensor]) -> list[Tensor | None]:
    # Not autograd.grad: what a reentrant checkpoint computes is no part of its graph.
    for parameter in parameters:
        parameter.grad = None
    loss.backward()
    found = [None if p.grad is None else p.grad.to_dense() for p in parameters]
    for parameter in parameters:
        parameter.grad = None
    return found


def _loss(out: list[tuple[str, Tensor]]) -> Tensor:
    """A loss in which every row and column counts, and differently."""
    terms = []
    for _, rows in out:
        if not rows.requires_grad:
            continue
        weight = torch.linspace(0.5, 1.5, rows.numel(), dtype=rows.dtype).view(rows.shape)
        terms.append((rows * weight).sum())
    return torch.stack(terms).sum()


def _tolerance(rows: Tensor) -> float:
    return _TOLERANCE.get(rows.dtype, 2e-2)


def _error(rows: Tensor, expected: Tensor, among: Tensor | None = None) -> float:
    """Largest difference relative to the largest value, ``among`` all rows if they are given.

    The few rows of a tiny part may have cancelled to nothing but rounding.
    """
    if not rows.numel():
        return 0.0
    if not bool(torch.isfinite(expected).all()):
        return 0.0 if torch.equal(rows.nan_to_num(), expected.nan_to_num()) else float('inf')
    if not rows.is_floating_point():
        return 0.0 if torch.equal(rows, expected) else float('inf')
    among = expected if among is None else among[among.isfinite()]
    error = float((rows - expected).abs().max() / among.abs().max().clamp(min=1e-12))
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


def working_copy(module: torch.nn.Module, whole: Any) -> tuple[torch.nn.Module, Any]:
    """A copy of the module and of the piece in double precision, if the module runs in it."""
    twin = copy_of(module)
    if sum(p.numel() for p in twin.parameters() if not is_lazy(p)) > _LARGE:
        return twin, whole
    double, wide = copy.deepcopy(twin).double(), whole.double()
    double.eval()
    try:
        with torch.no_grad():
            wide.run(double)
    except RuntimeError:  # it makes tensors of a fixed type
        with torch.no_grad():
            whole.run(twin.eval())
        return twin, whole
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
