import numpy as np
import torch
from torch_geometric.data import Data

from torch_geometric_autoscale.graph_folder import GraphWriter, load_graph
from torch_geometric_autoscale.planner.facts import facts_of

from ..training.tiny import tiny_data


def test_the_bytes_of_a_graph_are_told_apart():
    data = tiny_data()  # 24 nodes with 5 features, 52 edges
    data.edge_weight = torch.ones(52)
    facts = facts_of(data, 24, 52)
    assert facts.structure_bytes == 2 * 52 * 8 + 52 * 4
    assert facts.feature_bytes == 24 * (5 * 4 + 8 + 3)
    assert (facts.mapped_bytes, facts.is_mapped) == (0, False)


def test_what_two_attributes_share_is_counted_once():
    data = tiny_data()
    data.same = data.x
    assert facts_of(data, 24, 52).feature_bytes == 24 * (5 * 4 + 8 + 3)


def test_a_matrix_consists_of_its_arrays():
    ids = torch.tensor([0, 1, 2, 3])
    matrix = torch.sparse_csr_tensor(ids, ids[:3].clone(), torch.ones(3), (3, 3))
    facts = facts_of(Data(adj_t=matrix, num_nodes=3), 3, 3)
    assert facts.structure_bytes == 4 * 8 + 3 * 8 + 3 * 4


def test_mapped_arrays_take_no_memory(tmp_path):
    with GraphWriter(tmp_path / 'graph', 3, 3) as writer:
        rowptr, col = writer.add_structure()
        rowptr[:], col[:] = [0, 1, 2, 3], [1, 2, 0]
        writer.write('x', np.ones((3, 2), dtype=np.float32), 'node')
    data = load_graph(tmp_path / 'graph')
    facts = facts_of(data, 3, 3)
    assert facts.is_mapped
    assert facts.shares_columns
    assert facts.feature_bytes == 0
    assert facts.structure_bytes == 4  # the single weight of all edges
    assert facts.mapped_bytes == 4 * 4 + 3 * 4 + 3 * 2 * 4
