"""The folder of one job of ``pygas train``: new, at work, interrupted, finished.

While the job is at work, ``checkpoints/`` holds what it takes to go on after any end of the
process: the job's settings and partition, and for each of its trainings the last two states. It is
gone once the job is done.
"""

import json
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import explain
from ..files import (
    explained,
    new_folders_synced,
    parts_of,
    remove_file,
    remove_parts,
    sync_folder,
    write_atomically,
)
from ..partition import PartitionQuality
from ..training.checkpoint_folder import NAME_OF_STATE, STATES
from ..training.container import read_container, write_container
from ..training.run_lock import RunLock, lock_folder
from .job import Job, load_job, reload_job
from .options import keys_of, names_graph_folder

KIND = 'job'
JOB = 'job.pygas'
LOCK = 'lock'
RESULTS = ('settings.yaml', 'checkpoint.pt', 'record.json', 'accuracy.png', 'staleness.png')
MODES = ('gas', 'full')
# Options that may be given with resume=RUN: they change no number of the run.
WITH_RESUME = (
    'resume', 'root', 'cache', 'dataset', 'dataset.name', 'device', 'num_workers', 'prefetch',
    'history.tier', 'history.cache', 'checkpoint.every', 'measure_error', 'tensorboard',
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
        self.is_partitioned = False
        self._job = self.checkpoints / JOB
        with new_folders_synced(self.checkpoints):
            self._lock: RunLock = lock_folder(self.checkpoints)
        remove_parts(path, *RESULTS)
        remove_parts(self.checkpoints, JOB)

    def close(self) -> None:
        """Let other processes in."""
        self._lock.release()

    @property
    def how_to_resume(self) -> str:
        """The command that goes on with the job."""
        return _how_to_resume(self.path)

    @property
    def has_states(self) -> bool:
        """Whether a training has saved anything."""
        return any(self.checkpoints.glob(f'*/{STATES}'))

    @property
    def has_job(self) -> bool:
        """Whether there is a job to go on with."""
        return self._job.is_file()

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
            self.is_partitioned = True
            job = reload_job(settings, known['perm'], known['ptr'])
            job.quality = PartitionQuality(**known['quality'])
            return job
        job = load_job(settings)
        self.keep_job(settings, job)
        return job

    @property
    def knows_partition(self) -> bool:
        """Whether the job's graph was cut by an earlier process."""
        return read_container(self._job, KIND)['perm'] is not None

    def keep_job(self, settings: Mapping[str, Any], job: Job) -> None:
        """Note the partition of a new job, for a resume."""
        assert job.quality is not None
        self._write_job(settings, job.perm, job.ptr, asdict(job.quality))
        self.is_partitioned = True

    def _write_job(
        self,
        settings: Mapping[str, Any],
        perm: Tensor | None,
        ptr: Tensor | None,
        quality: dict[str, Any] | None,
    ) -> None:
        content = {
            'settings': _from_anywhere(settings),
            'perm': perm,
            'ptr': ptr,
            'quality': quality,
        }
        write_container(self._job, KIND, content)

    # Its end #####################################################################

    def is_done(self) -> None:
        """Remove what only a resume would have needed."""
        remove_file(self._job)  # first: without it nobody resumes
        sync_folder(self.checkpoints)
        self.close()
        leave_nothing_to_resume(self.path)

    def remove_if_empty(self) -> None:
        """Take a folder away again in which nothing was trained, with the library's own files."""
        scalars = self.path / 'tensorboard'
        with suppress(OSError):  # what it is taken away for is the error to tell
            for folder in (*(scalars / mode for mode in MODES), scalars):
                with suppress(OSError):  # not there, or not empty
                    folder.rmdir()
            names = {path.name for path in self.path.iterdir()}
            if names <= {'log.txt', 'settings.yaml', 'checkpoints'} and not self.has_states:
                self.close()
                remove_file(self._job)  # first: without it nobody resumes
                remove_file(self.path / 'log.txt')
                remove_file(self.path / 'settings.yaml')
                leave_nothing_to_resume(self.path)
                self.path.rmdir()


# New and resumed #################################################################


def new_run_folder(settings: Mapping[str, Any]) -> RunFolder:
    """Make the run folder; one that holds anything is refused."""
    if settings['out'] is not None:
        folder = Path(str(settings['out'])).expanduser()
        try:
            taken = folder.exists() and not _is_free(folder)
        except OSError as error:
            raise _no_folder(error, folder) from error
        if taken:
            remedy = 'Name another one.'
            if (folder / 'checkpoints' / JOB).is_file():
                remedy = f"Name another one, or go on with '{_how_to_resume(folder)}'."
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
    try:
        with new_folders_synced(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _no_folder(error, folder) from error
    run = RunFolder(folder)
    try:
        run.write_settings(settings)
    except BaseException:
        run.remove_if_empty()
        raise
    return run


def _is_free(folder: Path) -> bool:
    """Whether a job may begin in a folder: it is empty but for what a killed beginning left."""
    return folder.is_dir() and (not any(folder.iterdir()) or _holds_a_killed_beginning(folder))


def _holds_a_killed_beginning(folder: Path) -> bool:
    """Whether there is nothing but what a job has made before its ``job.pygas``: the lock first."""
    checkpoints = folder / 'checkpoints'
    if not checkpoints.is_dir():
        return False
    inside, outside = set(checkpoints.iterdir()), set(folder.iterdir())
    lock = checkpoints / LOCK
    known = {checkpoints}
    if lock.is_file():
        known |= {folder / 'settings.yaml', folder / 'log.txt', *parts_of(folder, *RESULTS)}
    return inside <= {lock, *parts_of(checkpoints, JOB)} and outside <= known


def leave_nothing_to_resume(path: Path) -> None:
    """Remove the checkpoints of a finished job; one killed in the midst of that left some.

    Files of other names are not the library's: they stay, and so do their folders.
    """
    with suppress(OSError):
        for file in list(_files_to_resume(path / 'checkpoints')):
            remove_file(file)
        for folder in (*(path / 'checkpoints' / mode for mode in MODES), path / 'checkpoints'):
            with suppress(OSError):  # not there, or not empty
                folder.rmdir()


def _files_to_resume(checkpoints: Path) -> Iterator[Path]:
    for mode in MODES:
        folder = checkpoints / mode
        yield from (path for path in folder.glob(STATES) if NAME_OF_STATE.fullmatch(path.name))
        yield from parts_of(folder, STATES)
        yield folder / LOCK
    yield checkpoints / JOB
    yield from parts_of(checkpoints, JOB)
    yield checkpoints / LOCK


def is_finished(path: Path) -> bool:
    """Whether a job has come to its end in a folder.

    Raises:
        ValueError: Its record is damaged.
    """
    file = path / 'record.json'
    if (path / 'checkpoints' / JOB).exists() or not file.is_file():
        return False
    try:
        record = json.loads(file.read_text('utf-8'))
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ValueError(
            explain('pygas train', "'record.json' must be the record of a job",
                    f"'{file}', which is damaged", 'Train again in another folder.')
        )  # fmt: skip
    return bool(record.get('status') == 'finished')


def check_arguments_of_resume(arguments: Sequence[str]) -> None:
    """Raise unless the options may be given with ``resume=RUN``.

    Raises:
        ValueError: One would change the run.
    """
    for key in keys_of(arguments):
        if key not in WITH_RESUME:
            raise ValueError(
                explain('pygas train', f"with 'resume' go only {', '.join(WITH_RESUME[1:])}",
                        f"'{key}'", 'The job goes on with the settings that it began with.')
            )  # fmt: skip


def reopen_run_folder(
    chosen: Mapping[str, Any], arguments: Sequence[str]
) -> tuple[RunFolder, dict[str, Any]]:
    """The folder of an interrupted job, and its settings with what was said anew.

    Args:
        chosen: The resolved settings, ``resume`` among them.
        arguments: What the command was given.

    Raises:
        ValueError: There is nothing to resume, or the job's file is damaged or of a later version.
        OSError: The folder cannot be written to, or another process works in it.
    """
    path = Path(str(chosen['resume'])).expanduser()
    keys = keys_of(arguments)
    if not (path / 'checkpoints' / JOB).is_file():
        if _holds_a_killed_beginning(path):
            raise ValueError(
                explain('pygas train', "'resume' must name the folder of an interrupted job",
                        f"'{path}', in which nothing was trained yet", 'Start the job again with '
                        f'its options and out={shlex.quote(str(path))}.')
            )  # fmt: skip
        raise ValueError(
            explain('pygas train', "'resume' must name the folder of an interrupted job",
                    f"'{path}', which holds none", "Pass the folder that the job named, or begin "
                    'one with out=FOLDER.')
        )  # fmt: skip
    run = RunFolder(path)
    try:
        settings = read_container(path / 'checkpoints' / JOB, KIND)['settings']
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


def _how_to_resume(path: Path) -> str:
    return f'pygas train resume={shlex.quote(str(path))}'


def _no_folder(error: OSError, folder: Path) -> OSError:
    return explained(error, 'pygas train', "'out' must be a folder that can be made", folder)


def _from_anywhere(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose files are found from other working folders too."""
    found = dict(settings)
    if found['root'] is not None:
        found['root'] = str(Path(str(found['root'])).expanduser().absolute())
    file = Path(str(found['dataset']['name'])).expanduser()
    is_file = file.suffix.lower() == '.npz' and file.is_file()
    if is_file or names_graph_folder(str(file)):  # one that is not lies in the root
        found['dataset'] = {**found['dataset'], 'name': str(file.absolute())}
    return found
