"""``AsyncIOPool``: moves rows of histories while the device computes."""

import atexit
import threading
from collections.abc import Callable
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..errors import explain
from ..history import History
from ..history.store import index_on
from .buffers import Buffers
from .choice import faster_way
from .lane import Lane
from .runtime import Event, Runtime
from .ways import Chunks, HostWay, KernelWay, Way, is_pinned
from .worker import Task, Worker

_WHO = 'AsyncIOPool'
WAYS = ('auto', 'host', 'kernel')


class AsyncIOPool:
    """Moves rows between histories in main memory, or on a disk, and a device (paper, Sec. 5).

    Models make use of the pool of their device by themselves; a pool of one's own is for another
    way, or for a known end::

        with AsyncIOPool('cuda', way='host'):
            for batch in loader:
                model(batch.to('cuda'))  # pulls run ahead, pushes behind
        # here all rows are where they belong, and all buffers are given back

    No size is to be told: buffers grow to the largest piece and are used again. Whoever reads or
    writes a history in another way (``pull``, ``state_dict``, a move, a refresh) waits by itself
    for what is under way. If something goes wrong in a thread, the next call, or the end of the
    block, raises it.

    Args:
        device: Where models compute (default: CUDA, where there is one). On the CPU there is
            nothing to move, and everything happens at once.
        way: ``'host'``: threads gather rows into pinned buffers, streams copy them. ``'kernel'``:
            the device gathers rows of pinned histories by itself. ``'auto'``: whichever is faster
            here, by a measurement that takes well under a second. What is not pinned always takes
            the first.
        runtime: The device's streams and memory, if not PyTorch's own.

    Raises:
        ValueError: There is no such device or way.
    """

    def __init__(
        self,
        device: torch.device | str | None = None,
        way: str = 'auto',
        *,
        runtime: Runtime | None = None,
    ) -> None:
        if way not in WAYS:
            raise ValueError(
                explain(_WHO, f"'way' must be one of {', '.join(WAYS)}", repr(way),
                        'Pass one of them.')
            )  # fmt: skip
        self._runtime = _runtime_of(device) if runtime is None else runtime
        self.device = torch.device('cpu') if self._runtime is None else self._runtime.device
        reason = 'a device that needs none' if self._runtime is None else (
            self._runtime.why_no_kernel()
        )  # fmt: skip
        if way == 'kernel' and reason is not None:
            raise ValueError(
                explain(_WHO, "'kernel' must be able to run here", reason, "Pass way='auto'.")
            )
        self._way = 'host' if way == 'auto' and reason is not None else way
        self._lanes: WeakKeyDictionary[History, Lane] = WeakKeyDictionary()
        self._checks = Lane()  # of rows that are written to the device's own memory
        self._lock = threading.RLock()
        self._error: BaseException | None = None
        self._ways: dict[str, Way] = {}
        self._token: Token[AsyncIOPool | None] | None = None
        self._is_closed = False
        if self._runtime is not None:
            self._start(self._runtime)

    def _start(self, runtime: Runtime) -> None:
        self._pull_worker = Worker('pulls', runtime.delay)
        self._push_worker = Worker('pushes', runtime.delay)
        self._buffers = Buffers(runtime), Buffers(runtime)
        self._streams = runtime.stream(), runtime.stream()
        for name, kind in (('host', HostWay), ('kernel', KernelWay)):
            self._ways[name] = kind(runtime, *self._streams, *self._buffers)

    @property
    def is_active(self) -> bool:
        """Whether there is anything to move: the device is not the CPU."""
        return self._runtime is not None

    @property
    def way(self) -> str:
        """``'host'`` or ``'kernel'``: how rows of pinned histories move; measured when asked."""
        if self._way == 'auto':
            assert self._runtime is not None
            self._way = faster_way(self._runtime, AsyncIOPool)
        return self._way

    @property
    def buffer_size_in_bytes(self) -> int:
        """Size of all pinned buffers at present."""
        return sum(buffers.num_bytes for buffers in self._buffers) if self.is_active else 0

    def moves(self, history: History) -> bool:
        """Whether rows of ``history`` cross the bus, in main memory or on a disk as they are."""
        return self.is_active and not history.is_on_device

    # Rows ########################################################################

    def pull_async(self, history: History, n_id: Tensor, lead: int = 0) -> 'Pull':
        """Begin to read rows.

        Args:
            history: From which table. All that was pushed to it before will be seen.
            n_id: ``(n,)`` node ids, on the host, or else they are fetched.
            lead: Rows to leave free before those that are read.

        Returns:
            Whose ``wait()`` gives the rows, ``(lead + n, C)``.

        Raises:
            ValueError: As in :meth:`History.pull`.
        """
        self._check_open()
        history.check_ids('pull', n_id)
        runtime = self._runtime
        shape = (lead + n_id.numel(), history.embedding_dim)
        dtype = history.row_dtype
        if runtime is None or not self.moves(history):
            rows = torch.empty(shape, dtype=dtype, device=self.device)
            history.pull(n_id, out=rows[lead:])
            return Pull(self, rows)
        ids = n_id.to('cpu', torch.int64)
        store, way, lane = history.stored, self._way_of(history), self._lane(history)
        rows = runtime.empty(shape, dtype, way.pulls)
        pull, after = Pull(self, rows), lane.before_read()

        def work() -> Event | None:
            event = way.pull(store, ids, rows[lead:], after) if ids.numel() else None
            pull.arrived = way.pulls.record()
            return event

        pull.task = Task(partial(self._noting, work))
        lane.reads(pull.task)
        self._pull_worker.submit(pull.task)
        return pull

    def push_async(
        self,
        history: History,
        x: Tensor,
        n_id: Tensor | None = None,
        offset: Tensor | None = None,
        count: Tensor | None = None,
    ) -> None:
        """Begin to write rows.

        Args:
            history: To which table.
            x: ``(B, C)`` rows on the pool's device; they may change right afterwards.
            n_id, offset, count: As in :meth:`History.push`, on the host, or else they are fetched.

        Raises:
            TypeError, ValueError: As in :meth:`History.push`; a number that does not fit the type
                of the table is told by a later call. Nothing is written then.
        """
        self._check_open()
        where = history.where_of(x, n_id, offset, count)
        self._check_device(x)
        history.widen(x.dtype)
        if where is None:
            where = [(0, history.num_embeddings)]
        runtime, x = self._runtime, x.detach()
        if runtime is None or not self.moves(history):
            with torch.no_grad():
                history.store.push(x, where)
            return
        store, way, lane = history.stored, self._way_of(history), self._lane(history)
        with torch.no_grad():
            fields, lost = way.prepare(store, x, where), store.encoding.lost(x)
        ready, after = runtime.current().record(), lane.before_write()
        for tensor in (*fields.values(), *([] if lost is None else [lost])):
            runtime.keep(tensor, way.pushes)
        task = Task(
            partial(self._noting, partial(way.push, store, fields, lost, where, ready, after))
        )
        lane.writes(task)
        self._push_worker.submit(task)

    def push_there(
        self, history: History, x: Tensor, there: Tensor, n_id: Tensor | None,
        offset: Tensor | None, count: Tensor | None,
    ) -> None:  # fmt: skip
        """Write rows to a history in the device's memory, in the current stream.

        Args:
            history, x, n_id, offset, count: As in :meth:`push_async`.
            there: On the device, what begins with the ``(B,)`` ids.
        """
        self._check_open()
        runtime = self._runtime
        assert runtime is not None
        where = history.where_of(x, n_id, offset, count, on_host=True)
        self._check_device(x)
        history.widen(x.dtype)
        assert where is not None
        with torch.no_grad():
            store = history.store
            lost = store.encoding.lost(x)
            if isinstance(where, Tensor):
                where = there[: x.size(0)]
            if lost is None:
                store.push(x, where)
                return
            # Whether all numbers fit is known to the device alone: if not, rows stay as they are.
            fits, ids = lost == 0, _ids_of(where, store.device)
            new, old = store.encoding.encode(x), store.read(ids)
            for name, rows in new.items():
                new[name] = torch.where(fits, rows, old[name])
            store.write(ids, new)
        ready = runtime.current().record()
        runtime.keep(lost, self._streams[1])
        way = self._ways['host']
        refuse = partial(way.refuse_lost, store, lost, ready)
        task = Task(partial(self._noting, refuse))
        self._checks.writes(task)
        self._push_worker.submit(task)

    def synchronize(self) -> None:
        """Wait until all rows are where they belong.

        Raises:
            BaseException: What went wrong in a thread.
        """
        self._check_open()
        for lane in [*self._lanes.values(), self._checks]:
            try:
                lane.finish()
            except BaseException as error:
                self._note(error)
        self._raise_noted()

    # In flight ###################################################################

    def _way_of(self, history: History) -> Way:
        return self._ways[self.way if is_pinned(history.stored) else 'host']

    def _lane(self, history: History) -> Lane:
        known = history.in_flight
        if isinstance(known, InFlight) and known.pool is self:
            return known.lane
        history.settle()  # another pool may have begun something
        history.in_flight = InFlight(self, Lane())
        self._lanes[history] = history.in_flight.lane
        return history.in_flight.lane

    def _noting(self, work: Callable[[], Event | None]) -> Event | None:
        try:
            return work()
        except BaseException as error:
            self._note(error)
            raise

    def _note(self, error: BaseException) -> None:
        with self._lock:
            self._error = self._error or error

    def _raise_noted(self) -> None:
        with self._lock:
            error, self._error = self._error, None
        if error is not None:
            self._drop()
            raise error

    def _drop(self) -> None:
        """Wait for whatever is under way, forget it, and give the buffers back."""
        for lane in [*self._lanes.values(), self._checks]:
            try:
                lane.finish()
            except BaseException:  # it has been told, or something else will be
                continue
        self._error = None
        for buffers in self._buffers if self.is_active else ():
            buffers.release()

    # Life ########################################################################

    def close(self) -> None:
        """Wait for what is under way, end the threads and give all memory back.

        Raises:
            BaseException: What went wrong in a thread.
        """
        if self._is_closed:
            return
        try:
            self.synchronize()
        finally:
            self._end()

    def _end(self) -> None:
        self._is_closed = True
        if self._runtime is not None:
            self._pull_worker.close()
            self._push_worker.close()
            self._drop()
            for stream in self._streams:
                stream.close()

    def __enter__(self) -> 'AsyncIOPool':
        self._check_open()
        if _current.get() is not None:
            which = 'the same one' if _current.get() is self else 'another one'
            raise RuntimeError(
                explain(_WHO, 'one pool is in use at a time', which, 'Leave its block first.')
            )
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._token is not None
        _current.reset(self._token)
        self._token = None
        if kind is None:
            self.close()
        elif not self._is_closed:
            self._end()  # the error in the block is the one to tell

    def __repr__(self) -> str:
        state = ', closed' if self._is_closed else ''
        return f"{_WHO}(device='{self.device}', way='{self._way}'{state})"

    # Checks ######################################################################

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError(explain(_WHO, 'it must be open', 'a closed pool', 'Make a new one.'))
        if self._error is not None:
            self._raise_noted()

    def _check_device(self, x: Tensor) -> None:
        if self.is_active and x.device != self.device:
            raise ValueError(
                explain(f'{_WHO}.push_async', f"'x' must lie on the pool's device, '{self.device}'",
                        f"'{x.device}'", 'Move the rows, or make a pool for their device.')
            )  # fmt: skip


@dataclass
class InFlight:
    """What a history has to wait for before it is used in another way."""

    pool: AsyncIOPool
    lane: Lane

    def finish(self) -> None:
        """Wait for it.

        Raises:
            BaseException: What went wrong in a thread.
        """
        try:
            self.lane.finish()
        except BaseException:
            self.pool._raise_noted()
            raise


class Pull:
    """Rows that are on their way."""

    def __init__(self, pool: AsyncIOPool, rows: Tensor) -> None:
        self._pool, self._rows = pool, rows
        self.task: Task | None = None
        self.arrived: Event | None = None

    def wait(self) -> Tensor:
        """The rows, for use in the current stream; the device is not waited for.

        Raises:
            BaseException: What went wrong in a thread.
        """
        runtime = self._pool._runtime
        if self.task is not None and runtime is not None:
            try:
                self.task.wait()
            except BaseException:
                self._pool._raise_noted()
                raise
            assert self.arrived is not None
            current = runtime.current()
            current.wait(self.arrived)
            runtime.keep(self._rows, current)
        return self._rows


_current: ContextVar[AsyncIOPool | None] = ContextVar('async_io_pool', default=None)
_of_device: dict[torch.device, AsyncIOPool] = {}


def pool_for(device: torch.device) -> AsyncIOPool | None:
    """The pool that a model on ``device`` uses: the one in use, else the device's own.

    Raises:
        ValueError: The pool in use is another device's.
    """
    pool = _current.get()
    if pool is None:
        return _own_pool(device) if device.type == 'cuda' else None
    if not pool.is_active:
        return None
    if pool.device != device:
        raise ValueError(
            explain(_WHO, f"the pool in use is of '{pool.device}'", f"a model on '{device}'",
                    'Make a pool for the device of the model.')
        )  # fmt: skip
    return pool


def _ids_of(where: Tensor | Chunks, device: torch.device) -> Tensor:
    if isinstance(where, Tensor):
        return index_on(device, where)
    chunks = [torch.arange(first, first + length, device=device) for first, length in where]
    return torch.cat(chunks)


def _own_pool(device: torch.device) -> AsyncIOPool:
    if device not in _of_device:
        if not _of_device:
            atexit.register(_end_own_pools)  # before the driver of the device is gone
        _of_device[device] = AsyncIOPool(device)
    return _of_device[device]


def _end_own_pools() -> None:
    for pool in _of_device.values():
        pool._end()
    _of_device.clear()


def _runtime_of(device: torch.device | str | None) -> Runtime | None:
    if device is None:
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if torch.device(device).type == 'cpu':
        return None
    from .cuda import CudaRuntime  # loads nothing that a CPU has no use for

    return CudaRuntime(device)
