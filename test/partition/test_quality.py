"""Three numbers, on a graph whose numbers can be counted by hand."""

import pytest
import torch

from torch_geometric_autoscale.partition import PartitionQuality, partition_quality

# Parts {0, 1, 2} and {3}. Into the first: 3 -> 0, 3 -> 1, 3 -> 0 again; into the second: 2 -> 3.
# Inside: 0 -> 1, 1 -> 2 and the self-loop 3 -> 3.
EDGE_INDEX = torch.tensor([[3, 3, 3, 2, 0, 1, 3], [0, 1, 0, 3, 1, 2, 3]])
PERM, PTR = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 3, 4])


def test_quality_counts_edges_pulled_rows_and_the_largest_part():
    quality = partition_quality(EDGE_INDEX, PERM, PTR, num_nodes=4)
    assert quality == PartitionQuality(edge_cut=4 / 6, halo_per_batch_node=2 / 4, balance=1.5)
    assert str(quality) == (
        '66.7% of edges cut, 0.50 halo rows per node, largest part 1.50x the mean'
    )


def test_quality_does_not_depend_on_how_nodes_are_numbered():
    perm = torch.tensor([2, 0, 3, 1])
    renamed = perm[EDGE_INDEX]
    quality = partition_quality(renamed, perm, PTR, num_nodes=4)
    assert quality == partition_quality(EDGE_INDEX, PERM, PTR, num_nodes=4)


def test_one_part_cuts_nothing():
    quality = partition_quality(EDGE_INDEX, PERM, torch.tensor([0, 4]), num_nodes=4)
    assert quality == PartitionQuality(0.0, 0.0, 1.0)


def test_a_graph_without_edges_or_nodes_has_a_quality():
    nothing = torch.empty(2, 0, dtype=torch.long)
    assert partition_quality(nothing, PERM, PTR, 4).edge_cut == 0.0
    empty = torch.empty(0, dtype=torch.long)
    assert partition_quality(nothing, empty, torch.tensor([0, 0]), 0).balance == 1.0


@pytest.mark.parametrize(
    ('perm', 'ptr', 'error', 'message'),
    [
        (PERM[:3], PTR, ValueError, r"'perm' must have shape \(4,\) \(got \(3,\)\)"),
        (PERM, PTR + 1, ValueError, r"'ptr' must rise from 0 to 4 \(got 1 to 5\)"),
        (PERM, torch.tensor([0, 3, 2, 4]), ValueError, r'0 to 4, falling in between'),
        (PERM, torch.tensor([4]), ValueError, r'rise from 0 to 4 \(got shape \(1,\)\)'),
        (PERM, PTR.float(), TypeError, r"'ptr' must be a tensor of integers \(got torch.float32"),
        (PERM, [0, 4], TypeError, r"'ptr' must be a tensor of integers \(got list\)"),
    ],
)
def test_quality_refuses_what_is_no_partition(perm, ptr, error, message):
    with pytest.raises(error, match=message):
        partition_quality(EDGE_INDEX, perm, ptr, num_nodes=4)
