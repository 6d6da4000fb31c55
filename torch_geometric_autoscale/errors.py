"""One shape for every error message: who, which rule, what came, what to do."""

from typing import Any


class NeedsBothDirections(ValueError):
    """A batch with the edges into its nodes alone met an operator that reads those out of them."""


def explain(who: str, rule: str, got: Any, remedy: str) -> str:
    """Compose the text of an error.

    Args:
        who: The public call that refuses, e.g. ``'History.push'``.
        rule: What it requires, without a full stop.
        got: What it received instead.
        remedy: One sentence on what the caller should do.

    Example:
        >>> explain('metis', "'num_parts' must be positive", 0, 'Pass at least 1.')
        "metis: 'num_parts' must be positive (got 0). Pass at least 1."
    """
    return f'{who}: {rule} (got {got}). {remedy}'


def missing_package(who: str, package: str, extra: str) -> str:
    """Compose the text of the :class:`ImportError` for an absent optional package."""
    return explain(
        who,
        f"the package '{package}' is needed",
        'none installed',
        f'Install it with \'pip install "torch-geometric-autoscale[{extra}]"\'.',
    )
