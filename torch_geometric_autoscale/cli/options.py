"""From ``key=value`` arguments to resolved settings: Hydra's compose, with checks and hints."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..datasets import available
from ..errors import explain, missing_package
from ..graph_folder import is_graph_folder
from ..training.settings import OPTIONAL

CONF = Path(str(files('torch_geometric_autoscale'))) / 'conf'
GROUPS = ('model', 'dataset')
WHO = 'pygas train'
SEE_HELP = "See 'pygas train --help'."
PATHS = ('out', 'resume', 'root', 'cache', 'dataset.name')
SELF_CHECKED = ('checkpoint.every',)  # of several types; TrainSettings checks it
FREE = ('auto', 'same', '???')  # values that stand for one of another type


def choices(group: str) -> list[str]:
    """Names that a config group offers; of data sets those that ``get_data`` knows."""
    names = sorted(path.stem for path in (CONF / group).glob('*.yaml'))
    if group == 'dataset':
        return [name for name in available() if name in names]
    return names


def compose(arguments: Sequence[str]) -> dict[str, Any]:
    """Resolve the arguments of ``pygas train`` to plain settings.

    Raises:
        ImportError: If Hydra is not installed.
        ValueError: If an argument is no ``key=value``, its key does not exist (near ones are
            listed), or its value is of another type.
    """
    prepared = [_prepare(argument) for argument in arguments]
    last = {name: position for position, (name, _) in enumerate(prepared)}
    # A group named twice: the last one, without what was said of the first one's members.
    overrides = [
        entry for i, entry in enumerate(prepared) if entry[0] not in GROUPS or last[entry[0]] == i
    ]
    chosen = [text for name, texts in overrides if name in GROUPS for text in texts]
    defaults = _hydra(chosen)
    _check_keys(overrides, defaults)
    settings = _hydra([text for _, texts in overrides for text in texts])
    check_types(settings, defaults)
    return settings


def keys_of(arguments: Sequence[str]) -> list[str]:
    """The options that arguments set, by name."""
    return [_prepare(argument)[0] for argument in arguments]


def _hydra(overrides: Sequence[str]) -> dict[str, Any]:
    try:
        import hydra
        from hydra.errors import HydraException
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
    except ImportError as error:
        raise ImportError(missing_package(WHO, 'hydra-core', 'full')) from error
    try:
        with hydra.initialize_config_dir(str(CONF), version_base='1.3'):
            config = hydra.compose('train', list(overrides))
        settings = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException) as error:
        text = ' '.join(f'{error}'.split())
        raise ValueError(
            explain(WHO, 'options must be KEY=VALUE in the grammar of Hydra',
                    text.rstrip('.'), SEE_HELP)
        ) from error  # fmt: skip
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


# Arguments ###########################################################################


def _prepare(argument: str) -> tuple[str, list[str]]:
    """The key of an argument, and the overrides it stands for."""
    key, equals, value = argument.partition('=')
    if not equals or not key or not key.replace('.', '').replace('_', '').isalnum():
        raise ValueError(
            explain(WHO, 'options must be KEY=VALUE', repr(argument), SEE_HELP)
        )  # fmt: skip
    value = value.strip()
    if key == 'full':
        return key, [f'full.run={_switch(value)}']
    if key == 'dataset' and (value.lower().endswith('.npz') or names_graph_folder(value)):
        return key, ['dataset=npz', f'dataset.name={_quoted(value)}']
    if key in GROUPS:
        return key, [f'{key}={_choice(key, value)}']
    if key in PATHS and value not in ('null', ''):
        return key, [f'{key}={_quoted(value)}']
    return key, [f'{key}={value}']


def _switch(value: str) -> str:
    if value.lower() not in ('true', 'false', 'on', 'off', 'yes', 'no', '1', '0'):
        raise ValueError(
            explain(WHO, "'full' must be true or false", repr(value),
                    'Its own settings are full.lr, full.epochs and so on.')
        )  # fmt: skip
    return str(value.lower() in ('true', 'on', 'yes', '1')).lower()


def names_graph_folder(value: str) -> bool:
    """Whether a value names a graph folder; called like a data set, it needs a path."""
    is_path = '/' in value or _plain(value) not in map(_plain, choices('dataset'))
    return is_path and is_graph_folder(Path(value).expanduser())


def _quoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in '\'"':
        value = value[1:-1]
    escaped = value.replace('\\', '\\\\').replace("'", "\\'")
    return f"'{escaped}'"


def _plain(name: str) -> str:
    return ''.join(letter for letter in name.lower() if letter.isalnum())


def _choice(group: str, value: str) -> str:
    names = {_plain(name): name for name in choices(group)}
    if _plain(value) not in names:
        near = difflib.get_close_matches(_plain(value), names, n=3, cutoff=0.5)
        hint = f'Did you mean {" or ".join(repr(names[key]) for key in near)}? ' if near else ''
        file = ', or the path of an .npz file or graph folder' if group == 'dataset' else ''
        raise ValueError(
            explain(WHO, f"'{group}' must be one of {', '.join(names.values())}{file}",
                    repr(value), f'{hint}{SEE_HELP}')
        )  # fmt: skip
    return names[_plain(value)]


# Checks ##############################################################################


def flatten(settings: Mapping[str, Any], prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Every option with its full name."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}', value


def _check_keys(overrides: Sequence[tuple[str, list[str]]], defaults: Mapping[str, Any]) -> None:
    known = [name for name, _ in flatten(defaults)]
    names = [*GROUPS, 'full', *known]
    for key, _ in overrides:
        if key in known or key in (*GROUPS, 'full'):
            continue
        near = difflib.get_close_matches(key, names, n=3, cutoff=0.6)
        near += [name for name in known if name.split('.')[-1] == key and name not in near]
        if near:
            remedy = f'Did you mean {" or ".join(near)}?'
        else:
            remedy = f'Options are {", ".join(names)}.'
        raise ValueError(explain(WHO, 'the option must exist', f"'{key}'", remedy))


def check_types(settings: Mapping[str, Any], defaults: Mapping[str, Any], who: str = WHO) -> None:
    """Raise unless every option has the type of its default."""
    usual = dict(flatten(defaults))
    for name, value in flatten(settings):
        default = usual.get(name)
        if name in SELF_CHECKED or default is None or default in FREE or value == default:
            continue
        kinds: dict[type, tuple[str, Any]] = {
            bool: ('true or false', bool),
            int: ('a whole number', int),
            float: ('a number', (int, float)),
            str: ('a word', str),
        }
        word, kind = kinds.get(type(default), ('', object))
        nullable = value is None and name.split('.')[-1] in (*OPTIONAL, 'root', 'theta')
        if nullable or (isinstance(value, kind) and isinstance(value, bool) == (kind is bool)):
            continue
        raise ValueError(
            explain(who, f"'{name}' must be {word}", repr(value),
                    f'Its default is {default}.')
        )  # fmt: skip
