"""A graph from one ``.npz`` file: plain arrays, checked before they become a ``Data``."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_autoscale.errors import explain

Array = NDArray[Any]

CSR_KEYS = ('x_data', 'x_indices', 'x_indptr', 'x_shape')
MASK_KEYS = ('train_mask', 'val_mask', 'test_mask')
REQUIRED_KEYS = ('edge_index', 'y', *MASK_KEYS)
OPTIONAL_KEYS = ('edge_type', 'edge_weight', 'edge_attr')
KNOWN_KEYS = ('x', *CSR_KEYS, *REQUIRED_KEYS, *OPTIONAL_KEYS)


def load_npz(path: str | Path) -> Data:
    """Read a graph from an ``.npz`` file and check that its arrays fit together.

    The keys, for ``N`` nodes, ``E`` edges, ``F`` features, ``C`` classes and ``S`` splits:

    * ``x`` (N, F) numbers, or the parts of a CSR matrix ``x_data, x_indices, x_indptr, x_shape``;
    * ``edge_index`` (2, E) integers, sources above targets;
    * ``y`` (N,) class ids with -1 for "no label", or (N, C) zeros and ones (several labels);
    * ``train_mask``, ``val_mask``, ``test_mask`` (N,) or (N, S) booleans, on labelled nodes only;
    * where they exist ``edge_type`` (E,) integers, ``edge_weight`` (E,) and ``edge_attr`` (E, D)
      numbers.

    Args:
        path: The file. It is read with ``allow_pickle=False``.

    Returns:
        ``Data`` with dense ``x`` in float32, ``edge_index`` and ``edge_type`` in int64, ``y`` in
        int64 (N,) or float32 (N, C), boolean masks, and edge weights and attributes in float32.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no ``.npz``, holds Python objects, lacks a key or has one too many,
            describes several node types, or its arrays break one of the rules above.
    """
    arrays = read_arrays(path)
    who = f"load_npz('{Path(path).name}')"
    check_keys(who, arrays)
    x = read_x(who, arrays)
    if x.numel() == 0:
        raise ValueError(
            explain(
                who,
                'the graph must have a node and a feature',
                f'features of shape {tuple(x.shape)}',
                'A graph without features can do with constants or degrees.',
            )
        )
    num_nodes = x.size(0)
    data = Data(x=x, edge_index=read_edge_index(who, arrays['edge_index'], num_nodes))
    data.y = read_y(who, arrays['y'], num_nodes)
    labelled = (data.y >= 0).view(num_nodes, -1).all(dim=1)
    for key in MASK_KEYS:
        data[key] = read_mask(who, key, arrays[key], labelled)
    for key in OPTIONAL_KEYS:
        if key in arrays:
            data[key] = _read_edge_values(who, key, arrays[key], data.edge_index.size(1))
    return data


def read_arrays(path: str | Path) -> dict[str, Array]:
    """Read every array of an ``.npz`` file, never unpickling anything.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is damaged, is no ``.npz``, or holds Python objects.
    """
    path = Path(path)
    who = f"load_npz('{path.name}')"
    if not path.is_file():
        raise FileNotFoundError(
            explain(who, "'path' must name a file", path, 'Check the spelling and the folder.')
        )
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError('another format, or a file cut short')
        with np.load(path, allow_pickle=False) as archive:
            return {key: np.asarray(archive[key]) for key in archive.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if 'Object arrays' in str(error):
            raise ValueError(
                explain(
                    who,
                    'arrays must hold numbers',
                    'Python objects',
                    'Objects would have to be unpickled, which runs code from the file; '
                    'save numeric arrays instead.',
                )
            ) from error
        raise ValueError(
            explain(
                who,
                'the file must be a complete NumPy archive',
                error,
                "Write it with 'numpy.savez_compressed', or fetch it again.",
            )
        ) from error


def check_keys(who: str, arrays: Mapping[str, Array]) -> None:
    """Raise unless the keys are those of one homogeneous graph with features and labels."""
    if 'node_type' in arrays:
        raise ValueError(
            explain(
                who,
                'the file must hold one type of nodes',
                "key 'node_type'",
                "Read it with 'load_hetero_npz'; 'get_data' finds out by itself.",
            )
        )
    present = 'keys ' + ', '.join(sorted(arrays))
    if 'x' not in arrays and not all(key in arrays for key in CSR_KEYS):
        raise ValueError(
            explain(
                who,
                f"features are needed, under 'x' or as {', '.join(CSR_KEYS)}",
                present,
                'Add them; for a graph without features, constants or degrees will do.',
            )
        )
    missing = [key for key in REQUIRED_KEYS if key not in arrays]
    if missing:
        raise ValueError(
            explain(
                who,
                f'the file must have {", ".join(missing)}',
                present,
                "Add what is missing; 'gen_masks' draws masks from labels.",
            )
        )
    unknown = sorted(set(arrays) - set(KNOWN_KEYS))
    if unknown:
        raise ValueError(
            explain(
                who,
                f'keys must be among {", ".join(KNOWN_KEYS)}',
                ', '.join(unknown),
                'Rename or remove the others: they would be ignored.',
            )
        )


def read_x(who: str, arrays: Mapping[str, Array]) -> Tensor:
    """Return dense float32 features (N, F) from ``x`` or from its CSR parts."""
    if 'x' not in arrays:
        return read_csr(who, arrays).to_dense()
    values = as_float(who, 'x', arrays['x'])
    check_shape(who, 'x', '(N, F)', values.ndim == 2, values)
    return torch.from_numpy(values)


def read_csr(who: str, arrays: Mapping[str, Array]) -> Tensor:
    """Return CSR parts as a coalesced sparse COO tensor (N, F); entries given twice add up."""
    values = as_float(who, 'x_data', arrays['x_data'])
    indices = as_int64(who, 'x_indices', arrays['x_indices'])
    indptr = as_int64(who, 'x_indptr', arrays['x_indptr'])
    shape = as_int64(who, 'x_shape', arrays['x_shape'])
    check_shape(who, 'x_shape', '(2,)', shape.shape == (2,), shape)
    rows, columns = int(shape[0]), int(shape[1])
    consistent = (
        rows >= 0
        and columns >= 0
        and values.ndim == 1
        and indices.shape == values.shape
        and indptr.shape == (rows + 1,)
        and indptr[0] == 0
        and indptr[-1] == len(values)
        and bool((np.diff(indptr) >= 0).all())
    )
    if not consistent:
        raise ValueError(
            explain(
                who,
                'CSR parts must satisfy len(x_indptr) == x_shape[0] + 1, non-decreasing from 0 to '
                'len(x_data) == len(x_indices)',
                f'x_shape {tuple(shape.tolist())}, x_indptr {indptr.shape}, '
                f'x_indices {indices.shape}, x_data {values.shape}',
                "Save the attributes of one 'scipy.sparse.csr_matrix'.",
            )
        )
    check_range(who, 'x_indices', indices, columns)
    row = np.repeat(np.arange(rows), np.diff(indptr))
    ends = torch.from_numpy(np.stack([row, indices]))
    size = (rows, columns)
    x = torch.sparse_coo_tensor(ends, torch.from_numpy(values), size, check_invariants=False)
    return x.coalesce()


def read_edge_index(who: str, edge_index: Array, num_nodes: int) -> Tensor:
    """Return ``edge_index`` (2, E) in int64."""
    edge_index = as_int64(who, 'edge_index', edge_index)
    fits = edge_index.ndim == 2 and edge_index.shape[0] == 2
    check_shape(who, 'edge_index', '(2, E)', fits, edge_index)
    check_range(who, 'edge_index', edge_index, num_nodes)
    return torch.from_numpy(edge_index)


def read_y(who: str, y: Array, num_nodes: int) -> Tensor:
    """Return class ids (N,) in int64 or several labels per node (N, C) in float32."""
    fits = y.ndim in (1, 2) and y.shape[0] == num_nodes and y.size > 0
    check_shape(who, 'y', f'({num_nodes},) or ({num_nodes}, C)', fits, y)
    if y.ndim == 2:
        values = as_float(who, 'y', y)
        wrong = int(((values != 0) & (values != 1)).sum())
        if wrong:
            raise ValueError(
                explain(
                    who,
                    "'y' with several labels per node must hold 0 and 1",
                    f'{wrong} other values',
                    'Give class ids the shape (N,).',
                )
            )
        return torch.from_numpy(values)
    ids = as_int64(who, 'y', y)
    if ids.size and ids.min() < -1:
        raise ValueError(
            explain(
                who,
                "'y' must be a class id from 0 on, or -1 for an unlabelled node",
                int(ids.min()),
                'Number the classes from 0.',
            )
        )
    return torch.from_numpy(ids)


def read_mask(who: str, key: str, mask: Array, labelled: Tensor) -> Tensor:
    """Return a boolean mask (N,) or (N, S) that selects labelled nodes only."""
    if mask.dtype.kind != 'b':
        raise ValueError(
            explain(who, f"'{key}' must be boolean", mask.dtype, "Save 'mask.astype(bool)'.")
        )
    num_nodes = labelled.numel()
    fits = mask.ndim in (1, 2) and mask.shape[0] == num_nodes and mask.size > 0
    check_shape(who, key, f'({num_nodes},) or ({num_nodes}, splits)', fits, mask)
    out = torch.from_numpy(np.ascontiguousarray(mask))
    unlabelled = int(out.view(num_nodes, -1)[~labelled].any(dim=1).sum())
    if unlabelled:
        raise ValueError(
            explain(
                who,
                f"'{key}' must select labelled nodes only",
                f'{unlabelled} nodes with y == -1',
                "Combine the mask with 'y >= 0'.",
            )
        )
    return out


def _read_edge_values(who: str, key: str, values: Array, num_edges: int) -> Tensor:
    """Return one value per edge (E,), or one row per edge for ``edge_attr`` (E, D)."""
    dims, shape = (2, f'({num_edges}, D)') if key == 'edge_attr' else (1, f'({num_edges},)')
    check_shape(who, key, shape, values.ndim == dims and values.shape[0] == num_edges, values)
    if key == 'edge_type':
        return torch.from_numpy(as_int64(who, key, values))
    return torch.from_numpy(as_float(who, key, values))


def as_float(who: str, key: str, values: Array) -> Array:
    """Return booleans, integers or floats, all finite, as float32."""
    if values.dtype.kind not in 'biuf':
        raise ValueError(
            explain(who, f"'{key}' must hold numbers", values.dtype, 'Save it as float32.')
        )
    with np.errstate(over='ignore'):
        values = np.ascontiguousarray(values, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError(
            explain(
                who,
                f"'{key}' must hold finite numbers",
                f'{np.isnan(values).sum()} NaN and {np.isinf(values).sum()} infinite values',
                "Replace them, for example with 'numpy.nan_to_num'.",
            )
        )
    return values


def as_int64(who: str, key: str, values: Array) -> Array:
    """Return integers of any width as int64."""
    if values.dtype.kind not in 'iu':
        raise ValueError(
            explain(who, f"'{key}' must hold integers", values.dtype, 'Save it as int64.')
        )
    return np.ascontiguousarray(values, dtype=np.int64)


def check_shape(who: str, key: str, shape: str, fits: bool, values: Array) -> None:
    """Raise unless ``fits``."""
    if not fits:
        raise ValueError(
            explain(
                who,
                f"'{key}' must have shape {shape}",
                values.shape,
                'Every array must describe the same nodes and edges.',
            )
        )


def check_range(who: str, key: str, ids: Array, size: int) -> None:
    """Raise unless all ``ids`` lie in ``[0, size)``."""
    wrong = (ids < 0) | (ids >= size)
    if wrong.any():
        raise ValueError(
            explain(
                who,
                f"'{key}' must lie in [0, {size})",
                f'{int(wrong.sum())} others, the first {int(ids[wrong][0])}',
                'Number nodes and columns from 0.',
            )
        )
