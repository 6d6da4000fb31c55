"""Make the next item in a thread while the caller uses the present one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar('T')

_END: Any = object()


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in the same order, each made while its predecessor is in use.

    The first is made in the caller's thread: what an iterator draws at random when it begins, it
    draws when it would have without. At most one item that nobody has asked for exists at any
    time. An error comes when its item is due. The thread ends with the items, with the caller's
    last reference to this iterator, or when it is closed.
    """
    pool = None
    try:
        item = [next(items, _END)]  # in a list, so that what is handed out is not kept here
        while item[0] is not _END:
            if pool is None:
                pool = ThreadPoolExecutor(1, thread_name_prefix='prefetch')
            coming = pool.submit(next, items, _END)
            yield item.pop()
            item.append(coming.result())
            del coming
    finally:
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)
        close = getattr(items, 'close', None)
        if close is not None:
            close()
