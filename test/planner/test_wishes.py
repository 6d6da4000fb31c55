from torch_geometric_autoscale.planner.choice import Choice
from torch_geometric_autoscale.planner.wishes import (
    Wishes,
    batch_sizes,
    degrees_of_comfort,
    storages,
    without_one,
)


def test_batches_begin_with_an_eighth_of_the_parts_and_get_smaller():
    assert list(batch_sizes(Wishes(), 64)) == [8, 6, 5, 4, 3, 2, 1]
    assert list(batch_sizes(Wishes(), 3)) == [1]


def test_a_batch_size_that_was_asked_for_is_the_only_one():
    assert list(batch_sizes(Wishes(batch_size=5), 64)) == [5]
    assert list(batch_sizes(Wishes(batch_size=99), 64)) == [64]


def test_the_usual_batch_keeps_its_share_of_the_graph():
    usual = Wishes(usual_num_parts=10, usual_batch_size=2)
    assert next(iter(batch_sizes(usual, 40))) == 8


def test_what_keeps_rows_as_they_are_comes_first():
    assert storages(Wishes(), 'float32', on_device=False) == [
        ('ram', 'float32'), ('disk', 'float32'), ('ram', 'bfloat16'), ('disk', 'bfloat16'),
        ('ram', 'int8'), ('disk', 'int8'),
    ]  # fmt: skip
    on_device = storages(Wishes(history_dtype='int8'), 'float32', on_device=True)
    assert on_device == [(tier, 'int8') for tier in ('device', 'pinned', 'ram', 'disk')]
    wished = Wishes(history_tier='disk', history_dtype='float16')
    assert storages(wished, 'float32', on_device=False) == [('disk', 'float16')]


def comforts(**wishes):
    choices = degrees_of_comfort(Wishes(**wishes), 8, 2, 'ram', 'float32')
    return [(c.keep_first_propagation, c.measure_memory, c.full_batch) for c in choices]


def test_comfort_is_given_up_one_by_one():
    everything = comforts(keep_first_propagation=None, measure_memory=None, full_batch=None)
    assert everything == [
        (True, True, True), (True, True, False), (True, False, False), (False, False, False),
    ]  # fmt: skip


def test_what_was_asked_for_is_not_given_up():
    assert comforts(keep_first_propagation=True, measure_memory=True, full_batch=True) == [
        (True, True, True)
    ]
    assert comforts(keep_first_propagation=False) == [(False, False, False)]


def test_a_choice_has_the_cache_that_was_asked_for():
    (choice,) = degrees_of_comfort(
        Wishes(history_cache=9, keep_first_propagation=True), 8, 2, 'disk', 'int8'
    )
    assert choice == Choice(8, 2, 'disk', 'int8', 9)


def test_wishes_can_be_left_out_one_at_a_time():
    wishes = Wishes(batch_size=3, history_tier='ram', history_cache=9, full_batch=True)
    assert list(without_one(wishes)) == [
        ('history_tier', 'ram', Wishes(batch_size=3, history_cache=9, full_batch=True)),
        ('batch_size', 3, Wishes(history_tier='ram', history_cache=9, full_batch=True)),
        ('history_cache', 9, Wishes(batch_size=3, history_tier='ram', full_batch=True)),
        ('full_batch', True, Wishes(batch_size=3, history_tier='ram', history_cache=9)),
    ]
    assert list(without_one(Wishes(num_parts=4))) == []
