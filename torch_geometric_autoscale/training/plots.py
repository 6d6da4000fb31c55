"""The pictures of a job: accuracy over epochs and over seconds, and staleness over epochs."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import missing_package
from ..files import write_atomically
from .reporter import TITLES
from .results import Epoch, Run

COLORS = {'gas': '#0b6e99', 'full': '#d9730d'}


def plot_accuracy(path: str | Path, runs: Sequence[Run], title: str) -> None:
    """Draw validation accuracy of every run over epochs and over seconds, as a PNG.

    A dot marks each run's best validation epoch, at its test accuracy.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    figure = _figure('plot_accuracy', width=10)
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
        _in_our_style(axis)
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


# Staleness #######################################################################


def plot_staleness(path: str | Path, run: Run, title: str) -> bool:
    """Draw how old the pulled rows were over epochs and, if measured, how far histories were off.

    Ages are one line for all histories where they agree. The share of pulled rows that nobody has
    written gets a panel of its own if there was one.

    Returns:
        Whether there was anything to draw; else nothing is written.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    aged = [epoch for epoch in run.epochs if epoch.ages and epoch.ages[0].pulled]
    measured = [epoch for epoch in run.epochs if epoch.errors]
    panels: list[Callable[[Any], None]] = []
    if aged:
        panels.append(lambda axis: _draw_ages(axis, aged))
    if any(ages.never for epoch in aged for ages in epoch.ages or ()):
        panels.append(lambda axis: _draw_never_written(axis, aged))
    if measured:
        panels.append(lambda axis: _draw_errors(axis, measured))
    if not panels:
        return False
    figure = _figure('plot_staleness', width=max(5.5 * len(panels), 7))
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    for draw, axis in zip(panels, axes, strict=True):
        draw(axis)
        axis.set_xlabel('epoch')
        axis.locator_params(axis='x', integer=True)
        _in_our_style(axis)
    figure.suptitle(title)
    write_atomically(path, lambda file: figure.savefig(file, format='png'))
    return True


def _draw_ages(axis: Any, epochs: Sequence[Epoch]) -> None:
    layers = range(max(len(epoch.ages or ()) for epoch in epochs))
    x = [epoch.epoch for epoch in epochs]
    for layer in layers:
        color = _shade(layer, len(layers))
        name = f'history {layer + 1}, ' if len(layers) > 1 else ''
        for what, style in (('mean', '-'), ('median', '--'), ('max', ':')):
            y = [getattr(epoch.ages_of(layer), what) for epoch in epochs]
            label = f'{name}{what}' if _is_named(layer, len(layers)) else None
            _draw_line(axis, x, y, label, color, style)
    axis.set_ylabel('age of pulled rows (steps)')
    _name_lines(axis)


def _draw_never_written(axis: Any, epochs: Sequence[Epoch]) -> None:
    layers = range(max(len(epoch.ages or ()) for epoch in epochs))
    x = [epoch.epoch for epoch in epochs]
    for layer in layers:
        known = [epoch.ages_of(layer) for epoch in epochs]
        y = [None if ages is None else 100 * ages.never for ages in known]
        name = f'history {layer + 1}' if len(layers) > 1 else 'all histories'
        label = name if _is_named(layer, len(layers)) else None
        _draw_line(axis, x, y, label, _shade(layer, len(layers)), '-')
    axis.set_ylabel('pulled rows never written (%)')
    _name_lines(axis)


def _draw_errors(axis: Any, epochs: Sequence[Epoch]) -> None:
    layers = range(len(epochs[0].errors or ()))
    x = [epoch.epoch for epoch in epochs]
    for layer in layers:
        y = [(epoch.errors or [])[layer].relative for epoch in epochs]
        label = f'history {layer + 1}' if _is_named(layer, len(layers)) else None
        _draw_line(axis, x, y, label, _shade(layer, len(layers)), '-')
    axis.set_ylabel('relative error of histories, before refresh')
    _name_lines(axis)


def _draw_line(
    axis: Any, x: Sequence[float], y: Sequence[Any], label: str | None, color: Any, style: str
) -> None:
    marker = '.' if len(x) <= 20 else None
    y = [math.nan if value is None else value for value in y]
    axis.plot(x, y, style, color=color, linewidth=1.6, marker=marker, label=label)


def _name_lines(axis: Any) -> None:
    """A legend above the lines."""
    _, top = axis.get_ylim()
    rows = -(-len(axis.get_legend_handles_labels()[0]) // 3)
    axis.set_ylim(0, (top or 1.0) * (1 + 0.1 * rows))
    axis.legend(frameon=False, ncols=3, loc='upper left', fontsize='small')


def _is_named(layer: int, num_layers: int) -> bool:
    """Whether the legend has room for a layer: of many, it names the outer and middle ones."""
    return num_layers <= 6 or layer in (0, num_layers // 2, num_layers - 1)


def _shade(layer: int, num_layers: int) -> Any:
    """From the first layer to the last, dark to light."""
    from matplotlib import colormaps

    return colormaps['viridis'](0.85 * layer / max(num_layers - 1, 1))


# Both ############################################################################


def _figure(who: str, width: float) -> Any:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(missing_package(who, 'matplotlib', 'full')) from error
    figure = Figure(figsize=(width, 4.2), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def _in_our_style(axis: Any) -> None:
    axis.grid(color='#dddddd', linewidth=0.6)
    axis.spines[['top', 'right']].set_visible(False)
