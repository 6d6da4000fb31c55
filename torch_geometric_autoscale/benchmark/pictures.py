"""Pictures of a suite: validation scores over epochs, and how far histories are off."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

from ..errors import missing_package
from ..files import write_atomically
from .collect import Finished
from .history_error import history_errors

COLORS = {'gas': '#0b6e99', 'full': '#d9730d', 'naive': '#448361', 'subgraph': '#9065b0'}
OF_WHOLE_GRAPHS = '#b34a78'
OF_VARIANTS = ('#d9730d', '#448361', '#9065b0', '#b34a78', '#8c6d31', '#55585c', '#c9a400')
TITLES = {
    'gas': 'GAS', 'full': 'full batch', 'naive': 'naive histories', 'subgraph': 'subgraphs',
}  # fmt: skip
USUAL = {  # partition and refresh
    'gas': ('metis', 'every evaluation'), 'naive': ('random', 'never'),
    'subgraph': ('random', 'never'),
}  # fmt: skip
MODEL_NAMES = {
    'gcn': 'GCN', 'gat': 'GAT', 'appnp': 'APPNP', 'gcn2': 'GCNII', 'pna': 'PNA',
    'pna_jk': 'PNA with jumping knowledge', 'gin': 'GIN', 'sage': 'SAGE',
}  # fmt: skip
NAMED_LAYERS = 6  # in a legend, at most
LONG = 100  # scores of a run; with more, a curve is of the means of several epochs
POINTS = 50  # of such a curve

_WIDTH = 6.4  # inches
# Epochs, and mean, least and largest value over seeds at each.
Curve = tuple[list[int], list[float], list[float], list[float]]


def is_of_recipe(finished: Finished) -> bool:
    """Whether it is what its mode stands for with the settings of the pair's recipe.

    So is training on whole graphs in each batch, which has no history to read: where there are
    many graphs, histories are held against that.
    """
    settings = finished.settings
    usual = USUAL.get(settings['mode'])
    if settings['changed']:
        return False
    own = settings['partition'], settings['refresh']
    return usual is None or usual == own or settings['partition'] == 'graphs'


def label_of(finished: Finished) -> str:
    """What tells an experiment from the others on its data set."""
    settings = finished.settings
    changed = [f'{name.rpartition(".")[2]} {settings[name]}' for name in settings['changed']]
    if settings['mode'] == 'gas' and settings['partition'] == 'graphs':
        return ', '.join(['whole graphs in each batch', *changed])
    partition, refresh = settings['partition'], settings['refresh']
    usual = USUAL.get(settings['mode'], (partition, refresh))
    parts = [TITLES[settings['mode']]]
    parts += [f'{partition} parts'] if partition != usual[0] else []
    parts += [f'refresh {refresh}'] if refresh != usual[1] else []
    return ', '.join([*parts, *changed])


def title_of(finished: Finished) -> str:
    """The pair of an experiment."""
    model = finished.settings['model.name']
    return f'{MODEL_NAMES.get(model, model)} on {finished.settings["dataset.name"]}'


def draw_convergence(path: Path, experiments: Sequence[Finished]) -> bool:
    """Draw validation scores of each mode by the recipe; returns whether there are any."""
    return _draw_scores(path, [each for each in experiments if is_of_recipe(each)], _color)


def draw_variants(path: Path, experiments: Sequence[Finished]) -> bool:
    """Draw validation scores of all other settings, beside GAS; returns whether there are any."""
    others = [each for each in experiments if not is_of_recipe(each)]
    gas = [each for each in experiments if is_of_recipe(each) and _color(each) == COLORS['gas']]
    colors = {id(each): color for each, color in zip(others, cycle(OF_VARIANTS), strict=False)}
    return bool(others) and _draw_scores(
        path, [*gas, *others], lambda each: colors.get(id(each), COLORS['gas']), ', variants'
    )


def _draw_scores(
    path: Path, experiments: Sequence[Finished], color_of: Callable[[Finished], str], what: str = ''
) -> bool:
    """Draw validation scores, mean and range over seeds; returns whether there are any."""
    scores = [
        [{e['epoch']: e['val'] for e in run['epochs'] if e['val'] is not None}
         for run in finished.runs]
        for finished in experiments
    ]  # fmt: skip
    step = _epochs_per_point([run for runs in scores for run in runs])
    curves = [
        (finished, _over_seeds([_means_of(run, step) for run in runs]))
        for finished, runs in zip(experiments, scores, strict=True)
    ]
    curves = [(finished, curve) for finished, curve in curves if curve[0]]
    if not curves:
        return False
    curves.sort(key=lambda entry: list(COLORS).index(_mode(entry[0])))
    labels = [f'{label} ({len(finished.runs)})' for finished, label in _labelled(curves)]
    columns = _legend_columns(labels)
    figure, save = _figure(_WIDTH, 4.0 + 0.2 * -(-len(curves) // columns))
    axis = figure.subplots()
    for i, ((finished, curve), label) in enumerate(zip(curves, labels, strict=True)):
        _draw_curve(axis, curve, label, color_of(finished), above=len(curves) - i)  # GAS on top
    averaged = f', means over {step} epochs' if step > 1 else ''
    axis.set(
        title=f'{title_of(experiments[0])}{what}', xlabel='epoch',
        ylabel=f'validation score (%){averaged}',
        ylim=_range_of_interest([curve for _, curve in curves]),
    )  # fmt: skip
    axis.legend(
        frameon=False, loc='upper center', bbox_to_anchor=(0.5, -0.14), ncols=columns,
        title='mean and range (seeds)',
    )  # fmt: skip
    write_atomically(path, save)
    return True


def _color(finished: Finished) -> str:
    whole_graphs = _mode(finished) == 'gas' and finished.settings['partition'] == 'graphs'
    return OF_WHOLE_GRAPHS if whole_graphs else COLORS[_mode(finished)]


def _labelled(curves: Sequence[tuple[Finished, Curve]]) -> list[tuple[Finished, str]]:
    """Labels of curves; beside batches of whole graphs, full batch is told from them."""
    several = any(finished.settings['partition'] == 'graphs' for finished, _ in curves)
    return [
        (finished, 'full batch, one step per epoch')
        if several and _mode(finished) == 'full' else (finished, label_of(finished))
        for finished, _ in curves
    ]  # fmt: skip


def _epochs_per_point(runs: Sequence[Mapping[int, float]]) -> int:
    """Of curves in one picture; single epochs of long ones would hide each other."""
    if max(map(len, runs), default=0) <= LONG:
        return 1
    return -(-max(max(run, default=0) for run in runs) // POINTS)


def _means_of(
    scores: Mapping[int, float], step: int, mean: Callable[[list[float]], float] = statistics.fmean
) -> dict[int, float]:
    """The mean of every ``step`` epochs, at the last of them."""
    if step <= 1:
        return dict(scores)
    groups: dict[int, list[float]] = {}
    for epoch, score in scores.items():
        groups.setdefault(-(-epoch // step) * step, []).append(score)
    return {epoch: mean(values) for epoch, values in groups.items()}


def _legend_columns(labels: Sequence[str]) -> int:
    """As many as fit below the axes: a legend that is wider would press them together."""
    width = 0.07 * max(map(len, labels)) + 0.5  # inches of a letter; of a line and margins
    return max(1, min(3, len(labels), int(_WIDTH / width)))


def draw_errors(path: Path, experiments: Sequence[Finished]) -> bool:
    """Draw the relative error of every history over epochs, where it was measured.

    One panel for each experiment, on the same axes. Returns whether there are any.
    """
    measured = [
        (finished, [errors for run in finished.runs if (errors := history_errors(run))])
        for finished in experiments
    ]
    measured = [(finished, runs) for finished, runs in measured if runs]
    if not measured:
        return False
    measured.sort(key=lambda entry: list(COLORS).index(_mode(entry[0])))
    figure, save = _figure(1.2 + 3.8 * len(measured), 3.8)
    axes = figure.subplots(1, len(measured), sharey=True, squeeze=False)[0]
    firsts: list[dict[int, float]] = [
        {e['epoch']: e['errors'][0] for e in run} for _, runs in measured for run in runs
    ]
    step = _epochs_per_point(firsts)
    for axis, (finished, runs) in zip(axes, measured, strict=True):
        _draw_layers(axis, runs, step)
        axis.set(title=f'{label_of(finished)} ({len(runs)})', xlabel='epoch', yscale='log')
    medians = f',\nmedians over {step} epochs' if step > 1 else ''
    axes[0].set_ylabel(f'relative error of the history{medians}')
    axes[-1].legend(frameon=False, loc='center left', bbox_to_anchor=(1, 0.5))
    figure.suptitle(f'{title_of(measured[0][0])}: mean and range over seeds')
    write_atomically(path, save)
    return True


def _draw_layers(axis: Any, runs: Sequence[Sequence[Mapping[str, Any]]], step: int) -> None:
    """One curve for each history, from dark (first) to light (last).

    Medians of every ``step`` epochs: an error relative to rows close to zero may be of any size.
    """
    from matplotlib import colormaps

    layers = len(runs[0][0]['errors'])
    between_names = -(-layers // NAMED_LAYERS)
    for layer in range(layers):
        errors = [{e['epoch']: e['errors'][layer] for e in run} for run in runs]
        curve = _over_seeds([_means_of(run, step, statistics.median) for run in errors])
        named = layer % between_names == 0 or layer == layers - 1
        color = colormaps['viridis'](0.9 * layer / max(layers - 1, 1))
        _draw_curve(axis, curve, f'layer {layer + 1}' if named else None, color, layers < 10)


def _mode(finished: Finished) -> str:
    return str(finished.settings['mode'])


def _over_seeds(runs: Sequence[Mapping[int, float]]) -> Curve:
    """Of the epochs that every run has."""
    epochs = sorted(set.intersection(*(set(run) for run in runs))) if runs else []
    values = [[run[epoch] for run in runs] for epoch in epochs]
    return (
        epochs, [statistics.fmean(v) for v in values], [min(v) for v in values],
        [max(v) for v in values],
    )  # fmt: skip


def _draw_curve(
    axis: Any, curve: Curve, label: str | None, color: Any, band: bool = True, above: int = 0
) -> None:
    epochs, means, low, high = curve
    marker = 'o' if len(epochs) == 1 else None
    axis.plot(
        epochs,
        means,
        color=color,
        linewidth=1.6,
        marker=marker,
        label=label,
        zorder=2 + 0.01 * above,
    )
    if band:
        axis.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
    axis.grid(color='#dddddd', linewidth=0.6)
    axis.spines[['top', 'right']].set_visible(False)


def _range_of_interest(curves: Sequence[Curve]) -> tuple[float, float]:
    """Of an axis: the first few epochs' low scores would flatten the rest."""
    values = sorted(value for _, _, low, _ in curves for value in low)
    top, tenth = max(max(high) for _, _, _, high in curves), values[len(values) // 10]
    bottom = max(0.0, tenth - 0.15 * (top - tenth) - 1.0)
    return bottom, top + 0.04 * (top - bottom)


def _figure(width: float, height: float) -> tuple[Any, Callable[[Any], object]]:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(missing_package('pygas report', 'matplotlib', 'full')) from error
    figure = Figure(figsize=(width, height), dpi=120, layout='constrained')
    FigureCanvasAgg(figure)
    return figure, lambda file: figure.savefig(file, format='png')
