"""The two ways in which rows move between a table in main memory and a device.

*Host*: a host thread gathers rows into a pinned buffer, from which a stream copies them; and the
other way round. *Kernel*: the device gathers and scatters rows of a pinned table by itself.
Contiguous rows of a pinned table are written by plain copies in either way.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from ..history import Store
from ..history.encoding import Fields, refuse_lost
from ..history.memory import PinnedRam
from ..history.table import TableStore
from .buffers import AT_MOST, Buffers, rows_per_piece
from .lane import let_host_go_on, let_stream_go_on
from .runtime import Event, Runtime, Stream
from .worker import Task

Chunks = Sequence[tuple[int, int]]  # first row and length
MOST_COPIES = 1024  # of contiguous rows; more of them are staged, or scattered by the kernel


def is_pinned(store: Store) -> bool:
    """Whether a device reads and writes the table of ``store`` by itself."""
    return isinstance(store, TableStore) and isinstance(store.medium, PinnedRam)


def copies_chunks(store: Store, where: Tensor | Chunks) -> bool:
    """Whether rows are written by plain copies."""
    return is_pinned(store) and not isinstance(where, Tensor) and len(where) <= MOST_COPIES


def arrives_as_it_is(store: Store) -> bool:
    """Whether encoded rows are the rows."""
    return store.encoding.dtype == store.encoding.row_dtype


class Way(ABC):
    """How rows move. Everything is called in one thread for pulls and one for pushes.

    Args:
        runtime: The device.
        pulls, pushes: The streams of either direction.
        pull_buffers, push_buffers: For what is staged.
    """

    def __init__(
        self, runtime: Runtime, pulls: Stream, pushes: Stream, pull_buffers: Buffers,
        push_buffers: Buffers,
    ) -> None:  # fmt: skip
        self.runtime, self.pulls, self.pushes = runtime, pulls, pushes
        self.pull_buffers, self.push_buffers = pull_buffers, push_buffers

    @abstractmethod
    def pull(self, store: Store, ids: Tensor, out: Tensor, after: Sequence[Task]) -> Event | None:
        """Fill ``out`` in the stream of pulls with decoded rows.

        Args:
            store: Where they are.
            ids: ``(n,)`` int64 on the host.
            out: ``(n, C)`` of the device, in the type of decoded rows.
            after: What is to be over before.

        Returns:
            Where the stream is through with the table; ``None`` if it does not read it.
        """

    @abstractmethod
    def scatter(
        self, store: Store, fields: Fields, where: Tensor | Chunks, after: Sequence[Task]
    ) -> Event | None:
        """Write prepared rows, which the stream of pushes may read; returns as :meth:`pull`."""

    def prepare(self, store: Store, rows: Tensor, where: Tensor | Chunks) -> Fields:
        """What :meth:`push` moves of ``rows``, which may change afterwards.

        Computed in the current stream.
        """
        fields = store.encoding.encode(rows)
        shared = rows.untyped_storage().data_ptr()
        return {
            name: field.clone() if field.untyped_storage().data_ptr() == shared else field
            for name, field in fields.items()
        }

    def push(
        self, store: Store, fields: Fields, lost: Tensor | None, where: Tensor | Chunks,
        ready: Event, after: Sequence[Task],
    ) -> Event | None:  # fmt: skip
        """Write encoded rows.

        Args:
            store: To which table.
            fields: From :meth:`prepare`.
            lost: ``(1, 1)`` float64 on the device: the largest number that does not fit the type,
                or zero; ``None`` if all do.
            where: Chunks, or ids on the host, of the table.
            ready: Where ``fields`` and ``lost`` are computed.
            after: What is to be over before.

        Raises:
            ValueError: A number does not fit. Nothing is written then.
        """
        self.pushes.wait(ready)
        if lost is not None:
            self.refuse_lost(store, lost, ready)
        if not isinstance(where, Tensor) and copies_chunks(store, where):
            return self._copy_chunks(store, fields, where, after)
        return self.scatter(store, fields, where, after)

    def refuse_lost(self, store: Store, lost: Tensor, ready: Event) -> None:
        """Raise if ``lost`` is not zero; see :meth:`push`."""
        self.pushes.wait(ready)
        number, staged = self.push_buffers.take(1, {'lost': (1, torch.float64)})
        self.pushes.run(partial(copy, lost, staged['lost']))
        event = self.pushes.record()
        self.push_buffers.busy_until(number, event)
        event.block()
        refuse_lost(store.encoding, float(staged['lost']))

    def _copy_chunks(
        self, store: Store, fields: Fields, chunks: Chunks, after: Sequence[Task]
    ) -> Event:
        let_stream_go_on(after, self.pushes)
        start = 0
        for first, length in chunks:
            for name, table in store.read_range(first, length).items():
                self.pushes.run(partial(copy, fields[name][start : start + length], table))
            start += length
        return self.pushes.record()


class HostWay(Way):
    """Host threads gather and scatter."""

    def pull(self, store: Store, ids: Tensor, out: Tensor, after: Sequence[Task]) -> Event | None:
        layout = store.encoding.fields(store.width)
        fields = {'emb': out}
        if not arrives_as_it_is(store):
            fields = {
                name: self.runtime.empty((ids.numel(), width), dtype, self.pulls)
                for name, (width, dtype) in layout.items()
            }
        let_host_go_on(after)
        start = 0
        for piece in ids.split(rows_per_piece(layout)):
            number, staged = self.pull_buffers.take(piece.numel(), layout)
            store.read(piece, staged)
            for name, rows in staged.items():
                target = fields[name][start : start + piece.numel()]
                self.pulls.run(partial(copy, rows, target))
            self.pull_buffers.busy_until(number, self.pulls.record())
            start += piece.numel()
        if not arrives_as_it_is(store):
            self.pulls.run(partial(store.encoding.decode, fields, out))
        return None

    def scatter(
        self, store: Store, fields: Fields, where: Tensor | Chunks, after: Sequence[Task]
    ) -> Event | None:
        layout = store.encoding.fields(store.width)
        step = rows_per_piece(layout)
        let_host_go_on(after)
        flying: deque[tuple[Event, Fields, Tensor | Chunks]] = deque()
        for start, length, here in _pieces(where, step):
            if len(flying) == AT_MOST:
                _land(store, *flying.popleft())
            number, staged = self.push_buffers.take(length, layout)
            for name, rows in staged.items():
                self.pushes.run(partial(copy, fields[name][start : start + length], rows))
            event = self.pushes.record()
            self.push_buffers.busy_until(number, event)
            flying.append((event, staged, here))
        for each in flying:
            _land(store, *each)
        return None


class KernelWay(Way):
    """The device gathers and scatters; tables must be pinned."""

    def prepare(self, store: Store, rows: Tensor, where: Tensor | Chunks) -> Fields:
        if copies_chunks(store, where):
            return super().prepare(store, rows, where)
        return {'rows': rows.clone()}  # the kernel encodes them

    def pull(self, store: Store, ids: Tensor, out: Tensor, after: Sequence[Task]) -> Event | None:
        table = store.state()
        index = self._on_device(ids, self.pull_buffers, self.pulls)
        let_stream_go_on(after, self.pulls)
        gather = partial(self.runtime.gather, table['emb'], index, out, table.get('scale'))
        self.pulls.run(gather)
        return self.pulls.record()

    def scatter(
        self, store: Store, fields: Fields, where: Tensor | Chunks, after: Sequence[Task]
    ) -> Event | None:
        if not isinstance(where, Tensor):
            where = torch.cat([torch.arange(first, first + length) for first, length in where])
        index = self._on_device(where, self.push_buffers, self.pushes)
        let_stream_go_on(after, self.pushes)
        table, rows = store.state(), fields['rows']
        scatter = partial(self.runtime.scatter, rows, table['emb'], index, table.get('scale'))
        self.pushes.run(scatter)
        return self.pushes.record()

    def _on_device(self, ids: Tensor, buffers: Buffers, stream: Stream) -> Tensor:
        number, staged = buffers.take(ids.numel(), {'ids': (1, torch.int64)})
        staged['ids'].copy_(ids.view(-1, 1))
        index = self.runtime.empty((ids.numel(), 1), torch.int64, stream)
        stream.run(partial(copy, staged['ids'], index))
        buffers.busy_until(number, stream.record())
        return index.view(-1)


def copy(source: Tensor, target: Tensor) -> None:
    """Copy between the device and pinned memory, as an operation of a stream."""
    target.copy_(source, non_blocking=True)


def _pieces(where: Tensor | Chunks, step: int) -> list[tuple[int, int, Tensor | Chunks]]:
    """First row, length and place of pieces of at most ``step`` rows."""
    if isinstance(where, Tensor):
        parts = enumerate(where.split(step))
        return [(i * step, ids.numel(), ids) for i, ids in parts if ids.numel()]
    pieces: list[tuple[int, int, Tensor | Chunks]] = []
    begun = start = 0
    here: list[tuple[int, int]] = []
    for first, length in where:
        while length:
            taken = min(length, step - (start - begun))
            here.append((first, taken))
            first, length, start = first + taken, length - taken, start + taken
            if start - begun == step:
                pieces.append((begun, step, here))
                begun, here = start, []
    if here:
        pieces.append((begun, start - begun, here))
    return pieces


def _land(store: Store, event: Event, staged: Fields, where: Tensor | Chunks) -> None:
    event.block()
    if isinstance(where, Tensor):
        store.write(where, staged)
        return
    start = 0
    for first, length in where:
        part = {name: rows[start : start + length] for name, rows in staged.items()}
        store.write_range(first, part)
        start += length
