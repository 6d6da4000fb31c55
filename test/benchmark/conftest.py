"""Suites, and experiments that take a moment."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from torch_geometric_autoscale.benchmark.arguments import spell_out
from torch_geometric_autoscale.benchmark.experiment import Experiment, make_experiment
from torch_geometric_autoscale.benchmark.suite import Suite, compose, load_suite

ROOT = Path(__file__).parents[2]
SUITES = {name: load_suite(ROOT / f'{name}_benchmark') for name in ('small', 'large')}


@pytest.fixture
def small() -> Suite:
    return SUITES['small']


@pytest.fixture
def large() -> Suite:
    return SUITES['large']


def experiment_of(suite: Suite, *arguments: str) -> Experiment:
    with warnings.catch_warnings():
        return make_experiment(suite, compose(suite, spell_out(suite, arguments)))


@pytest.fixture
def quick(tmp_path: Path) -> Callable[..., Experiment]:
    """Makes an experiment of two epochs on a stand-in; its records go to ``tmp_path/run``."""

    def make(suite: Suite, *arguments: str, **_: Any) -> Experiment:
        return experiment_of(
            suite, 'fake=true', 'epochs=2', 'runs=1', 'measure_memory=false', 'device=cpu',
            f'out={tmp_path / "run"}', *arguments,
        )  # fmt: skip

    return make
