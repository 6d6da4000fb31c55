"""The base class of models that mark their layer boundaries themselves."""

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from .arguments import ARGUMENTS, adjacency_among, batch_among, fit_arguments, form_of
from .batch import SubgraphBatch
from .boundary import push_and_pull_rows
from .calls import BatchCall, batch_call, current_call
from .errors import explain
from .graph import check_same_graph
from .guard import run_guarded, watch_functions
from .history import History
from .inference import LayerwiseInference, current_replay
from .loader import SubgraphLoader
from .norms import BatchRowStatistics, refuse_graph_statistics
from .operators import refuse_whole_graph_operators, teach_pyg
from .staleness import note_exchange, note_refresh, note_reset
from .tags import is_copy
from .trace_memory import TraceMemory
from .transfer import Rows, moving, place, pool_for
from .ways import note_step


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
        note_reset(self.histories)  # type: ignore[arg-type]

    # Calls #######################################################################

    def __call__(self, *args: Any, loader: SubgraphLoader | None = None, **kwargs: Any) -> Any:
        if loader is not None:
            return self._inference(loader, args, kwargs)
        refuse_several_processes(type(self).__name__)
        args, kwargs, given = fit_arguments(self, args, kwargs)
        call = batch_among(self, given)
        if current_replay() is not None:
            return super().__call__(*args, **kwargs)
        if call is None:
            self._refuse_batch_without_nodes(given)
            return super().__call__(*args, **kwargs)
        self._check_call(given, call)

        def attempt() -> Any:
            call.written.clear()
            watching = watch_functions(given.values())
            with batch_call(call), watching, self._moving(call), self._statistics(call):
                return super(ScalableGNN, self).__call__(*args, **kwargs)

        out = run_guarded(self, attempt)
        nodes = call if call.adj_t is None else call.adj_t.edges.nodes  # the latter on the CPU
        note_exchange(call.written, nodes.n_id, call.batch_size, nodes.offset, nodes.count)
        return batch_rows(out, call)

    def _statistics(self, call: BatchCall) -> Any:
        """Let norms count batch rows alone where there are others."""
        if self.training and call.batch_size < call.num_nodes:
            return BatchRowStatistics({call.num_nodes: call.batch_size})
        return nullcontext()

    def _moving(self, call: BatchCall) -> Any:
        """Begin to pull the halo rows of every boundary, where a pool moves them."""
        parameter = next(self.parameters(), None)
        device = call.n_id.device if parameter is None else parameter.device
        pool = pool_for(device)
        if pool is None:
            return nullcontext()
        # A batch of a loader has its nodes on the host.
        nodes = call if call.adj_t is None else call.adj_t.edges.nodes
        n_id, offset, count = (
            None if value is None else value.cpu()
            for value in (nodes.n_id, nodes.offset, nodes.count)
        )
        assert n_id is not None
        rows = Rows(call.n_id, call.batch_size, n_id, offset, count)
        place(self.histories, device)
        return moving(pool, ((history, rows) for history in self.histories))  # type: ignore[misc]

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
        call = current_call()
        if batch_size is None and n_id is None:
            if call is None:
                return x
            batch_size, n_id = call.batch_size, call.n_id
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
        if call is not None and call.n_id is n_id:
            if offset is None:
                offset, count = call.offset, call.count
            if history in call.written:
                raise ValueError(
                    explain('push_and_pull', 'a history serves one boundary of a forward',
                            'the same history twice in one call',
                            'Use one history for each boundary: zip(self.convs, self.histories).')
                )  # fmt: skip
        if offset is not None and count is not None and (call is None or offset is not call.offset):
            check_chunks('push_and_pull', offset, count, n_id[:batch_size])
        fingerprint = None if call is None else call.fingerprint
        out = push_and_pull_rows(
            'push_and_pull', history, x, batch_size, n_id, offset, count, fingerprint
        )
        if call is not None and call.n_id is n_id:
            call.written.append(history)
            note_step(history)
        return out

    # Exact inference #############################################################

    def refresh(self, loader: SubgraphLoader) -> Tensor:
        """Recompute every history exactly with the current weights.

        Runs in ``eval()`` mode, layer by layer, over all partitions of ``loader``, and leaves the
        mode as it was. Histories of another graph are refused; ``reset_parameters`` clears them.

        Returns:
            The exact outputs for all nodes, ``(N, out_channels)``, in the order of the loader's
            data: the same pass serves evaluation.
        """
        self._check_loader('refresh', loader)
        self._check_graph('refresh', loader.graph.num_nodes, loader.graph.fingerprint)
        out = self._layerwise(loader, write=True)
        note_refresh(self.histories)  # type: ignore[arg-type]
        return out

    def _inference(self, loader: SubgraphLoader, args: Any, kwargs: Any) -> Tensor:
        if args or kwargs:
            raise TypeError(
                explain(type(self).__name__, "'loader' comes alone", 'further arguments',
                        'Call model(loader=loader).')
            )  # fmt: skip
        self._check_loader(type(self).__name__, loader)
        return self._layerwise(loader, write=False)

    def _layerwise(self, loader: SubgraphLoader, write: bool) -> Tensor:
        inputs = {'x', *inspect.signature(self.forward).parameters}
        run = type(self)._replay_batch
        memory = vars(self).setdefault('_traces', TraceMemory())
        return LayerwiseInference(self, run, loader, write, inputs, memory=memory).run()

    def _replay_batch(self, batch: SubgraphBatch) -> Any:
        args, kwargs, given = fit_arguments(self, (batch,), {})
        with watch_functions(given.values()):
            return super().__call__(*args, **kwargs)

    # Checks ######################################################################

    def _refuse_batch_without_nodes(self, given: dict[str, Any]) -> None:
        """A batch's adjacency without the batch's nodes is no whole graph."""
        adj = adjacency_among(given.values())
        if adj is not None and adj.batch_size < adj.graph.num_nodes and current_call() is None:
            raise ValueError(
                explain(type(self).__name__, "a batch needs its 'batch_size' and 'n_id'",
                        'its adjacency alone', 'Call model(batch), or '
                        'model(batch.x, batch.adj_t, batch_size, n_id).')
            )  # fmt: skip

    def _check_call(self, given: dict[str, Any], call: BatchCall) -> None:
        who = type(self).__name__
        refuse_graph_statistics(who, self.named_modules())
        refuse_whole_graph_operators(who, self.named_modules())
        if call.n_id.dim() != 1 or not 0 < call.batch_size <= call.num_nodes:
            raise ValueError(
                explain(who, "'batch_size' must count the batch nodes, which 'n_id' starts with",
                        f'{call.batch_size} of {call.num_nodes} nodes',
                        'An empty batch cannot be run: skip it.')
            )  # fmt: skip
        if call.adj_t is not None:
            self._check_graph(who, call.adj_t.graph.num_nodes, call.fingerprint)
            nodes = call.adj_t.edges.nodes
            same = is_copy(call.n_id, nodes.n_id) or torch.equal(nodes.n_id, call.n_id.cpu())
            if not same or nodes.batch_size != call.batch_size:
                raise ValueError(
                    explain(who, "'adj_t', 'batch_size' and 'n_id' must describe the same batch",
                            f'an adjacency of {nodes.batch_size} batch nodes and other nodes',
                            'Pass what one and the same batch gave.')
                )  # fmt: skip
        if (call.offset is None) != (call.count is None):
            raise ValueError(
                explain(who, "'offset' and 'count' belong together", 'one of them',
                        'Pass both, as the loader gives them, or neither.')
            )  # fmt: skip
        known = None if call.adj_t is None else call.adj_t.edges.nodes
        nodes_known = (
            known is not None
            and is_copy(call.offset, known.offset)
            and is_copy(call.count, known.count)
        )
        if call.offset is not None and call.count is not None and not nodes_known:
            check_chunks(who, call.offset, call.count, call.n_id[: call.batch_size])
        form = form_of(self.forward)
        x, adj = (
            given.get(name, given.get(form.positional[i]) if i < len(form.positional) else None)
            for i, name in enumerate(ARGUMENTS[:2])
        )
        if isinstance(x, Tensor) and x.dim() > 0 and x.size(0) != call.num_nodes:
            raise ValueError(
                explain(who, f"'x' must have one row for each of the {call.num_nodes} nodes in "
                        "'n_id'", f'{x.size(0)} rows', 'Pass batch.x.')
            )  # fmt: skip
        if isinstance(adj, Tensor) and adj.layout != torch.strided:
            rows, columns = adj.size(0), adj.size(1)
            if rows not in (call.batch_size, call.num_nodes) or columns != call.num_nodes:
                raise ValueError(
                    explain(who, f"'adj_t' must have {call.batch_size} or {call.num_nodes} rows "
                            f'and {call.num_nodes} columns', f'{rows} x {columns}',
                            'Pass batch.adj_t.')
                )  # fmt: skip

    def _check_loader(self, who: str, loader: Any) -> None:
        if not isinstance(loader, SubgraphLoader):
            raise TypeError(
                explain(who, "'loader' must be a SubgraphLoader", type(loader).__name__,
                        'Pass EvalSubgraphLoader(data, ptr).')
            )  # fmt: skip
        refuse_several_processes(type(self).__name__)
        refuse_whole_graph_operators(type(self).__name__, self.named_modules())

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


def check_chunks(who: str, offset: Tensor, count: Tensor, batch_nodes: Tensor) -> None:
    """Raise unless ``offset`` and ``count`` describe the batch nodes, in their order."""
    chunks = zip(offset.tolist(), count.tolist(), strict=False)
    ids = [torch.arange(a, a + c) for a, c in chunks if c > 0]
    if offset.shape != count.shape or not torch.equal(
        torch.cat([batch_nodes.new_empty(0).cpu(), *ids]), batch_nodes.cpu()
    ):
        raise ValueError(
            explain(who, "'offset' and 'count' must describe the batch nodes of 'n_id'",
                    f'{count.numel()} chunks of other nodes',
                    'Pass offset and count of the same batch, or neither.')
        )  # fmt: skip


def batch_rows(out: Any, call: BatchCall) -> Any:
    """The batch rows of an output, or of the first of several."""
    if isinstance(out, tuple) and out and isinstance(out[0], Tensor):
        rows = (batch_rows(out[0], call), *out[1:])
        return type(out)(*rows) if hasattr(out, '_fields') else rows
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
