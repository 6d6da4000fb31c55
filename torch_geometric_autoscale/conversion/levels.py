"""Exact inference level by level, for graphs with several node types.

Boundaries that depend on no other one are level 0, those that read them level 1, and so on. Phase
``p`` runs the forward on every batch, answers the boundaries of lower levels from tables and keeps
those of level ``p``. Unlike :class:`LayerwiseInference` it computes lower layers again in each
phase: ``L`` layers cost up to ``L / 2`` forwards.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..error_meter import current_meter
from ..history import History, new_table
from ..inference import evaluating
from ..progress import progress
from ..provenance import Provenance
from .boundaries import Boundary
from .conversion import Conversion
from .hetero_loader import HeteroAutoscaleLoader
from .hetero_whole import HeteroWhole
from .passes import BoundaryPass
from .rows import TypeRows, map_outputs, output_tensors, primary


def boundary_levels(
    module: torch.nn.Module, whole: HeteroWhole, boundaries: Sequence[Boundary]
) -> list[int]:
    """The level of each boundary, from one full-batch pass over a piece."""
    provenance = Provenance()
    levels: list[int] = []

    def note(k: int, boundary: Boundary, rows: Tensor) -> Tensor:
        below = [levels[mark] for mark in provenance.of(rows) if isinstance(mark, int)]
        levels.append(1 + max(below, default=-1))
        return provenance.mark(rows, {k})

    watcher = BoundaryPass(module, boundaries, note)
    with torch.no_grad(), evaluating(module), watcher.watching(), provenance:
        whole.run(module)
    return levels


class _Reached(Exception):
    """Every boundary of the level was met: the rest of the forward is not needed."""


class LevelInference:
    """Runs a converted module level by level over all batches of a loader.

    Args:
        module: Run in eval mode; every mode is restored.
        conversion: How it runs on batches.
        tables: One for each boundary, which keeps rows as they are; filled.
        levels: Of each boundary.
        num_nodes: Number of nodes by type.
        histories: What fresh rows are compared with while somebody measures (default: ``tables``).
        write: Whether those are filled as well.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        conversion: Conversion,
        tables: Sequence[History],
        levels: Sequence[int],
        num_nodes: dict[str, int],
        histories: Sequence[History] | None = None,
        write: bool = False,
    ) -> None:
        self.module, self.conversion = module, conversion
        self.tables, self.levels, self.num_nodes = tables, levels, num_nodes
        self.histories = tables if histories is None else histories
        self.written = [*tables, *(self.histories if write else ())]
        self._results: list[Tensor] = []
        self._phase = 0

    @torch.no_grad()
    def run(self, loader: HeteroAutoscaleLoader, fingerprint: str) -> Any:
        """The primary outputs of all nodes, in the order of the tables."""
        out: Any = None
        last = max(self.levels, default=-1) + 1
        steps = (last + 1) * loader.num_sweep_batches
        with evaluating(self.module), progress('Inference', steps) as bar:
            for self._phase in range(last + 1):
                layer = f'layer {self._phase + 1}/{last + 1}'
                bar.set_description(f'Inference, {layer}', refresh=False)
                for batch in loader.sweep():
                    out = self._run_batch(batch)
                    bar.update()
        for table in self.written:
            table.belong_to(fingerprint)
        results = iter(self._results)
        return map_outputs(
            primary(out), self.conversion.plan.outputs[False], lambda *_: next(results)
        )

    def _run_batch(self, batch: Any) -> Any:
        rows, meter = self.conversion.source.rows_of(batch), current_meter()
        missing = self.levels.count(self._phase)

        def answer(k: int, boundary: Boundary, value: Tensor) -> Tensor:
            nonlocal missing
            here = rows[boundary.node_type]
            if self.levels[k] < self._phase:
                return self.tables[k].pull(here.n_id.to(value.device)).to(value.dtype)
            if self.levels[k] == self._phase:
                n_id = here.n_id[: here.batch_size]
                if meter is not None:
                    chunks = zip(here.offset.tolist(), here.count.tolist(), strict=True)
                    meter.compare(self.histories[k], value[: here.batch_size], chunks)
                for table in dict.fromkeys(self.written[k :: len(self.tables)]):  # often one
                    table.push(value[: here.batch_size], n_id, here.offset, here.count)
                missing -= 1
                if not missing:
                    raise _Reached
            return value

        try:
            out = self.conversion.run(self.module, batch, answer)
        except _Reached:
            return None
        self._keep(out, rows)
        return out

    def _keep(self, out: Any, rows: dict[str, TypeRows]) -> None:
        found = output_tensors(primary(out), self.conversion.plan.outputs[False])
        if not self._results:
            like = self.tables[0].store if len(self.tables) else None
            self._results = [
                new_table((self.num_nodes[node_type], *leaf.shape[1:]), leaf.dtype, like)
                for node_type, leaf in found
            ]
        for table, (node_type, leaf) in zip(self._results, found, strict=True):
            here = rows[node_type]
            table[here.n_id[: here.batch_size]] = leaf.cpu()
