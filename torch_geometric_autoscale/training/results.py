"""What a training run leaves behind, in plain numbers."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..error_meter import HistoryError
from ..staleness import Ages
from .settings import TrainSettings


@dataclass
class Epoch:
    """One epoch.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean training loss of its steps, each node counted once; ``None`` without a step.
        steps: Batches with a step.
        skipped: Batches without a training node: run forward, no step.
        seconds: Building batches and taking steps.
        eval_seconds: Refresh and exact evaluation.
        checkpoint_seconds: Saving checkpoints in the midst of it.
        elapsed: Seconds of training since its start, at the end of this epoch.
        train, val, test: Exact micro F1 in percent, where this epoch was evaluated.
        ages: Ages of the rows that its batches have pulled, one entry for each history, or a single
            one that holds for all; ``None`` without histories.
        errors: How far each history was off at the end of the epoch, before it was refreshed,
            where that was measured.
    """

    epoch: int
    loss: float | None = None
    steps: int = 0
    skipped: int = 0
    seconds: float = 0.0
    eval_seconds: float = 0.0
    checkpoint_seconds: float = 0.0
    elapsed: float = 0.0
    train: float | None = None
    val: float | None = None
    test: float | None = None
    ages: list[Ages] | None = None
    errors: list[HistoryError] | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> 'Epoch':
        """The epoch that :meth:`to_dict` told of."""
        ages, errors = values.get('ages'), values.get('errors')
        return cls(**{
            **values,
            'ages': None if ages is None else [Ages(**entry) for entry in ages],
            'errors': None if errors is None else [
                HistoryError(**{k: math.nan if v is None else v for k, v in entry.items()})
                for entry in errors
            ],
        })  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """In plain containers, with ``None`` for what is not finite."""
        values = asdict(self)
        for entry in values['errors'] or ():
            for name, error in entry.items():
                entry[name] = error if math.isfinite(error) else None
        return values

    def ages_of(self, layer: int) -> Ages | None:
        """Ages of the rows pulled from history ``layer``, counted from 0."""
        if not self.ages:
            return None
        return self.ages[layer if len(self.ages) > 1 else 0]


def shortened(ages: Sequence[Ages]) -> list[Ages] | None:
    """Ages of all histories as an epoch keeps them: one entry where they agree."""
    if not ages:
        return None
    return list(ages[:1] if len(set(ages)) == 1 else ages)


@dataclass
class Position:
    """Where a training stands: in which epoch, after how many of its batches.

    Attributes:
        epoch: The epoch at hand, filled in as it goes.
        batches: Its batches that are done.
        labelled: Training nodes in them.
        loss: Sum of these nodes' losses.
        halo: Halo rows of all batches of the run so far.
        rows: Batch rows of all batches of the run so far.
    """

    epoch: Epoch
    batches: int = 0
    labelled: int = 0
    loss: float = 0.0
    halo: int = 0
    rows: int = 0

    def next_epoch(self) -> 'Position':
        """The beginning of the epoch after this one."""
        return Position(Epoch(self.epoch.epoch + 1), halo=self.halo, rows=self.rows)


@dataclass
class Run:
    """What came out of a training.

    Attributes:
        mode: ``'gas'`` or ``'full'``.
        seed: Its seed.
        epochs: Every epoch that was finished.
        best: The first epoch with the best validation score, or ``None`` if none was evaluated.
        interrupted: Whether Ctrl-C ended it early.
        step_peak_bytes: Peak memory of a step, if measured.
        halo_per_batch_node: Mean of halo rows over batch rows of the batches trained on.
        fingerprint: Of the graph that was trained on, in its permuted order.
        settings: What it was told.
        histories: How its histories were kept, see :func:`summarize`.
    """

    mode: str
    seed: int
    settings: TrainSettings
    epochs: list[Epoch] = field(default_factory=list)
    best: Epoch | None = None
    interrupted: bool = False
    step_peak_bytes: int | None = None
    halo_per_batch_node: float = 0.0
    fingerprint: str = ''
    histories: dict[str, Any] = field(default_factory=dict)

    @property
    def test(self) -> float | None:
        """Test score in percent at the best validation epoch."""
        return self.best.test if self.best is not None else None

    @property
    def val(self) -> float | None:
        """Best validation score in percent."""
        return self.best.val if self.best is not None else None

    @property
    def seconds(self) -> float:
        """Seconds of training, evaluations included."""
        return self.epochs[-1].elapsed if self.epochs else 0.0

    @property
    def seconds_per_epoch(self) -> float | None:
        """Median over epochs, evaluations left out."""
        return statistics.median(e.seconds for e in self.epochs) if self.epochs else None

    @property
    def seconds_per_evaluation(self) -> float | None:
        """Median over evaluated epochs."""
        times = [e.eval_seconds for e in self.epochs if e.val is not None]
        return statistics.median(times) if times else None

    def to_dict(self) -> dict[str, Any]:
        """The run as it stands in ``record.json``."""
        return {
            'mode': self.mode,
            'seed': self.seed,
            'test': self.test,
            'val': self.val,
            'best_epoch': self.best.epoch if self.best is not None else None,
            'seconds': self.seconds,
            'seconds_per_epoch': self.seconds_per_epoch,
            'seconds_per_evaluation': self.seconds_per_evaluation,
            'step_peak_bytes': self.step_peak_bytes,
            'halo_per_batch_node': self.halo_per_batch_node,
            'skipped_batches': sum(epoch.skipped for epoch in self.epochs),
            'interrupted': self.interrupted,
            'histories': self.histories,
            'settings': asdict(self.settings),
            'epochs': [epoch.to_dict() for epoch in self.epochs],
        }
