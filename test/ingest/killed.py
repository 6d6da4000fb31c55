"""A conversion in a process of its own, to be killed at any moment and started again.

The processes are forked from a server that has imported everything but done nothing.
"""

import multiprocessing
from pathlib import Path

import torch

from torch_geometric_autoscale import convert
from torch_geometric_autoscale.graph_folder import placing, spool
from torch_geometric_autoscale.ingest import job_state, text_lines

server = multiprocessing.get_context('forkserver')
server.set_forkserver_preload([__name__, 'pyarrow.csv'])


def work(source: Path, target: Path) -> None:
    """Convert in many small steps, or go on."""
    torch.set_num_threads(1)
    text_lines.BLOCK, spool.CHUNK, placing.WINDOW_BYTES = 20_000, 4000, 60_000
    job_state.SAVE_EVERY = 0
    if not target.exists():
        convert(source, target, log=False)


def start_server() -> None:
    """Have the server import everything."""
    process = server.Process(target=int)
    process.start()
    process.join()


def start(source: Path, target: Path) -> multiprocessing.Process:
    """Start :func:`work`."""
    process = server.Process(target=work, args=(source, target))
    process.start()
    return process  # type: ignore[return-value]


def finish(source: Path, target: Path) -> None:
    """Let a conversion come to its end."""
    process = start(source, target)
    process.join()
    assert process.exitcode == 0
