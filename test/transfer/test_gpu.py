"""The engine on a CUDA device: the same results as on the CPU, whatever is late."""

import pytest
import torch

from test.oracle import (
    NODES,
    gradients,
    nasty_graph,
    scramble,
    sweep_loader,
    tables,
)
from torch_geometric_autoscale import AsyncIOPool, History, autoscale, models
from torch_geometric_autoscale.history import DTYPES, TIERS, move_histories
from torch_geometric_autoscale.kernels import why_not
from torch_geometric_autoscale.transfer import placing

from .test_oracle import two_layers

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a CUDA device'),
]

WAYS = ('host', 'kernel')
A_WHILE = 50_000_000  # cycles of the device
TOLERANCE = {'bfloat16': 2.0**-5, 'float16': 2.0**-8, 'int8': 2.0**-4}


def pool_of(way: str) -> AsyncIOPool:
    """A pool on the device, or one that lets everything happen at once."""
    if way == 'at once':
        return AsyncIOPool('cpu')
    reason = why_not('cuda') if way == 'kernel' else None
    if reason is not None:
        pytest.skip(reason)
    return AsyncIOPool('cuda', way=way)


def loss_of(rows: torch.Tensor) -> torch.Tensor:
    return rows.square().sum() + rows.sum()


def one_epoch(model, loader, device: str) -> list[torch.Tensor]:
    """Outputs, gradients and tables of two passes over the batches."""
    model = model.to(device).train()
    found = []
    for batch in 2 * list(loader):
        model.zero_grad()
        out = model(batch.to(device))
        loss_of(out).backward()
        found += [out.detach(), *gradients(model).values()]
    return [value.cpu() for value in [*found, *(h.pull() for h in model.histories)]]


def gcn(tier: str, dtype: str, folder, seed: int = 0) -> models.GCN:
    torch.manual_seed(seed)
    model = models.GCN(NODES, 4, 8, 3, 3, dropout=0.0).double()
    scramble(model)
    move_histories(model, 'ram' if tier == 'device' else tier, folder, dtype=dtype)
    return model


def on_device(tier: str, dtype: str, folder) -> models.GCN:
    model = gcn(tier, dtype, folder).cuda()
    if tier == 'device':
        move_histories(model, 'device')
    return model


@pytest.mark.parametrize('way', ['at once', *WAYS])
@pytest.mark.parametrize('dtype', ['auto', *DTYPES])
@pytest.mark.parametrize('tier', TIERS)
def test_results_are_those_of_the_cpu(tmp_path, tier, dtype, way):
    loader = sweep_loader(nasty_graph())
    expected = one_epoch(gcn('ram', dtype, tmp_path), loader, 'cpu')
    model = on_device(tier, dtype, tmp_path)
    with pool_of(way):
        found = one_epoch(model, loader, 'cuda')
    for one, other in zip(found, expected, strict=True):
        tolerance = TOLERANCE.get(dtype, 1e-5 if dtype == 'float32' else 1e-9)
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('way', WAYS)
def test_moved_rows_are_the_bits_that_move_at_once(way, dtype):
    rows = torch.randn(300, 17, device='cuda', generator=torch.Generator('cuda').manual_seed(0))
    ids = torch.randperm(300, generator=torch.Generator().manual_seed(0))
    plain = History(300, 17, dtype=dtype)
    plain.push(rows.cpu(), ids)
    for tier in ('ram', 'pinned', 'disk'):
        history = History(300, 17, dtype=dtype, tier=tier)
        with pool_of(way) as pool:
            pool.push_async(history, rows, ids)
            pull = pool.pull_async(history, ids[:200], lead=5)
            assert torch.equal(pull.wait()[5:].cpu(), plain.pull(ids[:200]))
        assert torch.equal(history.pull(), plain.pull())


@pytest.mark.parametrize('late', ['pulls', 'pushes', 'computing'])
@pytest.mark.parametrize('by', ['ids', 'chunks'])
@pytest.mark.parametrize('tier', ['ram', 'pinned', 'disk'])
@pytest.mark.parametrize('way', WAYS)
def test_late_streams_change_nothing(way, tier, by, late):
    size, width = 4000, 64
    ids = torch.randperm(size, generator=torch.Generator().manual_seed(0))
    where = (ids,)
    if by == 'chunks':
        ids, where = torch.arange(size), (None, torch.tensor([0]), torch.tensor([size]))
    history = History(size, width, tier=tier)
    with pool_of(way) as pool:
        streams = {
            'pulls': pool._ways['host'].pulls.stream,
            'pushes': pool._ways['host'].pushes.stream,
            'computing': torch.cuda.current_stream(),
        }
        for i in range(1, 6):
            with torch.cuda.stream(streams[late]):
                torch.cuda._sleep(A_WHILE)
            before = pool.pull_async(history, ids)
            rows = torch.full((size, width), float(i), device='cuda')
            pool.push_async(history, rows, *where)
            rows.fill_(float('nan'))
            after = pool.pull_async(history, ids)
            assert bool((before.wait() == i - 1).all())
            assert bool((after.wait() == i).all())


@pytest.mark.parametrize('tier', TIERS)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'int8'])
def test_the_host_does_not_wait_inside_a_step(tmp_path, tier, dtype):
    data = nasty_graph(torch.float32)
    loader = sweep_loader(data)
    model = on_device(tier, dtype, tmp_path).float()
    batches = [batch.to('cuda') for batch in [*loader, *loader]]
    try:
        for i, batch in enumerate(batches):  # the first ones are watched, and make buffers
            torch.cuda.set_sync_debug_mode('error' if i >= len(batches) // 2 else 'default')
            loss_of(model(batch)).backward()
    finally:
        torch.cuda.set_sync_debug_mode('default')


@pytest.mark.parametrize('way', WAYS)
def test_a_converted_module(way):
    def run(device: str) -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = two_layers().double()
        gas = autoscale(module, nasty_graph(), partition=torch.arange(NODES) * 7 % 4)
        return one_epoch(gas, gas.loader(), device)

    expected = run('cpu')
    with pool_of(way):
        found = run('cuda')
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(('share', 'tier'), [(0.25, 'device'), (0.0, 'pinned')])
def test_histories_without_a_place_get_one(monkeypatch, share, tier):
    monkeypatch.setattr(placing, 'SHARE', share)
    model = models.GCN(NODES, 4, 8, 3, 3).double().cuda()
    loader = sweep_loader(nasty_graph())
    for batch in loader:
        model(batch.to('cuda'))
    assert [history.tier for history in model.histories] == [tier] * 2
    assert all(table.isfinite().all() for table in tables(model))


def test_a_refresh_and_a_state_wait_for_what_is_under_way():
    model = models.GCN(NODES, 4, 8, 3, 3).double().cuda()
    move_histories(model, 'pinned')
    loader = sweep_loader(nasty_graph())
    torch.cuda._sleep(A_WHILE)
    for batch in loader:
        model(batch.to('cuda'))
    state = model.state_dict()
    pulled = [history.pull() for history in model.histories]
    for i, rows in enumerate(pulled):
        assert torch.equal(state[f'histories.{i}._extra_state']['emb'], rows)
    model.eval()
    out = model.refresh(loader)
    torch.testing.assert_close(model(loader=loader).cpu(), out.cpu())
