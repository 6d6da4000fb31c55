"""Entry point of the console command ``pygas``."""

import os
import sys
import warnings
from collections.abc import Callable, Sequence

from .. import _version
from .allocator import spare_page_faults

USAGE = """\
usage: pygas COMMAND ...

Train graph neural networks with historical embeddings.

commands:
  train [KEY=VALUE ...]   train with histories and, beside it, full batch; write a run folder
  train resume=RUN        go on with a training that was interrupted
  evaluate RUN            exact accuracy of the model in a run folder
  predict RUN             classes, logits or embeddings of every node, to a file
  report [SUITE ...]      tables and pictures of a benchmark suite, from its records
  info                    versions, devices, optional parts found

  pygas COMMAND --help    options of a command
  pygas --version         the version of this library

With the variable PYGAS_TRACEBACK=1 errors show where in the code they come from.
"""
EXIT_WRONG_USE = 2
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    0: done. 2: something given to the command is wrong, said in one message on the standard
    error. 130: ended by Ctrl-C.
    """
    _set_environment()
    args = list(sys.argv[1:] if argv is None else argv)
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
        return command(args[1:])
    except KeyboardInterrupt:
        print('pygas: interrupted.', file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_INTERRUPTED
    except (ValueError, TypeError, ImportError, OSError) as error:
        if os.environ.get('PYGAS_TRACEBACK', '0') not in ('', '0'):
            raise
        told = isinstance(error, OSError) and error.filename is None and error.strerror
        text = str(told or error)  # without the system's number where the text is ours
        print(text if text.startswith('pygas') else f'pygas: {text}', file=sys.stderr)
        return EXIT_WRONG_USE


def _commands() -> dict[str, Callable[[list[str]], int]]:
    from .evaluate import evaluate
    from .info import info
    from .predict import predict
    from .report import report
    from .train import train

    return {
        'train': train, 'evaluate': evaluate, 'predict': predict, 'report': report, 'info': info,
    }  # fmt: skip


def _set_environment() -> None:
    # Two notes of PyTorch's on sparse tensors, which a user of the command can do nothing about.
    warnings.filterwarnings('ignore', 'Sparse CSR tensor support is in beta', UserWarning)
    warnings.filterwarnings('ignore', 'Sparse invariant checks are implicitly', UserWarning)
    spare_page_faults()
    # PyTorch's profiler, which counts a step's memory, else reports its own start and stop.
    os.environ.setdefault('KINETO_LOG_LEVEL', '99')
