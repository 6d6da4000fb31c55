"""The order of what is done to one table: reads see earlier writes, writes await earlier reads."""

from collections.abc import Sequence

from .runtime import Stream
from .worker import Task


class Lane:
    """The tasks on one history that may still be under way."""

    def __init__(self) -> None:
        self._write: Task | None = None
        self._reads: list[Task] = []

    def before_read(self) -> list[Task]:
        """What a read has to wait for."""
        return [] if self._write is None else [self._write]

    def before_write(self) -> list[Task]:
        """What a write has to wait for."""
        return [*self.before_read(), *self._reads]

    def reads(self, task: Task) -> None:
        """Note a read."""
        self._reads = [read for read in self._reads if not _is_over(read)]
        self._reads.append(task)

    def writes(self, task: Task) -> None:
        """Note a write."""
        self._write, self._reads = task, []

    def finish(self) -> None:
        """Wait until the host sees what was written, and nobody reads any more.

        Raises:
            BaseException: What went wrong.
        """
        tasks = self.before_write()
        self._write, self._reads = None, []
        for task in tasks:
            task.finish()


def _is_over(task: Task) -> bool:
    return task.is_done and task.error is None and (task.event is None or task.event.is_over)


def let_host_go_on(after: Sequence[Task]) -> None:
    """Wait until a host thread may use the table."""
    for task in after:
        task.finish()


def let_stream_go_on(after: Sequence[Task], stream: Stream) -> None:
    """Let ``stream`` use the table once it may."""
    for task in after:
        task.wait()
        if task.event is not None:
            stream.wait(task.event)
