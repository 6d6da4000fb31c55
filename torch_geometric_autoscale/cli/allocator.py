"""Settings of the process's memory allocator: fast, or sparing under a limit."""

import ctypes
import os
import sys

from ..training.machine import ram_bytes

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4  # malloc.h
_OWN_MAPPING = 2**18  # bytes from which on a tensor goes back to the system when it is freed
_SHARE, _USUAL = 256, 2**34  # one in so many bytes of main memory; bytes of it where none can tell


def spare_page_faults() -> None:
    """Keep freed memory for the next tensors, and ask for huge pages; call it early.

    Every step allocates and frees the same large tensors. By default glibc maps each of them anew,
    and the kernel clears and maps its pages one fault at a time. Keeping freed memory took an epoch
    on WordNet from 0.82 to 0.71 s, and a full-batch step from 0.72 to 0.56 s. A step of full batch
    frees gigabytes at once: with a threshold for giving them back, of any size that fits its type,
    an epoch of GCNII took 5.6 s instead of 2.7.

    What is kept has gaps: glibc cannot reuse the room of a freed tensor for one of the same size,
    whose alignment it must see to, unless a neighbour is free, too. Full batch of SAGE on
    linux_calls, which needs 4.4 GB, grew beyond 22; that of GCNII on WordNet holds 170 times its
    largest tensor. So tensors above a share of main memory go back as soon as they are freed. SAGE
    takes 4.9 GB then, and full batch of GCN on linux_calls up to twice as long.

    PyTorch reads the wish for huge pages once, at its first allocation. Importing PyG makes one, so
    that what is set here reaches the processes this one starts; with the variable set from outside,
    the first epochs of a large full batch, which touch fresh memory, take half as long.

    Under a limit to the process's memory it is the other way round: what is freed goes back at
    once, so that no gaps count against the limit. Where there is no glibc nothing happens.
    """
    os.environ.setdefault('THP_MEM_ALLOC_ENABLE', '1')
    if _is_limited():
        spare_memory()
    else:
        largest = min((ram_bytes() or _USUAL) // _SHARE, 2**31 - 1)  # mallopt takes an int
        _set((_M_MMAP_THRESHOLD, largest), (_M_TRIM_THRESHOLD, -1))


def spare_memory() -> None:
    """Return memory to the system as soon as it is freed, for what must fit a limit."""
    _set(
        (_M_MMAP_MAX, 2**16), (_M_MMAP_THRESHOLD, _OWN_MAPPING), (_M_TRIM_THRESHOLD, _OWN_MAPPING)
    )  # fmt: skip


def _is_limited() -> bool:
    """Whether there is a limit to the memory of this process."""
    try:
        import resource
    except ImportError:  # Windows
        return False
    limits = (resource.RLIMIT_DATA, resource.RLIMIT_AS)
    return any(resource.getrlimit(limit)[0] != resource.RLIM_INFINITY for limit in limits)


def _set(*options: tuple[int, int]) -> None:
    if not sys.platform.startswith('linux'):
        return
    try:
        mallopt = ctypes.CDLL('libc.so.6').mallopt
    except (OSError, AttributeError):
        return
    for option, value in options:
        mallopt(option, value)
