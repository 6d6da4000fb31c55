"""A history is a table with rules: what does not fit is refused and changes nothing."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_autoscale import History
from torch_geometric_autoscale.history import TIERS

from .conftest import FILLED, filled
from .kinds import KINDS, Kind

ROWS = torch.tensor([[5.0, -5], [0, 7]])  # every type keeps these as they are
kinds = pytest.mark.parametrize('kind', KINDS, ids=str)


def test_a_new_table_is_zero():
    history = History(3, 2)
    assert history.pull().tolist() == [[0, 0]] * 3
    assert (history.dtype, history.device) == (torch.float32, torch.device('cpu'))
    assert repr(history) == 'History(3, 2, dtype=torch.float32, device=cpu)'


def test_rows_are_written_and_read_by_node_id(history):
    history.push(ROWS, torch.tensor([3, 0]))
    assert history.pull(torch.tensor([0, 1, 3, 0])).tolist() == [[0, 7], [1, -1], [5, -5], [0, 7]]
    assert history.pull().tolist() == [[0, 7], [1, -1], [2, 0], [5, -5]]
    assert history.emb.tolist() == [[0, 7], [1, -1], [2, 0], [5, -5]]


@pytest.mark.parametrize('dtype', [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_ids_may_be_integers_of_any_width(any_history, dtype):
    history = any_history
    history.push(ROWS, torch.tensor([3, 0], dtype=dtype))
    assert history.pull(torch.tensor([3], dtype=dtype)).tolist() == [[5, -5]]


def test_without_ids_all_rows_are_meant(history):
    history.push(torch.ones(4, 2))
    assert history.pull().tolist() == [[1, 1]] * 4
    assert history.pull(torch.tensor([1, 0, 3])).tolist() == [[1, 1]] * 3


def test_chunks_are_written_to_their_places(history):
    history.push(
        torch.tensor([[9.0, 9], [8, 8], [7, 7]]), offset=torch.tensor([2, 0]),
        count=torch.tensor([2, 1]),
    )  # fmt: skip
    assert history.pull().tolist() == [[7, 7], [1, -1], [9, 9], [8, 8]]
    assert history.pull(torch.tensor([3, 2, 1])).tolist() == [[8, 8], [9, 9], [1, -1]]


def test_empty_chunks_and_pushes_write_nothing(history):
    before = history.pull()
    history.push(ROWS[:0], torch.empty(0, dtype=torch.long))
    history.push(ROWS[:0], offset=torch.tensor([9, 0]), count=torch.tensor([0, 0]))
    assert history.pull(torch.empty(0, dtype=torch.long)).shape == (0, 2)
    assert torch.equal(history.pull(), before)


def test_pulled_rows_are_a_copy_without_gradient(history):
    for ids in (None, torch.tensor([1, 3]), torch.tensor([0, 2])):
        history.pull(ids).fill_(9)
    assert torch.equal(history.pull(torch.arange(4)).float(), FILLED)
    x = ROWS.clone().requires_grad_()
    history.push(x * 2, torch.tensor([0, 1]))
    assert not history.pull().requires_grad
    with torch.no_grad():
        x.zero_()
    assert history.pull(torch.tensor([0])).tolist() == [[10, -10]]


def test_rows_can_be_read_into_a_tensor_of_any_type(history):
    types = (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    for dtype, ids in itertools.product(types, (None, torch.tensor([2, 1]))):
        expected = FILLED if ids is None else FILLED[ids]
        out = torch.zeros(len(expected), 4, dtype=dtype)[:, ::2]  # not contiguous
        assert history.pull(ids, out=out) is out
        assert out.tolist() == expected.tolist()
        part = torch.zeros(len(expected) + 1, 2, dtype=dtype)
        history.pull(ids, out=part[1:])
        assert part[1:].tolist() == expected.tolist()


def test_rows_come_back_in_the_type_that_is_computed_with(history):
    wide = torch.float64 if history.dtype == torch.float64 else torch.float32
    for ids in (None, torch.tensor([2, 1])):
        assert history.pull(ids).dtype == wide


def test_reset_clears_rows_and_origin(history):
    history.belong_to('a')
    history.reset()
    assert history.pull().abs().sum() == 0
    history.belong_to('b')
    history.push(ROWS, torch.tensor([0, 1]))
    history.reset_parameters()
    assert history.graph is None
    assert history.pull().abs().sum() == 0


def test_rows_of_another_graph_are_refused(any_history):
    history = any_history
    history.belong_to('a' * 32)
    history.belong_to(None)
    with pytest.raises(
        ValueError, match=r'History: the batch must come from the graph .* bbbbbbbb'
    ):
        history.belong_to('b' * 32)
    assert history.graph == 'a' * 32


IDS = torch.tensor([0, 1])


@pytest.mark.parametrize(
    ('kwargs', 'error', 'message'),
    [
        ({'x': ROWS[:, :1], 'n_id': IDS}, ValueError, r"'x' must have shape \(2, 2\) \(got \(2, 1"),
        ({'x': ROWS[0], 'n_id': IDS}, ValueError, r"'x' must have shape \(2, 2\) \(got \(2,\)\)"),
        ({'x': ROWS.sum(), 'n_id': IDS}, ValueError, r"'x' must have shape \(1, 2\) \(got \(\)\)"),
        ({'x': ROWS[:1], 'n_id': IDS}, ValueError, r"\(2, 2\), one row per node id \(got \(1"),
        ({'x': ROWS[:1]}, ValueError, r"\(4, 2\), one row per node of the table \(got \(1, 2\)\)"),
        ({'x': ROWS[None], 'n_id': IDS}, ValueError, r"'x' must have shape"),
        ({'x': ROWS.long(), 'n_id': IDS}, TypeError, r"'x' must be of a floating-point type"),
        ({'x': [[1.0, 2]], 'n_id': IDS[:1]}, TypeError, r"'x' must be a tensor \(got list\)"),
        ({'x': ROWS.double(), 'n_id': IDS + 3}, ValueError, r"must lie in \[0, 4\) \(got 3 to 4\)"),
        ({'x': ROWS.double(), 'n_id': IDS - 1}, ValueError, r"lie in \[0, 4\) \(got -1 to 0\)"),
        ({'x': ROWS.double(), 'n_id': IDS * 0}, ValueError, r"must not repeat \(got id 0 more"),
        ({'x': ROWS, 'n_id': IDS.float()}, ValueError, r"'n_id' must be a vector of integer ids"),
        ({'x': ROWS, 'n_id': IDS.bool()}, ValueError, r"'n_id' must be a vector of integer ids"),
        ({'x': ROWS, 'n_id': IDS[None]}, ValueError, r"'n_id' must be a vector of integer ids"),
        ({'x': ROWS, 'n_id': [0, 1]}, TypeError, r"'n_id' must be a tensor \(got list\)"),
        ({'x': ROWS, 'offset': IDS}, ValueError, r"'offset' and 'count' belong together"),
        (
            {'x': ROWS.double(), 'offset': IDS[:1], 'count': IDS[1:]}, ValueError,
            r"'count' must add up to the 2 rows of 'x' \(got 1 in 1 chunks for 1 offsets\)",
        ),
        (
            {'x': ROWS.double(), 'offset': IDS, 'count': IDS[1:] * 2}, ValueError,
            r"'count' must add up to the 2 rows of 'x' \(got 2 in 1 chunks for 2 offsets\)",
        ),
        (
            {'x': torch.ones(3, 2), 'offset': IDS, 'count': 2 - IDS}, ValueError,
            r'chunks must not overlap .* \(got chunk 1:2\)',
        ),
        (
            {'x': ROWS.double(), 'offset': IDS[1:] * 3, 'count': IDS[1:] * 2}, ValueError,
            r'must lie in \[0, 4\) \(got chunk 3:5\)',
        ),
        (
            {'x': ROWS, 'offset': IDS[1:] * -1, 'count': IDS[1:] * 2}, ValueError,
            r'must lie in \[0, 4\) \(got chunk -1:1\)',
        ),
        (
            {'x': ROWS, 'offset': torch.tensor([0, 3]), 'count': torch.tensor([3, -1])}, ValueError,
            r'must lie in \[0, 4\) \(got chunk 3:2\)',
        ),
        (
            {'x': ROWS, 'offset': IDS[:1].float(), 'count': IDS[1:] * 2}, TypeError,
            r"'offset' must be a vector of integers",
        ),
        ({'x': ROWS, 'offset': IDS[:1], 'count': [2]}, TypeError, r"'count' must be a vector of"),
        ({'x': ROWS, 'offset': IDS[0], 'count': IDS[1]}, TypeError, r"'offset' must be a vector"),
    ],
)  # fmt: skip
def test_a_push_that_does_not_fit_is_refused_and_changes_nothing(
    any_history, kwargs, error, message
):
    history = any_history
    dtype = history.dtype
    with pytest.raises(error, match=f'History.push: .*{message}'):
        history.push(**kwargs)
    assert torch.equal(history.pull(), FILLED)
    assert history.dtype == dtype


@pytest.mark.parametrize(
    ('kwargs', 'error', 'message'),
    [
        ({'n_id': IDS + 3}, ValueError, r"ids in 'n_id' must lie in \[0, 4\)"),
        ({'n_id': IDS - 1}, ValueError, r"ids in 'n_id' must lie in \[0, 4\)"),
        ({'n_id': IDS.float()}, ValueError, r"'n_id' must be a vector of integer ids"),
        ({'n_id': [0]}, TypeError, r"'n_id' must be a tensor"),
        ({'n_id': IDS, 'out': torch.ones(1, 2)}, ValueError, r"'out' must have shape \(2, 2\)"),
        (
            {'out': torch.ones(3, 4, 2)},
            ValueError,
            r"'out' must have shape \(4, 2\) \(got \(3, 4, 2",
        ),
    ],
)
def test_a_pull_that_does_not_fit_is_refused_and_writes_nothing(
    any_history, kwargs, error, message
):
    history = any_history
    with pytest.raises(error, match=f'History.pull: {message}'):
        history.pull(**kwargs)
    assert (kwargs.get('out', torch.ones(1)) == 1).all()


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        ((-1, 2), r"'num_embeddings' must be a whole number, not negative \(got -1\)"),
        ((4, 2.0), r"'embedding_dim' must be a whole number, not negative \(got 2.0\)"),
        ((True, 2), r"'num_embeddings' must be a whole number, not negative \(got True\)"),
        ((4, 2, None, torch.int64), r'must be one of auto, float64, .*, int8 \(got torch.int64\)'),
        ((4, 2, None, 'int4'), r"'dtype' must be one of auto, .*, int8 \(got 'int4'\)"),
        ((4, 2, None, 8), r"'dtype' must be one of auto, .*, int8 \(got 8\)"),
    ],
)
def test_a_table_of_no_size_or_type_is_refused(args, message):
    with pytest.raises(ValueError, match=message):
        History(*args)


# Types ###########################################################################

of_no_type = pytest.mark.parametrize('kind', [k for k in KINDS if k.dtype == 'auto'], ids=str)


@of_no_type
def test_a_table_widens_with_what_is_pushed(kind):
    history = kind.make(2, 1)
    third = torch.full((1, 1), 1 / 3, dtype=torch.float64)
    history.push(torch.ones(1, 1, dtype=torch.bfloat16), torch.tensor([1]))
    assert history.dtype == torch.float32
    history.pull(torch.tensor([1]))
    history.push(third, torch.tensor([0]))
    assert history.pull().tolist() == [[1 / 3], [1]]
    history.push(third.float(), offset=torch.tensor([0]), count=torch.tensor([1]))
    assert history.dtype == torch.float64
    assert history.pull(torch.tensor([1, 0])).tolist() == [[1], [float(third.float())]]


@of_no_type
def test_a_table_widened_while_inferring_serves_training(kind):
    history = kind.make(2, 2)
    with torch.inference_mode():
        history.push(ROWS.double())
        history.pull(torch.tensor([0]))
    history.push(2 * ROWS)
    assert history.pull(torch.tensor([0, 1])).tolist() == (2 * ROWS).tolist()


@pytest.mark.parametrize('dtype', [None, torch.float32])
def test_a_table_survives_conversions_of_its_model(dtype):
    model = torch.nn.ModuleList([History(2, 2, dtype=dtype), torch.nn.Linear(2, 2)])
    model[0].push(ROWS)
    for convert in (lambda m: m.double(), lambda m: m.to('cpu'), lambda m: m.bfloat16()):
        assert convert(model)[0].pull().tolist() == ROWS.tolist()
        assert model[0].dtype == torch.float32


# State ###########################################################################


def saved(module: torch.nn.Module) -> dict:
    buffer = io.BytesIO()
    torch.save(module.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda h: pickle.loads(pickle.dumps(h))])
def test_a_copy_is_independent(history, copied):
    history.belong_to('a')
    other = copied(history)
    assert (repr(other), other.graph) == (repr(history), 'a')
    assert torch.equal(other.pull(torch.arange(4)), history.pull())
    other.push(torch.zeros(4, 2))
    assert torch.equal(history.pull(torch.arange(4)).float(), FILLED)


@kinds
def test_the_state_travels_through_a_file_to_any_medium(kind, tmp_path):
    history = filled(kind, tmp_path)
    history.push(ROWS / 3, torch.tensor([0, 2]))
    history.belong_to('a')
    state = saved(torch.nn.ModuleList([history]))
    for tier in TIERS:
        other = Kind(tier, kind.dtype, kind.cached).make(4, 2, tmp_path)
        other.pull(torch.tensor([0, 2]))
        torch.nn.ModuleList([other]).load_state_dict(state)
        assert torch.equal(other.pull(), history.pull())
        assert torch.equal(other.pull(torch.arange(4)), history.pull())
        assert other.graph == 'a'


def test_loading_does_not_tie_tables_together(history):
    other = copy.deepcopy(history)
    other.load_state_dict(history.state_dict())
    other.reset()
    assert torch.equal(history.pull().float(), FILLED)


@of_no_type
def test_a_widened_state_is_loaded_as_it_is(kind):
    history = History(2, 2)
    history.push(ROWS.double() / 3)
    other = kind.make(2, 2)
    other.load_state_dict(saved(history))
    assert torch.equal(other.pull(), history.pull())


def state_of(**changes) -> dict:
    return {'_extra_state': {'emb': torch.ones(4, 2), 'graph': None, **changes}}


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        (state_of(emb=torch.ones(4, 3)), r'must have shape \(4, 2\) .* \(got \(4, 3\) of torch.fl'),
        (state_of(emb=torch.ones(1, 2)), r'must have shape \(4, 2\) .* \(got \(1, 2\) of torch.fl'),
        (state_of(emb=torch.ones(4, 2).long()), r'\(got \(4, 2\) of torch.int64\)'),
        (state_of(emb=None), r"the state must hold a table 'emb'"),
        ({'_extra_state': torch.ones(4, 2)}, r"the state must hold a table 'emb' \(got Tensor\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(state, message):
    history = filled(Kind(), None)
    history.belong_to('a')
    with pytest.raises(ValueError, match=f'History.load_state_dict: .*{message}'):
        history.load_state_dict(state)
    assert torch.equal(history.pull(), FILLED)
    assert history.graph == 'a'


NARROW = {'emb': torch.ones(4, 2, dtype=torch.int8), 'scale': torch.ones(4, 1)}


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        (state_of(), r'shape \(4, 2\) and type torch.int8 \(got \(4, 2\) of torch.float32\)'),
        (state_of(emb=NARROW['emb']), r"its 'scale' must have shape \(4, 1\) .* \(got NoneType\)"),
        (
            state_of(**{**NARROW, 'scale': torch.ones(4)}),
            r"its 'scale' .* \(got \(4,\) of torch.float32\)",
        ),
    ],
)
def test_int8_refuses_states_without_its_scales(state, message):
    history = filled(Kind('ram', 'int8', True), None)
    with pytest.raises(ValueError, match=f'History.load_state_dict: .*{message}'):
        history.load_state_dict(state)
    assert torch.equal(history.pull(), FILLED)
    history.load_state_dict(state_of(**NARROW))
    torch.testing.assert_close(history.pull(), torch.full((4, 2), 1 / 127))


@pytest.mark.parametrize('dtype', ['auto', 'float32'])
def test_other_types_refuse_states_of_int8(dtype):
    with pytest.raises(ValueError, match=r'type torch.float32 \(got \(4, 2\) of torch.int8\)'):
        History(4, 2, dtype=dtype).load_state_dict(state_of(**NARROW))


def test_a_chosen_type_refuses_states_of_another():
    history = History(4, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r'type torch.float64 \(got \(4, 2\) of torch.float32\)'):
        history.load_state_dict(state_of())


# Against a dictionary ############################################################

N, C = 5, 2


@st.composite
def operations(draw):
    kind = draw(st.sampled_from(['ids', 'chunks', 'all', 'reset', 'double', 'reload']))
    values = st.integers(-9, 9)
    if kind == 'ids':
        ids = draw(st.lists(st.integers(-1, N), max_size=N))
        rows = draw(st.integers(0, 1)) + len(ids) if draw(st.integers(0, 4)) == 0 else len(ids)
        return kind, ids, [[draw(values)] * C for _ in range(rows)]
    if kind == 'chunks':
        chunks = draw(
            st.lists(st.tuples(st.integers(-1, N), st.integers(-1, N)), min_size=1, max_size=3)
        )
        rows = max(sum(c for _, c in chunks), 0)
        return kind, chunks, [[draw(values)] * C for _ in range(rows)]
    return kind, None, [[draw(values)] * C for _ in range(N)]


@settings(deadline=None, max_examples=200)
@given(st.lists(operations(), max_size=8), st.sampled_from(KINDS))
def test_a_table_behaves_like_a_dictionary(steps, how):
    history, model = how.make(N, C), {i: [0] * C for i in range(N)}
    for kind, where, values in steps:
        x = torch.tensor(values, dtype=torch.float64 if kind == 'double' else torch.float32)
        x = x.view(-1, C)
        if kind == 'reset':
            history.reset()
            model = {i: [0] * C for i in range(N)}
            continue
        if kind == 'reload':
            other = how.make(N, C)
            other.load_state_dict(history.state_dict())
            history = other
            continue
        if kind == 'ids':
            ids, kwargs = where, {'n_id': torch.tensor(where, dtype=torch.long)}
        elif kind == 'chunks':
            ids = [i for a, c in where for i in range(a, a + c)]
            ids += [-1] * any(c < 0 for _, c in where)
            offset, count = torch.tensor(where).t()
            kwargs = {'offset': offset, 'count': count}
        else:
            ids, kwargs = list(range(N)), {}
        fits = len(set(ids)) == len(ids) == len(values) and all(0 <= i < N for i in ids)
        if fits:
            history.push(x, **kwargs)
            model.update(zip(ids, values, strict=True))
        else:
            with pytest.raises(ValueError, match=r'History\.push'):
                history.push(x, **kwargs)
        assert history.pull().tolist() == list(model.values())
        ids = [i for i in ids if 0 <= i < N] * 2  # what is read often comes into the cache
        assert history.pull(torch.tensor(ids).long()).tolist() == [model[i] for i in ids]
