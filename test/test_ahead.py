"""The next item is made in a thread: same items, same order, nothing left behind."""

import gc
import threading
import time
import weakref

import pytest

from torch_geometric_autoscale.ahead import one_ahead


class Item:
    pass


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith('prefetch')]


def test_items_come_in_order():
    assert list(one_ahead(iter(range(5)))) == [0, 1, 2, 3, 4]
    assert list(one_ahead(iter([]))) == []
    assert list(one_ahead(iter([None, None]))) == [None, None]
    assert not prefetch_threads()


def test_the_first_item_is_made_by_the_caller_and_the_others_are_not():
    makers = [maker for maker in one_ahead(threading.current_thread() for _ in range(3))]
    assert makers[0] is threading.current_thread()
    assert threading.current_thread() not in makers[1:]


def test_the_next_item_is_made_while_one_is_in_use_and_no_further_one():
    made = []

    def items():
        for i in range(4):
            made.append(i)
            yield i

    ahead = one_ahead(items())
    assert made == []
    assert next(ahead) == 0
    for expected in ([0, 1], [0, 1, 2]):
        deadline = time.monotonic() + 10
        while made != expected and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)  # in which one that looked further ahead would go on
        assert made == expected
        next(ahead)
    ahead.close()


def test_an_error_comes_when_its_item_is_due():
    def items():
        yield 0
        yield 1
        raise KeyError('third')

    ahead = one_ahead(items())
    assert next(ahead) == 0
    assert next(ahead) == 1
    with pytest.raises(KeyError, match='third'):
        next(ahead)
    assert list(ahead) == []
    assert not prefetch_threads()


@pytest.mark.parametrize('by', ['close', 'break', 'error'])
def test_whoever_stops_early_leaves_no_thread_and_closes_the_items(by):
    closed = []

    def items():
        try:
            yield from range(10)
        finally:
            closed.append(True)

    ahead = one_ahead(items())
    if by == 'close':
        next(ahead)
        ahead.close()
    elif by == 'break':
        for _ in ahead:
            break
        del ahead
    else:
        with pytest.raises(RuntimeError, match='in the loop'):  # noqa: PT012
            for _ in ahead:
                raise RuntimeError('in the loop')
        del ahead
    gc.collect()
    assert closed == [True]
    assert not prefetch_threads()


def test_an_item_in_use_is_not_kept_alive():
    alive: list = []

    def items():
        for _ in range(4):
            item = Item()
            alive.append(weakref.ref(item))
            yield item
            del item

    ahead = one_ahead(items())
    for count in range(1, 4):
        item = next(ahead)
        reference = weakref.ref(item)
        assert reference() is item
        del item
        gc.collect()
        deadline = time.monotonic() + 10
        while len(alive) <= count and time.monotonic() < deadline:
            time.sleep(0.001)
        assert sum(ref() is not None for ref in alive) <= 1  # the one that is ahead
    ahead.close()
