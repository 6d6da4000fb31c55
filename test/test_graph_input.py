"""Every way to hand over a graph says the same edges; what is no graph is refused in words."""

import pytest
import torch
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Data, HeteroData

from torch_geometric_autoscale.graph_input import is_sparse_tensor, to_edges

# 0 -> 1, 1 -> 0, 2 -> 0 twice, 2 -> 2; node 3 is isolated.
EDGE_INDEX = torch.tensor([[0, 1, 2, 2, 2], [1, 0, 0, 0, 2]])
WEIGHT = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])


class StubSparseTensor:
    """Looks like torch-sparse's class as far as we rely on it."""

    def __init__(self, row: Tensor, col: Tensor, value: Tensor | None, sparse_sizes: tuple) -> None:
        self._row, self._col, self._value, self._sizes = row, col, value, sparse_sizes

    def coo(self) -> tuple[Tensor, Tensor, Tensor | None]:
        return self._row, self._col, self._value

    def csr(self) -> None:
        raise NotImplementedError

    def sparse_sizes(self) -> tuple[int, int]:
        return self._sizes


def coo(size: tuple[int, ...] = (4, 4)) -> Tensor:
    return torch.sparse_coo_tensor(EDGE_INDEX.flip(0), WEIGHT, size, check_invariants=True)


def listed(edges) -> list[tuple]:
    weight = edges.weight.tolist() if edges.weight is not None else [None] * len(edges.edge_index.T)
    return sorted(zip(*edges.edge_index.tolist(), weight, strict=True))


def test_an_edge_index_is_taken_as_it_is():
    edges = to_edges(EDGE_INDEX, num_nodes=4)
    assert edges.edge_index.tolist() == EDGE_INDEX.tolist()
    assert edges.weight is None
    assert edges.num_nodes == 4


def test_data_gives_its_edges_weights_and_size():
    edges = to_edges(Data(edge_index=EDGE_INDEX, edge_weight=WEIGHT, num_nodes=4))
    assert edges.edge_index.tolist() == EDGE_INDEX.tolist()
    assert edges.weight is not None
    assert edges.weight.tolist() == WEIGHT.tolist()
    assert edges.num_nodes == 4


def test_adj_t_wins_over_edge_index():
    data = Data(adj_t=coo(), edge_index=torch.tensor([[3], [3]]), edge_weight=torch.ones(1))
    data.num_nodes = 4
    assert to_edges(data).edge_index.tolist() == EDGE_INDEX.tolist()


def test_an_uncoalesced_matrix_keeps_duplicates_and_order():
    edges = to_edges(coo())
    assert edges.edge_index.tolist() == EDGE_INDEX.tolist()
    assert edges.weight is not None
    assert edges.weight.tolist() == WEIGHT.tolist()


@pytest.mark.parametrize('layout', [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_rows_of_every_layout_are_targets(layout):
    matrix = coo().coalesce()
    if layout != torch.sparse_coo:
        matrix = matrix.to_sparse(layout=layout)
    edges = to_edges(matrix)
    assert listed(edges) == [(0, 1, 1.0), (1, 0, 2.0), (2, 0, 7.0), (2, 2, 5.0)]
    assert edges.edge_index.dtype == torch.long


def test_a_csr_matrix_keeps_the_column_order_of_each_row():
    pointer, column = torch.tensor([0, 3, 3, 3]), torch.tensor([2, 0, 2])
    matrix = torch.sparse_csr_tensor(pointer, column, WEIGHT[:3], (3, 3), check_invariants=False)
    assert to_edges(matrix).edge_index.tolist() == [[2, 0, 2], [0, 0, 0]]


def test_values_may_have_a_width():
    values = torch.arange(10.0).view(5, 2)
    matrix = torch.sparse_coo_tensor(EDGE_INDEX.flip(0), values, (4, 4, 2), check_invariants=True)
    edges = to_edges(matrix)
    assert edges.weight is not None
    assert edges.weight.shape == (5, 2)


@pytest.mark.parametrize('value', [None, WEIGHT])
def test_a_sparse_tensor_is_known_by_its_methods(value):
    matrix = StubSparseTensor(EDGE_INDEX[1], EDGE_INDEX[0], value, (4, 4))
    assert is_sparse_tensor(matrix)
    for edges in (to_edges(matrix), to_edges(Data(adj_t=matrix, num_nodes=4))):
        assert edges.edge_index.tolist() == EDGE_INDEX.tolist()
        assert edges.weight is value
        assert edges.num_nodes == 4


def test_edge_index_class_brings_its_size():
    edge_index = EdgeIndex(EDGE_INDEX, sparse_size=(4, 4))
    for edges in (to_edges(edge_index), to_edges(Data(edge_index=edge_index))):
        assert type(edges.edge_index) is Tensor
        assert edges.num_nodes == 4


def test_edge_index_class_without_size_needs_num_nodes():
    assert to_edges(EdgeIndex(EDGE_INDEX), num_nodes=4).num_nodes == 4
    with pytest.raises(ValueError, match="'num_nodes' is needed"):
        to_edges(EdgeIndex(EDGE_INDEX))


def test_a_graph_without_edges_is_a_graph():
    edges = to_edges(torch.empty(2, 0, dtype=torch.long), num_nodes=3)
    assert edges.edge_index.shape == (2, 0)
    assert edges.num_nodes == 3


def test_small_integers_become_int64():
    assert to_edges(EDGE_INDEX.int(), num_nodes=4).edge_index.dtype == torch.long


def test_pyg_warns_where_it_has_to_guess_the_number_of_nodes():
    with pytest.warns(UserWarning, match='num_nodes'):
        assert to_edges(Data(edge_index=EDGE_INDEX)).num_nodes == 3
    assert to_edges(Data(edge_index=EDGE_INDEX), num_nodes=4).num_nodes == 4


@pytest.mark.parametrize(
    ('graph', 'num_nodes', 'error', 'message'),
    [
        (EDGE_INDEX, None, ValueError, r"who: 'num_nodes' is needed with a plain 'edge_index'"),
        (EDGE_INDEX, 2, ValueError, r'ids must lie in \[0, 2\) \(got 3 edges .* extreme one 2\)'),
        (EDGE_INDEX - 1, 4, ValueError, r'got 4 edges with ids outside, the extreme one -1'),
        (EDGE_INDEX.float(), 4, TypeError, r"'edge_index' must hold integers \(got torch.float32"),
        (EDGE_INDEX.bool(), 4, TypeError, r"'edge_index' must hold integers \(got torch.bool"),
        (EDGE_INDEX.T, 4, ValueError, r'must have shape \(2, E\) \(got \(5, 2\)\)'),
        (EDGE_INDEX, -1, ValueError, r"'num_nodes' must not be negative"),
        (EDGE_INDEX, 4.0, TypeError, r"'num_nodes' must be an integer"),
        (coo((4, 5)), None, ValueError, r'must be square \(got shape \(4, 5\)\)'),
        (coo(), 5, ValueError, r'agree with the sparse matrix, which has 4 \(got 5\)'),
        (EdgeIndex(EDGE_INDEX, sparse_size=(4, 5)), None, ValueError, r'must be square'),
        ([[0], [1]], 2, TypeError, r"'graph' must be Data, .* \(got list\)"),
        (HeteroData(), None, TypeError, r'heterogeneous graphs are not supported yet'),
        (Data(x=torch.ones(3, 1)), None, ValueError, r"must have 'adj_t' or 'edge_index'"),
        (Data(edge_index=[[0], [1]], num_nodes=2), None, TypeError, r'must be a tensor \(got list'),
        (Data(adj_t=torch.eye(3), num_nodes=3), None, TypeError, r"'data.adj_t' must be a square"),
        (Data(adj_t=coo(), num_nodes=9), None, ValueError, r"'data.adj_t', which has 4 \(got 9\)"),
        (Data(edge_index=EDGE_INDEX, num_nodes=4), 5, ValueError, r"agree with 'data.num_nodes'"),
        (
            Data(edge_index=EDGE_INDEX, edge_weight=torch.ones(4), num_nodes=4),
            None,
            ValueError,
            r"'data.edge_weight' must have shape \(5,\) or \(5, D\) \(got \(4,\)\)",
        ),
        (
            torch.sparse_coo_tensor(
                EDGE_INDEX.flip(0), torch.ones(5, 2, 2), (4, 4, 2, 2), check_invariants=True
            ),
            None,
            ValueError,
            r'values must have shape \(5,\) or \(5, D\)',
        ),
        (
            torch.eye(4).to_sparse(1),
            None,
            TypeError,
            r'must be two-dimensional, in COO, CSR or CSC layout',
        ),
    ],
)
def test_what_is_no_graph_is_refused_in_words(graph, num_nodes, error, message):
    with pytest.raises(error, match=message):
        to_edges(graph, num_nodes=num_nodes, who='who')
