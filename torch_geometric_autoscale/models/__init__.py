"""Ready models, one per file, each defined once."""

from .gcn import GCN

__all__ = ['GCN']
