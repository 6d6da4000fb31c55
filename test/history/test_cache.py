"""A cache changes nothing but where rows are read from."""

import copy

import pytest
import torch

from torch_geometric_autoscale import History
from torch_geometric_autoscale.history import DTYPES
from torch_geometric_autoscale.history.cache import CachedStore

N, C = 40, 4


def of_rows(num_rows: int, **kwargs) -> History:
    """A table of ``N`` rows of 16 bytes with a cache of so many; the index takes 8 bytes a row."""
    return History(N, C, cache_size_in_bytes=8 * N + 16 * num_rows, **kwargs)


def ids(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.long)


def cached_rows(history: History) -> list[int]:
    return (history.store._place >= 0).nonzero().view(-1).tolist()


def read(history: History, *values: int) -> list[bool]:
    """Pull rows one after the other; which of them were in the cache."""
    found = []
    for value in values:
        before = history.store.num_hits
        history.pull(ids(value))
        found.append(history.store.num_hits > before)
    return found


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('tier', ['ram', 'disk'])
def test_what_a_cache_gives_back_is_what_the_store_would(dtype, tier, tmp_path):
    generator = torch.Generator().manual_seed(0)
    plain = History(N, C, dtype=dtype)
    history = History(N, C, dtype=dtype, tier=tier, folder=tmp_path, cache_size_in_bytes=700)
    for step in range(60):
        some = torch.randperm(N, generator=generator)[: 7 + step % 5]
        x = torch.randn(some.numel(), C, generator=generator)
        wanted = torch.randint(N, (25,), generator=generator) ** 2 // N  # low ids more often
        for each in (plain, history):
            each.push(x, some)
            each.push(x[:5], offset=ids(3, 30), count=ids(2, 3))
        out = [torch.empty(25, C) for _ in range(2)]
        assert torch.equal(history.pull(wanted, out[0]), plain.pull(wanted, out[1]))
        assert torch.equal(history.pull(wanted), plain.pull(wanted))
        assert torch.equal(history.pull(), plain.pull())
    assert 0.3 < history.cache_hit_rate < 1


def test_rows_that_are_read_come_in_while_there_is_room():
    history = of_rows(3)
    history.push(torch.arange(N * C).float().view(N, C))
    assert read(history, 5, 5, 9, 9, 5) == [False, True, False, True, True]
    history.pull(ids(7, 8, 7))
    assert cached_rows(history) == [5, 7, 9]
    assert history.cache_hit_rate == 3 / 8
    assert history.pull(ids(9, 8, 7, 5))[:, 0].tolist() == [36, 32, 28, 20]


def test_the_rows_that_are_read_most_stay():
    history = of_rows(2)
    read(history, *range(10), *[20, 21, 22] * 8)
    assert cached_rows(history) == [0, 1]  # nobody has thought it over yet
    read(history, 20, 20, 21, *[30] * 3)  # 40 reads
    assert cached_rows(history) == [20, 21]
    assert read(history, 20, 21, 22, 0) == [True, True, False, False]
    read(history, *[30] * 35)
    assert cached_rows(history) == [20, 21]
    read(history, 3)  # 80 reads
    assert cached_rows(history) == [20, 30]


def test_of_rows_that_are_read_equally_often_those_that_are_there_stay():
    history = of_rows(10)
    read(history, *range(30, 40))
    read(history, *range(30))
    assert cached_rows(history) == list(range(30, 40))


def test_reading_the_whole_table_changes_nothing_in_the_cache():
    history = of_rows(3)
    history.pull()
    assert cached_rows(history) == []
    assert history.cache_hit_rate is None


def test_writes_reach_store_and_cache():
    history = of_rows(3)
    read(history, 4, 8)
    history.push(torch.ones(2, C), ids(8, 9))
    history.push(2 * torch.ones(3, C), offset=ids(20, 4), count=ids(1, 2))
    assert history.pull(ids(4, 5, 8, 9, 20))[:, 0].tolist() == [2, 2, 1, 1, 2]
    assert history.store.below.pull(ids(4, 5, 8, 9, 20))[:, 0].tolist() == [2, 2, 1, 1, 2]
    history.push(3 * torch.ones(N, C))
    assert history.pull(ids(4, 5))[:, 0].tolist() == [3, 3]
    history.reset()
    assert not history.pull(ids(4, 5, 8)).any()


def test_a_checkpoint_needs_no_flush():
    history, other = of_rows(3), History(N, C)
    read(history, 4, 8)
    state = history.state_dict()
    history.push(torch.ones(2, C), ids(4, 5))
    other.load_state_dict(state)  # the state is not a copy
    assert other.pull(ids(4, 5)).tolist() == [[1] * C] * 2


def test_a_loaded_state_is_not_hidden_by_the_cache():
    history, other = of_rows(3), History(N, C)
    read(history, 4, 8)
    other.push(torch.ones(N, C))
    history.load_state_dict(other.state_dict())
    assert history.pull(ids(4, 8))[:, 0].tolist() == [1, 1]


def test_a_copy_has_a_cache_of_its_own():
    history = of_rows(3)
    read(history, 4, 8)
    other = copy.deepcopy(history)
    other.push(torch.ones(1, C), ids(4))
    assert history.pull(ids(4)).tolist() == [[0] * C]
    assert (other.cache_size_in_bytes, cached_rows(other)) == (history.cache_size_in_bytes, [])


@pytest.mark.parametrize(('num_rows', 'capacity'), [(1, 1), (3, 3), (N, N), (10 * N, N)])
def test_the_memory_of_a_cache_is_bounded(num_rows, capacity):
    history = of_rows(num_rows)
    history.pull(torch.arange(N))
    store = history.store
    assert isinstance(store, CachedStore)
    assert len(cached_rows(history)) == store.capacity == capacity
    tensors = [store._place, store._times_read, *store._rows.values()]
    assert sum(t.numel() * t.element_size() for t in tensors) <= history.cache_size_in_bytes


@pytest.mark.parametrize(
    ('size', 'message'),
    [
        (8 * N + 15, r'a cache of this table takes 336 bytes at least, 320 .* \(got 335\)'),
        (0, r"'cache_size_in_bytes' must be a number of bytes from 1 on \(got 0\)"),
        (-5, r'a number of bytes from 1 on \(got -5\)'),
        (True, r'a number of bytes from 1 on \(got True\)'),
        (1.5, r'a number of bytes from 1 on \(got 1.5\)'),
        ('many', r"a number of bytes from 1 on \(got 'many'\). Pass e.g. '256MB', '1.5GiB' or"),
        ('3 sheep', r"a number of bytes from 1 on \(got '3 sheep'\)"),
    ],
)
def test_a_cache_of_no_size_is_refused(size, message):
    with pytest.raises(ValueError, match=f'History: .*{message}'):
        History(N, C, cache_size_in_bytes=size)


@pytest.mark.parametrize(
    ('text', 'size'),
    [('1kB', 1000), ('2 KiB', 2048), ('1.5MB', 1_500_000), ('0.5GiB', 2**29), ('700', 700),
     ('700b', 700), (700, 700), (700.0, 700)],
)  # fmt: skip
def test_sizes_may_have_units(text, size):
    assert History(N, C, cache_size_in_bytes=text).cache_size_in_bytes == size


@pytest.mark.parametrize('shape', [(0, 2), (3, 0)])
def test_tables_without_entries_may_have_a_cache(shape):
    history = History(*shape, cache_size_in_bytes=100)
    some = torch.arange(shape[0])
    history.push(torch.empty(shape), some)
    assert history.pull(some).shape == shape
