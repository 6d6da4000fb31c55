"""How far histories are from what they stand for, layer by layer, while a model is trained."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..loader import SubgraphLoader
from ..scalable import ScalableGNN
from ..training.loop import Evaluate


class HistoryError:
    r"""Measures the relative error of every history at each evaluation, before it is refreshed.

    .. math::
        \Vert \bar H^{(l)} - H^{(l)} \Vert_F \, / \, \Vert H^{(l)} \Vert_F

    with :math:`\bar H` the history and :math:`H` the embeddings that the current weights give on
    the whole graph. Where a training does not refresh, histories are put back as they were.

    Args:
        model: In training.
        loader: Over its graph.
        evaluate: How scores are taken.
        eval_every, epochs: Of the training, to number the evaluations.

    Attributes:
        measured: ``{'epoch': ..., 'errors': [one per layer]}`` for each evaluation.
    """

    def __init__(
        self,
        model: ScalableGNN,
        loader: SubgraphLoader,
        evaluate: Evaluate,
        eval_every: int,
        epochs: int,
    ) -> None:
        self.loader, self._evaluate = loader, evaluate
        self.eval_every, self.epochs = eval_every, epochs
        self.measured: list[dict[str, Any]] = []
        self._latest: list[float] | None = None
        self._refresh = model.refresh
        self.model = model
        vars(model)['refresh'] = self._measured_refresh

    def __call__(self, model: ScalableGNN, logits: Tensor) -> Mapping[str, float]:
        """Note the errors, then evaluate."""
        if self._latest is None:
            self._measure_and_put_back()
        epoch = min((len(self.measured) + 1) * self.eval_every, self.epochs)
        self.measured.append({'epoch': epoch, 'errors': self._latest})
        self._latest = None
        return self._evaluate(model, logits)

    def stop(self) -> None:
        """Leave the model as it was."""
        vars(self.model).pop('refresh', None)

    def _tables(self) -> list[Tensor]:
        histories: Any = self.model.histories
        return [history.pull() for history in histories]

    @torch.no_grad()
    def _measured_refresh(self, loader: SubgraphLoader) -> Tensor:
        before = self._tables()
        out = self._refresh(loader)
        exact = self._tables()
        self._latest = [
            float((old - new).norm() / new.norm().clamp(min=1e-12))
            for old, new in zip(before, exact, strict=True)
        ]
        return out

    def _measure_and_put_back(self) -> None:
        before = [table.clone() for table in self._tables()]
        self._measured_refresh(self.loader)
        histories: Any = self.model.histories
        for history, table in zip(histories, before, strict=True):
            history.push(table)
