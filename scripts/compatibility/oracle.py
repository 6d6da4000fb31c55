"""What ``autoscale`` computes with frozen weights against the plain full-batch run, by calls alone.

Every measure is the largest difference, relative to the largest expected number:

* ``refreshed``: outputs of shuffled batches right after a refresh;
* ``swept``: outputs after one sweep per boundary from zeroed histories;
* ``inference``: ``gas.inference()``, in the data's own order;
* ``training``: as ``refreshed``, in training mode without dropout, unless a layer takes statistics
  of its batch;
* ``gradients, whole``: of a loss on all rows of the batch that holds every part;
* ``gradients, part``: of a loss on the rows of one part, against the full-batch run in which the
  rows of all other nodes are constants wherever an operator or a propagation gives them.

``stale`` is no error but its opposite: how far the first sweep from zeroed histories is off. If it
is zero, the histories were not tested.
"""

import copy
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch_geometric.data import Data, HeteroData

from .building import full_batch, takes_batch_statistics, without_dropout
from .cases import Case
from .constants_elsewhere import constants_elsewhere
from .graphs import PARTS
from .rows import Rows, batch_rows, error, joined, loss_of, rows_of

Measures = dict[str, float]
ERRORS = (
    'refreshed', 'swept', 'inference', 'training', 'gradients, whole', 'gradients, part',
)  # fmt: skip


class Sweeper:
    """Holds a converted module against an equal plain one.

    Args:
        gas: ``autoscale(module, data)``.
        module: The user's module inside of ``gas``, whose parameters get the gradients.
        twin: An equal module that ``gas`` has never seen.
        case, data: What ``twin`` runs on.
    """

    def __init__(
        self, gas: Any, module: Module, twin: Module, case: Case, data: Data | HeteroData
    ) -> None:
        self.gas, self.module, self.twin = gas, module, twin
        self.case, self.data = case, data
        self.single, self.whole = gas.loader(batch_size=1), gas.loader(batch_size=PARTS)
        self.shuffled = gas.loader(batch_size=2, shuffle=True)

    def measure(self) -> Measures:
        """All measures of one case."""
        self.gas.eval()
        with torch.no_grad():
            expected = self.plain(self.twin)
            refreshed = rows_of(self.gas.refresh())
            found = {
                'refreshed': error(self.sweep(self.shuffled), expected),
                'inference': error(rows_of(self.gas.inference()), expected),
            }
            found['inference'] = max(found['inference'], error(refreshed, expected))
            found['stale'], found['swept'] = self.swept(expected)
        if any(rows.requires_grad for rows in self.plain(self.twin).values()):
            self.gas.refresh()
            found['gradients, whole'] = self.whole_gradients()
            found['gradients, part'] = self.part_gradients()
        if not takes_batch_statistics(self.twin):
            found['training'] = self.trained()
        return found

    def plain(self, module: Module) -> Rows:
        return rows_of(full_batch(module, self.case, self.data))

    def sweep(self, loader: Iterable[Any]) -> Rows:
        """The batch rows of one pass over all batches, in the order of the data."""
        return joined((batch, self.gas(batch)) for batch in loader)

    def swept(self, expected: Rows) -> tuple[float, float]:
        """How far the first and the last of the sweeps from zeroed histories are off."""
        self.gas.reset_histories()
        first = last = error(self.sweep(self.single), expected)
        for _ in self.gas.histories:
            last = error(self.sweep(self.single), expected)
        return first, last

    def trained(self) -> float:
        """A module may go another way in training, where boundaries have values of their own."""
        twin = without_dropout(copy.deepcopy(self.twin))
        without_dropout(self.module)
        self.gas.train()
        with torch.no_grad():
            for _ in self.gas.histories:
                self.sweep(self.single)
            found = self.sweep(self.single)
            return error(found, self.plain(twin))

    def whole_gradients(self) -> float:
        (batch,) = list(self.whole)
        expected = gradients(self.twin, loss_of(self.plain(self.twin)))
        return error(self.batch_gradients(batch), expected)

    def part_gradients(self) -> float:
        worst = 0.0
        for batch in islice(self.single, 2):
            ids = batch_rows(batch)
            with constants_elsewhere(self.twin, ids):
                out = self.plain(self.twin)
            expected = gradients(self.twin, loss_of({key: out[key][ids[key]] for key in out}, ids))
            worst = max(worst, error(self.batch_gradients(batch), expected))
        return worst

    def batch_gradients(self, batch: Any) -> Rows:
        return gradients(self.module, loss_of(rows_of(self.gas(batch)), batch_rows(batch)))


def gradients(module: Module, loss: Tensor) -> Rows:
    """By name, zeros where there are none."""
    module.zero_grad()
    loss.backward()
    return {
        name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
        for name, p in module.named_parameters()
        if p.requires_grad
    }
