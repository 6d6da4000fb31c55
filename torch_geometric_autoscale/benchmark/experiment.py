"""What one experiment is: settings that are checked and resolved, and the seeds of its runs."""

import copy
import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cli.options import check_types, flatten
from ..errors import explain
from ..partition import available_methods
from ..training import TrainSettings
from .ignored import check_effective
from .stand_in import SHAPES
from .suite import Suite, recipe_of

MODES = ('gas', 'full', 'naive', 'subgraph')
METHODS = ('metis', 'kaminpar', 'random', 'lp', 'graphs')
# What may differ between the runs of an experiment without making it another one.
INCIDENTAL = (
    'seed', 'runs', 'out', 'root', 'device', 'cache', 'num_workers', 'measure_memory',
    'measure_error', 'checkpoint_every', 'features', 'eval_batch_size',
    'history',
)  # fmt: skip
# Settings that say which of the methods to compare this is.
OF_THE_MODE = ('mode', 'partition', 'refresh', 'compensation', 'fake')
# Settings whose values are of several types, or whose check names the values to choose from.
OF_SEVERAL_TYPES = (
    'mode', 'seed', 'runs', 'out', 'root', 'device', 'partition', 'refresh', 'compensation',
    'num_parts', 'batch_size', 'cache', 'self_loops', 'features', 'fake', 'measure_error',
    'measure_memory', 'history', 'checkpoint_every', 'dataset',
)  # fmt: skip
# Settings of a run that bear the same name there.
OF_A_RUN = (
    'epochs', 'max_steps', 'num_workers', 'lr', 'schedule', 'reg_weight_decay',
    'nonreg_weight_decay', 'grad_norm', 'eval_every', 'loss_weighting', 'drop_unlabelled',
    'measure_memory', 'measure_error', 'checkpoint_every', 'eval_batch_size',
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """A model on a data set, trained in one way with several seeds.

    Attributes:
        suite: Where it belongs.
        settings: Resolved: nothing is left to the mode or to what is installed. ``changed`` names
            those that differ from the recipe of the pair.
        seeds: Of its runs.
        folder: Of its records.
    """

    suite: Suite
    settings: dict[str, Any]
    seeds: list[int]
    folder: Path

    def train_settings(self, seed: int, batch_size: int) -> TrainSettings:
        """Settings of the run with a seed."""
        settings = self.settings
        return TrainSettings(
            mode='full' if settings['mode'] == 'full' else 'gas',
            batch_size=batch_size, seed=seed, refresh=refresh_of(settings['refresh']),
            **{f'history_{name}': value for name, value in settings['history'].items()},
            **{name: settings[name] for name in OF_A_RUN},
        )  # fmt: skip


def identity_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that every run of an experiment shares."""
    identity = {key: value for key, value in settings.items() if key not in INCIDENTAL}
    # The medium of histories changes no number; runs of an earlier version have no type of theirs.
    dtype = settings.get('history', {}).get('dtype', 'auto')
    return identity if dtype == 'auto' else {**identity, 'history': {'dtype': dtype}}


def make_experiment(suite: Suite, composed: Mapping[str, Any]) -> Experiment:
    """Check composed settings and resolve what they leave open.

    Raises:
        ValueError: For a pair that the suite does not have, or a value out of range.
    """
    settings = {k: v for k, v in composed.items() if k not in ('suite', 'full', 'given')}
    suite.check_pair(settings['model']['name'], settings['dataset']['name'])
    _check_choice(suite, 'mode', settings['mode'], MODES)
    if settings['mode'] == 'full':
        settings = _with_full_recipe(settings, composed.get('given', ()))
    _check_types(suite, settings)
    _check_choice(suite, 'partition', settings['partition'], ('auto', *METHODS))
    _check_choice(suite, 'features', settings['features'], ('dense', 'sparse'))
    _check_choice(suite, 'compensation', settings['compensation'], ('none',))
    for name in ('fake', 'measure_error', 'measure_memory'):
        _check_choice(suite, name, settings[name], (True, False))
    _check_ranges(suite, settings)
    usual = _usual_of(settings['mode'])
    if settings['partition'] == 'auto':
        settings['partition'] = usual['partition']
    if settings['mode'] == 'full' and settings['partition'] == 'graphs':
        raise ValueError(
            explain(suite.who, "'partition' must not be graphs for mode=full, which has one part",
                    'graphs', 'Leave one of them out.')
        )  # fmt: skip
    if settings['refresh'] == 'auto':
        settings['refresh'] = usual['refresh']
    settings['refresh'] = _plain_refresh(suite, settings['refresh'])
    given = composed.get('given', ())
    check_effective(suite, settings, _usual_settings(settings), given)
    settings = {'suite': suite.name, 'changed': changed_options(settings), **settings}
    seeds = _seeds(suite, settings, given)
    settings['runs'] = len(seeds)
    folder = settings['out'] or _default_folder(suite, settings)
    experiment = Experiment(suite, settings, seeds, Path(str(folder)).expanduser())
    experiment.train_settings(seeds[0], 1)  # a wrong value is told before anything is loaded
    return experiment


def _check_types(suite: Suite, settings: Mapping[str, Any]) -> None:
    """Raise unless options are of their kind; those of several kinds are checked elsewhere."""
    usual = recipe_of(settings['model']['name'], settings['dataset']['name'])
    checked = {key: settings[key] for key in settings if key not in OF_SEVERAL_TYPES}
    check_types(checked, usual, suite.who)
    loops = settings['self_loops']
    if loops != 'same' and not isinstance(loops, bool):
        raise ValueError(
            explain(suite.who, "'self_loops' must be true, false or same", repr(loops),
                    'Pass one of them.')
        )  # fmt: skip


def _check_ranges(suite: Suite, settings: Mapping[str, Any]) -> None:
    """Raise for numbers out of range that only graph or model would refuse, hours later."""
    for name in ('num_parts', 'batch_size'):
        if settings[name] != 'auto':
            _check_whole(suite, name, settings[name], least=1)
    if not 0 <= settings['edge_dropout'] <= 1:
        raise ValueError(
            explain(suite.who, "'edge_dropout' must lie in [0, 1]", settings['edge_dropout'],
                    'Pass a share of the edges.')
        )  # fmt: skip
    split, shape = settings['dataset']['split'], SHAPES.get(settings['dataset']['name'])
    if split is None:
        return
    _check_whole(suite, 'dataset.split', split, least=0)
    if shape is not None and split >= shape.splits:
        splits = 'one split' if shape.splits == 1 else f'splits 0 to {shape.splits - 1}'
        raise ValueError(
            explain(suite.who, f"'dataset.split' must be one that {settings['dataset']['name']} "
                    f'has: {splits}', split, 'Leave it out to pick by the seed.')
        )  # fmt: skip


def _with_full_recipe(settings: Mapping[str, Any], given: Container[str]) -> dict[str, Any]:
    """Settings with what full batch has of its own, but for the options that are given."""
    pair = settings['model']['name'], settings['dataset']['name']
    usual, own = (dict(flatten(recipe_of(*pair, mode))) for mode in ('gas', 'full'))
    changed = copy.deepcopy(dict(settings))
    for name in own:
        if own[name] == usual[name] or name in given:
            continue
        group, _, option = name.rpartition('.')
        (changed[group] if group else changed)[option] = own[name]
    return changed


def recipe_of_run(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the recipe of a run's pair and mode says."""
    return recipe_of(settings['model']['name'], settings['dataset']['name'], settings['mode'])


def changed_options(settings: Mapping[str, Any]) -> list[str]:
    """Names of the options that differ from the pair's recipe, the choice of a mode left out."""
    usual = recipe_of_run(settings)
    here, there = (
        {k: v for k, v in flatten(identity_of(each)) if k not in OF_THE_MODE}
        for each in (settings, usual)
    )
    return [name for name, value in here.items() if value != there.get(name)]


def _usual_of(mode: str) -> dict[str, str]:
    """The partition and refresh that a mode has where nobody chooses them."""
    if mode in ('naive', 'subgraph'):
        return {'partition': 'random', 'refresh': 'never'}
    methods = available_methods()
    partition = 'metis' if 'metis' in methods else methods[0]
    return {'partition': partition, 'refresh': 'every evaluation'}


def _usual_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What settings of a pair and mode are where nobody sets any."""
    return recipe_of_run(settings) | _usual_of(settings['mode'])


def refresh_of(words: str) -> str | int:
    """``TrainSettings.refresh`` from ``every epoch``, ``every 5 epochs`` and so on."""
    if words in ('never', 'every evaluation'):
        return 'never' if words == 'never' else 'evaluation'
    return 1 if words == 'every epoch' else int(words.split()[1])


def _plain_refresh(suite: Suite, value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = f'every {value} epochs'
    words = ' '.join(str(value).lower().split())
    every = re.fullmatch(r'every ([1-9]\d*) epochs?', words)
    if every:
        return 'every epoch' if every[1] == '1' else f'every {every[1]} epochs'
    if words not in ('never', 'every epoch', 'every evaluation'):
        raise ValueError(
            explain(suite.who, "'refresh' must be never, every epoch, every N epochs or every "
                    'evaluation', repr(value), 'Leave it out to have what the mode asks for.')
        )  # fmt: skip
    return words


def _seeds(suite: Suite, settings: Mapping[str, Any], given: Container[str]) -> list[int]:
    first, runs = settings['seed'], settings['runs']
    if isinstance(first, list):
        seeds = first
        if 'runs' in given and runs != len(seeds):
            raise ValueError(
                explain(suite.who, f"'runs' must be left out where 'seed' lists {len(seeds)}, one "
                        'for each run', repr(runs), 'Or pass the first seed alone.')
            )  # fmt: skip
    else:
        _check_whole(suite, 'runs', runs, least=1)
        _check_whole(suite, 'seed', first, least=0)
        seeds = list(range(first, first + runs))
    for seed in seeds:
        _check_whole(suite, 'seed', seed, least=0)
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice or not seeds:
        got = f'{", ".join(map(str, twice))} more than once' if twice else 'none'
        raise ValueError(
            explain(suite.who, "'seed' must list different seeds", got,
                    'A seed that runs twice gives the same numbers twice.')
        )  # fmt: skip
    return seeds


def _default_folder(suite: Suite, settings: Mapping[str, Any]) -> Path:
    """Named after what is unusual for the mode, however it came about: one name, one experiment."""
    mode = settings['mode']
    parts = [settings['model']['name'], settings['dataset']['name'], mode]
    if mode != 'full':  # one part, and no histories
        unusual = [name for name, usual in _usual_of(mode).items() if settings[name] != usual]
        parts += [settings[name].replace(' ', '-') for name in unusual]
    if settings['history']['dtype'] != 'auto':
        parts.append(settings['history']['dtype'])
    name = '-'.join(parts)
    if settings['fake']:  # never beside real records
        return Path('runs') / f'{suite.name}-fake' / name
    return suite.folder / 'results' / 'records' / name


def _check_choice(suite: Suite, name: str, value: Any, choices: tuple[Any, ...]) -> None:
    if (type(value), value) not in [(type(choice), choice) for choice in choices]:
        raise ValueError(
            explain(suite.who, f"'{name}' must be one of {', '.join(map(str, choices))}",
                    repr(value), 'Pass one of them.')
        )  # fmt: skip


def _check_whole(suite: Suite, name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            explain(suite.who, f"'{name}' must be a whole number from {least} on", repr(value),
                    'Pass such a number.')
        )  # fmt: skip
