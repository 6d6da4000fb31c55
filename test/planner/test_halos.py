import numpy as np
import pytest
import torch

from torch_geometric_autoscale import SubgraphLoader, metis, permute
from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.planner.fit import Counts, LinearCost
from torch_geometric_autoscale.planner.halos import BatchSizes, Halos

from ..training.tiny import tiny_data, tiny_ptr

# Three rings of eight nodes, 7-8 and 15-16 joined; six parts of four nodes: 0-3, 4-7, ...


def halos(num_parts: int = 6) -> Halos:
    ptr = tiny_ptr(num_parts)
    part = torch.arange(num_parts).repeat_interleave(ptr.diff())
    return Halos(to_edges(tiny_data()), part, num_parts)


def test_a_part_has_nodes_edges_and_neighbours_outside():
    # Part 0 is half a ring: its halo is 4 and 7. Part 1, 4 to 7, has 0, 3, and 8 of the next ring.
    assert halos().batch([0]) == (4, 2, 8)
    assert halos().batch([1]) == (4, 3, 9)


def test_a_joined_batch_has_no_halo_inside_and_counts_a_node_once():
    assert halos().batch([0, 1]) == (8, 1, 17)  # a whole ring: 8 alone is outside
    assert halos().batch([0, 2]) == (8, 4, 17)  # 4 and 7; 7 again, 12 and 15
    assert halos().batch(range(6)) == (24, 0, 52)


def test_batches_are_those_of_the_loader():
    data = tiny_data()
    perm, ptr = metis(data, 5, log=False)
    part = torch.empty(24, dtype=torch.long)
    part[perm] = torch.arange(5).repeat_interleave(ptr.diff())
    counted = Halos(to_edges(data), part, 5)
    loader = SubgraphLoader(permute(data, perm, log=False), ptr, batch_size=2, log=False)
    for parts, batch in zip(([0, 1], [2, 3], [4]), loader, strict=True):
        rows, columns = batch.adj_t.shape
        assert counted.batch(parts) == (rows, columns - rows, batch.edge_index.size(1))


def test_the_graph_may_be_grouped_by_target():
    data = tiny_data()
    data.adj_t = torch.sparse_coo_tensor(
        data.edge_index.flip(0), torch.ones(52), (24, 24)
    ).to_sparse_csr()
    del data.edge_index
    part = torch.arange(6).repeat_interleave(4)
    assert Halos(to_edges(data), part, 6).batch([1]) == (4, 3, 9)


def test_an_epoch_of_single_parts_is_known_exactly():
    epoch = halos().epoch(1)
    assert epoch.rows.tolist() == [4] * 6
    assert epoch.halo.tolist() == [2, 3, 3, 3, 3, 2]
    assert epoch.edges.tolist() == [8, 9, 9, 9, 9, 8]
    assert epoch.per_epoch == (24, 16, 52)
    assert epoch.largest(LinearCost(per_halo=1)).halo == 3


def test_an_epoch_of_joined_parts_is_a_sample():
    epoch = halos().epoch(2)
    assert epoch.num_batches == 3
    assert set(epoch.rows.tolist()) == {8}
    assert set(epoch.halo.tolist()) <= {1, 2, 3, 4, 5, 6}
    assert epoch.per_epoch.rows == 24
    assert epoch.limit == (8, 6, 18)
    again = halos().epoch(2)
    assert again.halo.tolist() == epoch.halo.tolist()


def test_a_batch_of_everything_has_no_halo():
    epoch = halos().epoch(99)
    assert (epoch.num_batches, epoch.mean) == (1, (24, 0, 52))


def test_parts_without_nodes_are_no_batches():
    part = torch.arange(6).repeat_interleave(4)
    part[part == 2] = 3
    epoch = Halos(to_edges(tiny_data()), part, 6).epoch(1)
    assert epoch.rows.tolist() == [4, 4, 8, 4, 4]


def test_the_largest_batch_of_a_training_is_larger_than_that_of_a_sample():
    rows = np.array([100.0, 110.0, 90.0, 100.0])
    same = np.full(4, 50.0)
    sizes = BatchSizes(rows, same, same, 40, Counts(1000, 50, 50))
    largest = sizes.largest(LinearCost(per_row=1))
    assert largest.rows > 110
    assert largest.rows == pytest.approx(rows.mean() + 3.4 * rows.std())
    tight = BatchSizes(rows, same, same, 40, Counts(112, 50, 50))
    assert tight.largest(LinearCost(per_row=1)).rows == pytest.approx(112)
    known = BatchSizes(rows, same, same, 4, Counts(1000, 50, 50))
    assert known.largest(LinearCost(per_row=1)).rows == 110
