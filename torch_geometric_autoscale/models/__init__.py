"""Ready models, one per file, each defined once."""

from .appnp import APPNP
from .edge_dropout import drop_edges_in_training
from .gat import GAT
from .gcn import GCN
from .gcn2 import GCN2
from .gin import GIN
from .pna import PNA
from .pna_conv import LightPNAConv
from .pna_jk import PNA_JK
from .sage import SAGE

__all__ = [
    'APPNP',
    'GAT',
    'GCN',
    'GCN2',
    'GIN',
    'PNA',
    'PNA_JK',
    'SAGE',
    'LightPNAConv',
    'drop_edges_in_training',
]
