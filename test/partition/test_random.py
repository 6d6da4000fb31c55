import numpy as np
import torch

from torch_geometric_autoscale.partition import dispatch, partition, random_partition

from ..on_disk import on_disk, some_graph


def test_random_parts_are_of_equal_size_and_the_seed_tells_which():
    perm, ptr = random_partition(some_graph(), 6, log=False)
    assert sorted(ptr.diff().tolist()) == [6, 6, 7, 7, 7, 7]
    assert torch.equal(perm, random_partition(some_graph(), 6, log=False)[0])
    assert not torch.equal(perm, random_partition(some_graph(), 6, log=False, seed=1)[0])


def test_random_parts_read_no_edge(tmp_path, monkeypatch):
    monkeypatch.setattr(dispatch, 'simplify', lambda *given: 1 / 0)
    data = some_graph()
    perm, ptr = partition(data, 6, 'random', log=False)
    mapped = partition(on_disk(data, tmp_path / 'graph'), 6, 'random', log=False)
    assert torch.equal(perm, mapped[0])
    assert torch.equal(ptr, mapped[1])
    wanted = np.random.default_rng(0).permutation(np.arange(40) % 6)
    assert perm[: ptr[1]].tolist() == np.flatnonzero(wanted == 0).tolist()
