"""All cases: which table, which operator or model, which option, how it is built."""

from .aggregations import aggregations
from .attention import attention
from .compositions import compositions
from .custom import custom
from .edges import edges
from .edges_by_hand import edges_by_hand
from .geometry import geometry
from .models import node_models
from .relations import relations
from .sums import sums
from .whole_graph import whole_graph
from .wrappers import wrappers

__all__ = [
    'aggregations',
    'attention',
    'compositions',
    'custom',
    'edges',
    'edges_by_hand',
    'geometry',
    'node_models',
    'relations',
    'sums',
    'whole_graph',
    'wrappers',
]
