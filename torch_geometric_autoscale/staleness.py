"""How old the rows are that a model pulls from its histories."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor

from .errors import explain
from .history import History

NEVER = -1  # in place of the step in which a row was written


@dataclass(frozen=True)
class Ages:
    """Ages of the rows that were pulled from one history.

    The age of a row is the number of steps of the optimiser between its push and the pull: 0 means
    that it was computed with the weights at hand.

    Attributes:
        pulled: Number of rows, those that nobody has written included.
        never: Share of them that nobody has written, in [0, 1].
        mean, median, max: Age of the others in steps; ``None`` if there are none. Of an even
            number of rows, the median is the lower one of the two in the middle.
    """

    pulled: int
    never: float = 0.0
    mean: float | None = None
    median: int | None = None
    max: int | None = None


class Staleness:
    """Follows when the rows of a model's histories are written, and how old the pulled ones are.

    What the model does by itself is seen: calls on batches, in training and evaluation, ``refresh``
    and resetting. Rows that you push with ``History.push`` are not. Watching ends with this object.

        staleness = Staleness(model)
        for batch in loader:
            loss_of(model(batch), batch).backward()
            optimizer.step()
            staleness.step()
        print(staleness.ages())

    The rows of a batch are pushed to all histories together, so one number per node serves them
    all: 4 bytes a node for the model, however many layers it has. Histories that are written
    apart, by a ``forward`` that leaves some out or for another node type, get numbers of their own.

    Args:
        model: A :class:`ScalableGNN`, or what :func:`autoscale` returns. Rows that its histories
            hold by now count as written now.

    Raises:
        TypeError: If ``model`` has no histories.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        histories = histories_of('Staleness', model)
        self.steps = 0
        self._index = WeakKeyDictionary({history: k for k, history in enumerate(histories)})
        self._groups: list[_Group] = []
        for is_empty in (True, False):
            for size in sorted({history.num_embeddings for history in histories}):
                members = {
                    k for k, history in enumerate(histories)
                    if history.num_embeddings == size and (history.graph is None) is is_empty
                }  # fmt: skip
                if members:
                    written = torch.full((size,), NEVER if is_empty else 0, dtype=torch.int32)
                    self._groups.append(_Group(members, written))
        _watching.add(self)

    def step(self) -> None:
        """The weights have changed: every row is a step older."""
        self.steps += 1

    def ages(self) -> list[Ages]:
        """Ages of the rows pulled since :meth:`begin`, one entry for each history."""
        found: dict[int, Ages] = {}
        for group in self._groups:
            found.update(dict.fromkeys(group.members, _summary(group.counts)))
        return [found[k] for k in sorted(found)]

    def begin(self) -> None:
        """Count pulled rows from here on, as at the beginning of an epoch."""
        for group in self._groups:
            group.counts = _no_counts()

    # What happens ################################################################

    def _exchanged(self, histories: Iterable[History], nodes: '_Nodes') -> None:
        for group in self._of(histories):
            group.pull(nodes.halo, self.steps)
            group.push(nodes, self.steps)

    def _filled(self, histories: Iterable[History], is_empty: bool) -> None:
        for group in self._of(histories):
            group.written.fill_(NEVER if is_empty else self.steps)

    def _of(self, histories: Iterable[History]) -> list['_Group']:
        """The groups of exactly these histories; those that hold others too are split."""
        chosen = {self._index[history] for history in histories if history in self._index}
        found = []
        for group in self._groups[:] if chosen else []:
            here = group.members & chosen
            if here and here != group.members:
                group.members = group.members - here
                group = _Group(here, group.written.clone(), group.counts.clone())
                self._groups.append(group)
            if here:
                found.append(group)
        return found

    # State #######################################################################

    def state(self) -> dict[str, Any]:
        """All of it, in plain containers and tensors, without a copy."""
        return {
            'steps': self.steps,
            'groups': [
                {
                    'histories': sorted(group.members),
                    'written': group.written,
                    'counts': group.counts,
                }
                for group in self._groups
            ],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Take over a copy of what :meth:`state` gave, of a model with the same histories.

        Raises:
            ValueError: If it is of other histories. Nothing is changed then.
        """
        groups = [
            _Group(set(group['histories']), group['written'].clone(), group['counts'].clone())
            for group in state['groups']
        ]
        ours, theirs = (
            {k: group.written.numel() for group in each for k in group.members}
            for each in (self._groups, groups)
        )
        if ours != theirs:
            raise ValueError(
                explain('Staleness.load', f'the state must be of {len(ours)} histories with '
                        f'{sum(ours.values()):,} rows',
                        f'{len(theirs)} with {sum(theirs.values()):,}',
                        'Load the state of the same model.')
            )  # fmt: skip
        self.steps, self._groups = state['steps'], groups


@dataclass
class _Nodes:
    """The nodes of a batch, on the CPU."""

    batch: Tensor
    halo: Tensor
    chunks: Sequence[tuple[int, int]] | None


@dataclass
class _Group:
    """Histories whose rows have been written together so far.

    Attributes:
        members: By number.
        written: ``(N,)`` the step in which each row was last written, or ``NEVER``.
        counts: Of the pulled rows: how many were never written, and then how many of each age.
    """

    members: set[int]
    written: Tensor
    counts: Tensor

    def __init__(self, members: set[int], written: Tensor, counts: Tensor | None = None) -> None:
        self.members, self.written = members, written
        self.counts = _no_counts() if counts is None else counts

    def pull(self, halo: Tensor, steps: int) -> None:
        if not halo.numel():
            return
        written = self.written.index_select(0, halo)
        ages = torch.where(written == NEVER, NEVER, steps - written)
        counts = torch.bincount(ages + 1, minlength=self.counts.numel())
        counts[: self.counts.numel()] += self.counts
        self.counts = counts

    def push(self, nodes: _Nodes, steps: int) -> None:
        if nodes.chunks is None:
            self.written[nodes.batch] = steps
            return
        for first, length in nodes.chunks:
            self.written[first : first + length] = steps


def _no_counts() -> Tensor:
    return torch.zeros(1, dtype=torch.int64)


def _summary(counts: Tensor) -> Ages:
    pulled, never = int(counts.sum()), int(counts[0])
    known = pulled - never
    share = never / pulled if pulled else 0.0
    if known == 0:
        return Ages(pulled, share)
    by_age = counts[1:]
    below = by_age.cumsum(0)
    total = int((by_age * torch.arange(by_age.numel())).sum())
    return Ages(
        pulled, share, total / known,
        median=int((below <= (known - 1) // 2).sum()), max=int(by_age.nonzero()[-1]),
    )  # fmt: skip


def histories_of(who: str, model: torch.nn.Module) -> list[History]:
    """The histories of a model, layer by layer.

    Raises:
        TypeError: If it is of a kind that has none.
    """
    histories = getattr(model, 'histories', None)
    if not isinstance(model, torch.nn.Module) or not isinstance(histories, torch.nn.ModuleList):
        raise TypeError(
            explain(who, "'model' must have histories", type(model).__name__,
                    'Pass a ScalableGNN, or what autoscale returns.')
        )  # fmt: skip
    return [history for history in histories if isinstance(history, History)]


# What models tell ################################################################

_watching: 'WeakSet[Staleness]' = WeakSet()


def note_exchange(
    histories: Iterable[History],
    n_id: Tensor,
    batch_size: int,
    offset: Tensor | None = None,
    count: Tensor | None = None,
) -> None:
    """A call on a batch has pulled its halo rows and pushed its batch rows.

    Args:
        histories: Those that it has met.
        n_id: ``(n,)`` rows of theirs, the ``B = batch_size`` batch nodes first.
        offset, count: The batch nodes as contiguous chunks, if known.
    """
    if not _watching:
        return
    histories, n_id = list(histories), n_id.cpu()
    chunks = None
    if offset is not None and count is not None:
        chunks = list(zip(offset.tolist(), count.tolist(), strict=True))
    nodes = _Nodes(n_id[:batch_size], n_id[batch_size:], chunks)
    for staleness in list(_watching):
        staleness._exchanged(histories, nodes)


def note_refresh(histories: Iterable[History]) -> None:
    """Every row has been computed with the weights at hand."""
    for staleness in list(_watching):
        staleness._filled(_only_histories(histories), is_empty=False)


def note_reset(histories: Iterable[History]) -> None:
    """Every row has been set to zero."""
    for staleness in list(_watching):
        staleness._filled(_only_histories(histories), is_empty=True)


def _only_histories(modules: Iterable[Any]) -> Iterator[History]:
    return (module for module in modules if isinstance(module, History))
