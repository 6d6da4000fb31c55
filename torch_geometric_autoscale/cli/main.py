"""Entry point of the console command ``pygas``."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from .. import _version
from ..errors import explain
from .allocator import spare_page_faults
from .torch_log import log_errors_only

USAGE = """\
usage: pygas COMMAND ...

Train graph neural networks with historical embeddings.

commands:
  train [KEY=VALUE ...]   train with histories and, beside it, full batch; write a run folder
  train resume=RUN        go on with a training that was interrupted
  plan [KEY=VALUE ...]    what of that fits a memory, and what it needs and costs
  evaluate RUN            exact accuracy of the model in a run folder
  predict RUN             classes, logits or embeddings of every node, to a file
  report [SUITE ...]      tables and pictures of a benchmark suite, from its records
  convert SOURCE TARGET   a graph folder, mapped when it is used, from other formats
  generate TARGET         a graph folder with a large random graph
  info                    versions, devices, optional parts found

  pygas COMMAND --help    options of a command
  pygas COMMAND --quiet   print errors and one line with the result, and nothing else
  pygas --version         the version of this library

With the variable PYGAS_TRACEBACK=1 errors show where in the code they come from.
"""
EXIT_WRONG_USE = 2
EXIT_INTERRUPTED = 130
QUIET = '--quiet'


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done. 2: something given to the command is wrong, said in one message on the standard
    error. 130: ended by Ctrl-C.
    """
    set_environment()
    args = list(sys.argv[1:] if argv is None else argv)
    if QUIET in args[:1]:  # wherever it stands, it is for the command
        args = [*args[1:], QUIET]
    if not args or args[0] in ('-h', '--help', 'help'):
        print(USAGE, end='')
        return 0 if args else EXIT_WRONG_USE
    if args[0] == '--version':
        print(f'pygas {_version.__version__}')
        return 0
    command = _commands().get(args[0])
    if command is None:
        known = ', '.join(_commands())
        print(
            f"pygas: a command must come first, one of {known} (got '{args[0]}'). "
            "See 'pygas --help'.",
            file=sys.stderr,
        )
        return EXIT_WRONG_USE
    try:
        return _run(command, args[1:])
    except KeyboardInterrupt:
        print('pygas: interrupted.', file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INTERRUPTED
    except (ValueError, TypeError, ImportError, OSError) as error:
        if wants_traceback():
            raise
        told = isinstance(error, OSError) and error.filename is None and error.strerror
        text = str(told or error)  # without the system's number where the text is ours
        print(text if text.startswith('pygas') else f'pygas: {text}', file=sys.stderr)
        return EXIT_WRONG_USE
    except (MemoryError, RuntimeError) as error:
        message = told_of_memory('pygas', error, _SPARING)
        if message is None:
            raise
        print(message, file=sys.stderr)
        return EXIT_WRONG_USE


def wants_traceback() -> bool:
    """Whether errors are to show where in the code they come from."""
    return os.environ.get('PYGAS_TRACEBACK', '0') not in ('', '0')


def told_of_memory(who: str, error: Exception, remedy: str) -> str | None:
    """What to tell of an error if it says that there is no memory left, else nothing."""
    from ..planner.process import is_out_of_memory

    if wants_traceback() or not is_out_of_memory(error):
        return None
    came = str(error).rpartition('DefaultCPUAllocator: ')[2] or type(error).__name__
    return explain(who, 'memory must suffice', came, remedy)


_SPARING = (
    'Let the job fit itself to the memory there is, e.g. memory=8GB; or keep histories on the disk '
    '(history.tier=disk), take fewer parts per batch (batch_size=), and a graph in a folder '
    "('pygas convert')."
)


def _run(command: Callable[[list[str]], int], args: list[str]) -> int:
    from .console import quietly

    wants_help = any(argument in ('-h', '--help') for argument in args)
    is_quiet = QUIET in args and not wants_help
    with quietly() if is_quiet else nullcontext():
        return command([argument for argument in args if argument != QUIET])


def _commands() -> dict[str, Callable[[list[str]], int]]:
    from .convert import convert
    from .evaluate import evaluate
    from .generate import generate
    from .info import info
    from .plan import plan
    from .predict import predict
    from .report import report
    from .train import train

    return {
        'train': train, 'evaluate': evaluate, 'predict': predict, 'report': report,
        'plan': plan, 'convert': convert, 'generate': generate, 'info': info,
    }  # fmt: skip


def set_environment() -> None:
    """Set up the process of a command: warnings, memory allocator, logs."""
    # Two notes of PyTorch's on sparse tensors, which a user of the command can do nothing about.
    warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta', UserWarning)
    warnings.filterwarnings('ignore', 'Sparse invariant checks are implicitly', UserWarning)
    spare_page_faults()
    # PyTorch's profiler, which counts a step's memory, else reports its own start and stop.
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')
    log_errors_only()
