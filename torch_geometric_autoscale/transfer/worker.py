"""Host threads that do one task after the other."""

import queue
import threading
from collections.abc import Callable

import torch

from .runtime import Event


class Task:
    """Something that a thread shall do, or has done.

    Args:
        work: Does it; returns where in a stream its use of the table ends, ``None`` if by then it
            has ended.

    Attributes:
        event: What ``work`` returned.
    """

    def __init__(self, work: Callable[[], Event | None]) -> None:
        self._work: Callable[[], Event | None] | None = work
        self._done = threading.Event()
        self.error: BaseException | None = None
        self.event: Event | None = None

    @property
    def is_done(self) -> bool:
        """Whether the thread is through with it."""
        return self._done.is_set()

    def do(self) -> None:
        """Do it; what goes wrong is kept for :meth:`wait`."""
        try:
            assert self._work is not None
            self.event = self._work()
        except BaseException as error:
            self.error = error
        self._work = None  # and the tensors in it
        self._done.set()

    def wait(self) -> None:
        """Wait until the thread is through with it.

        Raises:
            BaseException: What went wrong, here or in a task before.
        """
        self._done.wait()
        if self.error is not None:
            raise self.error

    def finish(self) -> None:
        """Wait until its effect can be seen by the host."""
        self.wait()
        if self.event is not None:
            self.event.block()


class Worker:
    """A thread that does tasks in order; it begins with the first and ends with :meth:`close`.

    Args:
        name: Of the thread.
        delay: Called before each task.
    """

    def __init__(self, name: str, delay: Callable[[], None]) -> None:
        self._name, self._delay = name, delay
        self._queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def submit(self, task: Task) -> Task:
        """Let the thread do ``task``."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        self._queue.put(task)
        return task

    @torch.inference_mode()  # writes to tensors of either kind
    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            self._delay()
            task.do()

    def close(self) -> None:
        """Wait for all tasks and end the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
