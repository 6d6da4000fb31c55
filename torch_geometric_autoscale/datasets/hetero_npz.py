"""A graph with several types of nodes and edges from one ``.npz`` file and its list of types."""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from torch_geometric_autoscale.datasets.npz import (
    CSR_KEYS,
    MASK_KEYS,
    Array,
    as_int64,
    check_range,
    check_shape,
    read_arrays,
    read_csr,
    read_edge_index,
    read_mask,
    read_x,
    read_y,
)
from torch_geometric_autoscale.errors import explain

REQUIRED_KEYS = ('node_type', 'edge_type', 'edge_index', 'y', *MASK_KEYS)

_PARTS = tuple(key.removeprefix('x') for key in CSR_KEYS)
_EXAMPLE = (
    '{"node_types": [{"name": "author"}, {"name": "paper"}], "edge_types": ["author->paper"]}'
)


@dataclass(frozen=True)
class _Types:
    """Names of the types, in the order of their numbers in the file."""

    nodes: tuple[str, ...]
    edges: tuple[tuple[str, str, str], ...]


def is_hetero_npz(path: str | Path) -> bool:
    """Whether a file is an ``.npz`` archive with a ``node_type``; nothing is read of it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return 'node_type.npy' in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def load_hetero_npz(path: str | Path) -> HeteroData:
    """Read a graph with several node types and check that its arrays fit together.

    The keys, for ``N`` nodes of all types in one row of ids, ``E`` edges and ``S`` splits:

    * ``node_type`` (N,) and ``edge_type`` (E,) integers: positions in the lists of types;
    * ``edge_index`` (2, E) integers, ids among all nodes, sources above targets;
    * ``y`` (N,) class ids with -1 for "no label";
    * ``train_mask``, ``val_mask``, ``test_mask`` (N,) or (N, S) booleans, on labelled nodes only;
    * for each node type that has features ``x_<type>``, one row for each of its nodes in the order
      of their ids, or the parts of a CSR matrix ``x_<type>_data``, ``_indices``, ``_indptr``,
      ``_shape``.

    The names of the types are in a ``.json`` of the same name beside the file:
    ``{"node_types": [{"name": "author"}, ...], "edge_types": ["author->paper", ...]}``; other
    entries are not looked at. ``author->paper`` becomes ``('author', 'to', 'paper')``, and
    ``author->writes->paper`` names the relation.

    Args:
        path: The file. It is read with ``allow_pickle=False``.

    Returns:
        ``HeteroData``. Features in float32: dense where the file has them dense, else a coalesced
        ``torch.sparse_coo`` tensor, which :class:`torch.nn.Linear` takes as it is (``x.to_dense()``
        for operators that gather rows of it). A type without features has ``num_nodes`` only;
        models give it an embedding, looked up by ``n_id``. ``y`` (int64) and the masks are on the
        types that have labelled nodes.

    Raises:
        FileNotFoundError: One of the two files is missing.
        ValueError: One of them is damaged, lacks a key or has one too many, or they break one of
            the rules above.
    """
    path = Path(path)
    arrays = read_arrays(path)
    who = f"load_npz('{path.name}')"
    types = _read_types(who, path.with_suffix('.json'))
    _check_keys(who, arrays, types.nodes)

    node_type = _read_numbers(who, 'node_type', arrays['node_type'], len(types.nodes))
    num_nodes = node_type.numel()
    edge_index = read_edge_index(who, arrays['edge_index'], num_nodes)
    edge_type = _read_numbers(who, 'edge_type', arrays['edge_type'], len(types.edges))
    check_shape(
        who, 'edge_type', f'({edge_index.size(1)},)', edge_type.numel() == edge_index.size(1),
        arrays['edge_type'],
    )  # fmt: skip
    check_shape(who, 'y', f'({num_nodes},)', arrays['y'].ndim == 1, arrays['y'])
    y = read_y(who, arrays['y'], num_nodes)
    masks = {key: read_mask(who, key, arrays[key], y >= 0) for key in MASK_KEYS}

    data = HeteroData()
    local = torch.empty(num_nodes, dtype=torch.int64)
    for number, name in enumerate(types.nodes):
        mine = (node_type == number).nonzero().view(-1)
        local[mine] = torch.arange(mine.numel())
        x = _read_features(who, name, arrays, mine.numel())
        if x is None:
            data[name].num_nodes = mine.numel()
        else:
            data[name].x = x
        if bool((y[mine] >= 0).any()):
            data[name].y = y[mine]
            for key, mask in masks.items():
                data[name][key] = mask[mine]
    for number, triple in enumerate(types.edges):
        ends = edge_index[:, edge_type == number]
        _check_ends(who, types, triple, node_type[ends])
        data[triple].edge_index = local[ends]
    return data


def load_dblp(root: Path) -> HeteroData:
    """Load authors, papers, terms and venues from ``root/dblp_hetero.npz`` and its ``.json``."""
    path = root / 'dblp_hetero.npz'
    if not path.is_file():
        raise FileNotFoundError(
            explain(
                'get_data',
                f"'{root}' must hold dblp_hetero.npz and dblp_hetero.json",
                'no such file, and there is nowhere to download it from',
                "Copy both there, or pass a 'root' that has them. PyG's 'datasets.DBLP' downloads "
                'the same nodes and edges with a split of its own.',
            )
        )
    return load_hetero_npz(path)


def _read_types(who: str, path: Path) -> _Types:
    """Read the names of the types."""
    if not path.is_file():
        raise FileNotFoundError(
            explain(
                who, f"the names of its types must be in '{path.name}' beside it", 'no such file',
                f'Write it: {_EXAMPLE}.',
            )
        )  # fmt: skip
    try:
        listed = json.loads(path.read_text('utf-8'))
        nodes = tuple(entry['name'] for entry in listed['node_types'])
        edges = tuple(_triple(text, nodes) for text in listed['edge_types'])
        _check_distinct(nodes)
        _check_distinct(edges)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            explain(
                who, f"'{path.name}' must list 'node_types' and 'edge_types' by distinct names",
                f'{type(error).__name__}: {error}', f'Write it like {_EXAMPLE}.',
            )
        ) from error  # fmt: skip
    return _Types(nodes, edges)


def _triple(text: str, nodes: Sequence[str]) -> tuple[str, str, str]:
    """``'a->b'`` or ``'a->relation->b'`` as PyG writes an edge type."""
    ends = text.split('->')
    if len(ends) not in (2, 3) or ends[0] not in nodes or ends[-1] not in nodes:
        raise ValueError(f"edge type '{text}'")
    return ends[0], ends[1] if len(ends) == 3 else 'to', ends[-1]


def _check_distinct(names: Sequence[Any]) -> None:
    if not names or len(set(names)) != len(names) or not all(names):
        raise ValueError(f'types {list(names)}')


def _check_keys(who: str, arrays: Mapping[str, Array], nodes: Sequence[str]) -> None:
    """Raise unless the keys are those of a graph with these node types."""
    missing = [key for key in REQUIRED_KEYS if key not in arrays]
    for name in nodes:
        parts = [f'x_{name}{part}' for part in _PARTS]
        if any(part in arrays for part in parts):
            missing += [part for part in parts if part not in arrays]
    if missing:
        raise ValueError(
            explain(
                who, f'the file must have {", ".join(missing)}',
                f'keys {", ".join(sorted(arrays))}', 'Add what is missing.',
            )
        )  # fmt: skip
    known = {*REQUIRED_KEYS, *(f'x_{name}{part}' for name in nodes for part in ('', *_PARTS))}
    unknown = sorted(set(arrays) - known)
    if unknown:
        raise ValueError(
            explain(
                who,
                f'keys must be among {", ".join(REQUIRED_KEYS)} and the features of '
                f'{", ".join(nodes)}',
                ', '.join(unknown),
                'Rename or remove the others: they would be ignored.',
            )
        )


def _read_numbers(who: str, key: str, values: Array, count: int) -> Tensor:
    """Return type numbers in int64, all in ``[0, count)``."""
    numbers = as_int64(who, key, values)
    check_shape(who, key, '(N,)' if key == 'node_type' else '(E,)', numbers.ndim == 1, numbers)
    check_range(who, key, numbers, count)
    return torch.from_numpy(numbers)


def _read_features(who: str, name: str, arrays: Mapping[str, Array], count: int) -> Tensor | None:
    """The features of one node type (N_t, F_t), if it has any."""
    key, who = f'x_{name}', f"{who}, type '{name}'"
    if key in arrays and f'{key}_data' in arrays:
        raise ValueError(
            explain(who, 'features must be dense or CSR parts', 'both', 'Remove one of them.')
        )
    if key in arrays:
        x = read_x(who, {'x': arrays[key]})
    elif f'{key}_data' in arrays:
        x = read_csr(who, {f'x{part}': arrays[f'{key}{part}'] for part in _PARTS})
    else:
        return None
    if x.size(0) != count or not x.size(1):
        raise ValueError(
            explain(
                who, f'features must have shape ({count}, F) with F > 0', tuple(x.shape),
                'Save one row for each node of the type, or none for types without features.',
            )
        )  # fmt: skip
    return x


def _check_ends(who: str, types: _Types, triple: tuple[str, str, str], ends: Tensor) -> None:
    """Raise unless edges of a type lead from and to the node types of its name."""
    wanted = torch.tensor([[types.nodes.index(triple[0])], [types.nodes.index(triple[2])]])
    wrong = int((ends != wanted).any(dim=0).sum())
    if wrong:
        raise ValueError(
            explain(
                who, f"edges '{triple[0]}->{triple[2]}' must join nodes of these types",
                f'{wrong} that do not', "Number the types as the '.json' lists them.",
            )
        )  # fmt: skip
