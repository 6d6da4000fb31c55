"""``pygas report``: from the records of a benchmark suite to its tables and pictures."""

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from ..errors import explain

SUITES = ('small_benchmark', 'large_benchmark')
EXIT_OLD = 1


def report(arguments: Sequence[str]) -> int:
    """Run ``pygas report``; returns the exit code."""
    from ..benchmark.report import is_up_to_date, write_report
    from ..benchmark.suite import load_suite

    parser = ArgumentParser('pygas report', description=__doc__)
    parser.add_argument(
        'folders', metavar='SUITE', nargs='*', type=Path,
        help=f'folders of suites (default: {" ".join(SUITES)})',
    )  # fmt: skip
    parser.add_argument(
        '--check', action='store_true', help='write nothing; fail if the tables are out of date'
    )
    chosen = parser.parse_args(arguments)
    folders: list[Path] = chosen.folders or [Path(name) for name in SUITES]
    for folder in folders:
        if not (folder / 'conf' / 'config.yaml').is_file():
            raise FileNotFoundError(
                explain('pygas report', "'SUITE' must be the folder of a benchmark suite",
                        f"'{folder}'", 'Run it where small_benchmark is, or name the folder.')
            )  # fmt: skip
    code = 0
    for folder in folders:
        suite = load_suite(folder)
        if not chosen.check:
            print(write_report(suite))
        elif not is_up_to_date(suite):
            print(f"{folder}: the tables are not those of the records; run 'pygas report'.",
                  file=sys.stderr)  # fmt: skip
            code = EXIT_OLD
    return code
