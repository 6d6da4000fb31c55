"""A graph groups its edges by target and knows what only the whole graph can know."""

import copy
import pickle

import pytest
import torch

from torch_geometric_autoscale.graph import Graph, check_same_graph, original_gcn_norm

# Into 0: 2 and 2; into 1: 0; into 2: 3 and 2. Node 4 is isolated.
EDGE_INDEX = torch.tensor([[2, 0, 3, 2, 2], [0, 1, 2, 0, 2]])
WEIGHT = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])


def dense(graph: Graph) -> torch.Tensor:
    out = torch.zeros(graph.num_nodes, graph.num_nodes, dtype=torch.float64)
    source, target = graph.edge_index()
    return out.index_put_((target, source), graph.values(torch.float64), accumulate=True)


def test_edges_are_grouped_by_target_in_their_given_order():
    graph = Graph(EDGE_INDEX, 5, WEIGHT)
    assert graph.rowptr.tolist() == [0, 2, 3, 5, 5, 5]
    assert graph.col.tolist() == [2, 2, 0, 3, 2]
    assert graph.weight.tolist() == [1, 4, 2, 3, 5]
    assert graph.edge_id.tolist() == [0, 3, 1, 2, 4]
    assert graph.target().tolist() == [0, 0, 1, 2, 2]


def test_grouped_edges_stay_where_they_are():
    order = EDGE_INDEX[1].argsort(stable=True)
    assert Graph(EDGE_INDEX[:, order], 5).edge_id is None


def test_a_graph_without_edges_or_nodes_is_a_graph():
    none = torch.empty(2, 0, dtype=torch.long)
    assert Graph(none, 3).rowptr.tolist() == [0, 0, 0, 0]
    assert Graph(none, 3).max_degree == 0
    assert Graph(none, 0).rowptr.tolist() == [0]
    assert Graph(none, 0).max_degree == 0
    assert Graph(none, 3).fingerprint != Graph(none, 4).fingerprint


def test_the_largest_degree_counts_duplicates():
    assert Graph(EDGE_INDEX, 5).max_degree == 2


def test_weights_may_be_integers():
    graph = Graph(EDGE_INDEX, 5, torch.tensor([1, 2, 3, 4, 5]))
    assert graph.values(torch.float32).tolist() == [1.0, 4.0, 2.0, 3.0, 5.0]


def test_the_fingerprint_is_that_of_the_structure():
    graph = Graph(EDGE_INDEX, 5)
    assert Graph(EDGE_INDEX, 5, WEIGHT).fingerprint == graph.fingerprint
    assert Graph(EDGE_INDEX.flip(1), 5).fingerprint == graph.fingerprint
    others = [
        Graph(EDGE_INDEX, 6),
        Graph(EDGE_INDEX.flip(0), 5),
        Graph(EDGE_INDEX[:, :4], 5),
        Graph(EDGE_INDEX[:, [0, 0, *range(1, 5)]], 5),
        Graph(torch.tensor([[1, 0, 3, 3, 2], [0, 1, 2, 0, 2]]), 5),  # 1 + 3 instead of 2 + 2
        Graph(torch.tensor([[2, 3, 0, 2, 2], [0, 1, 2, 0, 2]]), 5),
    ]
    assert len({other.fingerprint for other in [graph, *others]}) == 7


def test_another_graph_is_refused_where_both_are_known():
    check_same_graph('who', None, 'a' * 32)
    check_same_graph('who', 'a' * 32, None)
    check_same_graph('who', 'a' * 32, 'a' * 32)
    with pytest.raises(ValueError, match=r'who: .* \(got graph bbbbbbbb, histories of graph aaaa'):
        check_same_graph('who', 'a' * 32, 'b' * 32)


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('improved', [False, True])
@pytest.mark.parametrize('add_self_loops', [False, True])
def test_gcn_norm_is_that_of_pyg_on_the_whole_graph(weighted, improved, add_self_loops):
    graph = Graph(EDGE_INDEX, 5, WEIGHT)
    key = graph.gcn_norm(improved, add_self_loops, torch.float64, weighted)
    edge_index, weight = original_gcn_norm(
        EDGE_INDEX, WEIGHT.double() if weighted else None, 5, improved, add_self_loops,
        dtype=torch.float64,
    )  # fmt: skip
    expected = dense(Graph(edge_index, 5, weight))
    assert torch.allclose(dense(graph.variant(key)), expected, rtol=0, atol=1e-12)
    assert expected.abs().sum() > 0


def test_a_variant_is_computed_once_per_setting():
    graph = Graph(EDGE_INDEX, 5, WEIGHT)
    key = graph.gcn_norm(False, True, torch.float32)
    variant = graph.variant(key)
    assert graph.variant(graph.gcn_norm(False, True, torch.float32)) is variant
    assert graph.gcn_norm(True, True, torch.float32) != key
    assert graph.gcn_norm(False, True, torch.float64) != key
    assert len(graph.variant_keys) == 3


def test_the_unweighted_variant_does_not_know_products_with_weights():
    graph = Graph(EDGE_INDEX, 5, WEIGHT)
    x = torch.eye(5)
    weighted = graph.product(x)
    plain = graph.variant(graph.unweighted())
    assert plain.weight is None
    assert plain.product(x).tolist() == Graph(EDGE_INDEX, 5).product(x).tolist()
    assert plain.product(x).tolist() != weighted.tolist()
    assert graph.product(x) is weighted


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_products_of_narrow_features_are_summed_in_full(dtype):
    graph, x = Graph(EDGE_INDEX, 5), torch.randn(5, 3).to(dtype)
    assert graph.product(x).dtype == dtype
    assert torch.equal(graph.product(x), graph.product(x.float()).to(dtype))


def test_a_product_is_kept_for_one_x_and_its_content():
    graph = Graph(EDGE_INDEX, 5, WEIGHT)
    x = torch.eye(5, dtype=torch.float64)
    first = graph.product(x)
    assert first.tolist() == dense(graph).tolist()
    assert graph.product(x) is first
    x.mul_(2)
    assert graph.product(x).tolist() == (2 * first).tolist()
    assert graph.product(torch.ones(5, 1)).tolist() == [[5], [2], [8], [0], [0]]


@pytest.mark.parametrize('duplicate', [copy.copy, lambda g: pickle.loads(pickle.dumps(g))])
def test_a_copy_keeps_the_structure_and_leaves_the_product(duplicate):
    graph = Graph(EDGE_INDEX, 5, WEIGHT)
    graph.product(torch.eye(5))
    other = duplicate(graph)
    assert other._product is None
    assert other.fingerprint == graph.fingerprint
    assert other.col.tolist() == graph.col.tolist()


def test_printing_tells_the_size():
    assert repr(Graph(EDGE_INDEX, 5)) == 'Graph(num_nodes=5, num_edges=5)'
