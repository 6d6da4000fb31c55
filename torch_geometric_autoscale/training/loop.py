"""The training loop, with histories or full batch."""

import copy
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..batch import SubgraphBatch
from ..error_meter import measuring
from ..errors import explain
from ..history import move_histories, summarize
from ..loader import EvalSubgraphLoader, SubgraphLoader
from ..prefetch import DevicePrefetcher
from ..progress import phase, quiet
from ..scalable import ScalableGNN
from ..staleness import Staleness, histories_of
from .epoch_order import EpochOrder
from .interrupts import StopRequest, leave_ctrl_c_to_parent
from .log_file import LogFile
from .objective import (
    SPLITS,
    build_optimizer,
    check_data,
    classification_loss,
    micro_f1_by_split,
)
from .reporter import Reporter
from .results import Epoch, Position, Run, shortened
from .run_state import Training, identity_of
from .saver import Saver
from .schedule import learning_rate_factor
from .settings import TrainSettings
from .step_memory import step_peak_bytes
from .tensorboard import Scalars

Evaluate = Callable[[ScalableGNN, Tensor], Mapping[str, float]]


def train(
    model: ScalableGNN,
    data: Data,
    ptr: Tensor,
    settings: TrainSettings,
    *,
    checkpoints: str | Path | None = None,
    resume: bool = False,
    device: torch.device | str | None = None,
    log: bool = True,
    log_file: LogFile | str | Path | None = None,
    tensorboard: str | Path | None = None,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = classification_loss,
    evaluate: Evaluate | None = None,
) -> Run:
    """Train a model for node classification and leave it at its best validation epoch.

    Afterwards the model has the weights of the epoch with the best exact validation score, and
    every history is exact for them. Ctrl-C ends the training after the batch at hand, with the
    same promise; a second Ctrl-C raises :class:`KeyboardInterrupt` at once.

    With ``checkpoints``, the whole state is saved every ``settings.checkpoint_every``, at Ctrl-C
    and at the end, and the last two states are kept. However the process ends, the same call with
    ``resume=True`` goes on from the newest one that is whole. On the CPU, with the same number of
    threads, it ends with the same model, histories and record, to the bit, as a run that nothing
    has interrupted.

    Args:
        model: Trained in place. Its parameters are taken as they are: seed before making it.
        data: The permuted graph, with ``x``, ``y`` and one boolean mask ``(N,)`` per split.
        ptr: ``(num_parts + 1,)`` bounds of its partitions.
        settings: See :class:`TrainSettings`.
        checkpoints: Folder for the states, and for histories on disk; made if it is not there.
        resume: Go on from the folder's newest state, or begin where it has none. A finished
            training is brought back as it ended.
        device: Where to compute (default: where the model's parameters are).
        log: Show progress bars, or, where the output is no terminal, a line now and then. Without,
            nothing is printed whatever the training calls.
        log_file: File to append a line to for every epoch, with the time of day.
        tensorboard: Folder for the scalars of every epoch, see :class:`Scalars`.
        loss_fn: Mean loss of rows ``(B, C)`` against their labels. What a model's ``forward``
            returns besides its output is added to it, as regularisation.
        evaluate: Scores in percent of ``'train'``, ``'val'`` and ``'test'``, from the model and
            its exact outputs for ``data``; for graphs of their own to validate and test on. By
            default the micro F1 on the masks of ``data``.

    Raises:
        ValueError: If ``data`` lacks something, does not match the model, or the training
            diverges; if there are checkpoints and ``resume`` is not set; if they are of another
            model, graph, partition, loss or of other settings than ``max_seconds``, damaged, or
            of a later version.
        OSError: If the folder cannot be written to, or another process trains in it; if the log
            file or the folder for TensorBoard cannot be written to.
        ImportError: If TensorBoard is wanted and not installed.
    """
    check_data(data, SPLITS if evaluate is None else SPLITS[:1])
    if not isinstance(model, ScalableGNN):
        raise TypeError(
            explain('train', "'model' must be a ScalableGNN", type(model).__name__,
                    'Derive it from ScalableGNN.')
        )  # fmt: skip
    if resume and checkpoints is None:
        raise ValueError(
            explain('train', "'resume' needs the folder of the checkpoints", 'none',
                    'Pass checkpoints=.')
        )  # fmt: skip
    if device is not None:
        model.to(device)
    with ExitStack() as stack:
        if not log:
            stack.enter_context(quiet())
        if log_file is not None and not isinstance(log_file, LogFile):
            log_file = LogFile(log_file)
            stack.callback(log_file.close)
        scalars = None if tensorboard is None else Scalars(tensorboard)
        saver = stack.enter_context(Saver(checkpoints, settings.checkpoint_every))
        if not resume and saver.folder is not None and saver.folder.checkpoints():
            raise ValueError(
                explain('train', "'checkpoints' must name a folder without any, to begin anew",
                        f"'{saver.folder.path}', which holds some",
                        'Pass resume=True to go on from them, or another folder.')
            )  # fmt: skip
        tier, dtype, cache = (
            settings.history_tier, settings.history_dtype, settings.history_cache
        )  # fmt: skip
        if (tier, dtype, cache) != (None, 'auto', None):
            move_histories(model, tier, checkpoints, dtype=dtype, cache=cache)
        with phase('Preparing the graph'):
            trainer = _Trainer(model, data, ptr, settings, loss_fn, saver, evaluate)
        return trainer.run(Reporter(settings, log, log_file, scalars))


class _Trainer:
    def __init__(
        self,
        model: ScalableGNN,
        data: Data,
        ptr: Tensor,
        settings: TrainSettings,
        loss_fn: Callable[[Tensor, Tensor], Tensor],
        saver: Saver | None = None,
        evaluate: Evaluate | None = None,
    ) -> None:
        self.model, self.data, self.settings, self.loss_fn = model, data, settings, loss_fn
        self.evaluate = evaluate or (lambda _, logits: micro_f1_by_split(logits, data))
        self.saver = Saver(None, None) if saver is None else saver
        self.optimizer = self._optimizer(model)
        self.started = 0.0
        self.is_unsaved = True
        self.device = next(model.parameters()).device
        self.batch: SubgraphBatch | None = None
        self.ahead: DevicePrefetcher | None = None
        self.losses: Tensor | None = None  # on a device, not yet added to the position's
        self.order = EpochOrder(settings.seed)
        torch.manual_seed(settings.seed)
        if settings.mode == 'full':
            self.loader: SubgraphLoader = EvalSubgraphLoader(
                data, ptr, batch_size=ptr.numel() - 1, log=False, input_nodes=data.train_mask,
                keep_first_propagation=settings.keep_first_propagation,
            )  # fmt: skip
            self.batch = next(self.loader.sweep()).to(self.device)
        else:
            self.loader = SubgraphLoader(
                data, ptr, batch_size=settings.batch_size, sampler=self.order, log=False,
                num_workers=settings.num_workers, persistent_workers=settings.num_workers > 0,
                input_nodes=data.train_mask, drop_unlabelled=settings.drop_unlabelled,
                keep_first_propagation=settings.keep_first_propagation,
                sweep_batch_size=settings.eval_batch_size,
                generator=torch.Generator(), worker_init_fn=leave_ctrl_c_to_parent,
            )  # fmt: skip
            self.order.size = len(self.loader.dataset)  # type: ignore[arg-type]
            prefetch = settings.prefetch
            if self.device.type != 'cpu' if prefetch is None else prefetch:
                self.ahead = DevicePrefetcher(self.loader, self.device)
        fingerprint = self.loader.graph.fingerprint
        self.training = Training(
            model, self.optimizer, self.device,
            {} if self.saver.folder is None
            else identity_of(model, data, ptr, fingerprint, settings,
                             {'loss_fn': loss_fn, 'evaluate': evaluate}),
            Run(settings.mode, settings.seed, settings, fingerprint=fingerprint),
            Position(Epoch(1)),
            staleness=None if self.batch is not None else Staleness(model),
        )  # fmt: skip

    # One run #####################################################################

    def run(self, reporter: Reporter) -> Run:
        run = self.training.run
        with StopRequest() as stop, reporter:
            self._begin(reporter)
            reporter.begins(run)
            while not stop.requested and (self._is_in_an_epoch or not self._is_over(run)):
                self._train_epoch(stop, reporter)
                if not stop.requested:
                    self._end_epoch(reporter)
            if self.is_unsaved:
                self._save()
            run.interrupted = stop.requested
            if run.best is None:
                self._make_do_with_what_is_there()
            if self.training.best_weights is not None:
                self._restore(self.training.best_weights)
        position = self.training.position
        run.histories = summarize(self.model)
        run.halo_per_batch_node = position.halo / max(position.rows, 1)
        return run

    def _begin(self, reporter: Reporter) -> None:
        found = None if self.saver.folder is None else self.saver.folder.load()
        if found is not None:
            self.training.restore(*found)
            self.is_unsaved = False
            self.started = time.perf_counter() - self.training.elapsed
            reporter.resumed(self.training.run, self.training.position, found[1].name)
            self._evaluate_if_over()
            return
        if self.settings.measure_memory:
            with phase('Measuring the memory of a step'):
                self.training.run.step_peak_bytes = self._step_peak_bytes()
        self.started = time.perf_counter()
        if self.settings.mode == 'gas' and self.settings.refresh != 'never':
            with self._precision():
                self.model.refresh(self.loader)

    @property
    def _is_in_an_epoch(self) -> bool:
        return self.training.position.batches > 0

    def _evaluate_if_over(self) -> None:
        """Evaluate the last epoch of a run that ``max_seconds`` of its own has now ended."""
        run = self.training.run
        unevaluated = run.epochs and run.epochs[-1].val is None
        if unevaluated and not self._is_in_an_epoch and self._is_over(run):
            self._evaluate(run.epochs[-1])
            self.is_unsaved = True

    def _end_epoch(self, reporter: Reporter) -> None:
        self._add_losses()
        run, position = self.training.run, self.training.position
        epoch, self.is_unsaved = position.epoch, True
        epoch.loss = position.loss / position.labelled if position.labelled else None
        epoch.elapsed = time.perf_counter() - self.started
        self._note_ages(epoch)
        run.epochs.append(epoch)
        if epoch.epoch % self.settings.eval_every == 0 or self._is_over(run):
            self._evaluate(epoch)
        elif self._refreshes_after(epoch):
            begun = time.perf_counter()
            self._measured(epoch, self._exact_logits)
            epoch.eval_seconds = time.perf_counter() - begun
            epoch.elapsed = time.perf_counter() - self.started
        self.training.position = position.next_epoch()
        reporter.epoch(epoch)

    def _evaluate(self, epoch: Epoch) -> None:
        run, begun = self.training.run, time.perf_counter()
        refreshes = self.settings.refresh == 'evaluation' or self._refreshes_after(epoch)
        logits = self._measured(epoch, lambda: self._exact_logits(refreshes))
        scores = self.evaluate(self.model, logits)
        epoch.train, epoch.val, epoch.test = scores['train'], scores['val'], scores['test']
        epoch.eval_seconds = time.perf_counter() - begun
        if run.best is None or scores['val'] > (run.best.val or 0.0):
            run.best, self.training.best_weights = epoch, self._weights()
        epoch.elapsed = time.perf_counter() - self.started

    def _note_ages(self, epoch: Epoch) -> None:
        """Note how old the rows were that the epoch's batches have pulled."""
        staleness = self.training.staleness
        if staleness is not None:
            epoch.ages = shortened(staleness.ages())
            staleness.begin()

    def _measured(self, epoch: Epoch, infer: Callable[[], Tensor]) -> Tensor:
        """What an exact inference gives; where wanted, it measures the histories on its way."""
        if not self.settings.measure_error or self.batch is not None:
            return infer()
        with measuring() as meter:
            out = infer()
        epoch.errors = meter.errors(histories_of('train', self.model)) or None
        return out

    def _refreshes_after(self, epoch: Epoch) -> bool:
        """Whether the histories are due, whether or not the epoch is evaluated."""
        every = self.settings.refresh
        return isinstance(every, int) and self.batch is None and epoch.epoch % every == 0

    def _make_do_with_what_is_there(self) -> None:
        """After an interruption before the first evaluation: evaluate what there is."""
        self._add_losses()
        run, position = self.training.run, self.training.position
        if position.batches:  # then an unfinished epoch is one after all
            position.epoch.loss = position.loss / position.labelled if position.labelled else None
            position.epoch.elapsed = time.perf_counter() - self.started
            self._note_ages(position.epoch)
            run.epochs.append(position.epoch)
        if run.epochs:
            self._evaluate(run.epochs[-1])

    def _save(self) -> None:
        self._add_losses()
        begun = time.perf_counter()
        self.training.elapsed = begun - self.started
        self.saver.save(self.training.state)
        self.training.position.epoch.checkpoint_seconds += time.perf_counter() - begun
        self.is_unsaved = False

    def _is_over(self, run: Run) -> bool:
        settings = self.settings
        enough = settings.epochs is not None and len(run.epochs) >= settings.epochs
        return enough or (settings.max_seconds is not None and run.seconds >= settings.max_seconds)

    def _train_epoch(self, stop: StopRequest, reporter: Reporter) -> None:
        """Take the steps of the epoch at hand that are still to be taken."""
        position, max_steps = self.training.position, self.settings.max_steps
        epoch = position.epoch
        self.model.train()
        if epoch.steps == max_steps:  # resumed at the very end of an epoch
            return
        begun = time.perf_counter()
        for batch in self._batches(epoch.epoch, position.batches):
            position.halo += batch.num_nodes - batch.batch_size
            position.rows += batch.batch_size
            num_labelled = batch.input_rows.numel()
            if num_labelled == 0:
                epoch.skipped += 1
                with torch.no_grad(), self._precision():
                    self.model(batch)  # keeps its rows fresh
            else:
                loss = self._forward_backward(self.model, batch, clear=True)
                self._follow_schedule(epoch)
                self.optimizer.step()
                if self.training.staleness is not None:
                    self.training.staleness.step()
                self._note_loss(loss, num_labelled)
                position.labelled += num_labelled
                epoch.steps += 1
            position.batches += 1
            self.is_unsaved = True
            epoch.seconds += time.perf_counter() - begun
            reporter.batch(epoch, self._share_of_epoch, time.perf_counter() - self.started)
            if stop.requested:
                break
            if self.saver.is_due_after_batch():
                self._save()
            if epoch.steps == max_steps:
                break
            begun = time.perf_counter()
        begun = time.perf_counter()
        self._add_losses()  # waits for the device
        epoch.seconds += time.perf_counter() - begun

    def _note_loss(self, loss: Tensor, weight: int) -> None:
        """Add a mean loss to the epoch's; on a device that waits until somebody asks."""
        total = loss.double() * weight
        if loss.device.type == 'cpu':
            self.training.position.loss += float(total)
        else:
            self.losses = total if self.losses is None else self.losses + total

    def _add_losses(self) -> None:
        if self.losses is not None:
            self.training.position.loss += float(self.losses)
            self.losses = None

    def _precision(self) -> torch.autocast:
        enabled = self.settings.precision == 'bfloat16'
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    @property
    def _share_of_epoch(self) -> float:
        """How much of the epoch at hand is done."""
        if self.batch is not None:
            return 1.0
        position, max_steps = self.training.position, self.settings.max_steps
        share = position.batches / max(len(self.loader), 1)
        return share if max_steps is None else max(share, position.epoch.steps / max_steps)

    def _follow_schedule(self, epoch: Epoch) -> None:
        settings = self.settings
        if settings.epochs is not None:
            steps = 1 if self.batch is not None else (settings.max_steps or len(self.loader))
            progress = (epoch.epoch - 1 + min(epoch.steps / steps, 1.0)) / settings.epochs
        else:  # the clock ends the training: it is not repeatable to the bit anyway
            assert settings.max_seconds is not None
            progress = (time.perf_counter() - self.started) / settings.max_seconds
        for group in self.optimizer.param_groups:
            group['lr'] = settings.lr * learning_rate_factor(settings.schedule, progress)

    def _batches(self, epoch: int = 0, done: int = 0) -> Generator[SubgraphBatch, None, None]:
        """The batches of an epoch after those that are done."""
        if self.batch is not None:
            yield from [self.batch][done:]
            return
        self.order.epoch, self.order.skip = epoch, done * self.settings.batch_size
        if self.ahead is not None:
            yield from self.ahead
            return
        for batch in self.loader:
            yield batch.to(self.device)

    # One step ####################################################################

    def _forward_backward(
        self, model: torch.nn.Module, batch: SubgraphBatch, clear: bool = False
    ) -> Tensor:
        """Gradients of a batch's loss; returns its mean loss, detached."""
        if clear:
            self.optimizer.zero_grad()
        # Rows by their number: how many a mask has would have to be asked of the device.
        rows = batch.input_rows
        with self._precision():
            out = model(batch)
            out, *terms = out if isinstance(out, tuple) else (out,)
            out = out.index_select(0, rows)
            if out.dtype in (torch.bfloat16, torch.float16):
                out = out.float()
            loss = self.loss_fn(out, batch.y.index_select(0, rows))
        weighted = self.settings.loss_weighting == 'full' and self.settings.mode == 'gas'
        sum(terms, loss * batch.loss_weight if weighted else loss).backward()
        if self.settings.grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.settings.grad_norm)
        return loss.detach()

    def _optimizer(self, model: torch.nn.Module) -> torch.optim.Optimizer:
        settings = self.settings
        return build_optimizer(
            model, settings.lr, settings.reg_weight_decay, settings.nonreg_weight_decay
        )

    def _step_peak_bytes(self) -> int | None:
        """Of one batch with a training node, drawn as in training."""
        batches = self._batches()
        batch = next((batch for batch in batches if batch.input_rows.numel()), None)
        batches.close()  # and whatever is under way ahead of it
        if batch is None:
            return None
        return step_peak_bytes(
            self.model,
            self._optimizer,
            lambda copied: self._forward_backward(copied, batch),
            self.device,
        )

    # Evaluation ##################################################################

    @torch.no_grad()
    def _exact_logits(self, refresh: bool = True) -> Tensor:
        """Exact outputs for all nodes; with ``refresh``, every history is exact afterwards."""
        with self._precision():
            return self._exact(refresh)

    def _exact(self, refresh: bool) -> Tensor:
        if self.batch is None:
            return self.model.refresh(self.loader) if refresh else self.model(loader=self.loader)
        self.model.eval()
        out = self.model(self.batch)  # no halo: exact as it is
        return out[0] if isinstance(out, tuple) else out

    def _weights(self) -> dict[str, Tensor]:
        """A copy of parameters and buffers, histories left out: those can be recomputed."""
        tensors = {k: v for k, v in self.model.state_dict().items() if isinstance(v, Tensor)}
        return copy.deepcopy(tensors)

    def _restore(self, weights: dict[str, Tensor]) -> None:
        self.model.load_state_dict(weights, strict=False)
        self._exact_logits()
