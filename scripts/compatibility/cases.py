"""The cases of the sweep: every operator, aggregation, model and composition in every option."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch_geometric.nn.conv

from .catalogue import (
    aggregations,
    attention,
    compositions,
    custom,
    edges,
    edges_by_hand,
    geometry,
    node_models,
    relations,
    sums,
    whole_graph,
    wrappers,
)
from .recipe import Options, Recipe

Catalogue = dict[str, Options]


@dataclass(frozen=True)
class Case:
    """One option of one operator, in one depth."""

    table: str
    name: str
    option: str
    depth: int
    recipe: Recipe

    def __str__(self) -> str:
        return f'{self.name} / {self.option} / {self.depth}'


def operators() -> Catalogue:
    """Every operator, in the order of ``torch_geometric.nn.conv``."""
    groups = (custom, sums, attention, edges, relations, geometry, wrappers)
    found = {name: options for group in groups for name, options in group().items()}
    return {name: found[name] for name in torch_geometric.nn.conv.__all__}


@cache
def catalogues() -> dict[str, Catalogue]:
    """The tables of the page."""
    return {
        'operators': operators(),
        'aggregations': aggregations(),
        'models': node_models(),
        'compositions': {**compositions(), **edges_by_hand(), **whole_graph()},
    }


def all_cases() -> Iterator[Case]:
    """Every case of every table."""
    for table, catalogue in catalogues().items():
        for name, options in catalogue.items():
            for option, recipe in options.items():
                for depth in recipe.depths:
                    yield Case(table, name, option, depth, recipe)
