import gc
import time

import torch

from torch_geometric_autoscale.planner.measure import quick_collections, seconds_of
from torch_geometric_autoscale.training.allocated import allocated_by

from .made import CPU


def test_what_work_allocates_is_counted_to_the_byte():
    kept = []

    def work():
        gone = torch.empty(300, dtype=torch.float32)
        kept.append(torch.empty(100, dtype=torch.float32))
        del gone
        kept.append(torch.empty(50, dtype=torch.float32))

    peak, left = allocated_by(work, CPU)
    # PyTorch rounds nothing on the CPU; what the lists themselves take is Python's.
    assert (peak, left) == (1600, 600)


def test_what_is_freed_that_was_there_before_counts_as_less():
    held = [torch.empty(1000, dtype=torch.float32)]
    found = allocated_by(lambda: (held.clear(), torch.empty(10, dtype=torch.float32)), CPU)
    assert found.peak <= 40
    assert found.left <= 0


def test_the_quickest_run_counts():
    pauses = iter([0.05, 0.0, 0.05])
    assert seconds_of(lambda: time.sleep(next(pauses)), CPU) < 0.05


def test_collections_leave_alone_what_was_there_before():
    before = gc.get_freeze_count()
    with quick_collections():
        assert gc.get_freeze_count() > before
    assert gc.get_freeze_count() == 0


def test_what_others_have_set_aside_stays_so():
    gc.freeze()
    try:
        with quick_collections():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
