"""Traces of earlier inferences, for as long as nothing has changed that decides them."""

from collections.abc import Collection, Hashable
from typing import Any

import torch
from torch import Tensor

from .batch_run import BatchRun
from .forward_key import Same, forward_key
from .loader import PartitionLoader
from .trace import Trace

_AT_MOST = 4  # an inductive model is evaluated on three graphs


class TraceMemory:
    """The last few traces of one model, by key. A copy of it, and one from a file, is empty."""

    def __init__(self) -> None:
        self._traces: dict[Hashable, Trace] = {}

    def get(self, key: Hashable | None) -> Trace | None:
        """The trace with this key; ``None`` if there is none, or no key."""
        return None if key is None else self._traces.get(key)

    def put(self, key: Hashable | None, trace: Trace) -> None:
        """Keep a trace, if it lasts and has a key."""
        if key is None or not trace.is_lasting:
            return
        self._traces[key] = trace
        while len(self._traces) > _AT_MOST:
            del self._traces[next(iter(self._traces))]

    def forget(self, key: Hashable | None) -> None:
        """Drop the trace with this key."""
        self._traces.pop(key, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'TraceMemory':
        return TraceMemory()

    def __reduce__(self) -> Any:
        return TraceMemory, ()


def key_of_trace(run: BatchRun, constants: Collection[Any] = ()) -> Hashable | None:
    """What decides the trace of a run: the forward, its inputs, and how batches are made.

    Args:
        run: The run.
        constants: What ``run.run_model`` works with: these very objects.
    """
    function = getattr(run.run_model, '__func__', run.run_model)
    of_model = forward_key(run.model, function)
    if of_model is None:
        return None
    kind = run.device.type
    around = (
        tuple(run.inputs), run.opened, run.device, torch.get_default_dtype(),
        torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind),
    )  # fmt: skip
    return of_model, tuple(map(Same, constants)), around, _key_of_loader(run.loader)


def _key_of_loader(loader: PartitionLoader) -> Hashable:
    graph = loader.graph
    attributes = {**loader.node_attrs, **loader.edge_attrs}
    weight = None if graph.weight is None else graph.weight.dtype
    return (
        type(loader), loader.bipartite, loader.keep_first_propagation,
        loader.builder.both_directions, graph.num_nodes, graph.fingerprint, weight,
        tuple((name, *_kind_of(value)) for name, value in attributes.items()),
        tuple(loader.node_attrs),
    )  # fmt: skip


def _kind_of(value: Tensor) -> tuple[Hashable, ...]:
    return type(value), tuple(value.shape[1:]), value.dtype
