"""Edges are gone through in pieces that hold all of them, each once, in order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torch_geometric_autoscale import edges as edges_module
from torch_geometric_autoscale.edges import Edges, expand, row_blocks, spans, targets

# Into 0: 2, 1, 2; into 1: none; into 2: 0.
ROWPTR, COL = torch.tensor([0, 3, 3, 4]), torch.tensor([2, 1, 2, 0])
GROUPED = Edges(3, rowptr=ROWPTR, col=COL)
PAIRS = Edges(3, pairs=torch.tensor([[2, 1, 2, 0], [0, 0, 0, 2]]))


@pytest.mark.parametrize('edges', [GROUPED, PAIRS])
def test_both_forms_say_the_same(edges):
    assert edges.num_edges == 4
    assert edges.edge_index.tolist() == [[2, 1, 2, 0], [0, 0, 0, 2]]
    assert edges.edge_index.dtype == torch.int64
    assert edges.folder is None


def test_pairs_come_in_pieces_of_equal_size():
    pieces = [[ends.tolist() for ends in piece] for piece in PAIRS.pieces(3)]
    assert pieces == [[[2, 1, 2], [0, 0, 0]], [[0], [2]]]


def test_grouped_edges_come_in_whole_rows():
    pieces = [[ends.tolist() for ends in piece] for piece in GROUPED.pieces(1)]
    assert pieces == [[[2, 1, 2], [0, 0, 0]], [[], []], [[0], [2]]]


@pytest.mark.parametrize('edges', [GROUPED, PAIRS])
def test_stored_integers_stay_as_narrow_as_they_are(edges):
    narrow = Edges(
        3, *(None if part is None else part.int() for part in
             (edges.weight, edges.pairs, edges.rowptr, edges.col)),
    )  # fmt: skip
    assert {source.dtype for source, _ in narrow.pieces()} == {torch.int32}


def test_a_graph_without_edges_has_no_pieces_of_pairs():
    assert list(Edges(3, pairs=torch.empty(2, 0, dtype=torch.int64)).pieces()) == []


def test_spans_cut_a_length():
    assert list(spans(5, 2)) == [(0, 2), (2, 4), (4, 5)]
    assert list(spans(0, 2)) == []


def test_the_usual_size_is_that_of_the_module(monkeypatch):
    monkeypatch.setattr(edges_module, 'CHUNK', 2)
    assert list(spans(3)) == [(0, 2), (2, 3)]
    assert len(list(row_blocks(torch.tensor([0, 2, 4])))) == 2


@given(st.lists(st.integers(0, 5), max_size=20), st.integers(1, 8), st.booleans())
def test_blocks_of_rows_hold_every_row_once_and_no_more_than_they_may(degrees, size, narrow):
    rowptr = torch.tensor([0, *degrees]).cumsum(0)
    rowptr = rowptr.int() if narrow else rowptr
    blocks = list(row_blocks(rowptr, size))
    assert [a for a, _ in blocks] == [0, *(b for _, b in blocks)][: len(blocks)]
    assert sum(b - a for a, b in blocks) == len(degrees)
    for a, b in blocks:
        assert 0 < b - a <= size
        assert b - a == 1 or rowptr[b] - rowptr[a] <= size
    found = torch.cat([torch.empty(0, dtype=torch.int64), *(targets(rowptr, *ab) for ab in blocks)])
    assert found.tolist() == expand(rowptr).tolist()
