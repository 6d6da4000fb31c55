"""How far histories were off while a model was trained, as its record tells."""

from collections.abc import Mapping
from typing import Any


def history_errors(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """``{'epoch': ..., 'errors': [relative error of each history]}`` wherever it was measured.

    Args:
        run: Of a record. An earlier version kept the errors apart from the epochs.
    """
    return list(run.get('history_error', ())) or [
        {'epoch': epoch['epoch'], 'errors': [error['relative'] for error in epoch['errors']]}
        for epoch in run['epochs']
        if epoch.get('errors')
    ]
