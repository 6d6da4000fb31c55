"""Train graph neural networks on graphs larger than device memory with historical embeddings."""

from . import models
from ._version import __version__
from .batch import SubgraphBatch
from .conversion import AutoScaled, VerificationError, autoscale
from .datasets import get_data
from .history import History
from .loader import EvalSubgraphLoader, SubgraphLoader
from .metrics import compute_micro_f1, gen_masks
from .normalize import gcn_normalize
from .ops import dropout, fast_dropout
from .partition import metis, partition_quality, permute
from .scalable import ScalableGNN

__all__ = [
    'AutoScaled',
    'EvalSubgraphLoader',
    'History',
    'ScalableGNN',
    'SubgraphBatch',
    'SubgraphLoader',
    'VerificationError',
    '__version__',
    'autoscale',
    'compute_micro_f1',
    'dropout',
    'fast_dropout',
    'gcn_normalize',
    'gen_masks',
    'get_data',
    'metis',
    'models',
    'partition_quality',
    'permute',
]
