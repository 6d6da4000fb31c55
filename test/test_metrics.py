"""Micro F1 and random splits."""

import pytest
import torch

from torch_geometric_autoscale.metrics import compute_micro_f1, gen_masks

LOGITS = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, -1.0], [0.0, 9.0]])


def test_with_one_label_per_node_the_score_is_the_accuracy():
    assert compute_micro_f1(LOGITS, torch.tensor([0, 1, 1, 1])) == 0.75


def test_the_mask_selects_nodes():
    y, mask = torch.tensor([0, 1, 1, 1]), torch.tensor([True, False, True, False])
    assert compute_micro_f1(LOGITS, y, mask) == 0.5


def test_unlabelled_nodes_are_left_out():
    assert compute_micro_f1(LOGITS, torch.tensor([-1, 1, 1, -1])) == 0.5


def test_with_several_labels_the_score_joins_all_of_them():
    # Predicted: [1 1] [0 1] [1 0] [0 1]. Three hits, two false alarms, one miss: 6 / (6 + 3).
    y = torch.tensor([[1, 0], [0, 1], [0, 0], [1, 1]])
    assert compute_micro_f1(LOGITS, y) == pytest.approx(2 / 3)
    assert compute_micro_f1(LOGITS, y.float()) == pytest.approx(2 / 3)
    assert compute_micro_f1(LOGITS, y, torch.tensor([False, True, False, False])) == 1.0


def test_the_score_is_zero_where_nothing_is_predicted_or_true():
    assert compute_micro_f1(-torch.ones(2, 2), torch.zeros(2, 2)) == 0.0


def test_infinite_logits_are_scores_like_others():
    assert compute_micro_f1(torch.tensor([[0.0, float('inf')]]), torch.tensor([1])) == 1.0


@pytest.mark.parametrize(
    ('y', 'mask', 'message'),
    [
        ([0, 1, 1, 1], [False] * 4, r'mask selects no labelled node \(got 0 nodes, none labelled'),
        ([-1, 1, 1, 1], [True, False, False, False], r'got 1 nodes, none labelled'),
        ([-1, -1, -1, -1], None, r'no node is labelled \(got 0 nodes\)'),
        ([0, 1, 2, -2], None, r"'y' must hold class ids in \[-1, 2\) \(got 2 others\)"),
        ([[0, 2]] * 4, None, r"'y' must hold 0 and 1 \(got 4 others\)"),
        ([[0.5, 1.0]] * 4, None, r"'y' must hold 0 and 1 \(got 4 others\)"),
        ([0, 1], None, r"'y' \(N,\) or \(N, C\) \(got \(4, 2\) and \(2,\)\)"),
        ([[0], [1], [1], [1]], None, r'\(got \(4, 2\) and \(4, 1\)\)'),
        ([0, 1, 1, 1], [True], r"'mask' must have shape \(4,\) \(got \(1,\)\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(y, mask, message):
    mask = None if mask is None else torch.tensor(mask)
    with pytest.raises(ValueError, match=message):
        compute_micro_f1(LOGITS, torch.tensor(y), mask)


def test_nan_in_a_selected_row_is_refused():
    logits = LOGITS.clone()
    logits[0, 1] = float('nan')
    y = torch.tensor([0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"'logits' must be free of NaN \(got NaN in 1 rows\)"):
        compute_micro_f1(logits, y)
    assert compute_micro_f1(logits, y, torch.tensor([False, True, True, True])) == 1.0


def test_ids_are_neither_logits_nor_a_mask():
    with pytest.raises(TypeError, match=r"'logits' must be floating point \(got torch.int64\)"):
        compute_micro_f1(torch.tensor([[0, 1]]), torch.tensor([0]))
    with pytest.raises(TypeError, match=r"'mask' must be boolean \(got torch.int64\)"):
        compute_micro_f1(LOGITS, torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1]))


def test_splits_have_the_asked_number_of_nodes_per_class():
    y = torch.tensor([0, 1] * 6 + [-1])
    train_mask, val_mask, test_mask = gen_masks(y, 2, 3, num_splits=4)
    assert train_mask.shape == val_mask.shape == test_mask.shape == (13, 4)
    assert train_mask.dtype == torch.bool
    for label in (0, 1):
        assert train_mask[y == label].sum(dim=0).tolist() == [2, 2, 2, 2]
        assert val_mask[y == label].sum(dim=0).tolist() == [3, 3, 3, 3]
        assert test_mask[y == label].sum(dim=0).tolist() == [1, 1, 1, 1]


def test_every_labelled_node_is_in_one_part_and_unlabelled_ones_in_none():
    y = torch.tensor([0, -1, 1, 0, 1, -1, 0])
    total = sum(mask.int() for mask in gen_masks(y, 1, 1, num_splits=3))
    assert total.tolist() == [[int(label >= 0)] * 3 for label in y]


def test_one_split_has_flat_masks():
    masks = gen_masks(torch.tensor([0, 0, 0]), 1, 1, num_splits=1)
    assert [mask.shape for mask in masks] == [(3,), (3,), (3,)]
    assert [int(mask.sum()) for mask in masks] == [1, 1, 1]


def test_by_default_there_are_twenty_splits_of_twenty_and_thirty():
    train_mask, val_mask, test_mask = gen_masks(torch.zeros(60, dtype=torch.long))
    assert train_mask.sum(dim=0).tolist() == [20] * 20
    assert val_mask.sum(dim=0).tolist() == [30] * 20
    assert test_mask.sum(dim=0).tolist() == [10] * 20


def test_a_seed_repeats_the_splits_and_leaves_the_global_generator_alone():
    y = torch.tensor([0, 1] * 10)
    state = torch.get_rng_state()
    first, second = gen_masks(y, 2, 3, seed=7), gen_masks(y, 2, 3, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[0], gen_masks(y, 2, 3, seed=8)[0])


def test_without_a_seed_the_global_generator_decides():
    y = torch.tensor([0, 1] * 10)
    torch.manual_seed(7)
    first = gen_masks(y, 2, 3)[0]
    assert not torch.equal(first, gen_masks(y, 2, 3)[0])
    torch.manual_seed(7)
    assert torch.equal(first, gen_masks(y, 2, 3)[0])
    assert torch.equal(first, gen_masks(y, 2, 3, seed=7)[0])


@pytest.mark.parametrize(
    ('y', 'options', 'message'),
    [
        (
            [0, 0, 0, 1],
            {},
            r'at least 2 nodes \(1 training, 1 validation\) \(got 1 in class 1\)',
        ),
        ([0, 0, 2, 2], {}, r'\(got 0 in class 1\)'),
        ([[0, 1]], {}, r"'y' must have shape \(N,\) \(got \(1, 2\)\)"),
        ([-1, -1], {}, r'\(got no label\)'),
        ([0, 0, -2], {}, r'-1 for unlabelled nodes only \(got -2\)'),
        ([0, 0], {'num_splits': 0}, r"'num_splits' must be positive \(got 0\)"),
        ([0, 0], {'train_per_class': -1}, r"'train_per_class' must not be negative \(got -1\)"),
    ],
)
def test_splits_that_cannot_be_drawn_are_refused(y, options, message):
    options = {'train_per_class': 1, 'val_per_class': 1} | options
    with pytest.raises(ValueError, match=message):
        gen_masks(torch.tensor(y), **options)


def test_labels_must_be_integers():
    with pytest.raises(TypeError, match=r"'y' must hold integers \(got torch.float32\)"):
        gen_masks(torch.tensor([0.0, 1.0]))


def test_lists_are_no_tensors():
    with pytest.raises(TypeError, match=r"gen_masks: 'y' must be a tensor \(got list\)"):
        gen_masks([0, 1])
    with pytest.raises(TypeError, match=r"compute_micro_f1: 'y' must be a tensor \(got list\)"):
        compute_micro_f1(LOGITS, [0, 1, 1, 1])
