"""Train graph neural networks on graphs larger than device memory with historical embeddings."""

from ._version import __version__
from .history import History
from .loader import EvalSubgraphLoader, SubgraphBatch, SubgraphLoader
from .partition import metis, partition_quality, permute
from .scalable import ScalableGNN

__all__ = [
    'EvalSubgraphLoader',
    'History',
    'ScalableGNN',
    'SubgraphBatch',
    'SubgraphLoader',
    '__version__',
    'metis',
    'partition_quality',
    'permute',
]
