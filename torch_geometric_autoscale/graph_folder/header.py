"""``graph.json``: what a graph folder says about itself, and whether that can be true.

Only this file is trusted, and it is checked: it names every array with type, shape and level, and
whatever lies in the folder beside that is ignored.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import explain

NAME = 'graph.json'
FORMAT = 'graph folder of torch-geometric-autoscale'
VERSION = 1
LEVELS = ('structure', 'node', 'edge', 'graph')
STRUCTURE = ('rowptr', 'col')
DTYPES = (
    'bool', 'uint8', 'int8', 'int16', 'int32', 'int64', 'float16', 'float32', 'float64',
)  # fmt: skip
_TEXT = re.compile(r'S[1-9][0-9]*')
_WORD = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')


@dataclass(frozen=True)
class ArrayInfo:
    """What the header says of one array.

    Attributes:
        dtype: NumPy's name of a type in ``DTYPES``, or ``S<n>``: texts of at most ``n`` bytes.
        shape: As NumPy has it.
        level: ``'structure'`` (``rowptr`` and ``col``), ``'node'`` (a row per node), ``'edge'`` (a
            row per edge, in the order of ``col``) or ``'graph'`` (anything else).
    """

    dtype: str
    shape: tuple[int, ...]
    level: str

    @property
    def num_bytes(self) -> int:
        """Bytes of the array alone."""
        return int(np.prod(self.shape, dtype=object)) * np.dtype(self.dtype).itemsize

    @property
    def is_text(self) -> bool:
        return _TEXT.fullmatch(self.dtype) is not None


@dataclass
class Header:
    """The content of ``graph.json``.

    Attributes:
        num_nodes, num_edges: Size of the graph.
        num_classes: Classes or labels in ``y``, where there is one.
        metadata: What its maker wanted to be known, as texts.
        arrays: Every array by name.
    """

    num_nodes: int
    num_edges: int
    num_classes: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, ArrayInfo] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        arrays = {
            name: {'file': file_of(name), **asdict(info)} for name, info in self.arrays.items()
        }
        return {'format': FORMAT, 'version': VERSION, **asdict(self), 'arrays': arrays}


def file_of(name: str) -> str:
    """The file that holds the array of a name."""
    return f'{name}.npy'


def index_dtype(num_nodes: int, num_edges: int) -> np.dtype:
    """The type of ``rowptr`` and ``col``: int32 below 2^31 nodes and edges."""
    return np.dtype(np.int32 if max(num_nodes, num_edges) < 2**31 else np.int64)


def read_header(folder: Path, who: str) -> Header:
    """Read and check ``graph.json``.

    Raises:
        FileNotFoundError: There is no such folder, or it is none of ours.
        ValueError: A later version wrote it, or it is damaged, or contradicts itself.
    """
    if not folder.is_dir():
        part = folder.with_name(f'{folder.name}.part')
        begun = f"'{part.name}' beside it is one that was not finished. " if part.is_dir() else ''
        raise FileNotFoundError(
            explain(who, 'the graph folder must exist', f"'{folder}'",
                    f'{begun}Check the spelling, or make it with \'pygas convert\'.')
        )  # fmt: skip
    path = folder / NAME
    if not path.is_file():
        raise FileNotFoundError(
            explain(who, f'a graph folder must hold {NAME}', f"'{folder}', which does not",
                    "Make one with 'pygas convert'.")
        )  # fmt: skip
    try:
        content = json.loads(path.read_text('utf-8'))
    except ValueError as error:
        raise _damaged(who, path, f'no JSON: {error}') from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise ValueError(
            explain(who, f"{NAME} must say that it is a '{FORMAT}'", f"'{path}', which does not",
                    "Make the folder with 'pygas convert'.")
        )  # fmt: skip
    version = content.get('version')
    if version != VERSION:
        later = isinstance(version, int) and version > VERSION
        raise ValueError(
            explain(who, f'the version of a graph folder must be {VERSION}',
                    f"{version!r} in '{path}'",
                    'Install a later version of torch-geometric-autoscale.' if later else
                    'Make the folder anew.')
        )  # fmt: skip
    try:
        header = _parse(content)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f'{error.args[0]!r} is missing' if isinstance(error, KeyError) else str(error)
        raise _damaged(who, path, reason) from error
    check_header(header, who)
    return header


def _damaged(who: str, path: Path, reason: str) -> ValueError:
    return ValueError(
        explain(who, f'{NAME} must be as it was written', f"'{path}': {reason}",
                'Make the folder anew.')
    )  # fmt: skip


def _parse(content: Mapping[str, Any]) -> Header:
    arrays = {}
    for name, entry in content['arrays'].items():
        if entry['file'] != file_of(name):
            raise ValueError(f"'{name}' in the file {entry['file']!r}")
        arrays[name] = ArrayInfo(
            str(entry['dtype']), tuple(_count(size) for size in entry['shape']), entry['level']
        )
    classes = content['num_classes']
    return Header(
        _count(content['num_nodes']),
        _count(content['num_edges']),
        None if classes is None else _count(classes),
        {str(key): str(value) for key, value in content['metadata'].items()},
        arrays,
    )


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f'{value!r} for a number of things')
    return value


def check_header(header: Header, who: str) -> None:
    """Raise unless the arrays of a header fit each other and the size of the graph."""
    for name in STRUCTURE:
        if name not in header.arrays:
            raise ValueError(
                explain(who, "a graph must have 'rowptr' and 'col'", f"none called '{name}'",
                        'Make the folder anew.')
            )  # fmt: skip
    for name, info in header.arrays.items():
        check_array(name, info, header.num_nodes, header.num_edges, who)


def check_array(name: str, info: ArrayInfo, num_nodes: int, num_edges: int, who: str) -> None:
    """Raise unless an array may be part of a graph of this size."""
    if not _WORD.fullmatch(name):
        raise ValueError(
            explain(who, 'the name of an array must be a word of letters, digits and _',
                    repr(name), 'Rename it.')
        )  # fmt: skip
    if info.level not in LEVELS or (info.level == 'structure') != (name in STRUCTURE):
        raise ValueError(
            explain(who, f"the level of '{name}' must be "
                    + ("'structure'" if name in STRUCTURE else "'node', 'edge' or 'graph'"),
                    repr(info.level), 'Say what its rows belong to.')
        )  # fmt: skip
    integers = ('int32', 'int64')
    known = integers if name in STRUCTURE else DTYPES
    if info.dtype not in known and not (info.is_text and name not in STRUCTURE):
        raise ValueError(
            explain(who, f"the type of '{name}' must be one of {', '.join(known)}", info.dtype,
                    'Convert it.')
        )  # fmt: skip
    rows = {'node': num_nodes, 'edge': num_edges}.get(info.level)
    whole = {'rowptr': (num_nodes + 1,), 'col': (num_edges,), 'edge_weight': (num_edges,)}
    wanted = whole.get(name)
    wrong = info.shape != wanted if wanted else rows is not None and info.shape[:1] != (rows,)
    if wrong:
        raise ValueError(
            explain(who, f"'{name}' must have "
                    + (f'shape {wanted}' if wanted else f'one row per {info.level} ({rows:,})'),
                    f'shape {info.shape}', 'Every array must describe the same graph.')
        )  # fmt: skip
