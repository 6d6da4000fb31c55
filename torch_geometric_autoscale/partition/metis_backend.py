"""METIS, through the ``pymetis`` wheel."""

import importlib.metadata

import numpy as np

from ..errors import explain
from .simple_graph import Ints, SimpleGraph


def metis_version(who: str) -> str:
    """Version of ``pymetis``, or :class:`ImportError`."""
    try:
        import pymetis  # noqa: F401
    except ImportError as error:
        raise ImportError(
            explain(
                who,
                "the package 'pymetis' is needed",
                'none installed',
                "Install it with 'pip install pymetis', or call 'partition' with method='auto', "
                'which then takes another partitioner.',
            )
        ) from error
    return importlib.metadata.version('pymetis')


def metis_parts(graph: SimpleGraph, num_parts: int, seed: int, recursive: bool = False) -> Ints:
    """Part of every node, ``(N,)``.

    Source: Karypis and Kumar, "A fast and high quality multilevel scheme for partitioning
    irregular graphs", SIAM J. Sci. Comput. 20(1), 1998.
    """
    import pymetis

    width = pymetis.zero_copy_dtype()  # the integers METIS was compiled with
    adjacency = pymetis.CSRAdjacency(
        graph.indptr.astype(width, copy=False), graph.indices.astype(width, copy=False)
    )
    options = pymetis.Options(seed=seed)
    result = pymetis.part_graph(num_parts, adjacency, recursive=recursive, options=options)
    return np.asarray(result.vertex_part, dtype=np.int64)
