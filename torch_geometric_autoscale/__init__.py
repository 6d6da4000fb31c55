"""Train graph neural networks on graphs larger than device memory with historical embeddings."""

from . import models
from ._version import __version__
from .batch import SubgraphBatch
from .conversion import AutoScaled, VerificationError, autoscale
from .datasets import get_data
from .graph_folder import GraphFolder, GraphWriter, load_graph
from .history import History, move_histories
from .history_errors import history_error
from .ingest import convert
from .loader import EvalSubgraphLoader, SubgraphLoader
from .metrics import compute_micro_f1, gen_masks
from .normalize import gcn_normalize
from .ops import dropout, fast_dropout
from .partition import ldg, metis, partition_quality, permute
from .planner import GraphShape, plan
from .prefetch import DevicePrefetcher
from .progress import quiet
from .safetensors_file import map_safetensors
from .scalable import ScalableGNN
from .sparse_rows import SparseRows
from .staleness import Staleness
from .synthetic import generate_graph
from .transfer import AsyncIOPool

__all__ = [
    'AsyncIOPool',
    'AutoScaled',
    'DevicePrefetcher',
    'EvalSubgraphLoader',
    'GraphFolder',
    'GraphShape',
    'GraphWriter',
    'History',
    'ScalableGNN',
    'SparseRows',
    'Staleness',
    'SubgraphBatch',
    'SubgraphLoader',
    'VerificationError',
    '__version__',
    'autoscale',
    'compute_micro_f1',
    'convert',
    'dropout',
    'fast_dropout',
    'gcn_normalize',
    'gen_masks',
    'generate_graph',
    'get_data',
    'history_error',
    'ldg',
    'load_graph',
    'map_safetensors',
    'metis',
    'models',
    'move_histories',
    'partition_quality',
    'permute',
    'plan',
    'quiet',
]
