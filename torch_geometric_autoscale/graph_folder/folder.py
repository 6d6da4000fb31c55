"""``GraphFolder``: a graph on a disk, its arrays mapped and never read as a whole."""

import warnings
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from ..errors import explain
from .arrays import check_file, map_array
from .header import NAME, Header, file_of, read_header


class GraphFolder:
    """A graph in a folder of plain ``.npy`` files, as :class:`GraphWriter` writes it.

    Opening checks the header and the size of every file against it, and reads nothing else: the
    arrays are mapped when they are first asked for, read-only. Their pages are clean memory that
    the system takes back when it needs it.

    ``folder['x']`` is a ``numpy.memmap``, ``folder.tensor('x')`` the same as a tensor, and
    ``folder.to_data()`` the whole graph.

    Args:
        path: The folder.

    Raises:
        FileNotFoundError: There is no such folder, it is no graph folder, or lacks a file.
        ValueError: A later version wrote it, the header is damaged or contradicts itself, a file
            is cut short, too long, or holds something else than the header says.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._who = f"GraphFolder('{self.path.name}')"
        self.header: Header = read_header(self.path, self._who)
        for name, info in self.header.arrays.items():
            check_file(self.path, name, info, self._who)
        self._mapped: dict[str, np.memmap] = {}
        ends = [int(self['rowptr'][0]), int(self['rowptr'][-1])]
        if ends != [0, self.num_edges]:
            raise ValueError(
                explain(self._who, f"'rowptr' must rise from 0 to {self.num_edges:,} edges",
                        f'{ends[0]:,} to {ends[1]:,}', 'Make the folder anew.')
            )  # fmt: skip

    @classmethod
    def open(cls, path: str | PathLike[str]) -> 'GraphFolder':
        """The same as ``GraphFolder(path)``."""
        return cls(path)

    @property
    def num_nodes(self) -> int:
        return self.header.num_nodes

    @property
    def num_edges(self) -> int:
        return self.header.num_edges

    @property
    def num_classes(self) -> int | None:
        """Classes, or labels where a node has several; ``None`` for a graph without ``y``."""
        return self.header.num_classes

    @property
    def metadata(self) -> dict[str, str]:
        """What the folder's maker wanted to be known."""
        return dict(self.header.metadata)

    @property
    def num_bytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(info.num_bytes for info in self.header.arrays.values())

    def names(self, level: str | None = None) -> list[str]:
        """Names of the arrays, of one level (``'node'``, ``'edge'``, ...) or of all."""
        arrays = self.header.arrays.items()
        return [name for name, info in arrays if level in (None, info.level)]

    def level(self, name: str) -> str:
        """What the rows of an array belong to."""
        self._check_name(name)
        return self.header.arrays[name].level

    def __contains__(self, name: object) -> bool:
        return name in self.header.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.header.arrays)

    def __getitem__(self, name: str) -> np.memmap:
        self._check_name(name)
        if name not in self._mapped:
            path = self.path / file_of(name)
            self._mapped[name] = map_array(path, self.header.arrays[name])
        return self._mapped[name]

    def tensor(self, name: str) -> Tensor:
        """An array as a tensor over the mapped file. It must not be written to.

        Raises:
            ValueError: There is no such array.
            TypeError: It holds texts.
        """
        if name in self and self.header.arrays[name].is_text:
            raise TypeError(
                explain(self._who, 'only numbers can be a tensor', f"'{name}', which holds texts",
                        f"Use folder['{name}'].")
            )  # fmt: skip
        return as_tensor(self[name])

    def adj_t(self) -> Tensor:
        """The structure as a ``torch.sparse_csr`` tensor (N, N); rows are targets.

        Its values are ``edge_weight``; without one, a single 1 expanded to all edges.
        """
        if 'edge_weight' in self:
            values = self.tensor('edge_weight')
        else:
            values = torch.ones(1).expand(self.num_edges)
        size = (self.num_nodes, self.num_nodes)
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', 'Sparse CSR tensor support', UserWarning)
            return torch.sparse_csr_tensor(
                self.tensor('rowptr'), self.tensor('col'), values, size, check_invariants=False
            )

    def to_data(self) -> Data:
        """The graph as a ``Data`` whose tensors are the mapped files.

        Returns:
            ``Data`` with ``adj_t`` (see :meth:`adj_t`), ``num_nodes``, and every array of level
            ``'node'`` and ``'edge'`` but texts. Edge-level ones are in the order of ``adj_t``.
        """
        data = Data(adj_t=self.adj_t(), num_nodes=self.num_nodes)
        for name, info in self.header.arrays.items():
            if info.level in ('node', 'edge') and name != 'edge_weight' and not info.is_text:
                data[name] = self.tensor(name)
        return data

    def validate(self, chunk: int = 2**22) -> None:
        """Read the whole structure, in chunks of entries, and check that it is a graph.

        Raises:
            ValueError: ``rowptr`` falls, or ``col`` holds an id outside ``[0, num_nodes)``.
        """
        rowptr, col = self['rowptr'], self['col']
        for start in range(0, self.num_nodes, chunk):
            falls = np.flatnonzero(np.diff(rowptr[start : start + chunk + 1]) < 0)
            if falls.size:
                raise ValueError(
                    explain(self._who, "'rowptr' must not fall", f'node {start + falls[0]:,}',
                            'Make the folder anew.')
                )  # fmt: skip
        for start in range(0, self.num_edges, chunk):
            ids = col[start : start + chunk]
            wrong = np.flatnonzero((ids < 0) | (ids >= self.num_nodes))
            if wrong.size:
                raise ValueError(
                    explain(self._who, f"'col' must lie in [0, {self.num_nodes:,})",
                            f'{ids[wrong[0]]:,} at edge {start + wrong[0]:,}',
                            'Make the folder anew.')
                )  # fmt: skip

    def _check_name(self, name: str) -> None:
        if name not in self.header.arrays:
            raise ValueError(
                explain(self._who, f"the array must be one of {', '.join(self.header.arrays)}",
                        repr(name), 'Check the spelling.')
            )  # fmt: skip

    def __reduce__(self) -> Any:
        return type(self), (self.path,)  # another process maps the files itself

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}('{self.path}', num_nodes={self.num_nodes}, "
            f'num_edges={self.num_edges}, arrays=[{", ".join(self.header.arrays)}])'
        )


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor over the memory of an array that may be read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'The given NumPy array is not writable', UserWarning)
        return torch.from_numpy(array)


def is_graph_folder(path: str | PathLike[str]) -> bool:
    """Whether a path looks like a graph folder; opening it says whether it is one."""
    return (Path(path) / NAME).is_file()


def load_graph(path: str | PathLike[str]) -> Data:
    """Open a graph folder as a ``Data`` over the mapped files; nothing is read into memory.

    Raises:
        FileNotFoundError, ValueError: See :class:`GraphFolder`.
    """
    return GraphFolder(path).to_data()
