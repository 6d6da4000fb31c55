"""What a training needs, quantity by quantity, in each of its phases."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..edges import CHUNK
from ..history.encoding import DTYPES, encoding_of
from ..inference import KEEP_BATCHES_UP_TO
from .choice import Choice
from .costs import ModelCosts
from .facts import GraphFacts
from .fit import Counts
from .halos import BatchSizes

# Upper bounds of what was measured with graphs of 0.2 to 0.8 million nodes and 3 to 12 million
# edges: bytes per node, per edge, and per edge of the runs in which edges are gone through.
PARTITIONERS: Mapping[str, tuple[int, int, int]] = {
    'metis': (60, 20, 24),
    'kaminpar': (60, 20, 24),
    'lp': (60, 104, 24),
    'ldg': (90, 20, 40),
    'random': (60, 20, 24),
}
PERMUTE = (24, 48, 0)  # while edges are sorted; then PERMUTED beside the new graph
PERMUTED = (16, 8, 0)
LOADER = (16, 0, 14)  # fingerprint, bounds, checks
EVALUATION = 2  # copies of the outputs
PICTURES = 64 * 2**20  # matplotlib, and what numpy's linear algebra takes when first used

STEP, INFERENCE_STEP = 'largest step', 'step of an inference'


@dataclass
class Needs:
    """Bytes by phase and quantity.

    Attributes:
        phases: In the order of a job.
        step_peak: Of a training step, as :func:`step_peak_bytes` measures it.
        largest: The batch that it is predicted for.
    """

    step_peak: int
    largest: Counts
    phases: dict[str, dict[str, int]] = field(default_factory=dict)

    def total(self, phase: str) -> int:
        """Bytes of a phase."""
        return sum(self.phases[phase].values())

    @property
    def peak_phase(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=self.total)

    @property
    def peak_without_steps(self) -> int:
        """What the job needs however small its batches are."""
        return max(
            sum(size for name, size in parts.items() if name not in (STEP, INFERENCE_STEP))
            for parts in self.phases.values()
        )

    @property
    def peak(self) -> int:
        """What the job needs."""
        return self.total(self.peak_phase)


def row_bytes(widths: tuple[int, ...], dtype: str) -> int:
    """Bytes that the histories of one node take."""
    encoding = encoding_of(DTYPES[dtype])
    return sum(encoding.row_bytes(width) for width in widths)


def host_needs(
    facts: GraphFacts,
    costs: ModelCosts,
    choice: Choice,
    sizes: BatchSizes,
    num_halo_rows: int,
    process: int,
    method: str | None,
    keeps_original: bool,
    keeps_graph: bool,
    draws_pictures: bool,
) -> Needs:
    """What a training on the CPU needs of main memory.

    Args:
        facts: The graph.
        costs: The model.
        choice: The settings.
        sizes: The batches of an epoch.
        num_halo_rows: Halo nodes of all parts together.
        process: Bytes in use by everything else.
        method: The partitioner that is still to be run, if any.
        keeps_original: Whether the graph is kept in its own order beside the reordered one.
        keeps_graph: Whether the model has a copy of its own.
        draws_pictures: Whether pictures are drawn in the end.
    """
    nodes, edges = facts.num_nodes, facts.num_edges
    largest = sizes.largest(costs.loop_peak)
    needs = Needs(round(costs.step_peak(sizes.largest(costs.step_peak))), largest)
    graph = {'graph and features': facts.in_memory}
    base = {'process': process}
    if method is not None:
        needs.phases['partition'] = {
            **base, **graph, 'partitioner': partition_work(method, facts),
        }  # fmt: skip
        if not facts.is_mapped:
            later = facts.in_memory + _work(PERMUTED, nodes, edges)
            needs.phases['permute'] = {
                **base, **graph, 'reordering': max(_work(PERMUTE, nodes, edges), later),
            }  # fmt: skip
    if keeps_original and method is not None and not facts.is_mapped:
        graph['reordered graph'] = facts.in_memory
    resident = {**base, **graph}
    resident['index of the graph'] = _index(facts, costs, num_halo_rows)
    if keeps_graph:
        resident['graph of the converted model'] = (
            facts.in_memory + facts.mapped_bytes + 8 * nodes + 4 * edges
        )
    if choice.keep_first_propagation and costs.kept.product_per_node and not facts.is_mapped:
        resident['first propagation'] = round(costs.kept.product_per_node * nodes)
    tables = nodes * row_bytes(costs.widths, choice.history_dtype)
    in_memory = choice.history_tier != 'disk'
    if in_memory:
        resident['histories'] = tables
    if choice.history_cache:
        resident['cache of histories'] = choice.history_cache
    resident['model and optimizer'] = costs.parameters + costs.optimizer
    needs.phases['start'] = {
        **resident, 'preparation': _work(LOADER, nodes, edges),
    }  # fmt: skip
    step = round(costs.loop_peak(largest))
    first = {}
    if 'first propagation' in resident:  # while it is computed, rows of it are there thrice
        rows = min(4 * CHUNK, resident['first propagation'])
        first = {'work on the first propagation': 2 * rows}
    if choice.measure_memory:
        copies = costs.parameters + costs.optimizer + (tables if in_memory else 0)
        needs.phases['measuring a step'] = {
            **resident, 'copy of the model': copies, STEP: step, **first,
        }  # fmt: skip
    elif first:
        needs.phases['first propagation'] = {**resident, STEP: step, **first}
    resident['best weights'] = 2 * costs.parameters
    needs.phases['evaluation'] = {
        **resident, 'gradients': costs.trained,
        **_inference(facts, costs, choice, sizes),
    }  # fmt: skip
    needs.phases['training'] = {**resident, STEP: step}
    if choice.full_batch and not facts.is_mapped:
        needs.phases['full batch'] = {
            **resident, 'full-batch step': round(costs.loop_peak(Counts(nodes, 0, edges))), **first,
        }  # fmt: skip
    if draws_pictures:
        needs.phases['pictures'] = {**base, **graph, 'pictures': PICTURES}
    return needs


def partition_work(method: str, facts: GraphFacts) -> int:
    """Bytes that a partitioner takes beside the graph; that of a mapped graph works in files."""
    per_node, per_edge, per_run = PARTITIONERS[method]
    per_edge = 0 if facts.is_mapped and method == 'ldg' else per_edge
    return _work((per_node, per_edge, per_run), facts.num_nodes, facts.num_edges)


def _work(per: tuple[int, int, int], nodes: int, edges: int) -> int:
    return per[0] * nodes + per[1] * edges + per[2] * min(edges, CHUNK)


def _index(facts: GraphFacts, costs: ModelCosts, num_halo_rows: int) -> int:
    """Of a loader: bounds of rows, sources, scratch space, halos; variants of the edges."""
    nodes, edges = facts.num_nodes, facts.num_edges
    size = 8 * nodes + (0 if facts.shares_columns else 4 * edges)
    size += 5 * nodes + 4 * num_halo_rows + 4 * nodes  # the last: when rows were written
    size += round(costs.kept.per_node * nodes)
    if not facts.is_mapped:
        size += round(costs.kept.per_edge * edges)
    return size


def _inference(
    facts: GraphFacts, costs: ModelCosts, choice: Choice, sizes: BatchSizes
) -> dict[str, int]:
    nodes, edges = facts.num_nodes, facts.num_edges
    exact = choice.history_dtype == costs.exact_dtype
    output = costs.tables.output * nodes
    in_memory = choice.history_tier != 'disk'  # where the histories are, or in main memory
    found = {'tables of an exact inference': costs.tables.most(exact) * nodes * in_memory}
    found['scores'] = EVALUATION * output + 8 * nodes
    every = sizes.per_epoch
    if edges <= KEEP_BATCHES_UP_TO:
        kept = costs.inference_kept
        swept = Counts(every.rows, every.halo, every.edges)
        found['batches kept for it'] = round(kept(swept) + (sizes.num_batches - 1) * kept.fixed)
        extra = 0.0
    else:
        extra = 2 * costs.inference_kept(sizes.largest(costs.inference_kept))
    largest = sizes.largest(costs.inference_peak)
    found[INFERENCE_STEP] = round(costs.inference_peak(largest) + extra)
    return found
