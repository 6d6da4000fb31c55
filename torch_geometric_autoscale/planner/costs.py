"""What batches of any size cost a model, fitted to trials on a few small ones."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..graph import Graph
from .fit import LargestCost, LinearCost, fit_cost
from .pieces import Piece
from .subject import Maker, Subject, subject_of
from .tables import InferenceTables
from .trial import Loss, Trial, Tried

_LEAST = 4  # trials
_MOST_SECONDS = 8.0  # of a trial
_RUNS = 10  # steps and inferences of a trial
_FOR_BYTES = 6  # trials that bytes are fitted to, the largest


@dataclass(frozen=True)
class KeptOfGraph:
    """What is computed from the whole graph once and kept: variants of its edges, a product.

    Attributes:
        per_node, per_edge: Bytes.
        product_per_node: Bytes of the product of adjacency and features.
    """

    per_node: float = 0.0
    per_edge: float = 0.0
    product_per_node: float = 0.0


@dataclass(frozen=True)
class ModelCosts:
    """What a model costs on a graph.

    Attributes:
        parameters: Bytes of parameters and buffers.
        trained: Bytes of those that have gradients.
        optimizer: Bytes of the optimiser's state.
        widths: Channels of each history.
        exact_dtype: Type of histories that keep rows as they are.
        step_peak: Bytes of a training step, see :class:`Trial`.
        loop_peak: Bytes of a step, its batch and the building of the next one.
        step_seconds: Of a training step.
        inference_peak, inference_kept, inference_seconds: Of an inference.
        tables: Of an inference.
        kept: Of the whole graph.
        trials: What all this was fitted to.
    """

    parameters: int
    trained: int
    optimizer: int
    widths: tuple[int, ...]
    exact_dtype: str
    step_peak: LinearCost
    loop_peak: LargestCost
    step_seconds: LinearCost
    inference_peak: LinearCost
    inference_kept: LinearCost
    inference_seconds: LinearCost
    tables: InferenceTables
    kept: KeptOfGraph
    trials: tuple[Trial, ...]


def costs_of(
    make: Maker,
    pieces: Iterable[Piece],
    device: torch.device,
    loss_fn: Loss,
    build_optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer],
    options: Mapping[str, Any],
    room: float,
) -> ModelCosts:
    """Try a model on pieces of a graph.

    Args:
        make: Makes the model for a piece.
        pieces: At least four, of different size and share of halo nodes, the larger ones last.
        device: Where to compute.
        loss_fn, build_optimizer: As in training.
        options: Further arguments of the loader.
        room: Bytes that a trial may take; pieces that need more are left out, and those that would
            take too long.
    """
    trials: list[Trial] = []
    same: dict[str, Any] = {}
    for piece in pieces:
        if len(trials) >= _LEAST and not _is_affordable(piece, trials, room):
            break
        subject = subject_of(make, piece, device, options)
        tried = Tried(subject, piece, loss_fn, build_optimizer, device)
        trials.append(tried.measure())
        same = _same_for_all_batches(subject, tried, piece)
        del subject, tried  # let go of it before the next piece

    def fitted(name: str, swept: bool = False, of: Sequence[Trial] = trials) -> LinearCost:
        over = [trial.sweep_counts if swept else trial.counts for trial in of]
        values = [getattr(trial, name) for trial in of]
        return fit_cost(over, values, relative='seconds' not in name)

    # In the smallest ones, the peak may be elsewhere than in batches of the usual size.
    larger = trials[-_FOR_BYTES:]
    return ModelCosts(
        step_peak=fitted('step_peak', of=larger),
        loop_peak=LargestCost((fitted('whole_peak', of=larger), fitted('change_peak', of=larger))),
        step_seconds=fitted('step_seconds'),
        inference_peak=fitted('inference_peak', of=larger),
        inference_kept=fitted('kept', swept=True, of=larger),
        inference_seconds=fitted('inference_seconds', swept=True),
        trials=tuple(trials),
        **same,
    )


def _same_for_all_batches(subject: Subject, tried: Tried, piece: Piece) -> dict[str, Any]:
    """What does not depend on the size of a batch."""
    histories: Any = subject.model.histories
    parameters = list(subject.model.parameters())
    state = [t for s in tried.optimizer.state.values() for t in s.values() if torch.is_tensor(t)]
    return {
        'parameters': _size([*parameters, *subject.model.buffers()]),
        'trained': _size([p for p in parameters if p.requires_grad]),
        'optimizer': _size(state),
        'widths': tuple(history.embedding_dim for history in histories),
        'exact_dtype': next((str(h.dtype).removeprefix('torch.') for h in histories), 'float32'),
        'tables': tried.tables,
        'kept': _kept_of(subject.loader.graph, piece),
    }


def _is_affordable(piece: Piece, trials: Sequence[Trial], room: float) -> bool:
    """Whether a trial on a piece may be taken, judging by those before."""

    counts = [trial.counts for trial in trials]
    peaks = [max(t.whole_peak, t.change_peak, t.inference_peak) + t.kept for t in trials]
    sizes = [count.rows + count.halo for count in counts]
    per_node = max(peak / size for peak, size in zip(peaks[-_LEAST:], sizes[-_LEAST:], strict=True))
    # Seconds of small trials hardly depend on their size: they are no measure, but the largest is.
    spent = [trial.step_seconds + trial.inference_seconds for trial in trials]
    largest = max(range(len(trials)), key=lambda i: sizes[i])
    in_proportion = spent[largest] / sizes[largest] * piece.num_nodes
    seconds = min(fit_cost(counts, spent, relative=False)(piece.counts), in_proportion)
    # Beside the step there are the piece's product and index.
    fits = per_node * piece.num_nodes + 2 * piece.num_bytes <= room
    return fits and seconds * _RUNS / 2 <= _MOST_SECONDS


def _size(tensors: Sequence[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _kept_of(graph: Graph, piece: Piece) -> KeptOfGraph:
    """What ``graph`` has kept of the piece, told apart by what it grows with."""
    num_nodes, num_edges = piece.num_nodes, piece.data.edge_index.size(1)
    seen = {tensor.data_ptr() for tensor in _arrays(graph)}
    per_node = per_edge = product = 0.0
    for variant in (graph, *(graph.variant(key) for key in graph.variant_keys)):
        loops = (variant.num_edges - num_edges) / max(num_nodes, 1)
        for tensor in _arrays(variant):
            if tensor.data_ptr() in seen:
                continue
            seen.add(tensor.data_ptr())
            if tensor.numel() == num_nodes + 1:
                per_node += tensor.element_size()
            else:
                per_edge += tensor.element_size()
                per_node += tensor.element_size() * loops
        if variant._product is not None:
            rows = variant._product[2]
            product += rows.element_size() * rows.size(1)
    return KeptOfGraph(per_node, per_edge, product)


def _arrays(graph: Graph) -> Iterator[Tensor]:
    yield graph.rowptr
    yield graph.col
    if graph.weight is not None:
        yield graph.weight
