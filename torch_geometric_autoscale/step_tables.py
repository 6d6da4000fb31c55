"""The rows of steps for all nodes, from the phase that computes them to the last that reads."""

import torch
from torch import Tensor

from .batch_run import BatchRun
from .batching import BatchNodes, contiguous
from .history import History, new_table
from .steps import Step


class StepTables:
    """Keeps what steps give, and answers them in later phases.

    Args:
        run: Knows the batch at hand.
        like: A history; tables lie where it has its rows, being as large.
    """

    def __init__(self, run: BatchRun, like: History | None = None) -> None:
        self._run = run
        self._like = like
        self.placeholders: dict[tuple[tuple[int, ...], torch.dtype], Tensor] = {}

    def store(self, step: Step, rows: Tensor) -> None:
        """Keep the batch rows ``(B, *)`` of a step."""
        if step.table is None:
            step.table = self.new_table(rows)
        write_rows(step.table, rows, self._run.nodes)

    def answer(self, step: Step, phase: int) -> Tensor:
        """The rows of a finished step for the batch at hand, if this phase reads them."""
        run = self._run
        rows = run.batch_size if step.on_batch else run.num_nodes
        if step.table is None or phase not in step.read_in:
            # Nobody reads it in this phase; NaN would show if somebody did.
            buffer = self.placeholders.get((step.tail, step.dtype))
            if buffer is None or buffer.size(0) < rows:
                buffer = self._new_placeholder(rows, step)
            return buffer.narrow(0, 0, rows)
        if isinstance(step.table, History):
            return step.table.pull(run.n_id[:rows])
        return read_rows(step.table, run.nodes, rows).to(run.device)

    def new_table(self, rows: Tensor) -> Tensor:
        """A table for all nodes, of the width and type of ``rows``."""
        # In main memory, whatever device the model is on: a table has a row for every node.
        shape = (self._run.loader.graph.num_nodes, *rows.shape[1:])
        return new_table(shape, rows.dtype, None if self._like is None else self._like.store)

    def _new_placeholder(self, rows: int, step: Step) -> Tensor:
        fill = float('nan') if step.dtype.is_floating_point else 0
        shape = (rows, *step.tail)
        buffer = torch.full(shape, fill, dtype=step.dtype, device=self._run.device)
        self.placeholders[step.tail, step.dtype] = buffer
        return buffer


def write_rows(table: Tensor, rows: Tensor, nodes: BatchNodes) -> None:
    """Write the batch rows ``(B, *)`` to their places in a table for all nodes."""
    start = 0
    for a, b in contiguous(nodes):
        table[a:b] = rows[start : start + b - a]
        start += b - a


def read_rows(table: Tensor, nodes: BatchNodes, count: int) -> Tensor:
    """The rows of the first ``count`` nodes of a batch, all batch nodes among them; a copy."""
    pieces = [table[a:b] for a, b in contiguous(nodes)]
    if count > nodes.batch_size:
        pieces.append(table.index_select(0, nodes.n_id[nodes.batch_size : count]))
    return torch.cat(pieces)
