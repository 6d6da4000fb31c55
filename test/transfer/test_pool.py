"""Life of a pool: buffers, errors in threads, what is refused."""

import threading
from functools import partial

import pytest
import torch

from test.oracle import nasty_graph, sweep_loader
from torch_geometric_autoscale import AsyncIOPool, History, models
from torch_geometric_autoscale.transfer import pool_for
from torch_geometric_autoscale.transfer.choice import measure_ways
from torch_geometric_autoscale.transfer.simulated import SimulatedRuntime

from ..history.test_oracle import model_with

ROWS = torch.arange(80.0).view(20, 4)
IDS = torch.arange(20)


_before: set[threading.Thread] = set()


@pytest.fixture(autouse=True)
def _count_own_threads():
    _before.update(threading.enumerate())
    yield
    _before.clear()


def threads() -> set[str]:
    """Names of the threads that a test has left."""
    return {thread.name for thread in set(threading.enumerate()) - _before}


def opened(**kwargs) -> AsyncIOPool:
    return AsyncIOPool(way='host', runtime=SimulatedRuntime(**kwargs))


# Life ############################################################################


def test_a_block_ends_with_all_rows_in_place_and_nothing_left():
    history = History(20, 4)
    with opened(longest_pause=0.01) as pool:
        pool.push_async(history, ROWS, IDS)
        assert pool.buffer_size_in_bytes >= 0
        assert pool_for(torch.device('cpu')) is pool
    assert torch.equal(history.emb, ROWS)
    assert pool.buffer_size_in_bytes == 0
    assert not threads()
    assert pool_for(torch.device('cpu')) is None


def test_buffers_grow_to_the_largest_batch_and_are_used_again(monkeypatch):
    monkeypatch.setattr('torch_geometric_autoscale.transfer.buffers.PIECE_IN_BYTES', 2**20)
    history, sizes = History(200, 16), []
    pool = opened(longest_pause=0)
    for count in (10, 50, 200, 50, 200, 10, 200, 200):
        pool.pull_async(history, torch.arange(count)).wait()
        sizes.append(pool.buffer_size_in_bytes)
    asked = pool._runtime.pinned_bytes
    for _ in range(10):
        pool.pull_async(history, torch.arange(200)).wait()
    assert sizes[0] < sizes[2] <= sizes[-1] <= 2 * 200 * 16 * 4
    assert pool._runtime.pinned_bytes == asked
    pool.close()


def test_an_error_in_a_block_is_told_and_everything_given_back():
    history = History(20, 4)
    pool = opened(longest_pause=0.01)

    def fail() -> None:
        with pool:
            pool.push_async(history, ROWS, IDS)
            pool.pull_async(history, IDS)
            raise KeyError('mine')

    with pytest.raises(KeyError, match='mine'):
        fail()
    assert not threads()
    assert pool.buffer_size_in_bytes == 0
    assert pool_for(torch.device('cpu')) is None
    assert torch.equal(history.emb, ROWS)


def test_on_the_cpu_everything_happens_at_once():
    history = History(20, 4)
    with AsyncIOPool('cpu') as pool:
        assert not pool.is_active
        pool.push_async(history, ROWS[:4], IDS[:4])
        assert torch.equal(history.stored.table[:4], ROWS[:4])
        assert torch.equal(pool.pull_async(history, IDS[:4], lead=2).wait()[2:], ROWS[:4])
        assert not threads()
        assert pool_for(torch.device('cpu')) is None
        assert pool.buffer_size_in_bytes == 0


def test_without_a_pool_a_model_on_the_cpu_starts_no_thread():
    model = models.GCN(20, 4, 8, 3, 3).double()
    for batch in sweep_loader(nasty_graph()):
        model(batch)
    assert not threads()
    assert all(history.in_flight is None for history in model.histories)


def test_pulls_of_all_layers_begin_with_the_call(pool_of, monkeypatch):
    events = []
    model = model_with('ram', 'auto', None)
    with pool_of() as pool:
        pull, push = pool.pull_async, pool.push_async
        monkeypatch.setattr(
            pool, 'pull_async', lambda *a, **k: (events.append('pull'), pull(*a, **k))[1]
        )
        monkeypatch.setattr(
            pool, 'push_async', lambda *a, **k: (events.append('push'), push(*a, **k))[1]
        )
        for conv in model.convs:
            conv.register_forward_hook(lambda *_: events.append('layer'))
        model(next(iter(sweep_loader(nasty_graph()))))
    assert events == ['pull', 'pull', 'layer', 'push', 'layer', 'push', 'layer']


def test_the_faster_way_is_measured_once_asked_for(monkeypatch):
    seconds = {'host': 2.0, 'kernel': 1.0}
    monkeypatch.setattr(
        'torch_geometric_autoscale.transfer.choice.measure_ways', lambda *_: seconds
    )
    pools = [AsyncIOPool(runtime=SimulatedRuntime(kernel=i < 2)) for i in range(3)]
    assert pools[0].way == 'kernel'
    seconds['host'] = 0.5
    assert pools[1].way == 'host'
    assert pools[2].way == 'host'  # nothing to be measured
    for pool in pools:
        pool.close()


def test_both_ways_are_timed():
    seconds = measure_ways(SimulatedRuntime(), AsyncIOPool, num_rows=100, width=4, pulled=50)
    assert seconds.keys() == {'host', 'kernel'}
    assert min(seconds.values()) > 0
    assert not threads()


def test_a_kernel_that_does_not_run_is_passed_over(monkeypatch):
    runtime = SimulatedRuntime()

    def fail(*_: object) -> None:
        raise Broken('no compiler')

    monkeypatch.setattr(runtime, 'gather', fail)
    timed = partial(measure_ways, num_rows=100, width=4, pulled=50)
    monkeypatch.setattr('torch_geometric_autoscale.transfer.choice.measure_ways', timed)
    pool = AsyncIOPool(runtime=runtime)
    with pytest.warns(UserWarning, match=r"'kernel' could not be timed, .* \(got Broken: no comp"):
        assert pool.way == 'host'
    pool.close()


# Errors in threads ###############################################################


class Broken(RuntimeError):
    """What a medium may raise."""


def broken(monkeypatch, name: str) -> History:
    history = History(20, 4)

    def fail(*_: object) -> None:
        raise Broken('the disk is gone')

    monkeypatch.setattr(history.store, name, fail)
    return history


@pytest.mark.parametrize('then', ['wait', 'pull', 'push', 'synchronize', 'close', 'emb'])
def test_an_error_of_a_thread_reaches_the_caller_once(monkeypatch, then):
    history, fine = broken(monkeypatch, 'write'), History(20, 4)
    pool = opened()
    pool.push_async(fine, ROWS, IDS)
    pool.push_async(history, ROWS, IDS)
    pull = pool.pull_async(history, IDS) if then == 'wait' else None
    if then in ('pull', 'push'):
        history.in_flight.lane._write._done.wait()
    act = {
        'wait': lambda: pull.wait(),
        'pull': lambda: pool.pull_async(fine, IDS),
        'push': lambda: pool.push_async(fine, ROWS, IDS),
        'synchronize': pool.synchronize,
        'close': pool.close,
        'emb': lambda: history.emb,
    }[then]
    with pytest.raises(Broken, match='the disk is gone'):
        act()
    assert pool.buffer_size_in_bytes == 0
    assert torch.equal(fine.emb, ROWS)
    if then != 'close':
        assert torch.equal(pool.pull_async(fine, IDS).wait(), ROWS)  # it goes on
        pool.close()
    assert not threads()


def test_an_error_of_a_thread_ends_the_block(monkeypatch):
    history = broken(monkeypatch, 'read')
    with pytest.raises(Broken, match='the disk is gone'), opened() as pool:
        pool.pull_async(history, IDS)  # nobody waits for it
    assert not threads()


@pytest.mark.parametrize(('dtype', 'number'), [('float16', 1e6), ('bfloat16', 3.4e38)])
@pytest.mark.parametrize('way', ['host', 'kernel'])
def test_a_number_that_does_not_fit_is_told_and_nothing_written(pool_of, way, dtype, number):
    history, rows = History(20, 4, dtype=dtype, tier='pinned'), ROWS.clone()
    pool = pool_of(way)
    pool.push_async(history, ROWS.sqrt(), IDS)
    before = history.pull()
    rows[3, 1] = -number
    for where in ((IDS,), (None, torch.tensor([0]), torch.tensor([20]))):
        pool.push_async(history, rows, *where)
        with pytest.raises(ValueError, match=rf'History.push: numbers must fit .*{dtype}: at most'):
            pool.synchronize()
        assert torch.equal(history.pull(), before)
    rows[3, 1] = float('inf')  # stays what it is
    pool.push_async(history, rows, IDS)
    assert history.pull()[3, 1] == float('inf')


def test_a_step_that_fails_leaves_the_pool_usable(pool_of):
    model = model_with('ram', 'auto', None)
    batches = list(sweep_loader(nasty_graph()))
    with pool_of():
        handle = model.convs[1].register_forward_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model(batches[0])
        handle.remove()
        found = model(batches[0])
    assert found.isfinite().all()


def test_a_pass_in_inference_mode_is_followed_by_training(pool_of):
    model = model_with('ram', 'auto', None)
    with pool_of():
        for mode in (torch.inference_mode, torch.no_grad, torch.enable_grad):
            with mode():
                out = [model(batch) for batch in sweep_loader(nasty_graph())]
        out[0].sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_an_abandoned_pull_is_no_leak(pool_of):
    history = History(20, 4)
    pool = pool_of()
    for _ in range(50):
        pool.pull_async(history, IDS)
    pool.synchronize()
    assert len(history.in_flight.lane.before_write()) == 0


# What is refused #################################################################


def test_ways_that_are_none_or_cannot_be():
    with pytest.raises(ValueError, match=r"'way' must be one of auto, .*kernel \(got 'magic'\)"):
        AsyncIOPool(way='magic')
    with pytest.raises(ValueError, match=r"'kernel' must be able to run here \(got a device that"):
        AsyncIOPool('cpu', way='kernel')
    with pytest.raises(ValueError, match=r'\(got this simulated device has none\). Pass way=.auto'):
        AsyncIOPool(way='kernel', runtime=SimulatedRuntime(kernel=False))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
@pytest.mark.parametrize('device', ['cuda', 'cuda:7', 'meta'])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ValueError, match=r"'device' must be one of the 0 CUDA devices here \(got"):
        AsyncIOPool(device)


def test_one_pool_is_in_use_at_a_time():
    with opened() as pool:
        with pytest.raises(RuntimeError, match=r'one pool is in use .* \(got the same one\)'):
            pool.__enter__()
        other = opened()
        with pytest.raises(RuntimeError, match=r'\(got another one\). Leave its block first'):
            other.__enter__()
        other.close()


def test_a_closed_pool_is_closed():
    pool, history = opened(), History(20, 4)
    pool.close()
    pool.close()  # more than once is fine
    for act in (
        lambda: pool.pull_async(history, IDS),
        lambda: pool.push_async(history, ROWS, IDS),
        pool.synchronize,
        pool.__enter__,
    ):
        with pytest.raises(RuntimeError, match=r'must be open \(got a closed pool\). Make a new'):
            act()
    assert repr(pool) == "AsyncIOPool(device='cpu', way='host', closed)"


def test_a_model_on_another_device_is_refused():
    with (
        opened(),
        pytest.raises(ValueError, match=r"pool in use is of 'cpu' \(got a model on 'meta'"),
    ):
        pool_for(torch.device('meta'))


def test_wrong_rows_and_ids_are_refused_before_anything_begins(pool_of):
    pool, history = pool_of(), History(20, 4)
    history.push(ROWS)
    bad = [
        (lambda: pool.pull_async(history, IDS + 1), r"ids in 'n_id' must lie in \[0, 20\)"),
        (lambda: pool.pull_async(history, IDS.float()), "'n_id' must be a vector of integer ids"),
        (lambda: pool.push_async(history, ROWS, IDS + 1), r"ids in 'n_id' must lie in \[0, 20\)"),
        (lambda: pool.push_async(history, ROWS, 0 * IDS), "ids in 'n_id' must not repeat"),
        (lambda: pool.push_async(history, ROWS[:, :1], IDS), r"'x' must have shape \(20, 4\)"),
        (lambda: pool.push_async(history, ROWS[:3]), r"'x' must have shape \(20, 4\), one row per"),
        (lambda: pool.push_async(history, ROWS, None, IDS[:1]), "'offset' and 'count' belong"),
        (lambda: pool.push_async(history, ROWS.to('meta'), IDS), r"device, 'cpu' \(got 'meta'"),
    ]  # fmt: skip
    for act, message in bad:
        with pytest.raises(ValueError, match=message):
            act()
    assert torch.equal(history.emb, ROWS)
    with pytest.raises(TypeError, match="'x' must be of a floating-point type"):
        pool.push_async(history, IDS.view(-1, 1).expand(20, 4), IDS)


def test_two_pools_take_turns_with_a_history():
    history = History(20, 4)
    one, other = opened(longest_pause=0.01), opened(longest_pause=0.01)
    one.push_async(history, ROWS, IDS)
    assert torch.equal(other.pull_async(history, IDS).wait(), ROWS)
    other.push_async(history, -ROWS, IDS)
    assert torch.equal(one.pull_async(history, IDS).wait(), -ROWS)
    one.close()
    other.close()


def test_a_model_widens_its_histories_under_way(pool_of):
    pool, history = pool_of(), History(20, 4)
    pool.push_async(history, ROWS, IDS)
    pool.push_async(history, ROWS.double() / 3, IDS)
    assert history.dtype == torch.float64
    assert torch.equal(history.pull(), ROWS.double() / 3)


def test_empty_and_zero_width_rows(pool_of):
    for way in ('host', 'kernel'):
        pool, thin = pool_of(way), History(20, 0, tier='pinned')
        assert pool.pull_async(thin, IDS).wait().shape == (20, 0)
        pool.push_async(thin, ROWS[:, :0], IDS)
        history = History(20, 4, tier='pinned')
        assert pool.pull_async(history, IDS[:0], lead=2).wait().shape == (2, 4)
        pool.push_async(history, ROWS[:0], IDS[:0])
        pool.push_async(history, ROWS[:0], None, IDS[:0], IDS[:0])
        pool.synchronize()
        assert not history.emb.any()


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16', 'int8'])
@pytest.mark.parametrize('by', ['ids', 'chunks'])
def test_a_table_on_the_device_is_written_without_a_look_at_numbers(pool_of, dtype, by):
    pool, history, plain = pool_of(), History(20, 4, dtype=dtype), History(20, 4, dtype=dtype)
    ids = torch.tensor([7, 8, 9, 2])
    where = (ids, None, None) if by == 'ids' else (None, ids[::3], torch.tensor([3, 1]))
    pool.push_there(history, ROWS[:4], ids, *where)
    plain.push(ROWS[:4], ids)
    assert torch.equal(history.pull(), plain.pull())
    if dtype in ('bfloat16', 'float16'):
        rows = ROWS[:4].clone()
        rows[1, 1] = 3.4e38
        pool.push_there(history, rows, ids, *where)
        assert torch.equal(history.pull(), plain.pull())
        with pytest.raises(ValueError, match=f'numbers must fit the type .*{dtype}'):
            pool.close()
