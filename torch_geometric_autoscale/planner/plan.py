"""A plan: settings that fit a memory, and what they will cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from ..errors import explain
from .choice import Choice
from .fit import Counts
from .needs import Needs
from .text import size_text, two_columns


@dataclass
class Plan:
    """Settings of a training and what they need; made by :func:`plan`.

    Attributes:
        choice: The settings.
        memory: Bytes that there are.
        device: Whose memory that is.
        needs: Bytes by phase and quantity.
        reserve: Bytes left for what an allocator cannot use.
        floor: Bytes that the job needs, with its reserve, however small its batches are.
        mean_batch: Size of a batch; ``needs.largest`` is that of the largest.
        pulled_rows, pushed_rows: History rows per epoch, of all histories together.
        pulled_bytes, pushed_bytes: The same in bytes, as they are kept.
        table_bytes: Size of all histories.
        exact_dtype: The type that keeps their rows as they are.
        seconds_per_epoch, seconds_per_evaluation: From the calibration.
        problem: What is too large, and what would help, if the plan does not fit.
        notes: What was switched off, what is an estimate.
        perm, ptr: The partition, where there is a graph to cut.
    """

    choice: Choice
    memory: int
    device: str
    needs: Needs
    reserve: int
    floor: int
    mean_batch: Counts
    pulled_rows: int
    pushed_rows: int
    pulled_bytes: int
    pushed_bytes: int
    table_bytes: int
    exact_dtype: str
    seconds_per_epoch: float
    seconds_per_evaluation: float
    problem: str = ''
    notes: list[str] = field(default_factory=list)
    perm: Tensor | None = None
    ptr: Tensor | None = None

    @property
    def fits(self) -> bool:
        """Whether the job needs no more than there is."""
        return self.total <= self.memory

    @property
    def total(self) -> int:
        """Bytes that the job needs, with the reserve."""
        return self.needs.peak + self.reserve

    def check(self, who: str = 'plan') -> 'Plan':
        """Return the plan itself, if it fits.

        Raises:
            ValueError: It does not; says which quantity is too large and what would help.
        """
        if not self.fits:
            rule = f"'memory' must be {size_text(self.total)} at least for the leanest plan found"
            raise ValueError(explain(who, rule, size_text(self.memory), self.problem))
        return self

    def __str__(self) -> str:
        return '\n'.join([*_settings(self), '', *_memory(self), '', *_costs(self), *_end(self)])


def _settings(plan: Plan) -> list[str]:
    choice, mean, largest = plan.choice, plan.mean_batch, plan.needs.largest
    steps = -(-choice.num_parts // choice.batch_size)
    return two_columns([
        ('num_parts', f'{choice.num_parts:,}'),
        ('batch_size', f'{choice.batch_size:,} ({steps:,} batches an epoch)'),
        ('history.tier', choice.history_tier),
        ('history.dtype', choice.history_dtype),
        ('nodes of a batch', f'{mean.rows:,.0f}, the largest {largest.rows:,.0f}'),
        ('its halo nodes', f'{mean.halo:,.0f}, the largest {largest.halo:,.0f}'),
        ('its edges', f'{mean.edges:,.0f}, the largest {largest.edges:,.0f}'),
    ])  # fmt: skip


def _memory(plan: Plan) -> list[str]:
    needs = plan.needs
    phase = needs.peak_phase
    parts = needs.phases[phase].items()
    rows = [(name, size_text(size)) for name, size in parts if size]
    rows += [
        ('reserve', size_text(plan.reserve)),
        ('total', f'{size_text(plan.total)} of {size_text(plan.memory)}'),
    ]
    others = ', '.join(
        f'{name} {size_text(needs.total(name))}' for name in needs.phases if name != phase
    )
    return [
        f'memory of {plan.device}, at its peak ({phase}):', *two_columns(rows, '  '),
        *([f'  other phases: {others}'] if others else []),
        *two_columns([
            ('peak of a training step', size_text(needs.step_peak)),
            ('all histories', size_text(plan.table_bytes)),
        ]),
    ]  # fmt: skip


def _costs(plan: Plan) -> list[str]:
    return two_columns([
        ('pulled from histories', _rows(plan.pulled_rows, plan.pulled_bytes)),
        ('pushed to histories', _rows(plan.pushed_rows, plan.pushed_bytes)),
        ('seconds per epoch', f'{plan.seconds_per_epoch:.2f}'),
        ('seconds per evaluation', f'{plan.seconds_per_evaluation:.2f}'),
    ])  # fmt: skip


def _rows(count: int, size: int) -> str:
    return f'{count:,} rows an epoch, {size_text(size)}'


def _end(plan: Plan) -> Sequence[str]:
    notes = [f'note: {note}' for note in plan.notes]
    return [*([''] if notes else []), *notes]
