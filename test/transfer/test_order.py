"""Nobody reads what is still being written, and each wait that sees to that is needed.

Streams are held for a moment, so that whatever does not wait comes too early. Every rule is checked
again with its wait left out, and must fail then.
"""

import copy
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch

from torch_geometric_autoscale import History
from torch_geometric_autoscale.transfer import AsyncIOPool
from torch_geometric_autoscale.transfer.buffers import Buffers
from torch_geometric_autoscale.transfer.lane import Lane
from torch_geometric_autoscale.transfer.simulated import SimulatedRuntime, SimulatedStream
from torch_geometric_autoscale.transfer.ways import Way

MOMENT = 0.03  # in seconds: much longer than all that is done here
NUM_ROWS, WIDTH = 40, 4
OLD = torch.arange(float(NUM_ROWS * WIDTH)).view(NUM_ROWS, WIDTH)
NEW = -1 - OLD
IDS = torch.arange(NUM_ROWS).flip(0)
CHUNKS = (torch.tensor([20, 0]), torch.tensor([20, 20]))  # other half first


@contextmanager
def held(stream: SimulatedStream) -> Iterator[None]:
    """Let a stream do nothing inside this block, and for a moment longer."""
    gate = threading.Event()
    stream.run(gate.wait)
    try:
        yield
        time.sleep(MOMENT)
    finally:
        gate.set()


def opened(way: str) -> tuple[AsyncIOPool, SimulatedStream, SimulatedStream]:
    """A pool without pauses of its own, and its streams of pulls and pushes."""
    pool = AsyncIOPool(way=way, runtime=SimulatedRuntime(longest_pause=0))
    return pool, pool._ways['host'].pulls, pool._ways['host'].pushes


def filled(tier: str = 'pinned', dtype: str = 'float32') -> History:
    history = History(NUM_ROWS, WIDTH, tier=tier, dtype=dtype)
    history.push(OLD)
    return history


def push(pool: AsyncIOPool, history: History, by: str) -> None:
    if by == 'ids':
        pool.push_async(history, NEW[IDS], IDS)
    else:
        pool.push_async(history, torch.cat([NEW[20:], NEW[:20]]), None, *CHUNKS)


# Rules ###########################################################################

Case = tuple[str, str, str]  # way, tier, by


def pull_sees_earlier_pushes(case: Case) -> None:
    way, tier, by = case
    pool, _, pushes = opened(way)
    history = filled(tier)
    with held(pushes):
        push(pool, history, by)
        pull = pool.pull_async(history, IDS)
    assert torch.equal(pull.wait(), NEW[IDS])
    pool.close()


def pushes_follow_each_other(case: Case) -> None:
    way, tier, by = case
    pool, _, pushes = opened(way)
    history = filled(tier)
    with held(pushes):
        pool.push_async(history, 0 * NEW, IDS)
        push(pool, history, by)
    assert torch.equal(history.pull(), NEW)
    pool.close()


def pull_sees_no_later_push(case: Case) -> None:
    way, tier, by = case
    pool, pulls, _ = opened(way)
    history = filled(tier)
    read, gate = history.store.read, threading.Event()
    if way == 'host':  # the host thread is late, or else the stream
        history.store.read = lambda *args: (gate.wait(), read(*args))[1]
    with held(pulls):
        pull = pool.pull_async(history, IDS)
        push(pool, history, by)
        time.sleep(MOMENT)
        gate.set()
    assert torch.equal(pull.wait(), OLD[IDS])
    pool.synchronize()
    assert torch.equal(history.pull(), NEW)
    pool.close()


def pulled_rows_are_not_read_before_they_are_there(case: Case) -> None:
    way, tier, _ = case
    pool, pulls, _ = opened(way)
    history, compute, seen = filled(tier), SimulatedStream(lambda: None), []
    with held(pulls), pool._runtime.computing_in(compute):
        # Two pieces, for which there are buffers: the host goes on, the device waits.
        rows = pool.pull_async(history, IDS[:20]).wait()
        compute.run(lambda: seen.append(rows.clone()))
    compute.close()
    assert torch.equal(seen[0], OLD[IDS[:20]])
    pool.close()


def rows_are_not_pushed_before_they_are_computed(case: Case) -> None:
    way, tier, by = case
    pool, _, _ = opened(way)
    history, compute = filled(tier), SimulatedStream(lambda: None)
    late = torch.zeros(NUM_ROWS, WIDTH)
    pool._ways[way].prepare = lambda *_: {'emb': late, 'rows': late}
    if by == 'ids':
        result = NEW[IDS]
    else:
        result = torch.cat([NEW[20:], NEW[:20]])
    with held(compute), pool._runtime.computing_in(compute):
        compute.run(lambda: late.copy_(result))
        push(pool, history, by)
    pool.synchronize()
    compute.close()
    assert torch.equal(history.pull(), NEW)
    pool.close()


def buffers_are_not_filled_while_they_are_copied(case: Case) -> None:
    way, tier, _ = case
    pool, pulls, _ = opened(way)
    history = filled(tier)
    with held(pulls):
        first, second = pool.pull_async(history, IDS), pool.pull_async(history, IDS.flip(0))
    assert torch.equal(first.wait(), OLD[IDS])
    assert torch.equal(second.wait(), OLD)
    assert pool._runtime.pinned_bytes <= 2 * 512
    pool.close()


def other_uses_of_a_history_wait(case: Case) -> None:
    way, tier, by = case
    pool, _, pushes = opened(way)
    history = filled(tier)
    uses: list[Callable[[], torch.Tensor]] = [
        history.pull, lambda: history.emb, lambda: history.get_extra_state()['emb'],
        lambda: copy.deepcopy(history).emb, lambda: history.move_to('ram').emb,
        lambda: (history.push(NEW), history.emb)[1],
    ]  # fmt: skip
    for use in uses:
        history.push(OLD)
        gate = threading.Event()
        pushes.run(gate.wait)
        push(pool, history, by)
        threading.Timer(MOMENT, gate.set).start()
        assert torch.equal(use(), NEW)
        pool.synchronize()
        assert torch.equal(history.emb, NEW)
    pool.close()


CASES = [
    (way, tier, by)
    for way, tier in (('host', 'ram'), ('host', 'pinned'), ('host', 'disk'), ('kernel', 'pinned'))
    for by in ('ids', 'chunks')
]
RULES = [
    pull_sees_earlier_pushes, pushes_follow_each_other, pull_sees_no_later_push,
    pulled_rows_are_not_read_before_they_are_there, rows_are_not_pushed_before_they_are_computed,
    buffers_are_not_filled_while_they_are_copied,
]  # fmt: skip


@pytest.mark.parametrize('case', CASES, ids='-'.join)
@pytest.mark.parametrize('rule', RULES, ids=lambda rule: rule.__name__)
def test_rule(rule, case):
    rule(case)


@pytest.mark.parametrize('case', [CASES[2], CASES[7]], ids='-'.join)
def test_other_uses_of_a_history_wait(case):
    other_uses_of_a_history_wait(case)


def without_ready(way: Way, store, fields, lost, where, ready, after):
    nothing = SimulatedStream(lambda: None)
    return PUSH(way, store, fields, lost, where, nothing.record(), after)


PUSH = Way.push
LEFT_OUT = {
    'reads wait for writes': (Lane, 'before_read', lambda self: []),
    'writes wait for reads': (Lane, 'before_write', lambda self: []),
    'computing waits for copies': (SimulatedStream, 'wait', lambda self, event: None),
    'copies wait for computing': (Way, 'push', without_ready),
    'buffers wait for copies': (Buffers, 'busy_until', lambda self, number, event: None),
    'a history waits': (History, 'settle', lambda self: None),
}


@pytest.mark.parametrize(
    ('rule', 'case', 'wait'),
    [
        (pull_sees_earlier_pushes, ('host', 'ram', 'ids'), 'reads wait for writes'),
        (pull_sees_earlier_pushes, ('host', 'pinned', 'chunks'), 'reads wait for writes'),
        (pull_sees_earlier_pushes, ('kernel', 'pinned', 'ids'), 'reads wait for writes'),
        (pull_sees_earlier_pushes, ('kernel', 'pinned', 'ids'), 'computing waits for copies'),
        (pull_sees_no_later_push, ('host', 'ram', 'ids'), 'writes wait for reads'),
        (pull_sees_no_later_push, ('host', 'pinned', 'chunks'), 'writes wait for reads'),
        (pull_sees_no_later_push, ('kernel', 'pinned', 'ids'), 'writes wait for reads'),
        (
            pulled_rows_are_not_read_before_they_are_there,
            ('host', 'ram', 'ids'), 'computing waits for copies',
        ),
        (
            rows_are_not_pushed_before_they_are_computed,
            ('host', 'ram', 'ids'), 'copies wait for computing',
        ),
        (
            buffers_are_not_filled_while_they_are_copied,
            ('host', 'ram', 'ids'), 'buffers wait for copies',
        ),
        (other_uses_of_a_history_wait, ('host', 'ram', 'ids'), 'a history waits'),
    ],
)  # fmt: skip
def test_a_wait_that_is_left_out_is_noticed(monkeypatch, rule, case, wait):
    monkeypatch.setattr(*LEFT_OUT[wait])
    for moment in (MOMENT, 10 * MOMENT, 100 * MOMENT):  # a busy machine may need longer to be early
        monkeypatch.setitem(globals(), 'MOMENT', moment)
        try:
            rule(case)
        except AssertionError:
            return
    pytest.fail('nobody has noticed')


@pytest.mark.parametrize('seed', range(4))
@pytest.mark.parametrize('way', ['host', 'kernel'])
@pytest.mark.parametrize('tier', ['ram', 'pinned', 'disk'])
def test_any_sequence_gives_the_bits_of_rows_that_move_at_once(pool_of, tier, way, seed):
    rng = torch.Generator().manual_seed(seed)
    dtypes = ['float32', 'float64', 'bfloat16', 'float16', 'int8']
    histories = [(History(50, 7, tier=tier, dtype=t), History(50, 7, dtype=t)) for t in dtypes]
    pool, pulled = pool_of(way, seed, longest_pause=1e-3), []
    for _ in range(40):
        i = int(torch.randint(len(dtypes), (), generator=rng))
        what = int(torch.randint(3, (), generator=rng))
        moved, plain = histories[i]
        x = torch.randn(20, 7, generator=rng)
        ids = torch.randperm(50, generator=rng)[:20]
        if what == 0:
            pulled.append((pool.pull_async(moved, ids, lead=3), plain.pull(ids)))
        elif what == 1:
            pool.push_async(moved, x, ids)
            plain.push(x, ids)
        else:
            chunks = torch.tensor([30, 5]), torch.tensor([8, 12])
            pool.push_async(moved, x, None, *chunks)
            plain.push(x, None, *chunks)
        x.fill_(float('nan'))  # it may change at once
    for pull, rows in pulled:
        assert torch.equal(pull.wait()[3:], rows)
    for moved, plain in histories:
        assert torch.equal(moved.pull(), plain.pull())
