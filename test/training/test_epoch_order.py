import torch

from torch_geometric_autoscale.training.epoch_order import EpochOrder


def test_an_order_is_a_permutation():
    assert sorted(EpochOrder(seed=0, size=9)) == list(range(9))
    assert len(EpochOrder(seed=0, size=9)) == 9


def test_an_order_depends_on_seed_and_epoch_alone():
    order, again = EpochOrder(seed=1, size=20), EpochOrder(seed=1, size=20)
    first = list(order)
    torch.rand(3)
    assert list(again) == first
    order.epoch = 1
    assert list(order) != first
    assert list(EpochOrder(seed=2, size=20)) != first


def test_an_order_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    list(EpochOrder(seed=0, size=5))
    assert torch.equal(torch.get_rng_state(), state)
