"""Values are followed through views, writes and every operation, and only there."""

import pytest
import torch
import torch.nn.functional as F

from torch_geometric_autoscale.provenance import Provenance


@pytest.fixture
def trace():
    with Provenance() as trace:
        yield trace


def marked(trace: Provenance, *marks) -> torch.Tensor:
    return trace.mark(torch.ones(3, 2), marks)


def test_unmarked_values_depend_on_nothing(trace):
    assert trace.of(torch.ones(2), [None, 'text']) == frozenset()


@pytest.mark.parametrize(
    'follow',
    [
        lambda x: x + 1, lambda x: x.t(), lambda x: x[1:], lambda x: x.view(-1)[::2],
        lambda x: x.sum(), lambda x: torch.cat([torch.ones(1, 2), x]), lambda x: x.double(),
        lambda x: torch.zeros(3, 2).copy_(x), lambda x: F.linear(x, torch.ones(4, 2)),
        lambda x: x.index_select(0, torch.tensor([0])), lambda x: x.unbind(0)[1],
        lambda x: torch.zeros(3, 2).index_add_(0, torch.tensor([0, 0, 1]), x),
        lambda x: x.clone().detach().contiguous(), lambda x: x.softmax(-1).max(0).values,
        lambda x: torch.zeros(3, 2).scatter_reduce(0, torch.zeros(3, 2).long(), x, 'amax'),
        lambda x: torch.add(x, 1, out=torch.empty(3, 2)),
        lambda x: torch.sparse.mm(torch.eye(3).to_sparse(), x),
    ],
)  # fmt: skip
def test_results_depend_on_what_they_were_computed_from(trace, follow):
    assert trace.of(follow(marked(trace, 'a'))) == {'a'}


def test_several_sources_add_up(trace):
    out = marked(trace, 'a') * marked(trace, 'b', 'c')
    assert trace.of(out) == {'a', 'b', 'c'}
    assert trace.of([out, {'key': marked(trace, 'd')}]) == {'a', 'b', 'c', 'd'}


def test_a_mark_starts_anew_and_leaves_the_original(trace):
    x = marked(trace, 'a')
    y = trace.mark(x, ['b'])
    assert (trace.of(x), trace.of(y)) == ({'a'}, {'b'})
    assert y.data_ptr() != x.data_ptr()


def test_forgetting_ends_all_dependence(trace):
    x = marked(trace, 'a')
    trace.forget(x)
    assert trace.of(x, x + 1) == frozenset()


def test_a_write_through_a_view_reaches_all_views(trace):
    table = torch.zeros(4, 2)
    view = table[2:]
    table[:3] = marked(trace, 'a')
    assert trace.of(view) == {'a'}
    table.view(-1)[0].mul_(marked(trace, 'b')[0, 0])
    assert trace.of(view) == {'a', 'b'}


@pytest.mark.parametrize(
    'write',
    [
        lambda to, x: to.add_(x), lambda to, x: to.copy_(x), lambda to, x: to.mul_(x),
        lambda to, x: to.__setitem__(slice(0, 3), x), lambda to, x: torch.add(to, x, out=to),
        lambda to, x: to.index_copy_(0, torch.tensor([0, 1, 2]), x),
        lambda to, x: torch._foreach_add_([to], [x]),
    ],
)  # fmt: skip
def test_a_write_marks_what_is_written_and_not_what_is_read(trace, write):
    to, x = marked(trace, 'old'), marked(trace, 'new')
    write(to, x)
    assert trace.of(to) == {'old', 'new'}
    assert trace.of(x) == {'new'}


def test_freed_memory_leaves_no_marks(trace):
    for _ in range(50):
        marked(trace, 'a')
    fresh = [torch.ones(3, 2) for _ in range(50)]
    assert trace.of(fresh) == frozenset()


def test_gradients_are_not_disturbed():
    x = torch.ones(3, 2, requires_grad=True)
    with Provenance() as trace:
        y = trace.mark(x * 2, ['a'])
        (y * y).sum().backward()
    assert x.grad.tolist() == [[8, 8]] * 3
