"""One trial: a training step and an inference on a piece, measured."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..inference import LayerwiseInference, current_replay
from ..training.allocated import Allocated, allocated_by
from .fit import Counts
from .measure import seconds_of
from .pieces import Piece
from .subject import Subject
from .tables import InferenceTables, tables_of

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Trial:
    """What was measured on one piece, in bytes and seconds.

    Attributes:
        counts: Size of its batch.
        step_peak: Between ``zero_grad`` and ``step``, on a batch that is there before; as
            :func:`step_peak_bytes` measures it.
        whole_peak: Of a step with the building of its batch.
        change_peak: Of building the next batch, while the last one is still there.
        step_seconds: Of a step with the building of its batch.
        sweep_counts: Sizes of the inference's batches together.
        inference_peak: Of an inference, less ``kept`` and less its tables.
        kept: Batches that the inference has kept.
        inference_seconds: Of an inference that writes the histories.
    """

    counts: Counts
    step_peak: float
    whole_peak: float
    change_peak: float
    step_seconds: float
    sweep_counts: Counts
    inference_peak: float
    kept: float
    inference_seconds: float


class Tried:
    """A subject that steps are taken on.

    Args:
        subject: Model and loader of a piece.
        piece: The piece.
        loss_fn: Mean loss of rows against their labels.
        build_optimizer: Makes the optimiser.
        device: Where the model is.
    """

    def __init__(
        self,
        subject: Subject,
        piece: Piece,
        loss_fn: Loss,
        build_optimizer: Callable[[torch.nn.Module], torch.optim.Optimizer],
        device: torch.device,
    ) -> None:
        self.model, self.loader, self._refresh = subject.model, subject.loader, subject.refresh
        self.counts, self.loss_fn, self.device = piece.counts, loss_fn, device
        self.optimizer = build_optimizer(self.model)
        self.tables: InferenceTables | None = None
        self._called = getattr(subject.model, 'module', subject.model)  # in an inference

    def measure(self) -> Trial:
        """Take some steps and run some inferences."""
        self.model.train()
        step = self._step_on_a_batch()
        whole, change = self._whole_step_and_change()
        seconds = seconds_of(lambda: self._step(self._batch()), self.device)
        self.optimizer.zero_grad()
        replay, _, output = self._infer()
        self.tables = tables_of(replay.steps, output)
        del replay, _
        inference = self._inference()
        rows, halo, edges = self.counts
        tables = min(self.tables.exact) * (rows + halo)
        return Trial(
            self.counts, step.peak, whole, change, seconds, Counts(rows + halo, halo, edges),
            max(inference.peak - inference.left - tables, 0), inference.left,
            seconds_of(self._refresh, self.device, times=2),
        )  # fmt: skip

    def _step_on_a_batch(self) -> Allocated:
        batch = self._batch()
        for _ in range(2):  # the first call is checked, the second fills what is kept
            self._step(batch)
        self.optimizer.zero_grad()
        found = allocated_by(lambda: self._forward_backward(batch), self.device)
        self.optimizer.zero_grad()
        return found

    def _whole_step_and_change(self) -> tuple[int, int]:
        """As in a loop: the next batch is built before the last one is let go."""
        batches: list[Any] = []

        def build_and_step() -> None:
            batches.append(self._batch())
            self._step(batches[0])

        whole = allocated_by(build_and_step, self.device)
        change = allocated_by(lambda: batches.append(self._batch()), self.device)
        batches.clear()
        self.optimizer.zero_grad()
        return whole.peak, whole.left + change.peak

    # Steps #######################################################################

    def _batch(self) -> Any:
        return next(iter(self.loader)).to(self.device)

    def _step(self, batch: Any) -> None:
        self.optimizer.zero_grad()
        self._forward_backward(batch)
        self.optimizer.step()

    def _forward_backward(self, batch: Any) -> None:
        out = self.model(batch)
        out, *terms = out if isinstance(out, tuple) else (out,)
        rows = out[: batch.batch_size]
        y, mask = batch.get('y'), batch.get('input_mask')
        if y is None or mask is None or not bool(mask.any()):
            loss = rows.float().square().mean()
        else:
            loss = self.loss_fn(rows[mask], y[: batch.batch_size][mask])
        sum(terms, loss).backward()

    # Inference ###################################################################

    def _inference(self) -> Allocated:
        """Of an inference; what is left are the batches that it has kept."""
        found: list[Any] = []

        def infer() -> None:
            found.append(self._infer())
            gc.collect()

        gc.collect()
        return allocated_by(infer, self.device)

    def _infer(self) -> tuple[LayerwiseInference, Any, int]:
        """Run an inference; returns it, the batches it has kept, and bytes of a row it gave."""
        seen: list[LayerwiseInference] = []
        kept: list[Any] = [None]

        def note(*_: Any) -> None:
            replay = current_replay()
            if isinstance(replay, LayerwiseInference):
                seen[:], kept[0] = [replay], replay._kept

        hook = self._called.register_forward_pre_hook(note)
        try:
            out = self._refresh()
        finally:
            hook.remove()
        seen[0].tables.placeholders.clear()  # as large as a batch, not as the graph
        return seen[0], kept[0], out[:1].numel() * out.element_size()
