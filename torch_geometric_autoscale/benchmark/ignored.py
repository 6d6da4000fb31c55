"""Options that have no effect in a mode or with a model: a record must not tell of them."""

from collections.abc import Container, Mapping
from typing import Any

from ..cli.options import flatten
from ..errors import explain
from .suite import Suite

# Why each option is without effect. Options that only say how a run is carried out (media, workers,
# intervals) are let pass: no number hangs on them.
OF_MODES: Mapping[str, Mapping[str, str]] = {
    'full': {
        'partition': 'which is one part',
        'num_parts': 'which is one part',
        'batch_size': 'which is one part',
        'max_steps': 'which takes one step an epoch',
        'loss_weighting': 'which takes one step an epoch',
        'drop_unlabelled': 'which is one part',
        'refresh': 'which reads no histories',
        'measure_error': 'which reads no histories',
        'history.dtype': 'which reads no histories',
    },
    'subgraph': {
        'refresh': 'which has no histories',
        'measure_error': 'which has no histories',
        'history.dtype': 'which has no histories',
        'loss_weighting': 'which follows the mean loss of each batch',
        'drop_unlabelled': 'which skips batches without a training node',
    },
}
OF_MODELS: Mapping[str, Mapping[str, str]] = {
    'gat': {'edge_dropout': 'which reads no values of edges'},
}


def check_effective(
    suite: Suite, settings: Mapping[str, Any], usual: Mapping[str, Any], given: Container[str]
) -> None:
    """Raise for an option that somebody has set, and that changes nothing but the record.

    Args:
        settings: Resolved.
        usual: What they are where nobody sets any.
        given: The options that are set. A recipe's own are let pass, and so is what is usual.

    Raises:
        ValueError: Naming option and reason.
    """
    mode, model = settings['mode'], settings['model']['name']
    here, there = dict(flatten(settings)), dict(flatten(usual))
    reasons = [
        *((name, f'mode={mode}', why) for name, why in OF_MODES.get(mode, {}).items()),
        *((name, f'model={model}', why) for name, why in OF_MODELS.get(model, {}).items()),
    ]
    for name, where, why in reasons:
        if name in given and here[name] != there[name]:
            raise ValueError(
                explain(suite.who, f"'{name}' has no effect with {where}, {why}, and must be left "
                        'out', repr(here[name]), 'Run what it is meant for by itself.')
            )  # fmt: skip
