"""The contract of every partitioner: ``perm, ptr``."""

import builtins
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from torch_geometric_autoscale.partition import (
    available_methods,
    dispatch,
    kaminpar,
    label_propagation,
    metis,
    partition,
    partition_quality,
    random_partition,
)
from torch_geometric_autoscale.partition.contract import fill_empty_parts

RING = torch.stack([torch.arange(12), (torch.arange(12) + 1) % 12])


def check_contract(perm, ptr, num_nodes, num_parts):
    assert perm.dtype == ptr.dtype == torch.long
    assert perm.sort().values.tolist() == list(range(num_nodes))
    assert ptr.shape == (num_parts + 1,)
    assert ptr[0] == 0
    assert ptr[-1] == num_nodes
    assert int(ptr.diff().min()) > 0, 'a part is empty'
    for p in range(num_parts):
        ids = perm[ptr[p] : ptr[p + 1]].tolist()
        assert ids == sorted(ids)


@pytest.mark.parametrize('name', available_methods())
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_graph_and_number_of_parts_keeps_the_contract(name, data):
    num_nodes = data.draw(st.integers(1, 30))
    num_parts = data.draw(st.integers(1, num_nodes))
    ids = st.integers(0, num_nodes - 1)
    pairs = data.draw(st.lists(st.tuples(ids, ids), max_size=60))
    edge_index = torch.tensor(pairs, dtype=torch.long).view(-1, 2).T
    perm, ptr = partition(edge_index, num_parts, name, num_nodes=num_nodes, log=False)
    check_contract(perm, ptr, num_nodes, num_parts)
    again = partition(edge_index, num_parts, name, num_nodes=num_nodes, log=False)
    assert perm.equal(again[0])
    assert ptr.equal(again[1])
    quality = partition_quality(edge_index, perm, ptr, num_nodes)
    assert 0 <= quality.edge_cut <= 1
    assert 1 <= quality.balance <= num_nodes
    assert 0 <= quality.halo_per_batch_node <= len(pairs) / num_nodes


@pytest.mark.parametrize('num_parts', [1, 2, 5, 11, 12])
def test_a_ring_splits_into_any_number_of_parts(method, num_parts):
    check_contract(*partition(RING, num_parts, method, num_nodes=12, log=False), 12, num_parts)


def test_a_star_splits_although_all_edges_share_one_node(method):
    star = torch.stack([torch.zeros(199, dtype=torch.long), torch.arange(1, 200)])
    check_contract(*partition(star, 20, method, num_nodes=200, log=False), 200, 20)


def test_a_graph_without_edges_splits_evenly(method):
    nothing = torch.empty(2, 0, dtype=torch.long)
    _, ptr = partition(nothing, 4, method, num_nodes=40, log=False)
    assert ptr.diff().tolist() == [10, 10, 10, 10]


def test_direction_duplicates_and_self_loops_play_no_role(method, two_triangles):
    one_way = two_triangles[:, :7]
    loops = torch.arange(6).repeat(2, 1)
    noisy = torch.cat([one_way, one_way, loops, one_way[:, :2].flip(0)], dim=1)
    plain = partition(two_triangles, 2, method, num_nodes=6, log=False)
    other = partition(noisy, 2, method, num_nodes=6, log=False)
    assert plain[0].tolist() == other[0].tolist()
    assert plain[1].tolist() == other[1].tolist()


def test_two_triangles_come_apart_at_the_bridge(method, two_triangles):
    if method == 'random':
        pytest.skip('chance does not look at edges')
    perm, ptr = partition(two_triangles, 2, method, num_nodes=6, log=False)
    parts = {tuple(perm[:3].tolist()), tuple(perm[3:].tolist())}
    assert ptr.tolist() == [0, 3, 6]
    assert parts == {(0, 2, 4), (1, 3, 5)}


def test_planted_communities_are_cut_far_less_than_by_chance():
    # 20 communities of 50 nodes, each a ring with chords, ids shuffled; 5% of edges go anywhere.
    rng = np.random.default_rng(0)
    source = np.repeat(np.arange(1000), 8)
    target = source // 50 * 50 + (source % 50 + rng.integers(1, 25, source.size)) % 50
    astray = rng.random(source.size) < 0.05
    target[astray] = rng.integers(1000, size=int(astray.sum()))
    names = rng.permutation(1000)
    edge_index = torch.from_numpy(np.stack([names[source], names[target]]))
    cut = {}
    for name in available_methods():
        perm, ptr = partition(edge_index, 20, name, num_nodes=1000, log=False)
        quality = partition_quality(edge_index, perm, ptr, 1000)
        cut[name] = quality.edge_cut
        assert quality.balance <= 1.06
    assert cut.pop('random') > 0.9
    assert max(cut.values()) < 0.15


@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_label_propagation_keeps_parts_within_five_percent(data):
    num_nodes = data.draw(st.integers(20, 200))
    num_parts = data.draw(st.integers(1, num_nodes))
    seed = data.draw(st.integers(0, 2**31 - 1))
    rng = np.random.default_rng(seed)
    # Degrees differ widely: squared uniform ids.
    edge_index = torch.from_numpy((rng.random((2, 4 * num_nodes)) ** 2 * num_nodes).astype(int))
    _, ptr = label_propagation(edge_index, num_parts, False, num_nodes, seed)
    most = max(int(1.05 * num_nodes / num_parts), -(-num_nodes // num_parts))
    assert int(ptr.diff().max()) <= most


def test_another_seed_may_give_another_partition():
    first = random_partition(RING, 3, log=False, num_nodes=12, seed=0)
    other = random_partition(RING, 3, log=False, num_nodes=12, seed=1)
    assert first[0].tolist() != other[0].tolist()


def test_the_global_generators_are_left_alone(method):
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    partition(RING, 3, method, num_nodes=12, log=False)
    assert torch.get_rng_state().equal(before[0])
    assert (np.random.get_state()[1] == before[1]).all()


def test_metis_bisects_recursively_on_request(two_triangles):
    pytest.importorskip('pymetis')
    data = Data(edge_index=two_triangles, num_nodes=6)
    check_contract(*metis(data, 2, recursive=True, log=False), 6, 2)


def test_shorthands_name_themselves_in_errors():
    calls = {
        'metis': metis,
        'kaminpar': kaminpar,
        'label_propagation': label_propagation,
        'random_partition': random_partition,
    }
    for name, call in calls.items():
        with pytest.raises(ValueError, match=f"^{name}: 'num_nodes' is needed"):
            call(RING, 2)


def test_more_parts_than_nodes_is_an_error_that_says_so():
    with pytest.raises(
        ValueError, match=r'metis: there cannot be more parts than nodes: .* at most 12 \(got 13\)'
    ):
        metis(RING, 13, num_nodes=12)


@pytest.mark.parametrize(
    ('num_parts', 'error', 'message'),
    [
        (0, ValueError, r"'num_parts' must be positive \(got 0\)"),
        (-2, ValueError, r"'num_parts' must be positive \(got -2\)"),
        (2.0, TypeError, r"'num_parts' must be an integer \(got 2.0\)"),
        ('4', TypeError, r"'num_parts' must be an integer \(got '4'\)"),
        (True, TypeError, r"'num_parts' must be an integer \(got True\)"),
    ],
)
def test_a_number_of_parts_must_be_a_positive_integer(num_parts, error, message):
    with pytest.raises(error, match=message):
        partition(RING, num_parts, num_nodes=12)


def test_an_integer_may_come_from_numpy_or_torch():
    for count in (np.int64(3), torch.tensor(3)):
        assert len(partition(RING, count, num_nodes=12, log=False)[1]) == 4


def test_a_graph_without_nodes_cannot_be_split():
    with pytest.raises(ValueError, match='must have at least one node'):
        metis(torch.empty(2, 0, dtype=torch.long), 1, num_nodes=0)


@pytest.mark.parametrize('seed', [-1, 2**31, 0.5, None])
def test_a_seed_must_fit_the_partitioners(seed):
    with pytest.raises(ValueError, match=r"'seed' must be an integer in \[0, 2\*\*31\)"):
        metis(RING, 2, num_nodes=12, seed=seed)


def test_an_unknown_method_or_option_is_refused():
    with pytest.raises(ValueError, match=r"'method' must be one of .*'lp'.* \(got 'metsi'\)"):
        partition(RING, 2, 'metsi', num_nodes=12)
    with pytest.raises(TypeError, match=r"takes the options \[\] \(got \['recursive'\]\)"):
        partition(RING, 2, 'lp', num_nodes=12, recursive=True)
    with pytest.raises(TypeError, match=r"\(got \['fast'\]\)"):
        partition(RING, 2, 'auto', num_nodes=12, fast=True)
    with pytest.raises(ValueError, match=r"'num_threads' must be a positive integer \(got 0\)"):
        kaminpar(RING, 2, num_nodes=12, num_threads=0)


@pytest.fixture
def without_wheels(monkeypatch):
    """A machine where neither pymetis nor kaminpar can be imported."""
    real = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name in ('pymetis', 'kaminpar'):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    for name in ('pymetis', 'kaminpar'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(builtins, '__import__', refuse)
    monkeypatch.setattr(dispatch.importlib.util, 'find_spec', lambda name: None)


def test_metis_without_its_wheel_says_what_to_install(without_wheels):
    with pytest.raises(ImportError, match=r"metis: the package 'pymetis' is needed .*'auto'"):
        metis(RING, 2, num_nodes=12)
    with pytest.raises(ImportError, match=r"'kaminpar' is needed .*autoscale\[full\]"):
        kaminpar(RING, 2, num_nodes=12)


def test_auto_runs_without_any_wheel(without_wheels, capsys):
    assert available_methods() == ['lp', 'ldg', 'random']
    check_contract(*partition(RING, 3, num_nodes=12, recursive=True), 12, 3)
    assert 'with label propagation...' in capsys.readouterr().out


def test_one_line_is_printed_or_none(capsys, two_triangles):
    partition(two_triangles, 2, 'lp', num_nodes=6)
    line = capsys.readouterr().out
    assert line.count('\n') == 1
    assert line.startswith('Partitioning 6 nodes into 2 parts with label propagation... ')
    assert line.endswith(
        's: 14.3% of edges cut, 0.33 halo rows per node, largest part 1.00x the mean\n'
    )
    partition(two_triangles, 2, 'lp', num_nodes=6, log=False)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ''


def test_an_interrupted_partitioner_ends_its_line(monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(dispatch, '_compute', interrupted)
    with pytest.raises(KeyboardInterrupt):
        partition(RING, 2, 'lp', num_nodes=12)
    assert capsys.readouterr().out.endswith('failed\n')


def test_empty_parts_take_half_of_the_largest():
    part = np.array([0, 0, 0, 0, 2, 2])
    assert fill_empty_parts(part, 4).tolist() == [0, 3, 1, 1, 2, 2]
    assert part.tolist() == [0, 0, 0, 0, 2, 2]
    full = np.array([0, 1, 2])
    assert fill_empty_parts(full, 3) is full
