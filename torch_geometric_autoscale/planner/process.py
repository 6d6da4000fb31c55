"""How much memory the process has in use, of the kind that a memory limit counts.

On Linux that is its *data*: heap and private writable mappings, which is what ``RLIMIT_DATA``
limits. Files that are mapped and shared do not count: their pages are the system's to take back.
"""

import ctypes
import gc
import re
import sys
from pathlib import Path

_STATUS = Path('/proc/self/status')
_MEMINFO = Path('/proc/meminfo')
_GAPS = 2**25


class _MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in ('arena', 'ordblks', 'smblks', 'hblks', 'hblkhd', 'usmblks', 'fsmblks',
                     'uordblks', 'fordblks', 'keepcost')
    ]  # fmt: skip


def data_bytes() -> int:
    """Bytes of the process's data; elsewhere than on Linux its largest resident size so far."""
    found = _number_in(_STATUS, 'VmData')
    if found is not None:
        return found
    try:
        import resource
    except ImportError:  # Windows
        return 0
    unit = 1 if sys.platform == 'darwin' else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_use_bytes() -> int:
    """The same without what was freed and is kept for the next allocations.

    Of that, as much as may be gaps between small blocks counts as used: tensors do not fit there.
    """
    gc.collect()
    return data_bytes() - max(_free_in_heap() - _GAPS, 0)


def available_bytes() -> int | None:
    """Main memory that the system could still give to processes, where it tells."""
    return _number_in(_MEMINFO, 'MemAvailable')


def give_back_freed_memory() -> None:
    """Return what is free at the end of the heap to the system, where there is glibc."""
    gc.collect()
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is no memory left, of whatever kind."""
    text = str(error).lower()
    signs = ('out of memory', "can't allocate", 'bad_alloc')
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)


def _free_in_heap() -> int:
    libc = _glibc()
    mallinfo = getattr(libc, 'mallinfo2', None)  # since glibc 2.33
    if mallinfo is None:
        return 0
    mallinfo.restype = _MallInfo
    return int(mallinfo().fordblks)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith('linux'):
        return None
    try:
        libc = ctypes.CDLL('libc.so.6')
        libc.malloc_trim  # noqa: B018
    except (OSError, AttributeError):
        return None
    return libc


def _number_in(path: Path, name: str) -> int | None:
    try:
        found = re.search(rf'^{name}:\s+(\d+) kB', path.read_text(), re.MULTILINE)
    except OSError:
        return None
    return None if found is None else int(found[1]) * 1024
