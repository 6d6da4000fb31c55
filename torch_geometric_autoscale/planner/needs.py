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
from .terms import Terms

# Upper bounds of what was measured with graphs of 0.2 to 0.8 million nodes and 3 to 12 million
# edges: bytes per node, per edge, and per edge of the runs in which edges are gone through.
PARTITIONERS: Mapping[str, tuple[int, int, int]] = {
    'metis': (60, 20, 24),
    'kaminpar': (60, 20, 24),
    'lp': (60, 104, 24),
    'ldg': (90, 20, 80),
    'random': (60, 20, 24),
}
# Left for what an allocator cannot use: bytes, and a share of what is allocated and freed.
RESERVE_BYTES, RESERVE_SHARE = 16 * 2**20, 0.08
PERMUTE = (24, 48, 0)  # while edges are sorted; then PERMUTED beside the new graph
PERMUTED = (16, 8, 0)
LOADER = (16, 0, 14)  # fingerprint, bounds, checks
EVALUATION = 2  # copies of the outputs that are scored together
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


def reserve_of(size: float, error: float = 0.0) -> int:
    """Bytes to leave free where ``size`` bytes are allocated, and that is uncertain by a share."""
    return round(RESERVE_BYTES + (RESERVE_SHARE + error) * max(size, 0))


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
    terms: Terms,
    is_cut: bool,
) -> Needs:
    """What a training on the CPU needs of main memory.

    Args:
        facts: The graph.
        costs: The model.
        choice: The settings.
        sizes: The batches of an epoch.
        num_halo_rows: Halo nodes of all parts together.
        process: Bytes in use by everything else.
        terms: What is kept beside the training, and the partitioner.
        is_cut: Whether the graph is partitioned already.
    """
    largest = sizes.largest(costs.loop_peak)
    needs = Needs(round(costs.step_peak(sizes.largest(costs.step_peak))), largest)
    loaded = {'process': process, 'graph and features': facts.in_memory}
    reorders = not is_cut and not facts.is_mapped
    if not is_cut:
        needs.phases['partition'] = {**loaded, 'partitioner': partition_work(terms.method, facts)}
    if reorders:
        needs.phases['permute'] = {**loaded, 'reordering': _reordering(facts)}
        if terms.keeps_original:
            loaded['reordered graph'] = facts.in_memory
    resident = {**loaded, **_kept(facts, costs, choice, num_halo_rows, terms)}
    preparation = _work(LOADER, facts.num_nodes, facts.num_edges)
    needs.phases['start'] = {**resident, 'preparation': preparation}
    step, first = round(costs.loop_peak(largest)), {}
    if 'first propagation' in resident:  # while it is computed, rows of it are there thrice
        rows = min(4 * CHUNK, resident['first propagation'])
        first = {'work on the first propagation': 2 * rows}
    if choice.measure_memory:
        copies = costs.parameters + costs.optimizer + resident.get('histories', 0)
        needs.phases['measuring a step'] = {
            **resident, 'copy of the model': copies, STEP: step, **first,
        }  # fmt: skip
    elif first:
        needs.phases['first propagation'] = {**resident, STEP: step, **first}
    resident['best weights'] = 2 * costs.parameters
    needs.phases['evaluation'] = {
        **resident, 'gradients': costs.trained, **_inference(facts, costs, choice, sizes),
    }  # fmt: skip
    needs.phases['training'] = {**resident, STEP: step}
    if choice.full_batch and not facts.is_mapped:
        whole = costs.loop_peak(Counts(facts.num_nodes, 0, facts.num_edges))
        needs.phases['full batch'] = {**resident, 'full-batch step': round(whole), **first}
    if terms.draws_pictures:
        needs.phases['pictures'] = {**loaded, 'pictures': PICTURES}
    return needs


def _reordering(facts: GraphFacts) -> int:
    """While edges are sorted, or, if that is more, the new graph beside the old one."""
    nodes, edges = facts.num_nodes, facts.num_edges
    return max(_work(PERMUTE, nodes, edges), facts.in_memory + _work(PERMUTED, nodes, edges))


def _kept(
    facts: GraphFacts, costs: ModelCosts, choice: Choice, num_halo_rows: int, terms: Terms
) -> dict[str, int]:
    """What stays from the start of a training to its end, besides the graph."""
    nodes = facts.num_nodes
    kept = {'index of the graph': _index(facts, costs, num_halo_rows)}
    if terms.keeps_graph:
        kept['graph of the converted model'] = (
            facts.in_memory + facts.mapped_bytes + 8 * nodes + 4 * facts.num_edges
        )
    if choice.keep_first_propagation and costs.kept.product_per_node and not facts.is_mapped:
        kept['first propagation'] = round(costs.kept.product_per_node * nodes)
    if choice.history_tier != 'disk':
        kept['histories'] = nodes * row_bytes(costs.widths, choice.history_dtype)
    if choice.history_cache:
        kept['cache of histories'] = choice.history_cache
    kept['model and optimizer'] = costs.parameters + costs.optimizer
    return kept


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
    in_memory = choice.history_tier != 'disk'  # where the histories are, or in main memory
    found = {'tables of an exact inference': costs.tables.most(exact) * nodes * in_memory}
    found['scores'] = (EVALUATION * costs.tables.output + 8) * facts.num_scored
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
