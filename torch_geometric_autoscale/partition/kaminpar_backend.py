"""KaMinPar, through the ``kaminpar`` wheel."""

import importlib.metadata
import tempfile
from pathlib import Path

import numpy as np

from ..edges import spans
from ..errors import missing_package
from .simple_graph import Ints, SimpleGraph

_UNWEIGHTED_64_BIT = 3  # ParHIP header: no edge weights, no node weights, 64-bit ids


def kaminpar_version(who: str) -> str:
    """Version of ``kaminpar``, or :class:`ImportError`."""
    try:
        import kaminpar  # noqa: F401
    except ImportError as error:
        raise ImportError(missing_package(who, 'kaminpar', 'full')) from error
    return importlib.metadata.version('kaminpar')


def kaminpar_parts(graph: SimpleGraph, num_parts: int, seed: int, num_threads: int = 1) -> Ints:
    """Part of every node, ``(N,)``.

    The wheel takes a graph only from a file: it goes through a temporary one in ParHIP's binary
    format, about ``8 * (N + M)`` bytes.

    Source: Gottesbüren, Heuer, Sanders, Schulz and Seemaier, "Deep multilevel graph
    partitioning", ESA 2021.
    """
    import kaminpar

    with tempfile.TemporaryDirectory(prefix='pygas-kaminpar-') as folder:
        path = Path(folder) / 'graph.parhip'
        _write_parhip(graph, path)
        loaded = kaminpar.load_graph(str(path), kaminpar.GraphFileFormat.PARHIP)
    kaminpar.reseed(seed)
    solver = kaminpar.KaMinPar(num_threads, kaminpar.fast_context())
    return np.asarray(solver.compute_partition(loaded, num_parts, 0.03), dtype=np.int64)


def _write_parhip(graph: SimpleGraph, path: Path) -> None:
    header = np.array([_UNWEIGHTED_64_BIT, graph.num_nodes, len(graph.indices)], dtype='<u8')
    first_neighbour = 8 * (len(header) + len(graph.indptr))  # offsets count bytes from the start
    with path.open('wb') as file:
        header.tofile(file)
        (graph.indptr * 8 + first_neighbour).astype('<u8').tofile(file)
        for start, stop in spans(len(graph.indices)):
            (graph.indices[start:stop].astype('<u8')).tofile(file)
