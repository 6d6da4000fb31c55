"""The entry of ``small_benchmark/main.py`` and ``large_benchmark/main.py``."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cli.main import (
    EXIT_INTERRUPTED,
    EXIT_WRONG_USE,
    set_environment,
    told_of_memory,
    wants_traceback,
)
from ..errors import explain
from .arguments import experiments_of, is_sweep, spell_out
from .experiment import make_experiment
from .help import suite_help, wants_help
from .run import Interrupted, run_experiment
from .suite import Suite, compose, load_suite, names_of, search_path


def main(folder: str | Path, argv: Sequence[str] | None = None) -> int:
    """Run what the arguments ask of the suite in ``folder``; returns the exit code.

    0: done. 2: something given is wrong, said in one message. 130: ended by Ctrl-C.
    """
    set_environment()
    arguments = list(sys.argv[1:] if argv is None else argv)
    before = sys.argv
    try:
        suite = load_suite(folder)
        if wants_help(arguments):
            print(suite_help(suite))
            return 0
        spelled = spell_out(suite, arguments)
        if is_sweep(spelled):
            _check_sweep(suite, spelled)
        sys.argv = [before[0], *_with_search_path(spelled)]
        _run_with_hydra(suite)
    except (Interrupted, KeyboardInterrupt):
        print('Interrupted. The same command goes on from here.', file=sys.stderr)
        return EXIT_INTERRUPTED
    except _Refused as refused:
        print(refused, file=sys.stderr)
        return EXIT_WRONG_USE
    except (ValueError, TypeError, ImportError, OSError) as error:
        if wants_traceback():
            raise
        print(_told(error), file=sys.stderr)
        return EXIT_WRONG_USE
    finally:
        sys.argv = before
    return 0


def _check_sweep(suite: Suite, spelled: Sequence[str]) -> None:
    """Raise for a wrong experiment of a sweep before those ahead of it run, for hours."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    for options in experiments_of(suite, spelled):
        try:
            settings = compose(suite, options)
        except (HydraException, OmegaConfBaseException) as error:
            raise ValueError(
                explain(suite.who, 'options must fit every experiment of a sweep',
                        f'{" ".join(options)}: {" ".join(f"{error}".split()).rstrip(".")}',
                        'Leave that experiment out, or run it by itself.')
            ) from error  # fmt: skip
        make_experiment(suite, settings)


def _with_search_path(arguments: list[str]) -> list[str]:
    """Where Hydra wants it: among the overrides, which its flags must not part."""
    overrides = [i for i, a in enumerate(arguments) if '=' in a and not a.startswith('-')]
    at = overrides[0] if overrides else len(arguments)
    return [*arguments[:at], search_path(), *arguments[at:]]


def _told(error: Exception) -> str:
    """The text of an error, without the system's number where the text is ours."""
    ours = isinstance(error, OSError) and error.filename is None and error.strerror
    return str(ours or error)


class _Refused(BaseException):
    """An error of ours on its way through Hydra, which would print a traceback of it."""


def _run_with_hydra(suite: Suite) -> None:
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    def task(config: Any) -> None:
        settings = OmegaConf.to_container(config, resolve=True)
        assert isinstance(settings, dict)
        given = names_of(HydraConfig.get().overrides.task)
        _run_one(suite, {str(key): value for key, value in settings.items()} | {'given': given})

    conf = str((suite.folder / 'conf').absolute())
    hydra.main(version_base='1.3', config_path=conf, config_name='config')(task)()


def _run_one(suite: Suite, settings: dict[str, Any]) -> None:
    try:
        experiment = make_experiment(suite, settings)
        chosen = experiment.settings
        print(
            f'{chosen["model"]["name"]} on {chosen["dataset"]["name"]}, mode {chosen["mode"]}, '
            f'{chosen["partition"]} parts, refresh {chosen["refresh"]}, '
            f'{len(experiment.seeds)} runs'
        )
        run_experiment(experiment)
    except Interrupted as interrupted:
        raise KeyboardInterrupt from interrupted
    except (ValueError, TypeError, ImportError, OSError) as error:
        if wants_traceback():
            raise
        raise _Refused(_told(error)) from error
    except (MemoryError, RuntimeError) as error:
        message = told_of_memory(suite.who, error, _SPARING)
        if message is None:
            raise
        raise _Refused(message) from error


_SPARING = (
    'Take fewer parts per batch (batch_size=, eval_batch_size=), or keep histories on the disk '
    '(history.tier=disk); full batch needs a machine with more.'
)
