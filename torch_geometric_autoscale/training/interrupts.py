"""Ctrl-C during training: the first ends it cleanly, the second at once."""

import signal
import sys
import threading
from contextlib import suppress
from types import FrameType


class StopRequest:
    """While active, notes and tells the first Ctrl-C instead of raising; the second raises.

    Does nothing outside of the main thread, where Python takes no signals, or where the program
    has a handler of its own.
    """

    def __init__(self) -> None:
        self.requested = False

    def __enter__(self) -> 'StopRequest':
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)
            self._installed = True
        else:
            self._installed = False
        return self

    def __exit__(self, *_: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        with suppress(Exception):  # closed, or within a write of its own
            start = '\n' if sys.stderr.isatty() else ''  # a terminal shows ^C, and there is a bar
            told = 'train: finishing the batch; Ctrl-C again stops at once'
            print(f'{start}{told}', file=sys.stderr, flush=True)


def leave_ctrl_c_to_parent(worker_id: int) -> None:
    """For worker processes: a terminal sends Ctrl-C to them too, and the batch is still needed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
