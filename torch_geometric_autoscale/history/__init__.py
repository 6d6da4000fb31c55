"""Tables of historical embeddings, one storage medium per file."""

from .history import History

__all__ = ['History']
