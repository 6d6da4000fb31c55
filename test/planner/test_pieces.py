import pytest
import torch

from torch_geometric_autoscale import SubgraphLoader
from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.planner.pieces import cut_pieces

from ..on_disk import in_memory, on_disk, some_graph
from ..training.tiny import tiny_data


def piece_of(nodes, data=None, **options):
    """Three rings of eight nodes: half a ring has two halo nodes and eight edges."""
    data = tiny_data() if data is None else data
    (piece,) = cut_pieces(data, to_edges(data), [torch.tensor(nodes)], **options)
    return piece


def test_a_piece_has_its_nodes_then_the_halo_and_the_edges_into_the_former():
    data = tiny_data()
    piece = piece_of([0, 1, 2, 3])
    assert piece.counts == (4, 2, 8)
    assert torch.equal(piece.data.x, data.x[[0, 1, 2, 3, 4, 7]])
    assert torch.equal(piece.data.y, data.y[[0, 1, 2, 3, 4, 7]])
    edges = sorted(piece.data.edge_index.t().tolist())
    assert edges == [[0, 1], [1, 0], [1, 2], [2, 1], [2, 3], [3, 2], [4, 3], [5, 0]]


def test_the_batch_nodes_are_two_parts_out_of_order_and_halo_parts_are_no_larger():
    piece = piece_of([0, 1, 2, 3])
    assert piece.ptr.tolist() == [0, 2, 4, 6]
    assert piece.parts == (1, 0)
    assert piece_of([0, 1, 2, 3], num_chunks=1).ptr.tolist() == [0, 4, 6]
    assert piece_of([5]).ptr.tolist() == [0, 1, 2, 3]


def test_as_a_batch_it_is_what_the_whole_graph_gives():
    data = some_graph(weighted=True)
    nodes = [3, 4, 9, 20]
    piece = piece_of(nodes, data)
    (batch,) = SubgraphLoader(
        piece.data, piece.ptr, 2, log=False, sampler=[0, 1], input_nodes=piece.data.train_mask
    )
    order = torch.tensor(nodes + [n for n in range(40) if n not in nodes])
    place = torch.empty_like(order)
    place[order] = torch.arange(40)
    whole = data.clone()
    whole.edge_index, whole.x = place[data.edge_index], data.x[order]
    whole.train_mask = data.train_mask[order]
    ptr = torch.tensor([0, 2, 4, *range(5, 41)])
    (wanted,) = SubgraphLoader(
        whole, ptr, 2, log=False, sampler=[0, 1], input_nodes=whole.train_mask
    )
    assert (batch.batch_size, batch.num_nodes) == (wanted.batch_size, wanted.num_nodes)
    assert torch.allclose(batch.adj_t @ batch.x, wanted.adj_t @ wanted.x)
    assert torch.equal(batch.input_mask, wanted.input_mask)


@pytest.mark.parametrize('kind', ['csr', 'mapped'])
def test_every_form_of_a_graph_gives_the_same_piece(kind, tmp_path):
    data = some_graph(weighted=True)
    other = in_memory(data) if kind == 'csr' else on_disk(data, tmp_path / 'graph')
    one, two = piece_of([3, 4, 9], data), piece_of([3, 4, 9], other)
    assert one.counts == two.counts

    def entries(piece):
        columns = [*piece.data.edge_index, piece.data.edge_weight]
        return sorted(zip(*(column.tolist() for column in columns), strict=True))

    assert entries(one) == entries(two)
    assert torch.equal(one.data.x, two.data.x)


def test_edges_out_of_batch_nodes_come_along_on_request():
    data = tiny_data()
    data.edge_index = torch.tensor([[0, 5], [1, 2]])
    assert piece_of([1], data).counts == (1, 1, 1)
    assert piece_of([0], data).counts == (1, 0, 0)
    assert piece_of([0], data, both_directions=True).counts == (1, 1, 1)


def test_nodes_without_edges_make_a_piece():
    data = tiny_data()
    data.edge_index = torch.empty(2, 0, dtype=torch.int64)
    piece = piece_of([2, 9], data)
    assert piece.counts == (2, 0, 0)
    assert piece.num_bytes == sum(v.nbytes for v in piece.data.to_dict().values()
                                  if isinstance(v, torch.Tensor))  # fmt: skip
