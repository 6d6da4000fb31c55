"""``GraphWriter``: a graph folder, array by array, that stands under its name once it is whole."""

import errno
import os
import shutil
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from torch import Tensor

from ..errors import explain
from ..files import explained, write_json
from .arrays import check_file, make_array, map_array, shorten_array
from .header import NAME, ArrayInfo, Header, check_array, check_header, file_of, index_dtype
from .part import PartFolder

CHUNK = 2**24  # bytes that are copied at once


class GraphWriter:
    """Writes a graph folder as ``<path>.part`` and renames it when it is whole.

    .. code-block:: python

        with GraphWriter('graph', num_nodes, num_edges) as writer:
            rowptr, col = writer.add_structure()      # mapped files, to be filled in any order
            x = writer.add('x', (num_nodes, 64), 'float32', 'node')
            ...
            writer.write('y', labels, 'node')         # or copied in chunks

    When the block ends, the files are synced, checked and renamed. When it ends with an exception,
    the part folder is removed, or kept if ``keep_part``, for a later ``resume=True``.

    Args:
        path: The folder to make.
        num_nodes: Number of nodes ``N``. ``None``: it is set later, as ``writer.num_nodes``, but
            before an array is added.
        num_edges: Number of edges ``E``, which may be set later too, but before anything of level
            ``'edge'`` or ``'structure'`` is added.
        metadata: Texts to keep in the header.
        overwrite: Whether a graph folder at ``path`` may be replaced.
        resume: Keep the arrays that an earlier writer left in the part folder: :meth:`add` gives
            them as they are, if type and shape are the same.
        keep_part: Keep the part folder if this writer does not come to its end.
        who: The public call on whose behalf errors speak.

    Raises:
        FileExistsError: ``path`` exists and must not be replaced, or is no graph folder.
        BlockingIOError: Another process is writing this folder.
        OSError: The place cannot be written to.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        num_nodes: int | None,
        num_edges: int | None = None,
        *,
        metadata: Mapping[str, str] | None = None,
        overwrite: bool = False,
        resume: bool = False,
        keep_part: bool = False,
        who: str = 'GraphWriter',
    ) -> None:
        self.path = Path(path)
        self.num_nodes, self.num_edges = num_nodes, num_edges
        self.metadata = dict(metadata or {})
        self._overwrite, self._keep_part, self._who = overwrite, keep_part, who
        self._arrays: dict[str, tuple[ArrayInfo, np.memmap]] = {}
        check_target(self.path, overwrite, who)
        self._part = PartFolder(self.path, resume, who)

    @property
    def part(self) -> Path:
        """The folder that is written to."""
        return self._part.path

    # Arrays ######################################################################

    def reserve(self, num_bytes: int) -> None:
        """Raise an :class:`OSError` unless the disk has this much room left."""
        free = shutil.disk_usage(self.part).free
        if free < num_bytes:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise explained(
                full, self._who,
                f'the disk must have {num_bytes:,} bytes free, and has {free:,}', self.part,
            )  # fmt: skip

    def add(self, name: str, shape: tuple[int, ...], dtype: Any, level: str) -> np.memmap:
        """Make an array and return it, mapped, to be filled. It is zero until then.

        Args:
            name: A word; not yet used.
            shape: Its first size is N for level ``'node'``, E for ``'edge'``.
            dtype: What NumPy takes as one; of ``bool``, integers, floats, or bytes ``S<n>``.
            level: ``'node'``, ``'edge'``, ``'graph'``, or ``'structure'`` (``rowptr``, ``col``).

        Raises:
            ValueError: The name is taken, or type or shape do not fit the level.
            OSError: The disk has not enough room.
        """
        info = ArrayInfo(_name_of(dtype), tuple(int(size) for size in shape), level)
        if name in self._arrays:
            raise ValueError(
                explain(self._who, 'every array must have a name of its own',
                        f"'{name}' a second time", 'Rename one of them.')
            )  # fmt: skip
        check_array(name, info, self._nodes(), self._edges(level), self._who)
        self._arrays[name] = (info, self._make(name, info))
        return self._arrays[name][1]

    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.memmap:
        """Make an array that will not be part of the folder; else as :meth:`add`."""
        info = ArrayInfo(_name_of(dtype), shape, 'graph')
        return self._make(f'{name}.scratch', info)

    def drop_scratch(self, *names: str) -> None:
        """Remove arrays that :meth:`scratch` has made."""
        for name in names:
            (self.part / file_of(f'{name}.scratch')).unlink(missing_ok=True)

    def add_structure(self) -> tuple[np.memmap, np.memmap]:
        """Make ``rowptr`` (N + 1,) and ``col`` (E,), of :func:`index_dtype`."""
        num_nodes, num_edges = self._nodes(), self._edges('structure')
        dtype = index_dtype(num_nodes, num_edges)
        return (
            self.add('rowptr', (num_nodes + 1,), dtype, 'structure'),
            self.add('col', (num_edges,), dtype, 'structure'),
        )

    def write(self, name: str, values: np.ndarray | Tensor, level: str) -> None:
        """Make an array and copy ``values`` into it, in chunks of rows."""
        rows = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        mapped = self.add(name, rows.shape, rows.dtype, level)
        step = max(1, CHUNK // max(1, rows[:1].nbytes))
        for start in range(0, len(rows), step):
            mapped[start : start + step] = rows[start : start + step]

    def shorten(self, num_edges: int) -> None:
        """Cut ``col`` and everything of level ``'edge'`` to the first ``num_edges`` rows."""
        self.num_edges = num_edges
        for name, (info, mapped) in list(self._arrays.items()):
            if info.level == 'edge' or name == 'col':
                mapped.flush()
                del mapped
                shorter = ArrayInfo(info.dtype, (num_edges, *info.shape[1:]), info.level)
                shorten_array(self.part / file_of(name), shorter)
                self._arrays[name] = (shorter, map_array(self.part / file_of(name), shorter, 'r+'))

    def __getitem__(self, name: str) -> np.memmap:
        return self._arrays[name][1]

    def __contains__(self, name: object) -> bool:
        return name in self._arrays

    def flush(self) -> None:
        """Have everything written so far reach the disk."""
        for _, mapped in self._arrays.values():
            mapped.flush()

    def _nodes(self) -> int:
        if self.num_nodes is None:
            raise ValueError(
                explain(self._who, "'num_nodes' must be known before an array is added", None,
                        "Set 'writer.num_nodes'.")
            )  # fmt: skip
        return self.num_nodes

    def _edges(self, level: str) -> int:
        if self.num_edges is None and level in ('structure', 'edge'):
            raise ValueError(
                explain(self._who, "'num_edges' must be known before edges are added", None,
                        "Set 'writer.num_edges'.")
            )  # fmt: skip
        return self.num_edges or 0

    def _make(self, name: str, info: ArrayInfo) -> np.memmap:
        """The array as an earlier writer left it, where there is one like it, or a new one."""
        path = self.part / file_of(name)
        if path.exists():
            try:
                check_file(self.part, name, info, self._who)
                return map_array(path, info, 'r+')
            except ValueError:
                path.unlink()
        return make_array(path, info, self._who)

    # End #########################################################################

    def __enter__(self) -> 'GraphWriter':
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            try:
                self.finish()
            except BaseException:
                self.abandon()
                raise
        else:
            self.abandon()

    def abandon(self, keep_part: bool | None = None) -> None:
        """End without a folder: remove what was written, or keep it, as asked here or before."""
        self._arrays.clear()
        self._part.leave(self._keep_part if keep_part is None else keep_part)

    def finish(self) -> None:
        """Check, sync and rename."""
        if 'y' in self and self._arrays['y'][0].level == 'node':
            num_classes = count_classes(self['y'])
        else:
            num_classes = None
        arrays = {name: info for name, (info, _) in self._arrays.items()}
        header = Header(self._nodes(), self.num_edges or 0, num_classes, self.metadata, arrays)
        check_header(header, self._who)
        _check_rowptr(self['rowptr'], header.num_edges, self._who)
        self.flush()
        self._arrays.clear()
        write_json(self.part / NAME, header.to_json())
        self._part.publish(self._overwrite, {NAME, *map(file_of, arrays)})


def check_target(path: Path, overwrite: bool, who: str) -> None:
    """Raise unless a folder may be made at ``path``."""
    if path.exists() or path.is_symlink():
        if not overwrite:
            raise FileExistsError(
                explain(who, 'the target must be a new folder', f"'{path}', which exists",
                        "Name another one, or allow it with 'overwrite'.")
            )  # fmt: skip
        if not (path / NAME).is_file():
            raise FileExistsError(
                explain(who, 'only a graph folder may be overwritten', f"'{path}'",
                        'Name another one.')
            )  # fmt: skip
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            explain(who, 'the folder of the target must exist', f"'{path.absolute().parent}'",
                    'Make it.')
        )  # fmt: skip


def count_classes(y: np.ndarray, chunk: int = 2**22) -> int | None:
    """The number of classes (N,) or labels (N, C), read in chunks; ``None`` for other targets."""
    if y.ndim == 2:
        return y.shape[1]
    if y.ndim != 1 or y.dtype.kind not in 'iu':
        return None
    tops = [int(y[start : start + chunk].max()) for start in range(0, len(y), chunk)]
    return max(tops, default=-1) + 1


def _check_rowptr(rowptr: np.ndarray, num_edges: int, who: str) -> None:
    if (int(rowptr[0]), int(rowptr[-1])) != (0, num_edges):
        raise ValueError(
            explain(who, f"'rowptr' must rise from 0 to {num_edges:,} edges",
                    f'{int(rowptr[0]):,} to {int(rowptr[-1]):,}',
                    'Fill what add_structure gave before the end.')
        )  # fmt: skip


def _name_of(dtype: Any) -> str:
    """The header's name of a type."""
    dtype = np.dtype(dtype)
    return f'S{dtype.itemsize}' if dtype.kind == 'S' else dtype.name
