"""The steps of a forward, and in which phase of an inference each is computed, kept and read."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from .history import History


@dataclass
class Step:
    """One recorded step of a forward: a unit, or a boundary.

    A *unit* is a call of an operator or of a leaf module with parameters. A *boundary* is where
    halo rows are replaced.

    Attributes:
        reads: The earlier steps whose values it reads, by position.
        module: The module of a unit; ``None`` for a boundary.
        history: The history of a boundary, if it has one.
        phase: For boundary ``p`` (counted from 0), ``p``: the phase that ends here.
        is_rows: Whether a unit gave rows of nodes. If not, it is computed wherever it is called.
        on_batch: Whether its value has the ``B`` batch rows, or all ``n`` rows of a batch.
        tail: Shape of one row.
        dtype: Type of the value.
        computed_in: The phase that computes it.
        read_in: The later phases that read it.
        table: Its rows for all nodes, while a later phase reads them.
    """

    reads: frozenset[int]
    module: torch.nn.Module | None = None
    history: History | None = None
    phase: int = -1
    is_rows: bool = True
    on_batch: bool = False
    tail: tuple[int, ...] = ()
    dtype: torch.dtype = torch.float32
    computed_in: int = -1
    read_in: set[int] = field(default_factory=set)
    table: Any = None

    @property
    def is_boundary(self) -> bool:
        return self.module is None


def count_phases(steps: Sequence[Step]) -> int:
    """Number of phases: one for each boundary, and the last for the output."""
    return sum(step.is_boundary for step in steps) + 1


def make_plan(steps: Sequence[Step], output_reads: Iterable[int], precise: bool = True) -> None:
    """Decide in which phase each unit is computed, and in which later ones it is read.

    Args:
        steps: In the order of the forward; their ``computed_in``, ``read_in`` and ``table`` are
            set anew.
        output_reads: What the output reads.
        precise: Whether to trust ``reads``. If not, every value is computed as soon as it can be
            and kept to the end.
    """
    for step in steps:
        step.computed_in, step.read_in, step.table = -1, set(), None
    ends = [i for i, step in enumerate(steps) if step.is_boundary] + [len(steps)]
    for phase, end in enumerate(ends):
        wanted = output_reads if end == len(steps) else steps[end].reads
        pending = set(wanted) if precise else set(range(end))
        seen: set[int] = set()
        while pending:
            position = pending.pop()
            seen.add(position)
            step = steps[position]
            if step.is_rows and (step.is_boundary or step.computed_in not in (-1, phase)):
                step.read_in.add(phase)
                continue
            # What is no rows is computed wherever it is called, from what it reads.
            step.computed_in = phase if step.computed_in < 0 else step.computed_in
            pending |= step.reads - seen
