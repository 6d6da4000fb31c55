"""Tables of historical embeddings: an encoding of rows on a storage medium, and a cache."""

from .encoding import DTYPES
from .history import History
from .move import move_histories
from .store import Store
from .summary import summarize
from .tiers import TIERS, new_table

__all__ = ['DTYPES', 'TIERS', 'History', 'Store', 'move_histories', 'new_table', 'summarize']
