"""What a training run can be told."""

from dataclasses import dataclass
from typing import Any

from ..errors import explain
from ..history import DTYPES, TIERS
from ..sizes import parse_size
from .interval import parse_interval

MODES = ('gas', 'full')
REFRESHES = ('evaluation', 'never')
LOSS_WEIGHTINGS = ('mean', 'full')
SCHEDULES = ('constant', 'onecycle')
PRECISIONS = ('float32', 'bfloat16')


@dataclass(frozen=True)
class TrainSettings:
    """Settings of one run; the model and the graph are passed beside them.

    Attributes:
        mode: ``'gas'``: mini-batches with histories. ``'full'``: one batch of every partition,
            which is the full-batch gradient on the same kernels.
        epochs: Number of epochs, or ``None``: until ``max_seconds`` are over.
        max_seconds: Seconds of training after which no further epoch begins: building batches,
            steps, refreshes and evaluations count, partitioning does not.
        batch_size: Partitions per batch, for ``'gas'``.
        max_steps: Batches with a step after which an epoch ends early, for ``'gas'``.
        num_workers: Processes that build batches, for ``'gas'``.
        prefetch: Assemble each batch in a thread, and copy it to the device, while its predecessor
            is in use, for ``'gas'``. ``None``: on a device, not on the CPU.
        precision: ``'float32'``, or ``'bfloat16'``: run models under PyTorch's autocast, which
            computes matrix products in that type. Weights and histories keep theirs.
        lr: Learning rate of Adam.
        schedule: ``'constant'``, or ``'onecycle'``: up to ``lr`` and down again, see
            ``schedule.py``.
        reg_weight_decay: Weight decay of the model's ``reg_modules``, or of all its parameters
            where it does not tell them apart.
        nonreg_weight_decay: Weight decay of all other parameters.
        grad_norm: Clip gradients to this norm; ``None``: leave them.
        eval_every: Epochs between exact evaluations. The last epoch is always evaluated.
        eval_batch_size: Partitions per batch of exact evaluations and refreshes, for ``'gas'``.
            ``None``: as in training. See ``sweep_batch_size`` of :class:`SubgraphLoader`.
        refresh: When every history is made exact, for ``'gas'``. ``'evaluation'``: before the
            first epoch and at every evaluation, which then is nearly free. A whole number ``n``:
            before the first epoch and after every ``n``-th. ``'never'``: not during training.
        loss_weighting: ``'mean'``: each batch's step follows the mean loss of its training nodes
            (as in the paper's scripts). ``'full'``: that mean times the batch's share of all
            training nodes, so that the gradients of an epoch add up to that of the full loss.
        drop_unlabelled: Leave out partitions without a training node. Else a batch without any
            is run forward, so that its rows stay fresh, and takes no step.
        history_tier: ``'ram'``, ``'pinned'``, ``'device'`` or ``'disk'``: bring the histories to
            this medium before training. ``None``: leave them where they are.
        history_dtype: ``'float64'``, ``'float32'``, ``'bfloat16'``, ``'float16'`` or ``'int8'``:
            keep the histories in this type. ``'auto'``: in the one that they have.
        history_cache: Bytes, or text such as ``'256MB'``, of the caches of all histories together,
            see :func:`move_histories`.
        checkpoint_every: Interval between checkpoints: ``'30s'``, ``'5min'``, ``'1h'``,
            ``'100batches'``; ``None``: only at Ctrl-C and at the end. Without a folder for
            checkpoints there are none.
        keep_first_propagation: As in :class:`SubgraphLoader`.
        measure_memory: Measure the peak memory of a step, on a copy, before training.
        measure_error: Measure how far each history is off at every evaluation and refresh, before
            it is made exact: in the same pass, for the price of reading the table once.
        seed: Seed of the order of batches and of dropout.
    """

    mode: str = 'gas'
    epochs: int | None = 100
    max_seconds: float | None = None
    batch_size: int = 1
    max_steps: int | None = None
    num_workers: int = 0
    prefetch: bool | None = None
    precision: str = 'float32'
    lr: float = 0.01
    schedule: str = 'constant'
    reg_weight_decay: float = 0.0
    nonreg_weight_decay: float = 0.0
    grad_norm: float | None = None
    eval_every: int = 1
    eval_batch_size: int | None = None
    refresh: str | int = 'evaluation'
    loss_weighting: str = 'mean'
    drop_unlabelled: bool = False
    history_tier: str | None = None
    history_dtype: str = 'auto'
    history_cache: int | str | None = None
    checkpoint_every: str | float | None = '5min'
    keep_first_propagation: bool = True
    measure_memory: bool = True
    measure_error: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        _check_choice('mode', self.mode, MODES)
        _check_choice('schedule', self.schedule, SCHEDULES)
        _check_choice('loss_weighting', self.loss_weighting, LOSS_WEIGHTINGS)
        _check_choice('prefetch', self.prefetch, (None, False, True))
        _check_choice('precision', self.precision, PRECISIONS)
        if self.history_tier is not None:
            _check_choice('history_tier', self.history_tier, TIERS)
        _check_choice('history_dtype', self.history_dtype, ('auto', *DTYPES))
        if self.history_cache is not None:
            parse_size('TrainSettings', 'history_cache', self.history_cache)
        parse_interval(self.checkpoint_every)
        if isinstance(self.refresh, str):
            _check_choice('refresh', self.refresh, REFRESHES)
        else:
            _check_whole('refresh', self.refresh, least=1)
        for name in ('epochs', 'batch_size', 'max_steps', 'eval_every', 'eval_batch_size'):
            _check_whole(name, getattr(self, name), least=1, optional=name in OPTIONAL)
        for name in ('num_workers', 'seed'):
            _check_whole(name, getattr(self, name), least=0)
        for name in ('lr', 'max_seconds', 'grad_norm'):
            _check_number(name, getattr(self, name), above=True, optional=name in OPTIONAL)
        for name in ('reg_weight_decay', 'nonreg_weight_decay'):
            _check_number(name, getattr(self, name), above=False)
        if self.epochs is None and self.max_seconds is None:
            raise ValueError(
                explain('TrainSettings', "one of 'epochs' and 'max_seconds' must end the training",
                        'neither', 'Pass a number of epochs or of seconds.')
            )  # fmt: skip


OPTIONAL = ('epochs', 'max_steps', 'max_seconds', 'grad_norm', 'eval_batch_size')


def _check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise ValueError(
            explain('TrainSettings', f"'{name}' must be one of {', '.join(map(str, choices))}",
                    repr(value), 'Pass one of them.')
        )  # fmt: skip


def _check_whole(name: str, value: Any, least: int, optional: bool = False) -> None:
    if value is None and optional:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            explain('TrainSettings', f"'{name}' must be a whole number from {least} on",
                    repr(value), 'Pass such a number' + (', or none.' if optional else '.'))
        )  # fmt: skip


def _check_number(name: str, value: Any, above: bool, optional: bool = False) -> None:
    if value is None and optional:
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not (value > 0 if above else value >= 0) or value == float('inf'):
        rule = 'a positive number' if above else 'a number, not negative'
        raise ValueError(
            explain('TrainSettings', f"'{name}' must be {rule}", repr(value),
                    'Pass such a number' + (', or none.' if optional else '.'))
        )  # fmt: skip
