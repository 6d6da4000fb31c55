"""Pairs come out sorted by key and payload, whatever the buckets and wherever they lie."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from torch_geometric_autoscale import bucket_sort
from torch_geometric_autoscale.bucket_sort import BucketSort
from torch_geometric_autoscale.mapped import mapped_file


def sort(keys, payloads, num_keys, folder=None, piece=3):
    keys, payloads = np.array(keys, dtype=np.int64), np.array(payloads, dtype=np.int64)
    counts = torch.from_numpy(np.bincount(keys, minlength=num_keys))

    def pairs():
        for start in range(0, len(keys), piece):
            yield keys[start : start + piece], payloads[start : start + piece]

    in_order = BucketSort('who', counts, pairs, folder)
    found = [
        (a + int(key), int(payload))
        for a, _, *columns in in_order.buckets()
        for key, payload in zip(*columns, strict=True)
    ]
    return in_order, found


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2**43 - 1)), max_size=40),
    st.integers(1, 50),
    st.integers(1, 5),
)
def test_pairs_come_out_in_order(pairs, bucket, piece):
    keys, payloads = [k for k, _ in pairs], [p for _, p in pairs]
    with mock.patch.object(bucket_sort, '_BUCKET', bucket):
        in_order, found = sort(keys, payloads, 10, piece=piece)
    assert found == sorted(pairs)
    assert in_order.bounds.tolist() == [sum(k < i for k in keys) for i in range(11)]


def test_pairs_may_lie_in_a_file(tmp_path):
    in_order, found = sort([2, 0, 2], [5, 6, 4], 3, tmp_path)
    assert found == [(0, 6), (2, 4), (2, 5)]
    file = mapped_file(torch.from_numpy(in_order.store))
    assert file is not None
    assert file.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_the_room_before_the_place_that_was_read_is_free(monkeypatch):
    monkeypatch.setattr(bucket_sort, '_BUCKET', 2)
    in_order, _ = sort([3, 1, 0, 1], [0, 1, 2, 3], 4)
    reached = 0
    for _, _, _, payload in in_order.buckets():
        in_order.store[reached : reached + len(payload)] = payload
        reached += len(payload)
    assert in_order.store.tolist() == [2, 1, 3, 0]


def test_a_disk_without_room_is_told(small_disk):
    many = np.zeros(1_000_000, dtype=np.int64)
    with pytest.raises(OSError, match='who: the folder of the graph must take 8,000,000 more'):
        sort(many, many, 1, small_disk)
