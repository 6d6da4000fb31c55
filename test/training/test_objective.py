import pytest
import torch

from torch_geometric_autoscale.training.objective import (
    build_optimizer,
    check_data,
    classification_loss,
    micro_f1_by_split,
)

from .tiny import tiny_data, tiny_model


def test_loss_of_class_ids_is_cross_entropy():
    loss = classification_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([1]))
    assert loss.item() == pytest.approx(0.6931, abs=1e-4)


def test_loss_of_label_rows_is_binary_cross_entropy():
    loss = classification_loss(torch.tensor([[0.0, 0.0]]), torch.tensor([[1, 0]]))
    assert loss.item() == pytest.approx(0.6931, abs=1e-4)


def test_scores_are_percent_by_split():
    data = tiny_data()
    logits = torch.eye(3)[data.y]
    logits[data.test_mask] = -logits[data.test_mask]
    assert micro_f1_by_split(logits, data) == {'train': 100.0, 'val': 100.0, 'test': 0.0}


def test_optimizer_decays_the_last_layer_apart():
    model = tiny_model()
    first, second = build_optimizer(model, 0.1, 0.5, 0.25).param_groups
    assert (first['weight_decay'], second['weight_decay']) == (0.5, 0.25)
    assert {id(p) for p in second['params']} == {id(p) for p in model.convs[-1].parameters()}
    assert len(first['params']) + len(second['params']) == len(list(model.parameters()))


def test_optimizer_decays_all_of_a_model_that_makes_no_difference():
    (group,) = build_optimizer(torch.nn.Linear(2, 2), 0.1, 0.5, 0.25).param_groups
    assert group['weight_decay'] == 0.5


def test_optimizer_refuses_a_model_without_parameters():
    with pytest.raises(ValueError, match='the model must have parameters'):
        build_optimizer(torch.nn.ReLU(), 0.1, 0.0, 0.0)


@pytest.mark.parametrize('name', ['x', 'y', 'val_mask'])
def test_data_must_be_complete(name):
    data = tiny_data()
    del data[name]
    with pytest.raises(ValueError, match=f"train: 'data.{name}' must be there"):
        check_data(data)


def test_data_with_several_splits_is_refused():
    data = tiny_data()
    data.val_mask = data.val_mask.view(-1, 1).repeat(1, 2)
    with pytest.raises(ValueError, match=r"'data.val_mask' must be boolean and of shape \(24,\)"):
        check_data(data)


def test_a_split_without_a_labelled_node_is_refused():
    data = tiny_data()
    data.test_mask[:] = False
    with pytest.raises(ValueError, match=r"'data.test_mask' must select a labelled node"):
        check_data(data)


def test_a_split_with_an_unlabelled_node_is_refused():
    data = tiny_data()
    data.y[0] = -1
    with pytest.raises(ValueError, match=r'must select labelled nodes only \(got 1 nodes'):
        check_data(data)
