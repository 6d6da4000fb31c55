"""``permute``: the same graph under other names."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Batch, Data, HeteroData

from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.partition import permute

PERM = torch.tensor([2, 0, 3, 1])  # new 0 is old 2; old 0 becomes 1, 1 -> 3, 2 -> 0, 3 -> 2
# Six edges, 4 nodes; node 0 receives 3, 1, 3 in this order.
EDGE_INDEX = torch.tensor([[3, 0, 1, 3, 2, 1], [0, 2, 0, 0, 2, 3]])


def small_graph() -> Data:
    return Data(
        x=torch.tensor([[0.0], [1.0], [2.0], [3.0]]),
        y=torch.tensor([10, 11, 12, 13]),
        train_mask=torch.tensor([True, False, False, True]),
        edge_index=EDGE_INDEX,
        edge_attr=torch.arange(6),
        edge_weight=torch.arange(6.0),
        num_nodes=4,
    )


class StubSparseTensor:
    """Takes and gives what torch-sparse's class does."""

    def __init__(self, row: Tensor, col: Tensor, value: Tensor | None, sparse_sizes: tuple) -> None:
        self.parts, self._sizes = (row, col, value), sparse_sizes

    def coo(self) -> tuple[Tensor, Tensor, Tensor | None]:
        return self.parts

    def csr(self) -> None:
        raise NotImplementedError

    def sparse_sizes(self) -> tuple[int, int]:
        return self._sizes

    def device(self) -> torch.device:
        return torch.device('cpu')


def test_nodes_and_edges_move_with_all_that_is_theirs():
    out = permute(small_graph(), PERM, log=False)
    assert out.x.tolist() == [[2.0], [0.0], [3.0], [1.0]]
    assert out.y.tolist() == [12, 10, 13, 11]
    assert out.train_mask.tolist() == [False, True, True, False]
    # By new target; into new node 1 (old 0) still come old 3, 1, 3, now called 2, 3, 2.
    assert out.edge_index.tolist() == [[1, 0, 2, 3, 2, 3], [0, 0, 1, 1, 1, 2]]
    assert out.edge_attr.tolist() == [1, 4, 0, 2, 3, 5]
    assert out.edge_weight.tolist() == [1.0, 4.0, 0.0, 2.0, 3.0, 5.0]
    assert out.num_nodes == 4
    assert set(out.keys()) == set(small_graph().keys())
    out.validate()


def test_the_input_is_untouched():
    data, kept = small_graph(), small_graph()
    state = dict(data._store.__dict__)
    permute(data, PERM, log=False)
    assert data._store.__dict__.keys() == state.keys()
    for key, value in kept.items():
        assert data[key] is not None
        assert torch.equal(torch.as_tensor(data[key]), torch.as_tensor(value))


def test_graph_level_attributes_are_kept():
    data = small_graph()
    data.name, data.scale, data.setting = 'graph', torch.tensor(3.0), torch.ones(1, 9)
    out = permute(data, PERM, log=False)
    assert out.name == 'graph'
    assert out.scale is data.scale
    assert out.setting is data.setting


def test_arrays_lists_tuples_and_split_masks_move_too():
    data = small_graph()
    data.deg, data.node_name = np.array([0, 1, 2, 3]), ['a', 'b', 'c', 'd']
    data.edge_name = tuple('uvwxyz')
    data.val_mask = torch.eye(4, 3, dtype=torch.bool)
    out = permute(data, PERM, log=False)
    assert out.deg.tolist() == [2, 0, 3, 1]
    assert out.node_name == ['c', 'a', 'd', 'b']
    assert out.edge_name == tuple('vyuwxz')
    assert out.val_mask.equal(data.val_mask[PERM])


def test_node_ids_held_by_attributes_are_renamed():
    data = small_graph()
    data.edge_label_index = torch.tensor([[0, 3], [1, 2]])
    data.seed_index = torch.tensor([2])
    out = permute(data, PERM, log=False)
    assert out.edge_label_index.tolist() == [[1, 2], [3, 0]]
    assert out.seed_index.tolist() == [0]
    data.seed_index = torch.tensor([4])
    with pytest.raises(ValueError, match=r"'seed_index' holds node ids .* \[0, 4\) \(got 4\)"):
        permute(data, PERM, log=False)


def test_as_many_edges_as_nodes_is_decided_by_name():
    square = Data(
        x=torch.arange(4),
        edge_index=torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]]),
        edge_attr=torch.arange(4),
        deg=torch.arange(4),
        num_nodes=4,
    )
    out = permute(square, PERM, log=False)
    assert out.x.tolist() == out.deg.tolist() == [2, 0, 3, 1]
    assert out.edge_attr.tolist() == [1, 3, 2, 0]
    square.node_name, square.edge_name = list('abcd'), list('uvwx')
    out = permute(square, PERM, log=False)
    assert out.node_name == list('cadb')
    assert out.edge_name == list('vxwu')
    square.names = list('abcd')
    with pytest.raises(ValueError, match="clear whether 'names' is node-level or edge-level"):
        permute(square, PERM, log=False)


def test_an_edge_attribute_with_a_row_per_node_is_refused():
    data = small_graph()
    data.edge_attr = torch.ones(4)
    with pytest.raises(ValueError, match=r"'edge_attr' must have one row per edge \(6\)"):
        permute(data, PERM, log=False)


@pytest.mark.parametrize('layout', [torch.sparse_coo, torch.sparse_csr, torch.sparse_csc])
def test_adj_t_agrees_with_the_dense_permutation(layout):
    values = torch.arange(1.0, 7.0)
    matrix = torch.sparse_coo_tensor(EDGE_INDEX.flip(0), values, (4, 4), check_invariants=True)
    matrix = matrix.coalesce()
    if layout != torch.sparse_coo:
        matrix = matrix.to_sparse(layout=layout)
    out = permute(Data(adj_t=matrix, num_nodes=4), PERM, log=False)
    assert out.adj_t.layout == layout
    assert out.adj_t.to_dense().equal(matrix.to_dense()[PERM][:, PERM])
    if layout == torch.sparse_coo:
        assert out.adj_t.is_coalesced()
        torch.sparse_coo_tensor(
            out.adj_t.indices(), out.adj_t.values(), (4, 4), check_invariants=True
        )
    if layout == torch.sparse_csr:
        torch.sparse_csr_tensor(
            out.adj_t.crow_indices(),
            out.adj_t.col_indices(),
            out.adj_t.values(),
            (4, 4),
            check_invariants=True,
        )


def test_an_uncoalesced_adj_t_keeps_duplicates_and_the_order_in_its_rows():
    values = torch.arange(6.0)
    matrix = torch.sparse_coo_tensor(EDGE_INDEX.flip(0), values, (4, 4), check_invariants=True)
    data = Data(adj_t=matrix, edge_attr=torch.arange(6), num_nodes=4)
    out = permute(data, PERM, log=False)
    assert out.adj_t._indices().tolist() == [[0, 0, 1, 1, 1, 2], [1, 0, 2, 3, 2, 3]]
    assert out.adj_t._values().tolist() == [1.0, 4.0, 0.0, 2.0, 3.0, 5.0]
    assert out.edge_attr.tolist() == [1, 4, 0, 2, 3, 5]


@pytest.mark.parametrize('value', [None, torch.arange(6)])
def test_a_sparse_tensor_stays_one(value):
    matrix = StubSparseTensor(EDGE_INDEX[1], EDGE_INDEX[0], value, (4, 4))
    out = permute(Data(adj_t=matrix, num_nodes=4), PERM, log=False)
    assert type(out.adj_t) is StubSparseTensor
    row, col, moved = out.adj_t.coo()
    assert row.tolist() == [0, 0, 1, 1, 1, 2]
    assert col.tolist() == [0, 1, 2, 2, 3, 3]
    assert moved is None if value is None else moved.tolist() == [4, 1, 0, 3, 2, 5]


def test_a_sparse_tensor_of_features_is_refused():
    features = StubSparseTensor(torch.tensor([0]), torch.tensor([0]), None, (4, 3))
    with pytest.raises(TypeError, match="'x' must not be a SparseTensor unless"):
        permute(Data(x=features, edge_index=EDGE_INDEX, num_nodes=4), PERM)


def test_a_dense_adj_changes_rows_and_columns():
    adj = torch.arange(16.0).view(4, 4)
    out = permute(Data(adj=adj, x=torch.ones(4, 1)), PERM, log=False)
    assert out.adj.equal(adj[PERM][:, PERM])


def test_sparse_features_move_with_their_nodes():
    features = torch.eye(4, 3).to_sparse_csr()
    out = permute(Data(x=features, edge_index=EDGE_INDEX, num_nodes=4), PERM, log=False)
    assert out.x.layout == torch.sparse_csr
    assert out.x.to_dense().equal(torch.eye(4, 3)[PERM])


def test_edge_index_class_stays_one_sorted_by_target():
    data = small_graph()
    data.edge_index = EdgeIndex(EDGE_INDEX.int(), sparse_size=(4, 4))
    out = permute(data, PERM, log=False)
    assert isinstance(out.edge_index, EdgeIndex)
    assert out.edge_index.is_sorted_by_col
    assert out.edge_index.sparse_size() == (4, 4)
    assert out.edge_index.dtype == torch.int32
    assert out.edge_index.as_tensor().equal(permute(small_graph(), PERM, False).edge_index.int())


def test_a_batch_becomes_one_graph():
    batch = Batch.from_data_list([Data(x=torch.ones(2, 1)), Data(x=torch.zeros(2, 1))])
    batch.edge_index = EDGE_INDEX
    out = permute(batch, PERM, log=False)
    assert type(out) is Data
    assert out.batch.tolist() == [1, 0, 1, 0]
    assert 'ptr' not in out


def test_a_graph_without_edges_can_be_renumbered():
    out = permute(Data(x=torch.arange(4)), PERM, log=False)
    assert out.x.tolist() == [2, 0, 3, 1]


@pytest.mark.parametrize(
    ('perm', 'error', 'message'),
    [
        (torch.tensor([0, 1, 2]), ValueError, r"'perm' must have shape \(4,\) \(got \(3,\)\)"),
        (torch.tensor([0, 1, 2, 2]), ValueError, r'every node once \(got node 2 2 times\)'),
        (torch.tensor([0, 1, 2, 4]), ValueError, r'must hold ids in \[0, 4\) \(got 4\)'),
        (torch.tensor([0, 1, 2, -1]), ValueError, r'must hold ids in \[0, 4\) \(got -1\)'),
        (torch.ones(4), TypeError, r"'perm' must be a tensor of integers \(got torch.float32\)"),
        ([0, 1, 2, 3], TypeError, r"'perm' must be a tensor of integers \(got list\)"),
    ],
)
def test_what_is_no_permutation_is_refused(perm, error, message):
    with pytest.raises(error, match=f'^permute: .*{message}'):
        permute(small_graph(), perm)


def test_what_is_no_homogeneous_graph_is_refused():
    for graph in (HeteroData(), EDGE_INDEX):
        with pytest.raises(TypeError, match="'data' must be a homogeneous Data object"):
            permute(graph, PERM)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'permute: node ids must lie in \[0, 4\)'):
        permute(Data(edge_index=EDGE_INDEX + 1, num_nodes=4), PERM)


def test_one_line_is_printed(capsys):
    permute(small_graph(), PERM)
    assert capsys.readouterr().out.startswith('Permuting 4 nodes and 6 edges... ')


@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_there_and_back_is_the_same_graph(data):
    num_nodes = data.draw(st.integers(1, 8))
    ids = st.integers(0, num_nodes - 1)
    pairs = data.draw(st.lists(st.tuples(ids, ids), max_size=20))
    perm = torch.tensor(data.draw(st.permutations(range(num_nodes))))
    edge_index = torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
    graph = Data(
        x=torch.arange(num_nodes),
        edge_index=edge_index,
        edge_attr=torch.arange(len(pairs)),
        num_nodes=num_nodes,
    )
    there = permute(graph, perm, log=False)
    assert there.edge_index[1].tolist() == sorted(there.edge_index[1].tolist())
    assert there.edge_index.equal(perm.argsort()[edge_index[:, there.edge_attr]])
    back = permute(there, perm.argsort(), log=False)
    assert back.x.equal(graph.x)
    # Sorted by target, every node's own edges in their first order: a stable sort of the input.
    order = edge_index[1].argsort(stable=True)
    assert back.edge_attr.tolist() == order.tolist()
    assert back.edge_index.equal(edge_index[:, order])
    assert to_edges(back).num_nodes == num_nodes
