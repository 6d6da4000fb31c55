"""Take turns, so that a noisy machine is noisy for everybody; quote medians and ratios."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from torch_geometric_autoscale.files import write_json
from torch_geometric_autoscale.training.machine import machine, versions


def take_turns(contestants: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run all contestants in turn, ``rounds`` times after one warm-up; median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in tqdm(range(rounds + 1), desc='Rounds', leave=False, disable=None):
        for name, run in contestants.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print rows in aligned columns, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print(f'\n{title}')
    for row in [header, ['-' * width for width in widths], *rows]:
        first, *rest = (cell for cell in row)
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        print('  '.join([first.ljust(widths[0]), *cells]))


def write_record(name: str, tables: dict[str, dict], **settings: object) -> None:
    """Keep what was measured, with versions and machine, in ``benchmarks/results/<name>.json``."""
    path = Path(__file__).parent / 'results' / f'{name}.json'
    path.parent.mkdir(exist_ok=True)
    record = {
        'settings': settings, 'versions': versions(), 'machine': machine(), 'tables': tables,
    }  # fmt: skip
    write_json(path, record)
    print(f'\nrecord: benchmarks/results/{path.name}')


def as_table(title: str, header: list[str], rows: list[list[str]]) -> dict:
    """Print a table and return it for the record."""
    print_table(title, header, rows)
    return {'title': title, 'header': header, 'rows': rows}
