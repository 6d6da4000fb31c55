"""A normalised graph carries the weights of PyG's normalisation, self-loops included."""

import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from torch_geometric_autoscale.normalize import gcn_normalize

EDGE_INDEX = torch.tensor([[0, 1, 2, 2], [1, 0, 0, 2]])  # node 3 is isolated


def graph(**changes) -> Data:
    fields = {
        'x': torch.eye(4, dtype=torch.float64), 'edge_index': EDGE_INDEX,
        'y': torch.arange(4), 'num_nodes': 4, **changes,
    }  # fmt: skip
    return Data(**{name: value for name, value in fields.items() if value is not None})


@pytest.mark.parametrize('weight', [None, torch.tensor([1.0, 2, 3, 4])])
@pytest.mark.parametrize('improved', [False, True])
@pytest.mark.parametrize('add_self_loops', [False, True])
def test_the_weights_are_those_that_gcn_conv_computes(weight, improved, add_self_loops):
    data = graph(edge_weight=weight)
    out = gcn_normalize(data, add_self_loops=add_self_loops, improved=improved)
    torch.manual_seed(0)
    kwargs = {'improved': improved, 'add_self_loops': add_self_loops}
    plain = GCNConv(4, 2, **kwargs).double()
    given = GCNConv(4, 2, normalize=False).double()
    given.load_state_dict(plain.state_dict())
    weight = None if weight is None else weight.double()
    expected = plain(data.x, data.edge_index, weight)
    assert torch.allclose(given(out.x, out.edge_index, out.edge_weight), expected)
    assert out.num_edges == (7 if add_self_loops else 4)


def test_weights_by_hand():
    out = gcn_normalize(Data(edge_index=torch.tensor([[0], [1]]), num_nodes=2))
    listed = dict(
        zip(map(tuple, out.edge_index.t().tolist()), out.edge_weight.tolist(), strict=True)
    )
    assert listed == pytest.approx({(0, 1): 2**-0.5, (0, 0): 1.0, (1, 1): 0.5})


def test_the_data_given_stays_as_it_is():
    data = graph(edge_attr=torch.ones(4, 2))
    before = data.to_dict()
    out = gcn_normalize(data)
    assert list(data.to_dict()) == list(before)
    assert all(data[name] is before[name] for name in before)
    assert 'edge_attr' not in out
    assert out.x is data.x
    assert out.y is data.y
    assert out.num_nodes == 4


def test_adj_t_is_read_and_left_out():
    matrix = torch.sparse_coo_tensor(EDGE_INDEX.flip(0), torch.ones(4), (4, 4)).coalesce()
    out = gcn_normalize(Data(x=torch.eye(4), adj_t=matrix))
    assert 'adj_t' not in out
    assert out.num_edges == 7
    assert out.edge_weight.dtype == torch.float32


@pytest.mark.parametrize('x', [None, torch.arange(4)])
def test_whole_numbers_as_weights_become_real_ones(x):
    out = gcn_normalize(graph(x=x, edge_weight=torch.ones(4).long()))
    expected = gcn_normalize(graph(x=x))
    assert out.edge_weight.tolist() == expected.edge_weight.tolist()


def test_weights_follow_the_type_of_the_features():
    assert gcn_normalize(graph()).edge_weight.dtype == torch.float64
    assert gcn_normalize(graph(x=None)).edge_weight.dtype == torch.float32


def test_several_weights_per_edge_are_refused():
    with pytest.raises(
        ValueError, match=r'gcn_normalize: .* one number per edge \(got shape \(4, 2'
    ):
        gcn_normalize(graph(edge_weight=torch.ones(4, 2)))
