"""A benchmark suite: a folder with a tree of configurations, and the pairs it runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cli.options import CONF
from ..errors import explain, missing_package


@dataclass(frozen=True)
class Suite:
    """A suite of experiments.

    Attributes:
        folder: Holds ``conf/config.yaml`` and ``results``.
        name: As in the configuration.
        pairs: The data sets of each model.
    """

    folder: Path
    name: str
    pairs: Mapping[str, Sequence[str]]

    @property
    def who(self) -> str:
        """Who speaks in messages."""
        return f'{self.name}_benchmark'

    @property
    def datasets(self) -> list[str]:
        """Data sets of any model, in order."""
        return list(dict.fromkeys(name for names in self.pairs.values() for name in names))

    def check_pair(self, model: str, dataset: str) -> None:
        """Raise for a pair that the suite does not have, and list those it has.

        Raises:
            ValueError: Naming the data sets of every model.
        """
        if dataset in self.pairs.get(model, ()):
            return
        valid = '; '.join(f'{name} on {", ".join(sets)}' for name, sets in self.pairs.items())
        raise ValueError(
            explain(self.who, "'model' and 'dataset' must be a pair of the suite",
                    f'{model} on {dataset}', f'Pairs are {valid}.')
        )  # fmt: skip


def load_suite(folder: str | Path) -> Suite:
    """Read a suite's name and pairs from its ``conf/config.yaml``.

    Raises:
        ImportError: If Hydra is not installed.
        ValueError: If the file is not laid out so.
    """
    try:
        import hydra  # noqa: F401
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import YAMLError
    except ImportError as error:
        raise ImportError(missing_package('benchmark', 'hydra-core', 'full')) from error
    path = Path(folder) / 'conf' / 'config.yaml'
    try:
        config: Any = OmegaConf.load(path)
        name, pairs = config.suite.name, OmegaConf.to_container(config.suite.pairs)
        assert isinstance(pairs, dict)
    except (YAMLError, OmegaConfBaseException, AssertionError, ValueError) as error:
        raise ValueError(
            explain('benchmark', f"'{path}' must have a suite with its name and pairs",
                    ' '.join(f'{error}'.split()).rstrip('.'),
                    'Lay it out as small_benchmark/conf/config.yaml is.')
        ) from error  # fmt: skip
    return Suite(Path(folder), name, {str(model): sets for model, sets in pairs.items()})


def search_path() -> str:
    """The argument that lets Hydra find the options and recipes of the package."""
    quoted = str(CONF).replace('\\', '\\\\').replace("'", "\\'")
    return f"hydra.searchpath=['file://{quoted}']"


def compose(suite: Suite, arguments: Sequence[str]) -> dict[str, Any]:
    """Resolve arguments, as ``arguments.spell_out`` gives them, to settings without Hydra's own.

    ``given`` among them lists the options that the arguments set.
    """
    import hydra

    conf = str((suite.folder / 'conf').absolute())
    with hydra.initialize_config_dir(conf, version_base='1.3'):
        config = hydra.compose('config', [search_path(), *arguments])
    return _plain(config) | {'given': names_of(arguments)}


def names_of(overrides: Sequence[str]) -> list[str]:
    """Full names of the options that overrides set."""
    return [override.partition('=')[0].lstrip('+~') for override in overrides]


def recipe_of(model: str, dataset: str, mode: str = 'gas') -> dict[str, Any]:
    """The settings of a pair where nobody has changed any, but for what the suite decides."""
    from omegaconf import OmegaConf

    paths = [f'recipe/{model}-{dataset}.yaml']
    if mode == 'full' and (CONF / 'recipe' / 'full' / f'{model}-{dataset}.yaml').is_file():
        paths.append(f'recipe/full/{model}-{dataset}.yaml')
    config: Any = OmegaConf.merge(
        OmegaConf.load(CONF / 'benchmark.yaml'),
        {'model': OmegaConf.load(CONF / 'model' / f'{model}.yaml')},
        {'dataset': OmegaConf.load(CONF / 'dataset' / f'{dataset}.yaml')},
        *(OmegaConf.load(CONF / path) for path in paths),
    )
    return _plain(config, resolve=False)


def _plain(config: Any, resolve: bool = True) -> dict[str, Any]:
    from omegaconf import OmegaConf

    settings = OmegaConf.to_container(config, resolve=resolve)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}
