"""Batches cover the graph once, answer by name, and do not depend on who assembled them."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch_geometric import EdgeIndex
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import SimpleConv

from torch_geometric_autoscale import EvalSubgraphLoader, SubgraphLoader
from torch_geometric_autoscale.adjacency import Adjacency
from torch_geometric_autoscale.tags import adjacency_of, weight_of

# Targets are not sorted. 3 -> 0 twice, 0 -> 1, 4 -> 4, 2 -> 3, 1 -> 4, 0 -> 5; node 5 only gets.
EDGE_INDEX = torch.tensor([[3, 0, 4, 2, 3, 1, 0], [0, 1, 4, 3, 0, 4, 5]])
PTR = torch.tensor([0, 2, 4, 6])


def graph(**changes) -> Data:
    fields = {
        'x': torch.arange(12.0).view(6, 2),
        'y': torch.arange(6) % 3,
        'edge_index': EDGE_INDEX,
        'edge_attr': torch.arange(7.0).view(7, 1),
        'train_mask': torch.tensor([1, 0, 0, 0, 1, 1]).bool(),
        'num_nodes': 6,
        **changes,
    }
    return Data(**{name: value for name, value in fields.items() if value is not None})


def loader(data: Data | None = None, ptr=PTR, **kwargs) -> SubgraphLoader:
    return SubgraphLoader(graph() if data is None else data, ptr, log=False, **kwargs)


def only(data: Data | None = None, **kwargs):
    return next(iter(loader(data, **kwargs)))


def global_edges(batch) -> list[tuple]:
    source, target = batch.n_id[batch.edge_index]
    return list(zip(source.tolist(), target.tolist(), strict=True))


def content(batch) -> dict:
    listed = {
        name: value.to_dense() if isinstance(value, Adjacency) else value
        for name, value in batch.to_dict().items()
    }
    return {k: v.tolist() if isinstance(v, Tensor) else v for k, v in sorted(listed.items())}


class StubSparseTensor:
    """Looks like torch-sparse's class as far as we rely on it."""

    def __init__(self, row: Tensor, col: Tensor, value: Tensor | None, sparse_sizes: tuple) -> None:
        self._row, self._col, self._value, self._sizes = row, col, value, sparse_sizes

    def coo(self):
        return self._row, self._col, self._value

    def csr(self):
        raise NotImplementedError

    def sparse_sizes(self):
        return self._sizes


# What a batch holds ##############################################################


def test_a_batch_unpacks_as_five():
    batch, batch_size, n_id, offset, count = only(batch_size=2)
    assert batch_size == batch.batch_size == 4
    assert n_id is batch.n_id
    assert n_id.tolist() == [0, 1, 2, 3]
    assert offset.tolist() == [0, 2]
    assert count.tolist() == [2, 2]


def test_node_level_attributes_are_rows_of_n_id():
    batches = list(loader())
    assert [batch.n_id.tolist() for batch in batches] == [[0, 1, 3], [2, 3], [4, 5, 0, 1]]
    for batch in batches:
        assert batch.x.tolist() == graph().x[batch.n_id].tolist()
        assert batch.y.tolist() == graph().y[batch.n_id].tolist()
        assert batch.train_mask.tolist() == graph().train_mask[batch.n_id].tolist()
        assert batch.num_nodes == len(batch.n_id)


@pytest.mark.parametrize('direction', ['in', 'both'])
@pytest.mark.parametrize('bipartite', [False, True])
def test_edge_attributes_follow_the_edges(direction, bipartite):
    for batch in loader(direction=direction, bipartite=bipartite):
        for edge, number in zip(
            global_edges(batch), batch.edge_attr.view(-1).tolist(), strict=True
        ):
            assert EDGE_INDEX[:, int(number)].tolist() == list(edge)
        assert batch.num_edges == len(batch.edge_attr)


def test_the_adjacency_is_rectangular_or_square():
    rectangular, square = only().adj_t, only(bipartite=False).adj_t
    assert rectangular.to_dense().tolist() == [[0, 0, 2], [1, 0, 0]]
    assert square.to_dense().tolist() == [[0, 0, 2], [1, 0, 0], [0, 0, 0]]


def test_both_directions_add_the_edges_out_of_the_batch():
    batch = only(direction='both', bipartite=False)
    assert batch.n_id.tolist() == [0, 1, 3, 4, 5]
    assert sorted(global_edges(batch)) == [(0, 1), (0, 5), (1, 4), (3, 0), (3, 0)]
    assert batch.adj_t.to_dense()[3:].tolist() == [[0, 1, 0, 0, 0], [1, 0, 0, 0, 0]]


@pytest.mark.parametrize('batch_size', [1, 2])
def test_operators_that_read_both_ways_are_exact_on_batch_rows(batch_size):
    data = graph()
    forth = SimpleConv('sum')(data.x, data.edge_index)
    back = SimpleConv('sum', flow='target_to_source')(data.x, data.edge_index)
    for batch in loader(data, direction='both', batch_size=batch_size):
        nodes, B = batch.n_id[: batch.batch_size], batch.batch_size
        assert SimpleConv('sum')(batch.x, batch.edge_index)[:B].tolist() == forth[nodes].tolist()
        conv = SimpleConv('sum', flow='target_to_source')
        assert conv(batch.x, batch.edge_index)[:B].tolist() == back[nodes].tolist()


@st.composite
def cases(draw):
    n = draw(st.integers(1, 10))
    ids = st.integers(0, n - 1)
    pairs = draw(st.lists(st.tuples(ids, ids), max_size=30))
    ptr = [0, *sorted(draw(st.lists(st.integers(0, n), max_size=5))), n]
    return (
        Data(
            x=torch.arange(n, dtype=torch.float64).view(n, 1),
            edge_index=torch.tensor(pairs, dtype=torch.long).view(-1, 2).t().contiguous(),
            edge_attr=torch.arange(len(pairs)),
            num_nodes=n,
        ),
        torch.tensor(ptr),
        draw(st.integers(1, 4)),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@settings(deadline=None, max_examples=100)
@given(cases())
def test_a_sweep_covers_every_node_and_every_edge_once(case):
    data, ptr, batch_size, shuffle, bipartite = case
    batches = loader(data, ptr, batch_size=batch_size, shuffle=shuffle, bipartite=bipartite)
    nodes, edges = [], []
    for batch, size, n_id, offset, count in batches:
        inside, halo = n_id[:size].tolist(), n_id[size:].tolist()
        sources = {int(v) for v in n_id[batch.edge_index[0]]}
        assert halo == sorted(sources - set(inside))
        chunks = zip(offset.tolist(), count.tolist(), strict=True)
        assert [v for a, c in chunks for v in range(a, a + c)] == inside
        assert size > 0
        assert batch.adj_t.shape == (size if bipartite else len(n_id), len(n_id))
        assert (batch.adj_t.edge_index() == batch.edge_index).all()
        assert batch.x.view(-1).tolist() == n_id.tolist()
        picked = data.edge_index[:, batch.edge_attr].t().tolist()
        assert picked == [list(edge) for edge in global_edges(batch)]
        assert batch.validate()
        nodes += inside
        edges += batch.edge_attr.tolist()
    assert sorted(nodes) == list(range(data.num_nodes))
    assert sorted(edges) == list(range(data.num_edges))


def test_empty_partitions_are_left_out():
    batches = loader(ptr=torch.tensor([0, 0, 2, 2, 6, 6]))
    assert [batch.batch_size for batch in batches] == [2, 4]
    assert len(batches) == batches.num_sweep_batches == 2
    assert [batch.batch_size for batch in batches.sweep()] == [2, 4]


# Batches by name #################################################################


def test_a_batch_answers_by_name():
    batch = only()
    expected = {
        'x', 'y', 'train_mask', 'adj_t', 'edge_index', 'edge_attr', 'n_id', 'batch_size', 'offset',
        'count',
    }  # fmt: skip
    assert set(batch.keys()) == expected
    assert 'edge_attr' in batch
    assert 'edge_weight' not in batch
    assert batch.edge_weight is None
    assert batch.get('edge_attr') is batch.edge_attr is batch['edge_attr']
    assert batch.get('nothing', 7) == 7
    assert set(batch.to_dict()) == set(batch.keys()) == expected
    assert batch.is_edge_attr('edge_attr')
    assert batch.is_node_attr('x')
    assert sorted(only().edge_attrs()) == ['edge_attr', 'edge_index']
    with pytest.raises(AttributeError, match='nothing'):
        _ = batch.nothing
    with pytest.raises(KeyError, match='nothing'):
        _ = batch['nothing']


def test_edge_weights_answer_by_name_wherever_they_came_from():
    weight = torch.arange(7.0)
    matrix = torch.sparse_coo_tensor(EDGE_INDEX.flip(0), weight, (6, 6), check_invariants=True)
    for data in (
        graph(edge_weight=weight),
        Data(x=graph().x, adj_t=matrix),
        Data(x=graph().x, adj_t=StubSparseTensor(EDGE_INDEX[1], EDGE_INDEX[0], weight, (6, 6))),
    ):
        batch = only(data)
        assert 'edge_weight' in batch
        assert batch['edge_weight'].tolist() == batch.edge_weight.tolist() == [0, 4, 1]
        assert batch.adj_t.values().tolist() == [0, 4, 1]


def test_printing_a_batch_cuts_nothing():
    batch = only()
    assert repr(batch) == (
        'SubgraphBatch(x=[3, 2], y=[3], adj_t=[2, 3], train_mask=[3], n_id=[3], offset=[1], '
        'count=[1], batch_size=2)'
    )
    assert 'edge_index' not in batch._store


@pytest.mark.parametrize('duplicate', [copy.copy, copy.deepcopy, lambda b: b.clone()])
def test_copies_stand_on_their_own(duplicate):
    batch = only(graph(edge_weight=torch.arange(7.0)))
    whole = batch.__dict__['_whole_edges']
    other = duplicate(batch)
    other.x = torch.zeros(1)
    other.edge_attr = torch.zeros(2)
    assert batch.x.shape == (3, 2)
    assert batch.edge_attr.shape == (3, 1)
    assert other.edge_index.tolist() == batch.edge_index.tolist()
    assert other.edge_weight.tolist() == batch.edge_weight.tolist()
    assert other.__dict__['_whole_edges'] is whole


def test_a_pickled_batch_holds_its_edges_and_not_the_graph():
    attr = torch.zeros(7, 20_000)
    batch = only(graph(edge_attr=attr))
    data = pickle.dumps(batch)
    assert len(data) < attr.numel() * 4
    other = pickle.loads(data)
    assert other.adj_t.to_dense().tolist() == batch.adj_t.to_dense().tolist()
    assert other.edge_index.tolist() == batch.edge_index.tolist()
    assert other.edge_attr.shape == (3, 20_000)
    assert other.edge_weight is None
    assert other.to('cpu').n_id.tolist() == [0, 1, 3]


def test_moving_a_batch_moves_what_is_cut_later():
    batch = only(graph(edge_weight=torch.arange(7.0)))
    assert batch.to('cpu') is batch
    assert batch.edge_attr.view(-1).tolist() == [0, 4, 1]
    assert isinstance(batch.adj_t, Adjacency)
    batch = only().apply(lambda value: value.double(), 'x', 'adj_t', 'edge_attr')
    assert batch.x.dtype == batch.adj_t.dtype == batch.edge_attr.dtype == torch.float64
    batch = only().apply(lambda value: value.double())
    assert batch.edge_attr.dtype == torch.float64


def test_what_a_user_sets_survives_a_move():
    batch = only()
    attr, edge_index = torch.ones(1), torch.tensor([[0], [1]])
    batch.edge_attr, batch.edge_index = attr, edge_index
    batch.to('cpu')
    assert batch.edge_attr is attr
    assert batch.edge_index is edge_index


def test_an_edge_index_knows_its_adjacency_and_the_loaders_weights():
    batch = only(graph(edge_weight=torch.arange(7.0)))
    assert adjacency_of(batch.edge_index) is batch.adj_t.square()
    assert weight_of(batch.edge_index) is batch.edge_weight
    assert adjacency_of(batch.to('cpu').edge_index) is batch.adj_t.square()


def test_weights_changed_before_the_edges_are_cut_are_not_the_loaders():
    batch = only(graph(edge_weight=torch.arange(7.0)))
    batch.edge_weight = batch.edge_weight * 2
    assert weight_of(batch.edge_index) is None
    batch = only(graph(edge_weight=torch.arange(7.0)))
    batch.apply(lambda value: value * 2, 'edge_weight')
    assert weight_of(batch.edge_index) is not batch.edge_weight
    batch = only()
    batch.edge_weight = torch.ones(3)
    assert weight_of(batch.edge_index) is None


def test_batches_made_while_inferring_work():
    with torch.inference_mode():
        batch = only()
        out = batch.adj_t @ batch.x
        batch.edge_attr  # noqa: B018
    assert out.tolist() == (batch.adj_t.to_dense() @ batch.x).tolist()
    batch = only(bipartite=True)
    assert (batch.adj_t @ batch.x).tolist() == out.tolist()


# What a loader takes #############################################################


def test_every_form_of_a_graph_gives_the_same_batches():
    matrix = torch.sparse_coo_tensor(EDGE_INDEX.flip(0), torch.ones(7), (6, 6)).coalesce()
    x = graph().x
    expected = [batch.adj_t.to_dense().tolist() for batch in loader()]
    for data in (
        Data(x=x, adj_t=matrix),
        Data(x=x, adj_t=matrix.to_sparse_csr()),
        Data(x=x, adj_t=matrix.to_sparse_csc()),
        Data(x=x, adj_t=StubSparseTensor(EDGE_INDEX[1], EDGE_INDEX[0], None, (6, 6))),
        Data(x=x, edge_index=EdgeIndex(EDGE_INDEX, sparse_size=(6, 6))),
        Data(x=x, edge_index=EDGE_INDEX.int()),
    ):
        assert [batch.adj_t.to_dense().tolist() for batch in loader(data)] == expected


def test_adj_t_wins_over_edge_index():
    matrix = torch.sparse_coo_tensor([[1], [5]], [2.0], (6, 6), check_invariants=True)
    data = graph(adj_t=matrix, edge_attr=None, edge_weight=torch.ones(7))
    assert [global_edges(batch) for batch in loader(data)] == [[(5, 1)], [], []]
    assert only(data).edge_weight.tolist() == [2]


def test_edge_attributes_beside_two_sets_of_edges_are_refused():
    matrix = torch.eye(6).to_sparse()
    with pytest.raises(ValueError, match=r'both, and edge attributes edge_attr\)'):
        loader(graph(adj_t=matrix))


def test_wide_values_of_adj_t_are_edge_weights():
    values = torch.arange(14.0).view(7, 2)
    matrix = torch.sparse_coo_tensor(EDGE_INDEX.flip(0), values, (6, 6, 2), check_invariants=True)
    batch = only(Data(x=graph().x, adj_t=matrix))
    assert batch.edge_weight.tolist() == [[0, 1], [8, 9], [2, 3]]
    assert batch.adj_t.weight is None


@pytest.mark.parametrize('x', [None, torch.arange(6), torch.arange(12.0).double().view(6, 2)])
def test_features_may_be_absent_ids_or_of_another_type(x):
    data = graph(x=x)
    data.y = None
    batch = only(data)
    assert batch.y is None
    assert batch.adj_t.dtype == (x.dtype if x is not None and x.dim() == 2 else torch.float32)
    if x is None:
        assert batch.x is None
        assert batch.num_nodes == 3
    else:
        assert batch.x.dtype == x.dtype
        assert batch.x.tolist() == x[batch.n_id].tolist()


def test_further_attributes_are_sorted_by_size_and_name():
    data = graph(
        time=torch.arange(6), edge_time=torch.arange(7), val_edge_mask=torch.ones(7).bool(),
        edge_label_index=torch.zeros(2, 6, dtype=torch.long), name='graph', whole=torch.ones(3),
    )  # fmt: skip
    batch = only(data)
    assert batch.time.tolist() == [0, 1, 3]
    assert batch.edge_time.tolist() == [0, 4, 1]
    assert batch.val_edge_mask.tolist() == [True] * 3
    assert not {'edge_label_index', 'name', 'whole'} & set(batch.keys())


def test_with_as_many_edges_as_nodes_the_name_decides():
    data = Data(
        x=torch.ones(3, 1), edge_index=torch.tensor([[2, 1, 0], [1, 0, 2]]),
        edge_time=torch.arange(3), time=torch.arange(3), num_nodes=3,
    )  # fmt: skip
    batch = only(data, ptr=torch.tensor([0, 1, 3]))
    assert batch.edge_time.tolist() == [1]
    assert batch.time.tolist() == [0, 1]


NAN = torch.ones(6, 2)
NAN[1, 0] = NAN[3] = float('nan')


@pytest.mark.parametrize(
    ('data', 'kwargs', 'error', 'message'),
    [
        ({'x': torch.ones(5, 2)}, {}, ValueError, r"'data.x' must have one row per node \(6\)"),
        ({'y': torch.ones(7)}, {}, ValueError, r"'data.y' must have one row per node \(6\) \(got"),
        ({'val_mask': torch.ones(2)}, {}, ValueError, r"'data.val_mask' must have one row per no"),
        ({'edge_attr': torch.ones(6)}, {}, ValueError, r"'data.edge_attr' must have one row per e"),
        ({'edge_weight': torch.ones(6)}, {}, ValueError, r"'data.edge_weight' must have shape \(7"),
        ({'x': NAN}, {}, ValueError, r"'data.x' must not hold NaN \(got 3 NaN values\)"),
        ({'x': torch.eye(6).to_sparse()}, {}, TypeError, r"'data.x' must be a dense tensor"),
        ({'x': graph().x.numpy()}, {}, TypeError, r"'data.x' must be a dense tensor \(got ndarray"),
        ({'edge_index': EDGE_INDEX + 1}, {}, ValueError, r'node ids must lie in \[0, 6\)'),
        (
            {'edge_weight': torch.ones(7, requires_grad=True)}, {}, ValueError,
            r'edge weights must be constants',
        ),
        ({}, {'ptr': torch.tensor([0, 2, 5])}, ValueError, r"'ptr' must rise from 0 to the 6 n"),
        ({}, {'ptr': torch.tensor([1, 6])}, ValueError, r"'ptr' must rise from 0"),
        ({}, {'ptr': torch.tensor([0, 4, 2, 6])}, ValueError, r"'ptr' must rise from 0"),
        ({}, {'ptr': torch.tensor([0.0, 6])}, ValueError, r"'ptr' must rise from 0"),
        ({}, {'ptr': torch.tensor(6)}, ValueError, r"'ptr' must rise from 0"),
        ({}, {'ptr': torch.tensor([6])}, ValueError, r"'ptr' must rise from 0"),
        ({}, {'batch_size': 0}, ValueError, r"'batch_size' must be a positive number .* \(got 0\)"),
        ({}, {'batch_size': True}, ValueError, r"'batch_size' must be a positive number"),
        ({}, {'sweep_batch_size': 0}, ValueError, r"'sweep_batch_size' must be a positive number"),
        ({}, {'direction': 'out'}, ValueError, r"'direction' must be 'in' or 'both' \(got 'out'\)"),
        (
            {}, {'input_nodes': torch.ones(5).bool()}, ValueError,
            r"a mask as 'input_nodes' must have shape \(6,\) \(got \(5,\)\)",
        ),
        ({}, {'input_nodes': torch.tensor([6])}, ValueError, r"'input_nodes' must lie in \[0, 6\)"),
        ({}, {'input_nodes': torch.tensor([1.0])}, TypeError, r"'input_nodes' must be a boolean"),
        ({}, {'input_nodes': torch.ones(6).byte()}, TypeError, r"'input_nodes' must be a boolean"),
        (
            {}, {'input_nodes': torch.zeros(6).bool(), 'drop_unlabelled': True}, ValueError,
            r'at least one batch must be left \(got 3 partitions with nodes, 0 of them',
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(data, kwargs, error, message):
    with pytest.raises(error, match=message):
        loader(graph(**data), **kwargs)


@pytest.mark.parametrize('data', [EDGE_INDEX, torch.eye(6).to_sparse(), HeteroData(), None])
def test_a_graph_must_come_as_data(data):
    with pytest.raises(TypeError, match=r"SubgraphLoader: 'data' must be a torch_geometric.data"):
        SubgraphLoader(data, PTR)


def test_the_loader_says_what_it_prepared(capsys):
    SubgraphLoader(graph(), PTR, batch_size=2)
    expected = 'SubgraphLoader: 6 nodes and 7 edges in 3 partitions, 2 per batch\n'
    assert capsys.readouterr().out == expected
    loader()
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize('option', ['shuffle', 'drop_last', 'drop_unlabelled', 'sampler'])
def test_an_evaluation_visits_everything_in_order(option):
    value = [2, 1] if option == 'sampler' else True
    with pytest.raises(ValueError, match=f"EvalSubgraphLoader: '{option}' must be left out"):
        EvalSubgraphLoader(graph(), PTR, log=False, **{option: value})
    batches = EvalSubgraphLoader(graph(), PTR, log=False, shuffle=False)
    assert [batch.offset.tolist() for batch in batches] == [[0], [2], [4]]


# Input nodes #####################################################################


@pytest.mark.parametrize('nodes', [graph().train_mask, torch.tensor([5, 0, 4])])
@pytest.mark.parametrize('drop', [False, True])
def test_loss_weights_of_an_epoch_sum_to_one(nodes, drop):
    batches = list(loader(input_nodes=nodes, drop_unlabelled=drop, shuffle=True))
    assert sum(batch.loss_weight for batch in batches) == pytest.approx(1)
    masks = {int(batch.offset): batch.input_mask.tolist() for batch in batches}
    expected = {0: [True, False], 2: [False, False], 4: [True, True]}
    assert masks == {k: v for k, v in expected.items() if any(v) or not drop}


@pytest.mark.parametrize(('size', 'sizes'), [(None, [2, 2, 2]), (2, [4, 2]), (9, [6])])
def test_a_sweep_may_take_larger_batches_than_training(size, sizes):
    batches = loader(batch_size=1, sweep_batch_size=size)
    assert [batch.batch_size for batch in batches.sweep()] == sizes
    assert batches.num_sweep_batches == len(sizes)
    assert [batch.batch_size for batch in batches] == [2, 2, 2]


def test_a_sweep_visits_unlabelled_partitions_too():
    batches = loader(input_nodes=graph().train_mask, drop_unlabelled=True)
    assert len(list(batches)) == 2
    assert [batch.offset.tolist() for batch in batches.sweep()] == [[0], [2], [4]]


# Where batches are assembled #####################################################


def test_shuffling_follows_the_seed():
    ptr = torch.arange(7)
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        orders.append([int(batch.offset) for batch in loader(ptr=ptr, shuffle=True)])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(6))


def test_a_sweep_leaves_the_randomness_alone():
    batches = loader(shuffle=True)
    state = torch.get_rng_state()
    list(batches.sweep())
    assert torch.equal(torch.get_rng_state(), state)


def ring(n: int = 400) -> tuple[Data, Tensor]:
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.randint(n, (2, 4 * n), generator=generator)
    x = torch.randn(n, 3, generator=generator)
    data = Data(x=x, edge_index=edge_index, edge_weight=torch.rand(4 * n, generator=generator))
    return data, torch.arange(0, n + 1, 4)


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_workers_give_the_batches_of_the_main_process(context):
    data, ptr = ring()
    options = {'batch_size': 3, 'direction': 'both', 'pin_memory': False}
    here = loader(data, ptr, **options)
    there = loader(
        data,
        ptr,
        num_workers=2,
        multiprocessing_context=context,
        persistent_workers=True,
        **options,
    )
    expected = [content(batch) for batch in here]
    for _ in range(2):
        assert [content(batch) for batch in there] == expected
    assert [content(batch) for batch in there.sweep()] == expected
    batch = next(iter(there))
    assert (batch.adj_t @ batch.x).tolist() == (next(iter(here)).adj_t @ batch.x.clone()).tolist()


def test_workers_cut_the_variants_that_operators_asked_for():
    batches = loader(num_workers=1)
    key = batches.graph.gcn_norm(False, True, torch.float32)
    for here, there in zip(loader(), batches, strict=True):
        assert list(there.adj_t.edges.slices) == [key]
        normalised = there.adj_t.gcn_norm(False, True, torch.float32)
        expected = here.adj_t.gcn_norm(False, True, torch.float32)
        assert normalised.to_dense().tolist() == expected.to_dense().tolist()


def test_memory_of_a_batch_does_not_grow_with_the_graph():
    def allocated(n: int) -> int:
        nodes = torch.arange(n)
        edge_index = torch.stack([nodes, (nodes + 1) % n])
        data = Data(x=torch.ones(n, 2), edge_index=edge_index, y=torch.ones(n))
        batches = loader(data, torch.arange(0, n + 1, 10), batch_size=2).sweep()
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
            for _, batch in zip(range(5), batches, strict=False):
                assert batch.edge_index.shape == (2, 20)
        return sum(max(event.self_cpu_memory_usage, 0) for event in profiler.events())

    assert 0 < allocated(100_000) <= 1.05 * allocated(1_000)
