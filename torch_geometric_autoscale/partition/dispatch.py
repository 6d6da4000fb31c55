"""``partition`` and its shorthands: graph in, ``(perm, ptr)`` out, cached and reported."""

import importlib.util
import operator
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from .. import _version
from ..edges import Edges
from ..errors import explain
from ..graph_input import to_edges
from ..mapped import mapped_file
from . import cache
from .contract import check_num_parts, fill_empty_parts, to_perm_and_ptr
from .kaminpar_backend import kaminpar_parts, kaminpar_version
from .label_propagation_backend import label_propagation_parts
from .ldg_backend import ldg_parts
from .metis_backend import metis_parts, metis_version
from .quality import quality_of
from .random_backend import random_parts
from .simple_graph import Ints, simplify


class _Backend(NamedTuple):
    title: str
    parts: Callable[..., Ints]
    version: Callable[[str], str]
    defaults: dict[str, Any] = {}
    streams: bool = False  # takes the folder of a mapped graph, to keep its own files there
    reads_edges: bool = True


def _own_version(who: str) -> str:
    return _version.__version__


_BACKENDS = {
    'metis': _Backend('METIS', metis_parts, metis_version, {'recursive': False}),
    'kaminpar': _Backend('KaMinPar', kaminpar_parts, kaminpar_version, {'num_threads': 1}),
    'lp': _Backend('label propagation', label_propagation_parts, _own_version),
    'ldg': _Backend('streamed LDG', ldg_parts, _own_version, {'clusters': True}, streams=True),
    'random': _Backend('a random partition', random_parts, _own_version, reads_edges=False),
}


def available_methods() -> list[str]:
    """Methods of :func:`partition` that run on this machine, best first."""
    wheels = {'metis': 'pymetis', 'kaminpar': 'kaminpar'}
    return [
        name
        for name in _BACKENDS
        if name not in wheels or importlib.util.find_spec(wheels[name]) is not None
    ]


def best_method(graph: Any) -> str:
    """What ``method='auto'`` is for a graph."""
    matrix = graph.get('adj_t') if isinstance(graph, Data) else graph
    is_csr = isinstance(matrix, Tensor) and matrix.layout == torch.sparse_csr
    mapped = is_csr and mapped_file(matrix.col_indices()) is not None
    return 'ldg' if mapped else available_methods()[0]


def partition(
    graph: Any,
    num_parts: int,
    method: str = 'auto',
    *,
    log: bool = True,
    num_nodes: int | None = None,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> tuple[Tensor, Tensor]:
    """Cut a graph into parts of about equal size with few edges between them.

    Direction, self-loops, duplicates and weights of edges play no role. The same arguments give
    the same result, on every call, wherever the graph lies.

    What they take in memory, for each of the two directions of an edge: METIS 97 bytes, KaMinPar
    33 and 8 on the disk, label propagation 105 (measured with 9 million of them), and
    before that all of them 16 for each edge, which are on the disk if the graph is. LDG takes
    nothing for edges of a mapped graph.

    Args:
        graph: :class:`~torch_geometric.data.Data`, ``edge_index`` ``(2, E)`` with
            ``num_nodes=``, ``EdgeIndex``, a square ``torch.sparse`` matrix or a
            ``SparseTensor`` (rows are targets).
        num_parts: Number of parts, ``1 <= num_parts <= N``. None of them stays empty.
        method: ``'metis'``, ``'kaminpar'``, ``'lp'`` (multilevel label propagation in numpy),
            ``'ldg'`` (in blocks, for graphs larger than memory), ``'random'``, or ``'auto'``:
            the first of these that is installed, but ``'ldg'`` for a graph that is mapped from
            a file.
        log: Print one line with the time it took and the partition's quality.
        num_nodes: Number of nodes ``N``, needed for a plain ``edge_index``.
        seed: Seed of the partitioner.
        cache_dir: Folder to look the result up in, and to leave it in. A file is found by a hash
            of the graph's edges, the settings and the partitioner's version; one that is
            damaged is built anew.
        **options: ``recursive`` for METIS, ``num_threads`` for KaMinPar, see :func:`metis` and
            :func:`kaminpar`, ``clusters`` for LDG, see :func:`ldg`; left aside where ``'auto'``
            picks another partitioner.

    Returns:
        ``perm`` ``(N,)`` and ``ptr`` ``(num_parts + 1,)``, int64 on the CPU: the nodes of part
        ``p`` are ``perm[ptr[p]:ptr[p + 1]]``, in ascending order.

    Raises:
        TypeError: If ``graph`` is of an unknown kind, ``num_parts`` or ``seed`` no integer, or
            an option unknown.
        ValueError: If the graph is empty, ids are out of range, there are more parts than nodes,
            or the method is unknown.
        ImportError: If the wheel of the chosen method is not installed.
    """
    if method == 'auto':
        method = best_method(graph)
        of_others = {name for backend in _BACKENDS.values() for name in backend.defaults}
        of_others -= _BACKENDS[method].defaults.keys()
        options = {name: value for name, value in options.items() if name not in of_others}
    if method not in _BACKENDS:
        raise ValueError(
            explain(
                'partition',
                f"'method' must be one of {['auto', *_BACKENDS]}",
                repr(method),
                "Pass 'auto' to take the best one installed.",
            )
        )
    return _run('partition', graph, num_parts, method, log, num_nodes, seed, cache_dir, options)


def metis(
    graph: Any,
    num_parts: int,
    recursive: bool = False,
    log: bool = True,
    num_nodes: int | None = None,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """Partition with METIS: :func:`partition` with ``method='metis'``.

    Args:
        graph: The graph, see :func:`partition`.
        num_parts: Number of parts.
        recursive: Bisect recursively instead of cutting into all parts at once: slower, often
            better for few parts.
        log: Print one line with the time it took and the partition's quality.
        num_nodes: Number of nodes, needed for a plain ``edge_index``.
        seed: Seed of METIS.
        cache_dir: Folder that keeps results.

    Returns:
        ``perm`` ``(N,)`` and ``ptr`` ``(num_parts + 1,)``.

    Raises:
        ImportError: If ``pymetis`` is not installed.
        TypeError, ValueError: As :func:`partition`.
    """
    options = {'recursive': bool(recursive)}
    return _run('metis', graph, num_parts, 'metis', log, num_nodes, seed, cache_dir, options)


def kaminpar(
    graph: Any,
    num_parts: int,
    log: bool = True,
    num_nodes: int | None = None,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
    num_threads: int = 1,
) -> tuple[Tensor, Tensor]:
    """Partition with KaMinPar, its fast setting: :func:`partition` with ``method='kaminpar'``.

    Args:
        graph: The graph, see :func:`partition`.
        num_parts: Number of parts.
        log: Print one line with the time it took and the partition's quality.
        num_nodes: Number of nodes, needed for a plain ``edge_index``.
        seed: Seed of KaMinPar.
        cache_dir: Folder that keeps results.
        num_threads: More than one is faster, but the result then differs from call to call.

    Returns:
        ``perm`` ``(N,)`` and ``ptr`` ``(num_parts + 1,)``.

    Raises:
        ImportError: If ``kaminpar`` is not installed.
        TypeError, ValueError: As :func:`partition`.
    """
    options = {'num_threads': num_threads}
    return _run('kaminpar', graph, num_parts, 'kaminpar', log, num_nodes, seed, cache_dir, options)


def label_propagation(
    graph: Any,
    num_parts: int,
    log: bool = True,
    num_nodes: int | None = None,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """Partition by multilevel label propagation: :func:`partition` with ``method='lp'``.

    Needs numpy alone, for platforms that have neither wheel. Clusters are grown by
    size-constrained label propagation (Meyerhenke, Sanders and Schulz, SEA 2014), placed by
    greedy growing (Karypis and Kumar, SIAM J. Sci. Comput. 1998) and refined by label propagation
    with re-valued moves (Gilbert et al., "Jet", SIAM J. Sci. Comput. 2024). No part gets more
    than 5% above the mean. Arguments and result are those of :func:`partition`.
    """
    return _run('label_propagation', graph, num_parts, 'lp', log, num_nodes, seed, cache_dir, {})


def ldg(
    graph: Any,
    num_parts: int,
    log: bool = True,
    num_nodes: int | None = None,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
    clusters: bool = True,
) -> tuple[Tensor, Tensor]:
    """Partition in blocks of nodes: :func:`partition` with ``method='ldg'``.

    For graphs larger than memory: of a mapped one, some 70 bytes per node and 100 MB are kept
    there, everything else in files. Clusters are grown by label propagation with labels alone in
    memory (Akhremtsev, Sanders and Schulz, ALENEX 2015), placed by linear deterministic greedy
    (Stanton and Kliot, KDD 2012), restreamed (Nishimura and Ugander, KDD 2013), and refined by
    label propagation. All nodes of a block are decided on at once, where the papers decide one
    after the other. No part gets more than 5% above the mean (rounded up).

    Args:
        graph, num_parts, log, num_nodes, seed, cache_dir: As in :func:`partition`.
        clusters: ``False``: restreamed LDG of single nodes, as in the papers. It cuts more.

    Returns:
        ``perm`` ``(N,)`` and ``ptr`` ``(num_parts + 1,)``.
    """
    options = {'clusters': bool(clusters)}
    return _run('ldg', graph, num_parts, 'ldg', log, num_nodes, seed, cache_dir, options)


def random_partition(
    graph: Any,
    num_parts: int,
    log: bool = True,
    num_nodes: int | None = None,
    seed: int = 0,
    cache_dir: str | os.PathLike[str] | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw parts by chance, sizes equal up to one: :func:`partition` with ``method='random'``.

    Arguments and result are those of :func:`partition`.
    """
    return _run('random_partition', graph, num_parts, 'random', log, num_nodes, seed, cache_dir, {})


def _run(
    who: str,
    graph: Any,
    num_parts: Any,
    method: str,
    log: bool,
    num_nodes: int | None,
    seed: Any,
    cache_dir: str | os.PathLike[str] | None,
    options: dict[str, Any],
) -> tuple[Tensor, Tensor]:
    backend = _BACKENDS[method]
    unknown = sorted(options.keys() - backend.defaults.keys())
    if unknown:
        raise TypeError(
            explain(
                who,
                f'{backend.title} takes the options {sorted(backend.defaults)}',
                unknown,
                'Leave the others out.',
            )
        )
    options = {**backend.defaults, **options}
    num_threads = options.get('num_threads', 1)
    if type(num_threads) is not int or num_threads < 1:
        raise ValueError(
            explain(
                who,
                "'num_threads' must be a positive integer",
                repr(num_threads),
                'Pass 1 for the same result on every call.',
            )
        )
    edges = to_edges(graph, num_nodes, who)
    num_parts = check_num_parts(num_parts, edges.num_nodes, who)
    seed = _check_seed(seed, who)
    folder = None if cache_dir is None else cache.cache_path(cache_dir, who)
    version = backend.version(who)

    started = time.perf_counter()
    if log:
        text = f'Partitioning {edges.num_nodes:,} nodes into {num_parts:,} parts'
        print(f'{text} with {backend.title}...', end=' ', flush=True)
    try:
        found, key, how = None, '', ''
        if folder is not None:
            settings = {
                'method': method,
                'num_parts': num_parts,
                'seed': seed,
                'version': version,
                'options': options,
            }
            key = cache.cache_key(edges, settings)
            try:
                found = cache.load(folder, key, edges.num_nodes, num_parts)
                how = ' (from cache)' if found else ''
            except cache.CorruptCacheError as error:
                how = f' (rebuilt: cache file {error} was damaged)'
        if found is None:
            found = _compute(backend, edges, num_parts, seed, options)
            if folder is not None:
                try:
                    cache.save(folder, key, *found)
                except OSError as error:
                    how += f' (not cached: {error})'
        perm, ptr = found
        seconds = time.perf_counter() - started
    except BaseException:
        if log:
            print('failed')
        raise
    if log:
        print(f'{seconds:.1f} s{how}: {quality_of(edges, perm, ptr)}')
    return perm, ptr


def _compute(
    backend: _Backend, edges: Edges, num_parts: int, seed: int, options: dict[str, Any]
) -> tuple[Tensor, Tensor]:
    if num_parts == 1:
        part = np.zeros(edges.num_nodes, dtype=np.int64)
    elif num_parts == edges.num_nodes:
        part = np.arange(num_parts)
    elif not backend.reads_edges:
        part = backend.parts(edges, num_parts, seed, **options)
    else:
        folder = edges.folder
        extra = {'folder': folder} if backend.streams else {}
        part = backend.parts(simplify(edges, folder), num_parts, seed, **options, **extra)
    return to_perm_and_ptr(fill_empty_parts(part, num_parts), num_parts)


def _check_seed(seed: Any, who: str) -> int:
    try:
        value = operator.index(seed)
    except TypeError:
        value = -1
    if value < 0 or value >= 2**31:
        raise ValueError(
            explain(who, "'seed' must be an integer in [0, 2**31)", repr(seed), 'Pass e.g. 0.')
        )
    return value
