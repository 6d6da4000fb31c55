"""The folder of one job of ``pygas train``: new, at work, interrupted, finished.

While the job is at work, ``checkpoints/`` holds what it takes to go on after any end of the
process: the job's settings and partition, and for each of its trainings the last two states. It is
gone once the job is done.
"""

import json
import shlex
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import explain
from ..partition import PartitionQuality
from ..training.container import read_container, write_container
from ..training.files import remove_file, remove_parts, sync_folder, write_atomically
from ..training.run_lock import RunLock, lock_folder
from .job import Job, load_job, reload_job
from .options import keys_of

KIND = 'job'
# Options that may be given with resume=RUN: they change no number of the run.
WITH_RESUME = (
    'resume', 'root', 'cache', 'dataset', 'dataset.name', 'device', 'num_workers', 'history.tier',
    'checkpoint.every',
)  # fmt: skip


class RunFolder:
    """A run folder that this process works in.

    Args:
        path: An existing folder.

    Raises:
        OSError: It cannot be written to, or another process works in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / 'checkpoints'
        self._job = self.checkpoints / 'job.pygas'
        self._lock: RunLock = lock_folder(self.checkpoints)
        remove_parts(path)
        remove_parts(self.checkpoints)

    def close(self) -> None:
        """Let other processes in."""
        self._lock.release()

    @property
    def how_to_resume(self) -> str:
        """The command that goes on with the job."""
        return f'pygas train resume={shlex.quote(str(self.path))}'

    @property
    def has_states(self) -> bool:
        """Whether a training has saved anything."""
        return any(self.checkpoints.glob('*/state-*.pygas'))

    # The job #####################################################################

    def write_settings(self, settings: Mapping[str, Any]) -> None:
        """Note what the job was told, for people and for a resume."""
        from omegaconf import OmegaConf

        text = OmegaConf.to_yaml(OmegaConf.create(dict(settings)))
        write_atomically(self.path / 'settings.yaml', lambda file: file.write(text.encode('utf-8')))
        self._write_job(settings, None, None, None)

    def load_job(self, settings: Mapping[str, Any]) -> Job:
        """Load the job's graph, in the order of its partition; partition it the first time."""
        known = read_container(self._job, KIND)
        if known['perm'] is not None:
            job = reload_job(settings, known['perm'], known['ptr'])
            job.quality = PartitionQuality(**known['quality'])
            return job
        job = load_job(settings)
        assert job.quality is not None
        self._write_job(settings, job.perm, job.ptr, asdict(job.quality))
        return job

    def _write_job(
        self,
        settings: Mapping[str, Any],
        perm: Tensor | None,
        ptr: Tensor | None,
        quality: dict[str, Any] | None,
    ) -> None:
        content = {'settings': dict(settings), 'perm': perm, 'ptr': ptr, 'quality': quality}
        write_container(self._job, KIND, content)

    # Its end #####################################################################

    def is_done(self) -> None:
        """Remove what only a resume would have needed."""
        remove_file(self._job)  # first: without it nobody resumes
        sync_folder(self.checkpoints)
        self.close()
        leave_nothing_to_resume(self.path)

    def remove_if_empty(self) -> None:
        """Take a folder away again in which nothing was trained."""
        names = {path.name for path in self.path.iterdir()}
        if names <= {'log.txt', 'settings.yaml', 'checkpoints'} and not self.has_states:
            self.close()
            shutil.rmtree(self.path)


# New and resumed #################################################################


def new_run_folder(settings: Mapping[str, Any]) -> RunFolder:
    """Make the run folder; one that holds anything is refused."""
    if settings['out'] is not None:
        folder = Path(str(settings['out'])).expanduser()
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        if taken:
            remedy = 'Name another one.'
            if (folder / 'checkpoints' / 'job.pygas').is_file():
                remedy = f"Name another one, or go on with 'pygas train resume={folder}'."
            raise ValueError(
                explain('pygas train', "'out' must be a new or an empty folder",
                        f"'{folder}', which holds something", remedy)
            )  # fmt: skip
    else:
        name = Path(str(settings['dataset']['name'])).stem
        moment = datetime.now().strftime('%Y%m%d-%H%M%S')
        folder = Path('runs') / f'{name}-{settings["model"]["name"]}-{moment}'
        while folder.exists():
            time.sleep(0.5)
            moment = datetime.now().strftime('%Y%m%d-%H%M%S')
            folder = folder.with_name(f'{name}-{settings["model"]["name"]}-{moment}')
    folder.mkdir(parents=True, exist_ok=True)
    run = RunFolder(folder)
    try:
        run.write_settings(settings)
    except BaseException:
        run.remove_if_empty()
        raise
    return run


def leave_nothing_to_resume(path: Path) -> None:
    """Remove the checkpoints of a finished job; one killed in the midst of that left some."""
    shutil.rmtree(path / 'checkpoints', ignore_errors=True)


def is_finished(path: Path) -> bool:
    """Whether a job has come to its end in a folder."""
    record = path / 'record.json'
    if (path / 'checkpoints' / 'job.pygas').exists() or not record.is_file():
        return False
    return bool(json.loads(record.read_text('utf-8')).get('status') == 'finished')


def reopen_run_folder(
    chosen: Mapping[str, Any], arguments: Sequence[str]
) -> tuple[RunFolder, dict[str, Any]]:
    """The folder of an interrupted job, and its settings with what was said anew.

    Args:
        chosen: The resolved settings, ``resume`` among them.
        arguments: What the command was given.

    Raises:
        ValueError: There is nothing to resume, an argument would change the run, or the job's file
            is damaged or of a later version.
        OSError: The folder cannot be written to, or another process works in it.
    """
    path = Path(str(chosen['resume'])).expanduser()
    keys = keys_of(arguments)
    for key in keys:
        if key not in WITH_RESUME:
            raise ValueError(
                explain('pygas train', f"with 'resume' go only {', '.join(WITH_RESUME[1:])}",
                        f"'{key}'", 'The job goes on with the settings that it began with.')
            )  # fmt: skip
    if not (path / 'checkpoints' / 'job.pygas').is_file():
        raise ValueError(
            explain('pygas train', "'resume' must name the folder of an interrupted job",
                    f"'{path}', which holds none", "Pass the folder that the job named, or begin "
                    'one with out=FOLDER.')
        )  # fmt: skip
    run = RunFolder(path)
    try:
        settings = read_container(path / 'checkpoints' / 'job.pygas', KIND)['settings']
    except BaseException:
        run.close()
        raise
    for key in keys:
        if key != 'resume':
            group, _, name = key.partition('.')
            if name:
                settings[group] = {**settings[group], name: chosen[group][name]}
            elif group == 'dataset':
                settings[group] = {**settings[group], 'name': chosen[group]['name']}
            else:
                settings[group] = chosen[group]
    return run, settings
