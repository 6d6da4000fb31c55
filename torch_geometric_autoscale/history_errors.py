"""``history_error``: how far a model's histories are from what its weights give."""

from typing import Any

import torch

from .conversion import AutoScaled
from .error_meter import HistoryError, measuring
from .errors import explain
from .graph import check_same_graph
from .loader import PartitionLoader
from .staleness import histories_of

_WHO = 'history_error'


@torch.no_grad()
def history_error(model: torch.nn.Module, loader: Any = None) -> list[HistoryError]:
    """Measure every history of a model against fresh rows.

    One exact inference, as ``model(loader=loader)``, in which each boundary's rows are compared
    with the history's before they are let go: nothing is kept beside what an inference keeps.
    Histories, modes and random state stay as they are.

    Args:
        model: A :class:`ScalableGNN`, or what :func:`autoscale` returns.
        loader: Over the graph of its histories; of a converted model any of its own, by default
            one partition per batch.

    Returns:
        One entry for each history; nothing for a model of a single layer.

    Raises:
        TypeError: If the model has no histories, or the loader is of another kind.
        ValueError: If the loader's graph is another than the histories'.
    """
    histories = histories_of(_WHO, model)
    cuda = next((p.device for p in model.parameters() if p.device.type == 'cuda'), None)
    with torch.random.fork_rng([] if cuda is None else [cuda]), measuring() as meter:
        if isinstance(model, AutoScaled):
            model.inference(1 if loader is None else _batch_size(loader))
        else:
            _check_loader(model, loader)
            model(loader=loader)
    return meter.errors(histories)


def _batch_size(loader: Any) -> int:
    size = getattr(loader, 'batch_size', None)
    if not isinstance(size, int):
        raise TypeError(
            explain(_WHO, "'loader' must be one of the converted model's", type(loader).__name__,
                    'Pass gas.loader(...), or leave it out.')
        )  # fmt: skip
    return size


def _check_loader(model: torch.nn.Module, loader: Any) -> None:
    if not isinstance(loader, PartitionLoader):
        raise TypeError(
            explain(_WHO, "'loader' must be a SubgraphLoader", type(loader).__name__,
                    'Pass EvalSubgraphLoader(data, ptr).')
        )  # fmt: skip
    for history in histories_of(_WHO, model):
        check_same_graph(_WHO, history.graph, loader.graph.fingerprint)
        if history.num_embeddings != loader.graph.num_nodes:
            raise ValueError(
                explain(_WHO, f'the histories hold {history.num_embeddings} nodes',
                        f'a loader over {loader.graph.num_nodes}',
                        'Use a loader over the graph the model was made for.')
            )  # fmt: skip
