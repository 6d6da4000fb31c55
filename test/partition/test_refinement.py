"""Pieces of the label propagation partitioner, each on a graph one can draw."""

import numpy as np
import pytest

from torch_geometric_autoscale.partition.clustering import cluster
from torch_geometric_autoscale.partition.growing import grow
from torch_geometric_autoscale.partition.label_propagation_backend import label_propagation_parts
from torch_geometric_autoscale.partition.level import Level, admit, contract, sum_by_key
from torch_geometric_autoscale.partition.refinement import cut_weight, rebalance, refine
from torch_geometric_autoscale.partition.simple_graph import SimpleGraph


def level_of(edges: list[tuple[int, int]], num_nodes: int, weights=None, node_weight=None) -> Level:
    """Both directions of ``edges``, sorted by source."""
    pairs = np.array(edges + [(b, a) for a, b in edges], dtype=np.int64).reshape(-1, 2)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    weight = None if weights is None else np.array(weights * 2)[order]
    node_weight = [1] * num_nodes if node_weight is None else node_weight
    return Level(pairs[order, 0], pairs[order, 1], weight, np.array(node_weight))


# Two cliques of four, 0-3 and 4-7, and the bridge 3-4.
CLIQUES = [(a, b) for base in (0, 4) for a in range(base, base + 4) for b in range(a + 1, base + 4)]
BRIDGED = level_of([*CLIQUES, (3, 4)], 8)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_keys_are_counted_or_their_weights_summed():
    key = np.array([5, 2, 5, 5])
    assert [array.tolist() for array in sum_by_key(key, None)] == [[2, 5], [1, 3]]
    weight = np.array([1, 10, 2, 3])
    assert [array.tolist() for array in sum_by_key(key, weight)] == [[2, 5], [10, 6]]


def test_applicants_come_in_by_priority_until_the_label_is_full():
    label, weight = np.array([0, 0, 0, 1]), np.array([1, 1, 1, 5])
    admitted = admit(label, weight, np.array([7, 9, 8, 1]), room=np.array([2, 4]))
    assert sorted(admitted.tolist()) == [1, 2]


def test_merging_adds_up_edges_and_nodes():
    merged = contract(BRIDGED, np.array([0, 0, 1, 1, 2, 2, 2, 2]), 3)
    assert merged.source.tolist() == [0, 1, 1, 2]
    assert merged.target.tolist() == [1, 0, 2, 1]
    assert merged.weight is not None
    assert merged.weight.tolist() == [4, 4, 1, 1]
    assert merged.node_weight.tolist() == [2, 2, 4]


def test_clusters_stay_within_their_limit(rng):
    label, count = cluster(BRIDGED, 3, 8, rng)
    assert np.bincount(label).max() <= 3
    assert count < 8


def test_leaves_of_a_hub_that_is_full_join_each_other(rng):
    star = level_of([(0, leaf) for leaf in range(1, 101)], 101)
    label, count = cluster(star, 10, 8, rng)
    assert np.bincount(label).max() <= 10
    assert count <= 12


def test_growing_reaches_its_share_across_components(rng):
    apart = level_of(CLIQUES, 8)
    part = grow(apart, 2, rng)
    assert np.bincount(part).tolist() == [4, 4]
    assert cut_weight(apart, part) == 0


def test_refinement_repairs_two_nodes_on_the_wrong_side(rng):
    wrong = np.array([0, 0, 0, 1, 1, 1, 1, 0])
    part = refine(BRIDGED, wrong, 2, capacity=5, rounds=8, rng=rng)
    assert part.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert wrong.tolist() == [0, 0, 0, 1, 1, 1, 1, 0]


def test_refinement_never_returns_a_wider_cut(rng):
    level = level_of(CLIQUES, 8, weights=list(range(1, 13)))
    for _ in range(20):
        start = rng.permutation(np.arange(8) % 2)
        part = refine(level, start, 2, capacity=5, rounds=4, rng=rng, boldness=0.75)
        assert cut_weight(level, part) <= cut_weight(level, start)
        assert np.bincount(part, minlength=2).max() <= 5


def test_an_overfull_part_gives_away_what_it_is_least_tied_to(rng):
    # Node 3 belongs to the second clique as much as to the first, all others to one.
    level = level_of([*CLIQUES, (3, 4), (3, 5), (3, 6)], 8)
    part = rebalance(level, np.array([0, 0, 0, 0, 0, 1, 1, 1]), 2, 4, rng)
    assert part.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_everything_in_one_part_is_spread_to_the_capacity(rng):
    for num_parts in (2, 4, 8):
        part = rebalance(BRIDGED, np.zeros(8, dtype=np.int64), num_parts, 8 // num_parts, rng)
        assert np.bincount(part, minlength=num_parts).tolist() == [8 // num_parts] * num_parts


def test_nodes_too_heavy_for_any_part_stay_and_others_leave(rng):
    level = level_of([(0, 1)], 3, weights=[1], node_weight=[9, 1, 1])
    part = rebalance(level, np.array([0, 0, 1]), 2, 6, rng)
    assert part[0] == 0
    assert part[1] == 1


def test_isolated_nodes_fill_the_lightest_parts():
    # A triangle and seven nodes without edges.
    graph = SimpleGraph(np.array([0, 2, 4, 6, *[6] * 7]), np.array([1, 2, 0, 2, 0, 1]))
    part = label_propagation_parts(graph, 3, seed=0)
    assert sorted(np.bincount(part).tolist()) == [3, 3, 4]
