"""The training loop, with histories or full batch."""

import copy
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..batch import SubgraphBatch
from ..errors import explain
from ..loader import EvalSubgraphLoader, SubgraphLoader
from ..scalable import ScalableGNN
from .epoch_order import EpochOrder
from .interrupts import StopRequest
from .objective import build_optimizer, check_data, classification_loss, micro_f1_by_split
from .reporter import Reporter
from .results import Epoch, Run
from .schedule import learning_rate_factor
from .settings import TrainSettings
from .step_memory import step_peak_bytes


def train(
    model: ScalableGNN,
    data: Data,
    ptr: Tensor,
    settings: TrainSettings,
    *,
    device: torch.device | str | None = None,
    log: bool = True,
    loss_fn: Callable[[Tensor, Tensor], Tensor] = classification_loss,
) -> Run:
    """Train a model for node classification and leave it at its best validation epoch.

    Afterwards the model has the weights of the epoch with the best exact validation score, and
    every history is exact for them. Ctrl-C ends the training after the batch at hand, with the
    same promise; a second Ctrl-C raises :class:`KeyboardInterrupt` at once.

    Args:
        model: Trained in place. Its parameters are taken as they are: seed before making it.
        data: The permuted graph, with ``x``, ``y`` and one boolean mask ``(N,)`` per split.
        ptr: ``(num_parts + 1,)`` bounds of its partitions.
        settings: See :class:`TrainSettings`.
        device: Where to compute (default: where the model's parameters are).
        log: Show a progress bar, or, where the output is no terminal, a line now and then.
        loss_fn: Mean loss of rows ``(B, C)`` against their labels.

    Raises:
        ValueError: If ``data`` lacks something, does not match the model, or the training
            diverges.
    """
    check_data(data)
    if not isinstance(model, ScalableGNN):
        raise TypeError(
            explain('train', "'model' must be a ScalableGNN", type(model).__name__,
                    'Derive it from ScalableGNN.')
        )  # fmt: skip
    if device is not None:
        model.to(device)
    trainer = _Trainer(model, data, ptr, settings, loss_fn)
    return trainer.run(Reporter(settings, log))


class _Trainer:
    def __init__(
        self,
        model: ScalableGNN,
        data: Data,
        ptr: Tensor,
        settings: TrainSettings,
        loss_fn: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        self.model, self.data, self.settings, self.loss_fn = model, data, settings, loss_fn
        self.optimizer = self._optimizer(model)
        self.started = 0.0
        self.device = next(model.parameters()).device
        self.batch: SubgraphBatch | None = None
        self.order = EpochOrder(settings.seed)
        torch.manual_seed(settings.seed)
        if settings.mode == 'full':
            self.loader: SubgraphLoader = EvalSubgraphLoader(
                data, ptr, batch_size=ptr.numel() - 1, log=False, input_nodes=data.train_mask
            )
            self.batch = next(self.loader.sweep()).to(self.device)
        else:
            self.loader = SubgraphLoader(
                data, ptr, batch_size=settings.batch_size, sampler=self.order, log=False,
                num_workers=settings.num_workers, persistent_workers=settings.num_workers > 0,
                input_nodes=data.train_mask, drop_unlabelled=settings.drop_unlabelled,
                generator=torch.Generator(),
            )  # fmt: skip
            self.order.size = len(self.loader.dataset)  # type: ignore[arg-type]

    # One run #####################################################################

    def run(self, reporter: Reporter) -> Run:
        settings = self.settings
        run = Run(settings.mode, settings.seed, settings, fingerprint=self.loader.graph.fingerprint)
        if settings.measure_memory:
            run.step_peak_bytes = self._step_peak_bytes()
        best_state: dict[str, Tensor] | None = None
        halo = rows = 0
        with StopRequest() as stop, reporter:
            started = self.started = time.perf_counter()
            if settings.mode == 'gas':
                self.model.refresh(self.loader)
            while not stop.requested and not self._is_over(run):
                epoch = Epoch(len(run.epochs) + 1)
                begun = time.perf_counter()
                self.order.epoch = epoch.epoch
                pulled, computed = self._train_epoch(epoch, stop)
                halo, rows = halo + pulled, rows + computed
                epoch.seconds = time.perf_counter() - begun
                if stop.requested and run.best is not None:
                    break  # an unfinished epoch is no epoch
                run.epochs.append(epoch)
                epoch.elapsed = time.perf_counter() - started
                if epoch.epoch % settings.eval_every == 0 or self._is_over(run) or stop.requested:
                    begun = time.perf_counter()
                    scores = micro_f1_by_split(self._exact_logits(), self.data)
                    epoch.train, epoch.val, epoch.test = (
                        scores['train'], scores['val'], scores['test'],
                    )  # fmt: skip
                    epoch.eval_seconds = time.perf_counter() - begun
                    if run.best is None or scores['val'] > (run.best.val or 0.0):
                        run.best, best_state = epoch, self._weights()
                    epoch.elapsed = time.perf_counter() - started
                reporter.epoch(epoch)
            run.interrupted = stop.requested
            if best_state is not None:
                self._restore(best_state)
        run.halo_per_batch_node = halo / max(rows, 1)
        return run

    def _is_over(self, run: Run) -> bool:
        settings = self.settings
        enough = settings.epochs is not None and len(run.epochs) >= settings.epochs
        return enough or (settings.max_seconds is not None and run.seconds >= settings.max_seconds)

    def _train_epoch(self, epoch: Epoch, stop: StopRequest) -> tuple[int, int]:
        """Fill in ``epoch``; return how many halo and how many batch rows there were."""
        self.model.train()
        halo = rows = labelled = 0
        total = torch.zeros((), dtype=torch.float64)
        for batch in self._batches():
            halo += batch.num_nodes - batch.batch_size
            rows += batch.batch_size
            num_labelled = int(batch.input_mask.sum())
            if num_labelled == 0:
                epoch.skipped += 1
                with torch.no_grad():
                    self.model(batch)  # keeps its rows fresh
            else:
                loss = self._forward_backward(self.model, batch, clear=True)
                self._follow_schedule(epoch)
                self.optimizer.step()
                total += loss.double().cpu() * num_labelled
                labelled += num_labelled
                epoch.steps += 1
            if stop.requested or epoch.steps == self.settings.max_steps:
                break
        epoch.loss = float(total) / labelled if labelled else None
        return halo, rows

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

    def _batches(self) -> Iterator[SubgraphBatch]:
        if self.batch is not None:
            yield self.batch
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
        out = model(batch)
        out = out[0] if isinstance(out, tuple) else out
        mask = batch.input_mask
        loss = self.loss_fn(out[mask], batch.y[: batch.batch_size][mask])
        weighted = self.settings.loss_weighting == 'full' and self.settings.mode == 'gas'
        (loss * batch.loss_weight if weighted else loss).backward()
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
        labelled = (batch for batch in self._batches() if bool(batch.input_mask.any()))
        batch = next(labelled, None)
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
    def _exact_logits(self) -> Tensor:
        """Exact outputs for all nodes; every history is exact afterwards."""
        if self.batch is None:
            return self.model.refresh(self.loader)
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
