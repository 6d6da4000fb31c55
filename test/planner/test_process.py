import mmap
import sys

import pytest
import torch

from torch_geometric_autoscale.planner.process import (
    available_bytes,
    data_bytes,
    give_back_freed_memory,
    in_use_bytes,
    is_out_of_memory,
)

linux = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='told by Linux alone')
MB = 2**20


@linux
def test_the_data_of_the_process_grows_with_what_it_holds():
    before = data_bytes()  # in a long process an allocator may have room; a mapping is always new
    with mmap.mmap(-1, 64 * MB, flags=mmap.MAP_PRIVATE):
        assert data_bytes() - before == 64 * MB
    assert data_bytes() == before


@linux
def test_what_was_freed_is_not_in_use():
    give_back_freed_memory()
    before = in_use_bytes()
    held = [torch.ones(MB, dtype=torch.uint8) for _ in range(100)]
    while_held = in_use_bytes() - before
    del held
    after = in_use_bytes() - before
    assert while_held > 60 * MB
    assert after < while_held - 60 * MB


@linux
def test_the_system_tells_how_much_memory_there_is():
    assert available_bytes() > 0


@pytest.mark.parametrize('error', [
    MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9"),
    RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB'), RuntimeError('std::bad_alloc'),
])  # fmt: skip
def test_memory_errors_of_every_kind_are_known(error):
    assert is_out_of_memory(error)


def test_other_errors_are_no_memory_errors():
    assert not is_out_of_memory(RuntimeError('mat1 and mat2 shapes cannot be multiplied'))
