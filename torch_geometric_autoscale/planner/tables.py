"""Tables with a row for every node: what a layer-wise inference keeps from phase to phase."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..steps import Step, count_phases


@dataclass(frozen=True)
class InferenceTables:
    """Bytes per node of the tables that are there in each phase of an inference.

    The inference is a refresh: it writes the histories.

    Attributes:
        exact: With histories in the type of the values, which then serve as tables themselves.
        rounded: With histories in another type, beside which tables of their own are kept.
        output: The output's, in the last phase.
    """

    exact: tuple[int, ...]
    rounded: tuple[int, ...]
    output: int

    def most(self, exact: bool) -> int:
        """Of the phase with the most."""
        *others, last = self.exact if exact else self.rounded
        return max(*others, last + self.output) if others else last + self.output


def tables_of(steps: Sequence[Step], output: int) -> InferenceTables:
    """The tables of an inference whose steps are known.

    Args:
        steps: As a :class:`LayerwiseInference` has planned them.
        output: Bytes of a row of its output.
    """
    num_phases = count_phases(steps)
    exact, rounded = [0] * num_phases, [0] * num_phases
    for step in steps:
        if not step.read_in:
            continue
        first = step.phase if step.is_boundary else step.computed_in
        size = prod(step.tail) * step.dtype.itemsize
        shared = sum(other.history is step.history for other in steps) > 1
        serves = step.is_boundary and step.history is not None and not shared
        for phase in range(first, max(step.read_in) + 1):
            rounded[phase] += size
            exact[phase] += 0 if serves else size
    return InferenceTables(tuple(exact), tuple(rounded), output)
