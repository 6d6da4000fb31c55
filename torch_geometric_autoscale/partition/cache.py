"""Partitions on disk, found again by what they were made from."""

import hashlib
import json
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..edges import Edges
from ..errors import explain
from .contract import check_perm, check_ptr

_FORMAT = 1  # raise it when partitioners or the file change their meaning
_BROKEN = (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class CorruptCacheError(Exception):
    """A cache file that is truncated, altered or of another make."""


def cache_path(cache_dir: str | os.PathLike[str], who: str) -> Path:
    """Return ``cache_dir`` as a path, or raise where it cannot be a directory."""
    path = Path(cache_dir).expanduser()
    if path.exists() and not path.is_dir():
        raise ValueError(
            explain(who, "'cache_dir' must be a directory", path, 'Pass another path.')
        )
    return path


def cache_key(edges: Edges, settings: dict[str, Any]) -> str:
    """Hash of the graph's structure, in stored order, and of the settings; weights play no role."""
    digest = hashlib.sha256()
    described = {'format': _FORMAT, 'num_nodes': edges.num_nodes, **settings}
    digest.update(json.dumps(described, sort_keys=True).encode())
    for side in (0, 1):  # all sources, then all targets
        for ends in edges.pieces():
            digest.update(ends[side].long().contiguous().numpy().data)
    return digest.hexdigest()


def save(folder: Path, key: str, perm: Tensor, ptr: Tensor) -> None:
    """Write a partition so that a reader sees the whole file or none."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=folder, prefix=f'.{key[:16]}-', suffix='.tmp')
    try:
        with os.fdopen(handle, 'wb') as file:
            np.savez(file, perm=perm.numpy(), ptr=ptr.numpy(), checksum=_checksum(key, perm, ptr))
        os.replace(name, _file(folder, key))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(folder: Path, key: str, num_nodes: int, num_parts: int) -> tuple[Tensor, Tensor] | None:
    """Read a partition back.

    Returns:
        ``perm, ptr``, or :obj:`None` if there is no file.

    Raises:
        CorruptCacheError: If there is one that does not hold what was written.
    """
    path = _file(folder, key)
    if not path.exists():
        return None
    try:
        with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:
            perm = check_perm(torch.from_numpy(arrays['perm']), num_nodes, 'cache')
            ptr = check_ptr(torch.from_numpy(arrays['ptr']), num_nodes, 'cache')
            checksum = arrays['checksum']
    except _BROKEN as error:
        raise CorruptCacheError(str(path)) from error
    if not np.array_equal(checksum, _checksum(key, perm, ptr)) or ptr.numel() != num_parts + 1:
        raise CorruptCacheError(str(path))
    return perm, ptr


def _file(folder: Path, key: str) -> Path:
    return folder / f'partition-{key[:32]}.npz'


def _checksum(key: str, perm: Tensor, ptr: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    digest = hashlib.sha256(key.encode())
    digest.update(perm.numpy().data)
    digest.update(ptr.numpy().data)
    return np.frombuffer(digest.digest(), dtype=np.uint8)
