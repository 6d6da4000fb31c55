"""Pictures of a suite: validation scores over epochs, and how far histories are off."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import missing_package
from ..training.files import write_atomically
from .collect import Finished

COLORS = ('#0b6e99', '#d9730d', '#448361', '#9065b0', '#c14c8a', '#787774')
TITLES = {
    'gas': 'GAS', 'full': 'full batch', 'naive': 'naive histories', 'subgraph': 'subgraphs',
}  # fmt: skip
USUAL = {
    'gas': ('metis', 'every evaluation'), 'naive': ('random', 'never'),
    'subgraph': ('random', 'never'),
}  # fmt: skip

Curve = tuple[list[int], list[float], list[float]]


def label_of(finished: Finished) -> str:
    """What tells an experiment from the others on its data set."""
    mode = finished.settings['mode']
    usual = USUAL.get(mode)
    own = (finished.settings['partition'], finished.settings['refresh'])
    more = '' if usual is None else ', '.join(a for a, b in zip(own, usual, strict=True) if a != b)
    return f'{TITLES[mode]}, {more}' if more else TITLES[mode]


def draw_convergence(path: Path, experiments: Sequence[Finished], title: str) -> bool:
    """Draw validation scores, mean and range over seeds; returns whether there are any."""

    def curve(finished: Finished) -> Curve:
        return _over_seeds(
            [{e['epoch']: e['val'] for e in run['epochs'] if e['val'] is not None}
             for run in finished.runs]
        )  # fmt: skip

    curves = [(label_of(finished), curve(finished)) for finished in experiments]
    return _draw(path, curves, title, 'validation score (%)')


def draw_errors(path: Path, finished: Finished, title: str) -> bool:
    """Draw the relative error of every history over epochs; returns whether it was measured."""
    measured = [run['history_error'] for run in finished.runs if run.get('history_error')]
    if not measured:
        return False
    layers = range(len(measured[0][0]['errors']))

    def curve(layer: int) -> Curve:
        return _over_seeds([{e['epoch']: e['errors'][layer] for e in run} for run in measured])

    curves = [(f'layer {layer + 1}', curve(layer)) for layer in layers]
    return _draw(path, curves, title, 'relative error of the history')


def _over_seeds(runs: Sequence[Mapping[int, float]]) -> Curve:
    """Epochs that every run has, with their means and largest distances from them."""
    epochs = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    means = [statistics.fmean(run[epoch] for run in runs) for epoch in epochs]
    spread = [
        max(abs(run[epoch] - mean) for run in runs)
        for epoch, mean in zip(epochs, means, strict=True)
    ]
    return epochs, means, spread


def _draw(path: Path, curves: Sequence[tuple[str, Curve]], title: str, what: str) -> bool:
    drawn = [(label, curve) for label, curve in curves if curve[0]]
    if not drawn:
        return False
    figure, save = _figure()
    axis = figure.subplots()
    for i, (label, (epochs, means, spread)) in enumerate(drawn):
        color = COLORS[i % len(COLORS)]
        low = [mean - s for mean, s in zip(means, spread, strict=True)]
        high = [mean + s for mean, s in zip(means, spread, strict=True)]
        axis.plot(epochs, means, color=color, linewidth=1.6, label=label)
        axis.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
    axis.set(title=title, xlabel='epoch', ylabel=what)
    axis.grid(color='#dddddd', linewidth=0.6)
    axis.spines[['top', 'right']].set_visible(False)
    axis.legend(frameon=False)
    write_atomically(path, save)
    return True


def _figure() -> tuple[Any, Callable[[Any], object]]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(missing_package('pygas report', 'matplotlib', 'full')) from error
    figure = Figure(figsize=(6.4, 4.0), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure, lambda file: figure.savefig(file, format='png')
