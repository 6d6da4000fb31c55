"""The permuted copy of a graph folder that a job trains on, and where it is found again."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from .. import _version
from ..errors import explain
from ..graph_folder import GraphFolder, is_graph_folder
from ..graph_folder.header import NAME, file_of
from ..mapped import mapped_file
from ..partition import PartitionQuality, best_method, partition, partition_quality
from ..partition.reorder import permute_to_folder
from ..progress import phase

GIVEN = 'given'  # the method, where the graph folder came with its partition


class CutGraph:
    """A graph in the order of its partition, mapped.

    Attributes:
        data: The graph.
        perm: ``(N,)``; row ``i`` of ``data`` is node ``perm[i]`` of the user's graph.
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        quality: Of the partition.
        method: What made it, ``'given'`` if it came with the graph.
    """

    def __init__(
        self, data: Data, perm: Tensor, ptr: Tensor, quality: PartitionQuality, method: str
    ) -> None:
        self.data, self.perm, self.ptr = data, perm, ptr
        self.quality, self.method = quality, method


def folder_of(data: Data) -> Path | None:
    """The graph folder that a graph is mapped from, if it is."""
    adj_t = data.get('adj_t')
    if not isinstance(adj_t, Tensor) or adj_t.layout != torch.sparse_csr:
        return None
    file = mapped_file(adj_t.col_indices())
    return None if file is None or not is_graph_folder(file.parent) else file.parent


def cut_graph(
    source: Path,
    data: Data,
    num_parts: int | str,
    settings: Mapping[str, Any],
    seed: int,
    log: bool,
) -> CutGraph:
    """Partition a mapped graph and write it in the new order, or find what was written before.

    The copy is kept in ``settings['cache']``, or inside the graph folder. Its name is a hash of
    all that it was made from: settings, and names, sizes and times of the graph's files. A
    folder that holds ``ptr`` already is taken as it is.

    Args:
        source: The graph folder.
        data: The graph in it.
        num_parts: Number of parts; ``'auto'`` only if the folder tells.
        settings: ``partition`` and ``cache``.
        seed: Of the partitioner.
        log: Print what is done.

    Raises:
        OSError: The copy cannot be written.
    """
    folder = GraphFolder(source)
    if 'ptr' in folder and num_parts in ('auto', len(folder['ptr']) - 1):
        return _as_it_is(folder, data)
    num_parts = parts_of(num_parts, folder.num_nodes)
    method = settings['partition']
    method = best_method(data) if method == 'auto' else method
    about = {
        'graph': _identity(folder), 'method': method, 'num_parts': num_parts, 'seed': seed,
        'version': _version.__version__,
    }  # fmt: skip
    place = _place(source, settings['cache'], about)
    found = _open(place, about, log)
    if found is not None:
        return found
    perm, ptr = partition(data, num_parts, method, seed=seed, log=log)
    with phase('Measuring the cut'):
        quality = partition_quality(data, perm, ptr)
    return _write(place, data, perm, ptr, quality, about, log)


def recut_graph(
    source: Path, data: Data, perm: Tensor, ptr: Tensor, settings: Mapping[str, Any], seed: int
) -> CutGraph:
    """The graph in the order that a job was trained in, found or written anew."""
    folder = GraphFolder(source)
    if 'ptr' in folder and torch.equal(perm, torch.arange(perm.numel())):
        given = _as_it_is(folder, data)
        if torch.equal(given.ptr, ptr):
            return given
    method = settings['partition']
    method = best_method(data) if method == 'auto' else method
    about = {
        'graph': _identity(folder), 'method': method, 'num_parts': ptr.numel() - 1, 'seed': seed,
        'version': _version.__version__,
    }  # fmt: skip
    found = _open(_place(source, settings['cache'], about), about, log=False)
    if found is not None and torch.equal(found.perm, perm) and torch.equal(found.ptr, ptr):
        return found
    about = {**about, 'perm': hashlib.sha256(perm.numpy().data).hexdigest()}
    place = _place(source, settings['cache'], about)
    found = _open(place, about, log=False)
    if found is not None:
        return found
    quality = partition_quality(data, perm, ptr)
    return _write(place, data, perm, ptr, quality, about, log=False)


def parts_of(num_parts: int | str, num_nodes: int) -> int:
    """``num_parts``; ``'auto'``: about 2,000 nodes each, eight at least."""
    if num_parts == 'auto':
        return max(1, min(num_nodes, max(8, round(num_nodes / NODES_PER_PART))))
    if isinstance(num_parts, bool) or not isinstance(num_parts, int) or num_parts < 1:
        raise ValueError(
            explain('pygas', "'num_parts' must be auto or a whole number from 1 on",
                    repr(num_parts), 'Pass such a number.')
        )  # fmt: skip
    return num_parts


NODES_PER_PART = 2000


def _identity(folder: GraphFolder) -> str:
    """What changes when a file of a graph folder does; nothing is read for it."""
    files = []
    for path in [folder.path / NAME, *(folder.path / file_of(name) for name in folder)]:
        state = path.stat()
        files.append([path.name, state.st_size, state.st_mtime_ns])
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _place(source: Path, cache: str | os.PathLike[str] | None, about: dict[str, Any]) -> Path:
    key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    if cache is None:
        if not os.access(source, os.W_OK):
            raise PermissionError(
                explain('pygas', 'a mapped graph is copied in the order of its partition',
                        f"'{source}', which must not be written to",
                        'Name a folder for the copy: cache=FOLDER.')
            )  # fmt: skip
        return source / f'cut-{key}'
    Path(cache).expanduser().mkdir(parents=True, exist_ok=True)
    return Path(cache).expanduser() / f'cut-{key}'


def _open(place: Path, about: dict[str, Any], log: bool) -> CutGraph | None:
    """What lies at a place, if it is whole and what it should be."""
    if not is_graph_folder(place):
        return None
    try:
        folder = GraphFolder(place)
        kept = json.loads(folder.metadata['cut'])
        quality = PartitionQuality(**kept.pop('quality'))
    except (ValueError, KeyError, TypeError, OSError) as error:
        if log:
            print(f"The copy of the graph in '{place}' is damaged and made anew: {error}")
        return None
    if kept != about:
        return None
    if log:
        print(f"Graph in the order of its partition: '{place}': {quality}")
    return CutGraph(
        folder.to_data(), _in_memory(folder['perm']), _in_memory(folder['ptr']), quality,
        about['method'],
    )  # fmt: skip


def _write(
    place: Path,
    data: Data,
    perm: Tensor,
    ptr: Tensor,
    quality: PartitionQuality,
    about: dict[str, Any],
    log: bool,
) -> CutGraph:
    metadata = {'cut': json.dumps({**about, 'quality': asdict(quality)})}
    with phase('Sorting the graph by part'):
        permute_to_folder(data, perm, place, {'perm': perm, 'ptr': ptr}, metadata)
    if log:
        print(f"Written in the order of its partition, to be found the next time: '{place}'")
    return CutGraph(GraphFolder(place).to_data(), perm, ptr, quality, about['method'])


def _as_it_is(folder: GraphFolder, data: Data) -> CutGraph:
    ptr, perm = _in_memory(folder['ptr']), torch.arange(folder.num_nodes)
    with phase('Measuring the cut'):
        quality = partition_quality(data, perm, ptr)
    return CutGraph(data, perm, ptr, quality, GIVEN)


def _in_memory(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(array, dtype=np.int64))
