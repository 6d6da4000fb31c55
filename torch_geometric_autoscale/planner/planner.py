"""The search for a plan: partition, try the model, and go through the settings."""

import math
from collections.abc import Callable
from typing import Any

import torch

from ..errors import explain
from .choice import Choice
from .costs import ModelCosts, costs_of
from .device import device_in_use, device_needs
from .graphs import NODES_PER_PART, PlannedGraph
from .halos import BatchSizes
from .needs import STEP, Needs, host_needs, partition_work, row_bytes
from .plan import Plan
from .process import (
    available_bytes,
    give_back_freed_memory,
    in_use_bytes,
    is_out_of_memory,
)
from .remedies import describe_problem
from .subject import Maker
from .text import size_text
from .traffic import Traffic
from .trial import Loss
from .wishes import Wishes, batch_sizes, degrees_of_comfort, storages

WHO = 'plan'
# Batch nodes of the trials, and whether they are a cluster or scattered over the graph, which gives
# them many more halo nodes. Larger ones are left out where there is no room for them.
_TRIALS = (
    (60, True), (40, False), (150, True), (100, False), (600, True), (400, False), (2400, True),
    (800, False), (6000, True), (20000, True),
)  # fmt: skip
# How many times faster an epoch must be for histories to be rounded.
_ROUNDING_MUST_GAIN = {'bfloat16': 2.0, 'float16': 2.0, 'int8': 3.0}
# The same for smaller batches than fit: more steps an epoch, more halo rows.
_SMALLER_MUST_GAIN = 2.0
# Left for what an allocator cannot use: bytes, and a share of what is allocated and freed.
_RESERVE_BYTES, _RESERVE_SHARE = 16 * 2**20, 0.08
_SMALLEST_PART = 32


class Planner:
    """Finds a plan.

    Args:
        graph: The graph.
        make: Makes the model for a piece of it.
        memory: Bytes.
        device: Where to train.
        wishes: What is not to be chosen.
        loss_fn, build_optimizer: As in training.
        method: The partitioner.
        folder: Where tables on disk lie.
        keeps_original: Whether the graph is kept in its own order beside the reordered one.
        keeps_graph: Whether the model has a copy of its own.
        draws_pictures: Whether pictures are drawn in the end.
        who: The public call on whose behalf errors speak.
    """

    def __init__(
        self,
        graph: PlannedGraph,
        make: Maker,
        memory: int,
        device: torch.device,
        wishes: Wishes,
        loss_fn: Loss,
        build_optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer],
        method: str = 'auto',
        folder: Any = None,
        keeps_original: bool = True,
        keeps_graph: bool = False,
        draws_pictures: bool = False,
        who: str = WHO,
    ) -> None:
        self.graph, self.make, self.memory, self.device = graph, make, memory, device
        self.wishes, self.loss_fn, self.build_optimizer = wishes, loss_fn, build_optimizer
        self.method = graph.best_method if method == 'auto' else method
        self.folder, self.who = folder, who
        self.keeps_original, self.keeps_graph = keeps_original, keeps_graph
        self.draws_pictures = draws_pictures
        self._costs: dict[tuple[bool, int], ModelCosts] = {}
        self._epochs: dict[int, BatchSizes] = {}
        self._traffic: Traffic | None = None
        self._used = 0

    def run(self) -> Plan:
        """The fastest plan that fits, or one with a ``problem`` if none does.

        Raises:
            ValueError: The memory is below what is in use already, or below the model's own size;
                or wishes contradict the graph.
        """
        self._used = self._in_use()
        self._check_process()
        num_parts = self._first_num_parts()
        while True:
            self._check_partitioner()
            self.graph.cut(num_parts)
            self._epochs.clear()
            self.costs(True, 2)
            self._used = self._in_use()
            best, leanest = self._search(num_parts)
            if best is not None:
                return best
            finer = self._finer(num_parts, leanest)
            if finer is None:
                return leanest
            num_parts = finer

    def _check_partitioner(self) -> None:
        """Raise unless the partitioner has room, which may not be able to say so itself."""
        facts = self.graph.facts
        if self.graph.given_num_parts is not None or self.device.type != 'cpu':
            return
        if self.graph.is_estimate:
            return
        need = partition_work(self.method, facts)
        if self._used + need > self.memory:
            raise ValueError(
                explain(self.who, f"'memory' must have {size_text(need)} for the partitioner "
                        f"({self.method}) beside the {size_text(self._used)} in use",
                        size_text(self.memory), 'Give it more, use a graph folder, which is cut '
                        'in blocks, or pass a graph that is permuted already.')
            )  # fmt: skip

    # Partition ###################################################################

    def _first_num_parts(self) -> int:
        wishes, given = self.wishes, self.graph.given_num_parts
        if given is not None:
            if wishes.num_parts not in (None, given):
                raise ValueError(
                    explain(self.who, f'the graph is cut into {given:,} parts',
                            f'num_parts={wishes.num_parts}',
                            "Leave out 'num_parts', or plan for the graph as it was before.")
                )  # fmt: skip
            return given
        num_nodes = self.graph.facts.num_nodes
        asked = wishes.num_parts or wishes.usual_num_parts
        if asked is None:
            asked = max(8, round(num_nodes / NODES_PER_PART))
        return max(1, min(num_nodes, asked))

    def _finer(self, num_parts: int, leanest: Plan) -> int | None:
        """More parts, if smaller batches may help."""
        fixed = self.wishes.num_parts is not None or self.graph.given_num_parts is not None
        most = self.graph.facts.num_nodes // _SMALLEST_PART
        step = leanest.needs.phases['training'][STEP]
        lacking = leanest.total - self.memory
        if (
            fixed
            or num_parts >= most
            or leanest.needs.peak_without_steps + leanest.reserve > self.memory
        ):
            return None
        factor = max(1.5, 1.3 * step / max(step - lacking, 1))
        return min(most, math.ceil(num_parts * min(factor, 16)))

    # Costs #######################################################################

    def _in_use(self) -> int:
        return in_use_bytes() if self.device.type == 'cpu' else device_in_use(self.device)

    def _check_process(self) -> None:
        if self.memory <= self._used:
            what = 'this process' if self.device.type == 'cpu' else f'what is on {self.device}'
            raise ValueError(
                explain(self.who, f"'memory' must be more than {what} takes already, "
                        f'{size_text(self._used)}', size_text(self.memory),
                        'Give it more. Graphs in a graph folder take no memory.')
            )  # fmt: skip

    def costs(self, keep: bool, batch_size: int) -> ModelCosts:
        """What the model costs, tried once for each kind of batch."""
        chunks = 1 if batch_size == 1 else 2
        usual = self._costs.get((keep, 2))
        if usual is not None and not usual.kept.product_per_node:
            return usual  # whether rows stand together matters where a product is known only
        if (keep, chunks) not in self._costs:
            self._costs[keep, chunks] = self._try(keep, chunks)
        return self._costs[keep, chunks]

    def _try(self, keep: bool, chunks: int) -> ModelCosts:
        try:
            found = costs_of(
                self.make, self.graph.pieces(_TRIALS, chunks), self.device, self.loss_fn,
                self.build_optimizer, {'keep_first_propagation': keep},
                room=(self.memory - self._used) / 2,
            )  # fmt: skip
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise ValueError(
                explain(self.who, "'memory' must have room for trials of the model on a few nodes",
                        size_text(self.memory), 'Give it more, or make the model smaller.')
            ) from error  # fmt: skip
        give_back_freed_memory()
        model = found.parameters + found.trained + found.optimizer
        if self.memory < self._used + model:
            raise ValueError(
                explain(self.who, "'memory' must hold the model itself: parameters, gradients and "
                        f'optimizer take {size_text(model)}, besides {size_text(self._used)} in '
                        'use', size_text(self.memory), 'Give it more, or make the model smaller.')
            )  # fmt: skip
        return found

    # Candidates ##################################################################

    def _search(self, num_parts: int) -> tuple[Plan | None, Plan]:
        """The best that fits, and what needs least."""
        best, score, leanest = None, math.inf, None
        exact = self.costs(True, 2).exact_dtype
        kinds = storages(self.wishes, exact, self.device.type != 'cpu')
        for batch_size in batch_sizes(self.wishes, num_parts):
            for tier, dtype in kinds:
                made = self._most_comfortable(num_parts, batch_size, tier, dtype)
                if leanest is None or made.total < leanest.total:
                    leanest = made
                mine = made.seconds_per_epoch
                if self.wishes.history_dtype is None:
                    mine *= _ROUNDING_MUST_GAIN.get(dtype, 1.0)
                if made.fits and mine < score * self._must_gain(best, made):
                    best, score = made, mine
        assert leanest is not None
        return best, leanest

    def _must_gain(self, best: Plan | None, made: Plan) -> float:
        """Share of the best plan's seconds that another must stay below, being less preferred."""
        smaller = best is not None and made.choice.batch_size < best.choice.batch_size
        return 1 / _SMALLER_MUST_GAIN if smaller else 0.98

    def _most_comfortable(self, num_parts: int, batch_size: int, tier: str, dtype: str) -> Plan:
        made = None
        for choice in degrees_of_comfort(self.wishes, num_parts, batch_size, tier, dtype):
            if made is not None and not choice.keep_first_propagation and not self._keeps():
                break
            made = self._plan_for(choice)
            if made.fits:
                break
        assert made is not None
        return made

    def _keeps(self) -> bool:
        return bool(self.costs(True, 2).kept.product_per_node) and not self.graph.facts.is_mapped

    def _plan_for(self, choice: Choice) -> Plan:
        size = choice.batch_size
        if size not in self._epochs:
            self._epochs[size] = self.graph.epoch(size)
        sizes, costs = self._epochs[size], self.costs(choice.keep_first_propagation, size)
        needs, process = self._needs(choice, costs, sizes)
        share = _RESERVE_SHARE + costs.loop_peak.error
        counts, nodes = sizes.per_epoch, self.graph.facts.num_nodes
        row = row_bytes(costs.widths, choice.history_dtype)
        made = Plan(
            choice=choice,
            memory=self.memory,
            device='the process' if self.device.type == 'cpu' else str(self.device),
            needs=needs,
            reserve=round(_RESERVE_BYTES + share * max(needs.peak - process, 0)),
            mean_batch=sizes.mean,
            pulled_rows=round(counts.halo) * len(costs.widths),
            pushed_rows=round(counts.rows) * len(costs.widths),
            pulled_bytes=round(counts.halo) * row,
            pushed_bytes=round(counts.rows) * row,
            table_bytes=nodes * row,
            exact_dtype=costs.exact_dtype,
            seconds_per_epoch=self._seconds(choice, costs, sizes),
            seconds_per_evaluation=costs.inference_seconds(
                counts._replace(rows=counts.rows + counts.halo)
            ),
            notes=self._notes(choice),
            perm=self.graph.perm,
            ptr=self.graph.ptr,
        )
        if made.total > self.memory:
            made.problem = describe_problem(made)
        return made

    def _needs(self, choice: Choice, costs: ModelCosts, sizes: BatchSizes) -> tuple[Needs, int]:
        facts = self.graph.facts
        if self.device.type != 'cpu':
            return device_needs(facts, costs, choice, sizes, self._used), self._used
        held = 0 if self.graph.is_estimate else facts.in_memory
        process = max(self._used - held, 0)
        is_cut = self.graph.given_num_parts is not None
        return host_needs(
            facts, costs, choice, sizes, self.graph.num_halo_rows, process,
            None if is_cut else self.method, self.keeps_original, self.keeps_graph,
            self.draws_pictures,
        ), process  # fmt: skip

    def _seconds(self, choice: Choice, costs: ModelCosts, sizes: BatchSizes) -> float:
        """Of the training steps of an epoch."""
        counts, cost = sizes.per_epoch, costs.step_seconds
        seconds = cost(counts) + (sizes.num_batches - 1) * cost.fixed
        if self._traffic is None:
            self._traffic = Traffic(costs.widths, costs.exact_dtype, self.folder, self.device)
        tier, dtype = choice.history_tier, choice.history_dtype
        seconds += self._traffic.extra_seconds(counts, tier, dtype)
        room = available_bytes()
        if tier == 'disk' and room is not None:
            nodes = self.graph.facts.num_nodes
            seconds += self._traffic.seconds_of_misses(counts, nodes, dtype, room)
        return seconds

    def _notes(self, choice: Choice) -> list[str]:
        notes = []
        if self.graph.is_estimate:
            notes.append(
                'an estimate: the graph is not at hand, and edges and halos of another shape '
                'would change it'
            )
        if self.wishes.full_batch is None and not choice.full_batch:
            notes.append('the comparison with full batch is left out: it does not fit')
        if self.wishes.measure_memory is None and not choice.measure_memory:
            notes.append('the memory of a step is not measured: a copy of the model does not fit')
        if self.wishes.keep_first_propagation is None and not choice.keep_first_propagation:
            notes.append('the first propagation is computed anew in every step: it would not fit')
        return notes
