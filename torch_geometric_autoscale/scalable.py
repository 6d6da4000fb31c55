"""The base class of models that mark their layer boundaries themselves."""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .adjacency import Adjacency, adjacency_of
from .boundary import replace_halo
from .calls import BatchCall, batch_call, current_call
from .errors import explain
from .graph import check_same_graph
from .guard import guard_model
from .history import History
from .inference import LayerwiseInference, current_replay
from .loader import SubgraphBatch, SubgraphLoader
from .norms import BatchRowStatistics, refuse_graph_statistics
from .operators import teach_pyg

_ARGUMENTS = ('x', 'adj_t', 'batch_size', 'n_id', 'offset', 'count')
_OF_THE_BATCH = _ARGUMENTS[2:]


class ScalableGNN(torch.nn.Module):
    """A GNN whose halo rows come from historical embeddings (Fey et al. 2021, Alg. 1).

    Subclasses write one ``forward(x, adj_t, batch_size, n_id[, offset, count])`` and pass each
    layer's output but the last through :meth:`push_and_pull`. The same ``forward`` serves

    * a batch: ``model(batch.x, batch.adj_t, batch_size, n_id, offset, count)`` or ``model(batch)``
      returns the ``B`` batch rows and writes the histories, in ``train()`` and ``eval()``;
    * a whole graph, this or another: ``model(x, adj_t)``, without histories;
    * exact layer-wise inference: ``model(loader=EvalSubgraphLoader(...))``;
    * :meth:`refresh`, which makes every history exact.

    Args:
        num_nodes: Number of nodes ``N`` of the training graph.
        hidden_channels: Width of the histories, or one width per boundary.
        num_layers: Number of layers; one history less is kept.
        pool_size, buffer_size: Accepted for compatibility, not needed: buffers size themselves.
        device: Where the histories live (default: the CPU).
    """

    def __init__(
        self,
        num_nodes: int,
        hidden_channels: int | Sequence[int],
        num_layers: int,
        pool_size: int | None = None,
        buffer_size: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        refuse_several_processes(type(self).__name__)
        teach_pyg()
        if not isinstance(num_layers, int) or num_layers < 1:
            raise ValueError(
                explain('ScalableGNN', "'num_layers' must be a positive number", num_layers,
                        'Pass how many layers the model has.')
            )  # fmt: skip
        widths = (
            [hidden_channels] * (num_layers - 1)
            if isinstance(hidden_channels, int) else list(hidden_channels)
        )  # fmt: skip
        if len(widths) != num_layers - 1:
            raise ValueError(
                explain('ScalableGNN', "'hidden_channels' must be one width, or one for each of "
                        f'the {num_layers - 1} boundaries', widths,
                        'Leave out the width of the output.')
            )  # fmt: skip
        self.num_nodes = num_nodes
        self.hidden_channels = hidden_channels
        self.num_layers = num_layers
        self.pool_size, self.buffer_size = pool_size, buffer_size
        self.histories = torch.nn.ModuleList(History(num_nodes, c, device) for c in widths)

    def reset_parameters(self) -> None:
        """Reset the histories. Subclasses add their own parameters."""
        for history in self.histories:
            history.reset_parameters()  # type: ignore[operator]

    # Calls #######################################################################

    def __call__(self, *args: Any, loader: SubgraphLoader | None = None, **kwargs: Any) -> Any:
        if loader is not None:
            return self._inference(loader, args, kwargs)
        arguments, call = self._fit(args, kwargs)
        if call is None or current_replay() is not None:
            return super().__call__(**arguments)
        self._check_call(arguments, call)
        with batch_call(call), guard_model(self):
            if self.training and call.batch_size < call.num_nodes:
                with BatchRowStatistics(call.batch_size, call.num_nodes):
                    out = super().__call__(**arguments)
            else:
                out = super().__call__(**arguments)
        return batch_rows(out, call)

    def push_and_pull(
        self,
        history: History,
        x: Tensor,
        batch_size: int | None = None,
        n_id: Tensor | None = None,
        offset: Tensor | None = None,
        count: Tensor | None = None,
    ) -> Tensor:
        """Mark a layer boundary: push the batch rows of ``x`` and pull the halo rows.

        Args:
            history: The table of this boundary.
            x: Batch rows ``(B, C)``, or all rows ``(n, C)`` of which the first ``B`` count.
            batch_size: Number of batch nodes ``B``; ``None`` on a whole graph.
            n_id: ``(n,)`` node ids, batch nodes first; ``None`` on a whole graph.
            offset, count: The batch nodes as contiguous chunks, if known.

        Returns:
            All rows of ``n_id``, ``(n, C)``; ``x`` itself on a whole graph.

        Raises:
            ValueError: If ``x`` has neither ``B`` nor ``n`` rows, or another width than the
                history, or comes from another graph. The history is untouched then.
        """
        replay = current_replay()
        if replay is not None:
            return replay.boundary(x, history)
        if batch_size is None and n_id is None:
            return x
        if batch_size is None or n_id is None:
            raise ValueError(
                explain('push_and_pull', "'batch_size' and 'n_id' belong together", 'one of them',
                        'Pass both on a batch, neither on a whole graph.')
            )  # fmt: skip
        if x.dim() != 2 or x.size(0) not in (batch_size, n_id.numel()):
            raise ValueError(
                explain('push_and_pull', f"'x' must have the {batch_size} batch rows or all "
                        f'{n_id.numel()} rows of the batch', f'shape {tuple(x.shape)}',
                        'Pass the output of a layer on this batch.')
            )  # fmt: skip
        call = current_call()
        if offset is None and call is not None and call.n_id is n_id:
            offset, count = call.offset, call.count
        halo = n_id[batch_size:]
        rows = x.new_empty((n_id.numel(), history.embedding_dim))
        if halo.numel():
            history.pull(halo, out=rows[batch_size:])
        history.push(x[:batch_size].detach(), n_id[:batch_size], offset, count)
        history.belong_to(call.fingerprint if call is not None else None)
        return replace_halo(x, rows, batch_size)

    # Exact inference #############################################################

    def refresh(self, loader: SubgraphLoader) -> Tensor:
        """Recompute every history exactly with the current weights.

        Runs in ``eval()`` mode, layer by layer, over all partitions of ``loader``, and leaves the
        mode as it was. Histories of another graph are refused; ``reset_parameters`` clears them.

        Returns:
            The exact outputs for all nodes, ``(N, out_channels)``, in the order of the loader's
            data: the same pass serves evaluation.
        """
        self._check_graph('refresh', loader.graph.num_nodes, loader.graph.fingerprint)
        return self._layerwise(loader, write=True)

    def _inference(self, loader: SubgraphLoader, args: Any, kwargs: Any) -> Tensor:
        if args or kwargs:
            raise TypeError(
                explain(type(self).__name__, "'loader' comes alone", 'further arguments',
                        'Call model(loader=loader).')
            )  # fmt: skip
        return self._layerwise(loader, write=False)

    def _layerwise(self, loader: SubgraphLoader, write: bool) -> Tensor:
        inputs = {'x', *inspect.signature(self.forward).parameters}
        run = type(self)._replay_batch
        return LayerwiseInference(self, run, loader, write, inputs).run()

    def _replay_batch(self, batch: SubgraphBatch) -> Any:
        return super().__call__(**self._fit((batch,), {})[0])

    # Arguments ###################################################################

    def _fit(self, args: Any, kwargs: Any) -> tuple[dict[str, Any], BatchCall | None]:
        """Fit what was passed to the parameters of ``forward``; find the batch in it."""
        parameters = list(inspect.signature(self.forward).parameters.values())
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if len(args) == 1 and isinstance(args[0], SubgraphBatch):
            given = {**self._from_batch(args[0], names), **kwargs}
        else:
            # Positional arguments beyond forward's own are the rest of the batch's description.
            order = names + [name for name in _ARGUMENTS[len(names) :] if name not in names]
            if len(args) > len(order):
                raise TypeError(
                    explain(type(self).__name__, f"takes at most {len(order)} arguments: "
                            f"{', '.join(order)}", len(args),
                            'Call model(x, adj_t, batch_size, n_id, offset, count) or model(batch).')
                )  # fmt: skip
            given = {**dict(zip(order, args, strict=False)), **kwargs}
        alias = {name: names[i] for i, name in enumerate(_ARGUMENTS) if i < len(names)}
        batch = {
            name: given.get(name, given.get(alias[name]) if name in alias else None)
            for name in _OF_THE_BATCH
        }
        for name in _OF_THE_BATCH:
            if name not in names and not any(p.kind is p.VAR_KEYWORD for p in parameters):
                given.pop(name, None)
            elif name in names:
                given.setdefault(name, None)
        missing = [
            p.name for p in parameters
            if p.name in names and p.default is p.empty and p.name not in given
        ]  # fmt: skip
        unknown = [name for name in given if name not in names]
        accepts_any = any(p.kind in (p.VAR_KEYWORD, p.KEYWORD_ONLY) for p in parameters)
        if missing or (unknown and not accepts_any):
            raise TypeError(
                explain(type(self).__name__, f"forward takes {', '.join(names)}",
                        f"missing {', '.join(missing)}" if missing else
                        f"unknown {', '.join(unknown)}",
                        'Call model(x, adj_t, batch_size, n_id, offset, count), or '
                        'model(x, adj_t) for a whole graph.')
            )  # fmt: skip
        return given, self._call_of(given, batch)

    def _from_batch(self, batch: SubgraphBatch, names: list[str]) -> dict[str, Any]:
        given = {}
        for i, name in enumerate(names):
            if name in batch:
                given[name] = batch[name]
            elif i < len(_ARGUMENTS) and _ARGUMENTS[i] not in names:
                given[name] = batch[_ARGUMENTS[i]]
        return {**{name: batch[name] for name in _OF_THE_BATCH}, **given}

    def _call_of(self, given: dict[str, Any], batch: dict[str, Any]) -> BatchCall | None:
        batch_size, n_id = batch['batch_size'], batch['n_id']
        if batch_size is None and n_id is None:
            return None
        if not isinstance(batch_size, int) or not isinstance(n_id, Tensor):
            raise TypeError(
                explain(type(self).__name__, "'batch_size' must be an int and 'n_id' a tensor",
                        f'{type(batch_size).__name__} and {type(n_id).__name__}',
                        'Pass both as the loader gives them, or neither for a whole graph.')
            )  # fmt: skip
        adjs = [v if isinstance(v, Adjacency) else adjacency_of(v) for v in given.values()]
        adj_t = next((adj for adj in adjs if adj is not None), None)
        return BatchCall(batch_size, n_id, batch['offset'], batch['count'], adj_t)

    # Checks ######################################################################

    def _check_call(self, arguments: dict[str, Any], call: BatchCall) -> None:
        who = type(self).__name__
        refuse_several_processes(who)
        refuse_graph_statistics(who, self.named_modules())
        if not 0 < call.batch_size <= call.num_nodes:
            raise ValueError(
                explain(who, "'batch_size' must count the batch nodes, which 'n_id' starts with",
                        f'{call.batch_size} of {call.num_nodes} nodes',
                        'An empty batch cannot be run: skip it.')
            )  # fmt: skip
        if call.adj_t is not None:
            self._check_graph(who, call.adj_t.graph.num_nodes, call.fingerprint)
        x = arguments.get('x')
        if isinstance(x, Tensor) and x.dim() > 0 and x.size(0) != call.num_nodes:
            raise ValueError(
                explain(who, f"'x' must have one row for each of the {call.num_nodes} nodes in "
                        "'n_id'", f'{x.size(0)} rows', 'Pass batch.x.')
            )  # fmt: skip
        adj = arguments.get('adj_t')
        if isinstance(adj, Tensor) and adj.layout != torch.strided:
            rows, columns = adj.size(0), adj.size(1)
            if rows not in (call.batch_size, call.num_nodes) or columns != call.num_nodes:
                raise ValueError(
                    explain(who, f"'adj_t' must have {call.batch_size} or {call.num_nodes} rows "
                            f'and {call.num_nodes} columns', f'{rows} x {columns}',
                            'Pass batch.adj_t.')
                )  # fmt: skip

    def _check_graph(self, who: str, num_nodes: int, fingerprint: str | None) -> None:
        if num_nodes != self.num_nodes:
            raise ValueError(
                explain(who, f'the histories hold {self.num_nodes} nodes',
                        f'a batch of a graph with {num_nodes}',
                        'Use a loader over the graph the model was made for; run another graph as '
                        'a whole, model(x, adj_t), or with model(loader=...).')
            )  # fmt: skip
        for history in self.histories:
            check_same_graph(who, history.graph, fingerprint)  # type: ignore[arg-type]


def batch_rows(out: Any, call: BatchCall) -> Any:
    """The batch rows of an output, or of the first of several."""
    if isinstance(out, tuple) and out and isinstance(out[0], Tensor):
        return (batch_rows(out[0], call), *out[1:])
    if isinstance(out, Tensor) and out.dim() > 0 and out.size(0) == call.num_nodes:
        return out[: call.batch_size]
    return out


def refuse_several_processes(who: str) -> None:
    """Raise under ``torch.distributed`` with more than one process.

    Raises:
        RuntimeError: Each process would fill histories of its own, and they would diverge.
    """
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        size = distributed.get_world_size()
        if size > 1:
            raise RuntimeError(
                explain(who, 'histories are kept by one process', f'a group of {size} processes',
                        'Train in a single process; sharing histories is not supported yet.')
            )  # fmt: skip
