import pytest
import torch
from torch_geometric.nn import GCNConv

from torch_geometric_autoscale import ScalableGNN, autoscale, permute
from torch_geometric_autoscale.history import move_histories
from torch_geometric_autoscale.partition import partition
from torch_geometric_autoscale.planner.subject import maker_of, subject_of, with_tables_of

from ..training.tiny import tiny_data, tiny_model
from .made import CPU
from .test_pieces import piece_of


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = GCNConv(5, 8), GCNConv(8, 3)

    def forward(self, x, edge_index):
        return self.last(self.first(x, edge_index).relu(), edge_index)


def test_a_model_gets_tables_for_a_piece_and_is_left_as_it_is():
    model = tiny_model()
    made = maker_of(model)(piece_of([0, 1, 2, 3]))
    assert isinstance(made, ScalableGNN)
    assert made.num_nodes == made.histories[0].num_embeddings == 6
    assert model.num_nodes == model.histories[0].num_embeddings == 24
    for mine, theirs in zip(model.parameters(), made.parameters(), strict=True):
        assert torch.equal(mine, theirs)
        assert mine is not theirs


def test_the_tables_keep_the_type_that_was_chosen():
    model = tiny_model()
    move_histories(model, dtype='int8')
    assert with_tables_of(model, 6).histories[0].dtype == torch.int8
    assert with_tables_of(tiny_model(), 6).histories[0].dtype == torch.float32


def test_a_model_that_has_been_called_can_be_planned_with():
    model = tiny_model()
    model.last = model(tiny_data().x, tiny_data().edge_index)  # has a graph of derivatives
    assert with_tables_of(model, 6).num_nodes == 6


def test_a_function_makes_the_model_for_a_number_of_nodes():
    asked = []
    maker = maker_of(lambda n: asked.append(n) or tiny_model())
    assert asked == []
    maker(piece_of([0, 1, 2, 3]))
    assert asked == [6]


def test_a_converted_model_is_converted_again():
    data = tiny_data()
    perm, ptr = partition(data, 6, 'random', log=False)
    model = autoscale(
        Net(), permute(data, perm, log=False), partition=(torch.arange(24), ptr), verify=False
    )
    subject = subject_of(maker_of(model), piece_of([0, 1, 2, 3]), CPU, {})
    batch = next(iter(subject.loader))
    assert (batch.batch_size, batch.num_nodes) == (4, 6)
    assert subject.refresh().shape == (6, 3)


def test_its_only_batch_in_training_is_the_piece():
    subject = subject_of(maker_of(tiny_model()), piece_of([0, 1, 2, 3]), CPU, {})
    (batch,) = subject.loader
    assert (batch.batch_size, batch.num_nodes, batch.edge_index.size(1)) == (4, 6, 8)
    assert subject.refresh().shape == (6, 3)


@pytest.mark.parametrize('model', [Net(), 'gcn', 3])
def test_what_is_no_model_is_refused(model):
    with pytest.raises(TypeError, match=r"plan: 'model' must be a ScalableGNN, what autoscale\(\) "
                       r'returns, or a function .* Convert a plain module'):  # fmt: skip
        maker_of(model)


def test_a_function_must_make_such_a_model():
    with pytest.raises(TypeError, match=r"'model' must make a ScalableGNN .*\(got Net\)"):
        maker_of(lambda n: Net())(piece_of([0]))
