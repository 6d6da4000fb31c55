"""A training in a process of its own, to be killed at any moment and started again.

The processes are forked from a server that has imported everything but computed nothing.
"""

import multiprocessing
import random
import signal
import time
from pathlib import Path

import torch

from torch_geometric_autoscale.training import TrainSettings, train
from torch_geometric_autoscale.training.container import write_container

from .tiny import tiny_data, tiny_model, tiny_ptr

CLOCK = ('seconds', 'eval_seconds', 'checkpoint_seconds', 'elapsed', 'seconds_per_epoch',
         'seconds_per_evaluation')  # fmt: skip

server = multiprocessing.get_context('forkserver')
server.set_forkserver_preload([
    __name__, 'torch_geometric_autoscale.cli.train', 'torch_geometric_autoscale.cli.report',
    'hydra', 'omegaconf', 'matplotlib.figure', 'matplotlib.backends.backend_agg',
])  # fmt: skip


def without_clock(run: dict) -> dict:
    epochs = [{k: v for k, v in epoch.items() if k not in CLOCK} for epoch in run['epochs']]
    left_out = (*CLOCK, 'settings')
    return {**{k: v for k, v in run.items() if k not in left_out}, 'epochs': epochs}


def work(folder: Path, epochs: int, tier: str, num_workers: int) -> None:
    """Train, or go on; write model, histories and record to ``end`` in the end."""
    multiprocessing.set_start_method('fork', force=True)  # for the loader's workers, to be quick
    torch.set_num_threads(1)
    settings = TrainSettings(
        epochs=epochs, batch_size=2, measure_memory=False, eval_every=3, history_tier=tier,
        num_workers=num_workers, checkpoint_every='1batch', schedule='onecycle',
    )  # fmt: skip
    model = tiny_model(num_layers=3, batch_norm=True)
    states = folder / 'states'
    run = train(
        model, tiny_data(), tiny_ptr(), settings, checkpoints=states, resume=True, log=False
    )
    end = {'model': model.state_dict(), 'run': without_clock(run.to_dict())}
    write_container(folder / 'end', 'end of a run', end)


def start_server() -> None:
    """Have the server import everything."""
    process = server.Process(target=int)
    process.start()
    process.join()


def start(*arguments: object) -> multiprocessing.Process:
    """Start :func:`work`."""
    process = server.Process(target=work, args=arguments)
    process.start()
    return process  # type: ignore[return-value]


def finish(folder: Path, *arguments: object) -> bytes:
    """Let a training come to its end; what it wrote."""
    folder.mkdir(exist_ok=True)
    process = start(folder, *arguments)
    process.join()
    assert process.exitcode == 0
    return (folder / 'end').read_bytes()


def saved(folder: Path) -> int:
    """How many states the trainings in a folder have saved so far."""
    numbers: dict[Path, int] = {}
    try:
        for path in folder.rglob('state-*.pygas'):
            number = int(path.stem.removeprefix('state-'))
            numbers[path.parent] = max(number, numbers.get(path.parent, 0))
    except FileNotFoundError:  # a folder that goes with the end of a job
        return 0
    return sum(numbers.values())


def kill_amid(process: multiprocessing.Process, folder: Path, moments: random.Random) -> bool:
    """Kill a process some milliseconds after it has saved a few states more than there were.

    Returns:
        Whether it was killed; else it has come to its end before.
    """
    goal = saved(folder) + moments.randint(1, 6)
    while process.is_alive() and saved(folder) < goal:
        time.sleep(0.001)
    process.join(moments.uniform(0, 0.02))
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0
