"""From settings to a plan: what they need and cost."""

from .calibration import Calibration
from .choice import Choice
from .costs import ModelCosts
from .device import device_needs
from .graphs import PlannedGraph
from .halos import BatchSizes
from .needs import Needs, host_needs, reserve_of, row_bytes
from .plan import Plan
from .process import available_bytes
from .terms import Terms
from .traffic import Traffic


class Predictor:
    """Predicts what settings need and cost.

    Args:
        graph: The graph, partitioned.
        calibration: Of the model on it.
        terms: The memory that there is.
        used: Bytes of it that are in use already, the graph included.
    """

    def __init__(
        self, graph: PlannedGraph, calibration: Calibration, terms: Terms, used: int
    ) -> None:
        self.graph, self.calibration, self.terms, self.used = graph, calibration, terms, used
        self._epochs: dict[int, BatchSizes] = {}
        self._traffic: Traffic | None = None

    def plan(self, choice: Choice) -> Plan:
        """The plan with these settings, whether it fits or not."""
        sizes = self._epoch(choice.batch_size)
        costs = self.calibration.costs(choice.keep_first_propagation, choice.batch_size)
        needs, process = self._needs(choice, costs, sizes)
        peak, rest, error = needs.peak, needs.peak_without_steps, costs.loop_peak.error
        counts, nodes = sizes.per_epoch, self.graph.facts.num_nodes
        row = row_bytes(costs.widths, choice.history_dtype)
        swept = counts._replace(rows=counts.rows + counts.halo)
        return Plan(
            choice=choice,
            memory=self.terms.memory,
            device=self.terms.holder,
            needs=needs,
            reserve=reserve_of(peak - process, error),
            floor=rest + reserve_of(rest - process, error),
            mean_batch=sizes.mean,
            pulled_rows=round(counts.halo) * len(costs.widths),
            pushed_rows=round(counts.rows) * len(costs.widths),
            pulled_bytes=round(counts.halo) * row,
            pushed_bytes=round(counts.rows) * row,
            table_bytes=nodes * row,
            exact_dtype=costs.exact_dtype,
            seconds_per_epoch=self._seconds(choice, costs, sizes),
            seconds_per_evaluation=costs.inference_seconds(swept),
            perm=self.graph.perm,
            ptr=self.graph.ptr,
        )

    def _epoch(self, batch_size: int) -> BatchSizes:
        if batch_size not in self._epochs:
            self._epochs[batch_size] = self.graph.epoch(batch_size)
        return self._epochs[batch_size]

    def _needs(self, choice: Choice, costs: ModelCosts, sizes: BatchSizes) -> tuple[Needs, int]:
        """What is needed, and how much of that is in use by others than the training."""
        facts = self.graph.facts
        if self.terms.is_on_device:
            return device_needs(facts, costs, choice, sizes, self.used), self.used
        held = 0 if self.graph.is_estimate else facts.in_memory
        process = max(self.used - held, 0)
        is_cut = self.graph.given_num_parts is not None
        needs = host_needs(
            facts, costs, choice, sizes, self.graph.num_halo_rows, process, self.terms, is_cut
        )
        return needs, process

    def _seconds(self, choice: Choice, costs: ModelCosts, sizes: BatchSizes) -> float:
        """Of the training steps of an epoch."""
        counts, cost = sizes.per_epoch, costs.step_seconds
        seconds = cost(counts) + (sizes.num_batches - 1) * cost.fixed
        if self._traffic is None:
            self._traffic = Traffic(
                costs.widths, costs.exact_dtype, self.terms.folder, self.terms.device
            )
        tier, dtype = choice.history_tier, choice.history_dtype
        seconds += self._traffic.extra_seconds(counts, tier, dtype)
        room = available_bytes()
        if tier == 'disk' and room is not None:
            nodes = self.graph.facts.num_nodes
            seconds += self._traffic.seconds_of_misses(counts, nodes, dtype, room)
        return seconds
