"""Rows of histories move between main memory, or a disk, and a device while that computes."""

from .moves import BatchMoves, Rows, current_moves, moving
from .placing import place
from .pool import AsyncIOPool, Pull, pool_for

__all__ = [
    'AsyncIOPool', 'BatchMoves', 'Pull', 'Rows', 'current_moves', 'moving', 'place', 'pool_for',
]  # fmt: skip
