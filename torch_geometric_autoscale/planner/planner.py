"""The search for a plan: partition, try the model, and go through the settings."""

import math

import torch

from ..errors import explain
from .calibration import Calibration, bytes_in_use
from .graphs import NODES_PER_PART, PlannedGraph
from .measure import quick_collections
from .needs import STEP, partition_work, reserve_of
from .plan import Plan
from .prediction import Predictor
from .remedies import describe_problem
from .terms import Terms
from .text import size_text
from .wishes import Wishes, batch_sizes, degrees_of_comfort, storages, without_one

# How many times faster an epoch must be for histories to be rounded.
_ROUNDING_MUST_GAIN = {'bfloat16': 2.0, 'float16': 2.0, 'int8': 3.0}
# The same for smaller batches than fit: more steps an epoch, more halo rows.
_SMALLER_MUST_GAIN = 2.0
_SMALLEST_PART = 32


class Planner:
    """Finds a plan.

    Args:
        graph: The graph.
        calibration: Of the model on it.
        terms: The memory that there is.
        wishes: What is not to be chosen.
    """

    def __init__(
        self, graph: PlannedGraph, calibration: Calibration, terms: Terms, wishes: Wishes
    ) -> None:
        self.graph, self.calibration, self.terms, self.wishes = graph, calibration, terms, wishes

    def run(self) -> Plan:
        """The fastest plan that fits, or one with a ``problem`` if none does.

        Raises:
            ValueError: The memory is below what is in use already, or below the model's own size;
                or wishes contradict the graph.
        """
        devices = [self.terms.device] if self.terms.is_on_device else []
        with quick_collections(), torch.random.fork_rng(devices):
            return self._run()

    def _run(self) -> Plan:
        self._check_process()
        num_parts = self._first_num_parts()
        while True:
            self._check_partitioner()
            self.graph.cut(num_parts)
            _ = self.calibration.usual  # what it imports and keeps is then in use
            used = bytes_in_use(self.terms.device)
            predictor = Predictor(self.graph, self.calibration, self.terms, used)
            best, leanest = self._search(predictor, self.wishes, num_parts)
            if best is not None:
                best.notes = self._notes(best)
                return best
            finer = self._finer(num_parts, leanest)
            if finer is None:
                leanest.problem = self._problem(predictor, leanest)
                leanest.notes = self._notes(leanest)
                return leanest
            num_parts = finer

    # Before there is anything to search ###########################################

    def _check_process(self) -> None:
        used, terms = bytes_in_use(self.terms.device), self.terms
        if terms.memory <= used:
            what = f'what is on {terms.device}' if terms.is_on_device else 'this process'
            raise ValueError(
                explain(terms.who, f"'memory' must be more than {what} takes already, "
                        f'{size_text(used)}', size_text(terms.memory),
                        'Give it more. Graphs in a graph folder take no memory.')
            )  # fmt: skip

    def _check_partitioner(self) -> None:
        """Raise unless the partitioner has room, which may not be able to say so itself."""
        graph, terms = self.graph, self.terms
        if graph.given_num_parts is not None or graph.is_estimate or terms.is_on_device:
            return
        need, used = partition_work(terms.method, graph.facts), bytes_in_use(terms.device)
        need += reserve_of(need)
        if used + need > terms.memory:
            raise ValueError(
                explain(terms.who, f"'memory' must have {size_text(need)} for the partitioner "
                        f'({terms.method}) beside the {size_text(used)} in use',
                        size_text(terms.memory), 'Give it more, use a graph folder, which is cut '
                        'in blocks, or pass a graph that is permuted already.')
            )  # fmt: skip

    def _first_num_parts(self) -> int:
        wishes, given = self.wishes, self.graph.given_num_parts
        num_nodes = self.graph.facts.num_nodes
        if given is not None:
            if wishes.num_parts not in (None, given):
                raise ValueError(
                    explain(self.terms.who, f'the graph is cut into {given:,} parts',
                            f'num_parts={wishes.num_parts}',
                            "Leave out 'num_parts', or plan for the graph as it was before.")
                )  # fmt: skip
            return given
        if wishes.num_parts is not None:
            if wishes.num_parts > num_nodes:
                raise ValueError(
                    explain(self.terms.who, f"'num_parts' must be at most {num_nodes:,}, the "
                            'number of nodes', f'{wishes.num_parts:,}',
                            'Leave it out to have it chosen.')
                )  # fmt: skip
            return wishes.num_parts
        usual = wishes.usual_num_parts or max(8, round(num_nodes / NODES_PER_PART))
        return max(1, min(num_nodes, usual))

    # The search ###################################################################

    def _search(
        self, predictor: Predictor, wishes: Wishes, num_parts: int
    ) -> tuple[Plan | None, Plan]:
        """The best that fits, and what needs least."""
        best, score, leanest = None, math.inf, None
        exact = self.calibration.usual.exact_dtype
        kinds = storages(wishes, exact, self.terms.is_on_device)
        for batch_size in batch_sizes(wishes, num_parts):
            for tier, dtype in kinds:
                made = self._most_comfortable(predictor, wishes, num_parts, batch_size, tier, dtype)
                if leanest is None or made.total < leanest.total:
                    leanest = made
                mine = made.seconds_per_epoch
                if wishes.history_dtype is None:
                    mine *= _ROUNDING_MUST_GAIN.get(dtype, 1.0)
                if made.fits and mine < score * _must_gain(best, made):
                    best, score = made, mine
        assert leanest is not None
        return best, leanest

    def _most_comfortable(
        self,
        predictor: Predictor,
        wishes: Wishes,
        num_parts: int,
        batch_size: int,
        tier: str,
        dtype: str,
    ) -> Plan:
        made = None
        for choice in degrees_of_comfort(wishes, num_parts, batch_size, tier, dtype):
            keeps = self.calibration.keeps_first_propagation
            if made is not None and not choice.keep_first_propagation and not keeps:
                break  # there is nothing to be had from not keeping it
            made = predictor.plan(choice)
            if made.fits:
                break
        assert made is not None
        return made

    def _finer(self, num_parts: int, leanest: Plan) -> int | None:
        """More parts, if smaller batches may help."""
        fixed = self.wishes.num_parts is not None or self.graph.given_num_parts is not None
        most = self.graph.facts.num_nodes // _SMALLEST_PART
        if fixed or num_parts >= most or leanest.floor > leanest.memory:
            return None
        step = leanest.needs.phases['training'][STEP]
        lacking = leanest.total - leanest.memory
        factor = max(1.5, 1.3 * step / max(step - lacking, 1))
        return min(most, math.ceil(num_parts * min(factor, 16)))

    # What there is to say #########################################################

    def _problem(self, predictor: Predictor, leanest: Plan) -> str:
        problem = describe_problem(leanest)
        for name, wished, wishes in without_one(self.wishes):
            found, _ = self._search(predictor, wishes, leanest.choice.num_parts)
            if found is not None:
                name = name.replace('_', '.') if name.startswith('history') else name
                return f'{problem} Without {name}={wished} it would fit: {_in_short(found)}.'
        return problem

    def _notes(self, made: Plan) -> list[str]:
        notes, choice = [], made.choice
        if self.graph.is_estimate:
            notes.append(
                'an estimate: the graph is not at hand, and edges and halos of another shape '
                'would change it'
            )
        if not made.fits:
            return notes
        if self.wishes.full_batch is None and not choice.full_batch:
            notes.append('the comparison with full batch is left out: it does not fit')
        if self.wishes.measure_memory is None and not choice.measure_memory:
            notes.append('the memory of a step is not measured: a copy of the model does not fit')
        if self.wishes.keep_first_propagation is None and not choice.keep_first_propagation:
            notes.append('the first propagation is computed anew in every step: it would not fit')
        return notes


def _must_gain(best: Plan | None, made: Plan) -> float:
    """Share of the best plan's seconds that another must stay below, being less preferred."""
    smaller = best is not None and made.choice.batch_size < best.choice.batch_size
    return 1 / _SMALLER_MUST_GAIN if smaller else 0.98


def _in_short(made: Plan) -> str:
    choice = made.choice
    return (
        f'{choice.batch_size:,} of {choice.num_parts:,} parts per batch, histories in '
        f'{choice.history_dtype} (tier={choice.history_tier}), {size_text(made.total)}'
    )
