"""The arguments of a suite in the spelling that Hydra's configuration tree knows."""

import difflib
import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from ..cli.options import CONF, flatten
from ..datasets import available, canonical
from ..errors import explain
from .suite import Suite

PATHS = ('out', 'root', 'cache')
# Flags of Hydra's that the next argument belongs to.
FLAGS_WITH_VALUE = (
    '--cfg', '-c', '--info', '-i', '--package', '-p', '--config-path', '-cp', '--config-name',
    '-cn', '--config-dir', '-cd',
)  # fmt: skip


def spell_out(suite: Suite, arguments: Sequence[str]) -> list[str]:
    """Bring names into the spelling of the suite and quote paths.

    ``dataset=coauthorcs`` becomes ``dataset=coauthor-cs``, and so does each name of a sweep
    ``dataset=arxiv,yelp``. What is Hydra's own passes.

    Raises:
        ValueError: For an unknown model, data set or option; near ones are named.
    """
    options = _check_form(suite, arguments)
    models = _models_among(suite, arguments)
    spelled = [
        _spell_out(suite, argument, models) if is_option else argument
        for argument, is_option in zip(arguments, options, strict=True)
    ]
    sweeps = is_sweep(arguments)
    for argument in (a for a, is_option in zip(spelled, options, strict=True) if is_option):
        _check_grammar(suite, argument, sweeps)
    return spelled


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether arguments ask for one experiment for each of several values."""
    return any(argument in ('-m', '--multirun') for argument in arguments)


def experiments_of(suite: Suite, spelled: Sequence[str]) -> list[list[str]]:
    """The options of each experiment of a sweep, as Hydra's own sweeper multiplies them out.

    Args:
        spelled: From :func:`spell_out`.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser, choices = OverridesParser.create(), []
    for argument, is_option in zip(spelled, _check_form(suite, spelled), strict=True):
        if not is_option or argument.startswith('hydra'):
            continue
        override = parser.parse_override(argument)
        if override.is_sweep_override():
            key = override.get_key_element()
            choices.append([f'{key}={value}' for value in override.sweep_string_iterator()])
        else:
            choices.append([argument])
    return [list(each) for each in itertools.product(*choices)]


def _check_form(suite: Suite, arguments: Sequence[str]) -> list[bool]:
    """Which arguments are options; the others are flags of Hydra's and what follows them."""
    options, before = [], ''
    for argument in arguments:
        is_flag = argument.startswith('-')
        options.append(not is_flag and before not in FLAGS_WITH_VALUE)
        if options[-1] and ('=' not in argument or argument.startswith(('+', '~'))):
            raise ValueError(
                explain(suite.who, 'options must be KEY=VALUE, of keys that exist', repr(argument),
                        "'--help' lists them.")
            )  # fmt: skip
        before = argument if is_flag else ''
    return options


def _check_grammar(suite: Suite, argument: str, sweeps: bool) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        override = OverridesParser.create().parse_override(argument)
    except HydraException as error:
        raise ValueError(
            explain(suite.who, 'options must be KEY=VALUE in the grammar of Hydra',
                    repr(argument), 'Put odd values in quotes.')
        ) from error  # fmt: skip
    if override.is_sweep_override() and not sweeps:
        raise ValueError(
            explain(suite.who, 'an option must have one value', repr(argument),
                    "Pass '-m' to run one experiment for each, or [...] for a list.")
        )  # fmt: skip


def _spell_out(suite: Suite, argument: str, models: Iterable[str]) -> str:
    key, _, value = argument.partition('=')
    if key.startswith('hydra'):
        return argument
    if key == 'model':
        return f'model={",".join(_model(suite, name) for name in value.split(","))}'
    if key == 'dataset':
        return f'dataset={",".join(_dataset(suite, name) for name in value.split(","))}'
    _check_key(suite, key, models)
    if key in PATHS and value not in ('', 'null') and value[0] not in '\'"':
        escaped = value.replace('\\', '\\\\').replace("'", "\\'")
        return f"{key}='{escaped}'"
    return argument


def _models_among(suite: Suite, arguments: Sequence[str]) -> list[str]:
    """The models that arguments name; all of the suite where they name none."""
    named = [a.partition('=')[2].split(',') for a in arguments if a.startswith('model=')]
    return [_model(suite, name) for name in named[-1]] if named else list(suite.pairs)


def _model(suite: Suite, name: str) -> str:
    return _one_of(suite, 'model', name, {_plain(model): model for model in suite.pairs})


def _dataset(suite: Suite, name: str) -> str:
    known = {_plain(dataset): dataset for dataset in suite.datasets}
    try:
        found = canonical(name.strip())
    except ValueError:
        found = name
    # A data set of the library that this suite does not have is refused with the valid pairs.
    known |= {_plain(dataset): dataset for dataset in available() if dataset == found}
    return _one_of(suite, 'dataset', found, known)


def _one_of(suite: Suite, what: str, name: str, known: dict[str, str]) -> str:
    if _plain(name) in known:
        return known[_plain(name)]
    near = difflib.get_close_matches(_plain(name), known, n=3, cutoff=0.5)
    hint = f'Did you mean {" or ".join(repr(known[key]) for key in near)}?' if near else (
        'Choose one of them.'
    )  # fmt: skip
    raise ValueError(
        explain(suite.who, f"'{what}' must be one of {', '.join(known.values())}", repr(name), hint)
    )


def _plain(name: str) -> str:
    return ''.join(letter for letter in name.lower() if letter.isalnum())


def _check_key(suite: Suite, key: str, models: Iterable[str]) -> None:
    known = ['model', 'dataset', 'dataset.split', *_options('benchmark.yaml')]
    for model in models:
        known += [f'model.{name}' for name in _options(f'model/{model}.yaml') if name != 'name']
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    near += [name for name in known if name.split('.')[-1] == key and name not in near]
    remedy = f'Did you mean {" or ".join(dict.fromkeys(near))}?' if near else (
        f'Options are {", ".join(dict.fromkeys(known))}.'
    )  # fmt: skip
    raise ValueError(explain(suite.who, 'the option must exist', f"'{key}'", remedy))


def _options(path: str) -> list[str]:
    from omegaconf import OmegaConf

    config: Any = OmegaConf.to_container(OmegaConf.load(CONF / path))
    return [name for name, _ in flatten(config)]
