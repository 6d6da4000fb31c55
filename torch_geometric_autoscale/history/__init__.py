"""Tables of historical embeddings, one storage medium per file."""

from .history import History
from .move import move_histories
from .store import Store
from .tiers import TIERS

__all__ = ['TIERS', 'History', 'Store', 'move_histories']
