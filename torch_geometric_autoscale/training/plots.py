"""The picture of a job: accuracy over epochs and over seconds."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import missing_package
from .files import write_atomically
from .reporter import TITLES
from .results import Run

COLORS = {'gas': '#0b6e99', 'full': '#d9730d'}


def plot_accuracy(path: str | Path, runs: Sequence[Run], title: str) -> None:
    """Draw validation accuracy of every run over epochs and over seconds, as a PNG.

    A dot marks each run's best validation epoch, at its test accuracy.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(missing_package('plot_accuracy', 'matplotlib', 'full')) from error

    figure = Figure(figsize=(10, 4.2), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    by_epoch, by_second = figure.subplots(1, 2, sharey=True)
    for run in runs:
        evaluated = [epoch for epoch in run.epochs if epoch.val is not None]
        for axis, key in ((by_epoch, 'epoch'), (by_second, 'elapsed')):
            _draw_run(axis, run, [getattr(epoch, key) for epoch in evaluated], key)
    low = _floor_of_interest(runs)
    for axis, label in ((by_epoch, 'epoch'), (by_second, 'seconds of training')):
        axis.set_xlabel(label)
        axis.set_xlim(left=0)
        axis.set_ylim(bottom=low)
        axis.grid(color='#dddddd', linewidth=0.6)
        axis.spines[['top', 'right']].set_visible(False)
    by_epoch.set_ylabel('validation accuracy (%)')
    by_epoch.plot([], [], 'o', color='#888888', label='test, at the best validation epoch')
    by_epoch.legend(loc='lower right', frameon=False)
    figure.suptitle(title)
    write_atomically(path, lambda file: figure.savefig(file, format='png'))


def _draw_run(axis: Any, run: Run, x: list[float], key: str) -> None:
    values = [epoch.val for epoch in run.epochs if epoch.val is not None]
    test = '' if run.test is None else f' (test {run.test:.2f}%)'
    marker = 'o' if len(values) == 1 else None
    axis.plot(
        x, values, color=COLORS[run.mode], linewidth=1.6, marker=marker,
        label=f'{TITLES[run.mode]}{test}',
    )  # fmt: skip
    if run.best is not None:
        axis.plot(
            getattr(run.best, key), run.test, 'o', color=COLORS[run.mode],
            markeredgecolor='white', markersize=8, zorder=5,
        )  # fmt: skip


def _floor_of_interest(runs: Sequence[Run]) -> float:
    """Where the axis begins: the first few epochs' low scores would flatten the rest."""
    values = sorted(e.val for run in runs for e in run.epochs if e.val is not None)
    if not values:
        return 0.0
    tenth = values[len(values) // 10]
    return max(0.0, tenth - 0.15 * (values[-1] - tenth) - 1.0)
