"""Public data sets through PyG's own classes, prepared as in the GAS paper's experiments.

PyG's classes download what is missing and keep a processed copy beside the raw files. Here their
failures become one clear message, a failed attempt leaves no files behind, and a folder that
cannot be written to is read all the same.
"""

import os
import socket
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from torch_geometric.data import Data, InMemoryDataset

from torch_geometric_autoscale.errors import explain, missing_package
from torch_geometric_autoscale.metrics import gen_masks

PLANETOID_FILES = ('x', 'tx', 'allx', 'y', 'ty', 'ally', 'graph', 'test.index')
PLANETOID_TEST_NODES = 1000
AMAZON_FILES = {
    'Computers': 'amazon_electronics_computers.npz',
    'Photo': 'amazon_electronics_photo.npz',
}
COAUTHOR_FILES = {'CS': 'ms_academic_cs.npz', 'Physics': 'ms_academic_phy.npz'}

SPLIT_SEED = 12345
CONNECT_SECONDS = 20.0


def load_planetoid(root: Path, name: str) -> Data:
    """Load Cora, CiteSeer or PubMed from ``root/Planetoid``: public split, rows of ``x`` sum to 1.

    Source: Yang, Cohen, Salakhutdinov, ICML 2016 (arXiv 1603.08861).
    """
    from torch_geometric.datasets import Planetoid
    from torch_geometric.transforms import NormalizeFeatures

    files = [f'ind.{name.lower()}.{part}' for part in PLANETOID_FILES]
    data = load_named(Planetoid, root / 'Planetoid', name, files)
    num_test = int(data.test_mask.sum())
    if num_test != PLANETOID_TEST_NODES:  # A list of ids that was cut short reads without error.
        index = root / 'Planetoid' / name / 'raw' / files[-1]
        raise ValueError(
            explain(
                'get_data',
                f"'{index}' must list {PLANETOID_TEST_NODES} test nodes",
                num_test,
                f"Fetch it again and delete '{index.parent.parent / 'processed'}'.",
            )
        )
    return NormalizeFeatures()(data)


def load_amazon(root: Path, name: str) -> Data:
    """Load the Computers or Photo co-purchase graph from ``root/Amazon``, with 20 random splits.

    Source: Shchur, Mumme, Bojchevski, Günnemann, 2018 (arXiv 1811.05868).
    """
    from torch_geometric.datasets import Amazon

    return _with_masks(load_named(Amazon, root / 'Amazon', name, [AMAZON_FILES[name]]))


def load_coauthor(root: Path, name: str) -> Data:
    """Load the CS or Physics co-author graph from ``root/Coauthor``, with 20 random splits.

    Source: Shchur, Mumme, Bojchevski, Günnemann, 2018 (arXiv 1811.05868).
    """
    from torch_geometric.datasets import Coauthor

    return _with_masks(load_named(Coauthor, root / 'Coauthor', name, [COAUTHOR_FILES[name]]))


def _with_masks(data: Data) -> Data:
    """Add 20 splits (N, 20): 20 training and 30 validation nodes per class, the rest test."""
    masks = gen_masks(data.y, 20, 30, num_splits=20, seed=SPLIT_SEED)
    data.train_mask, data.val_mask, data.test_mask = masks
    return data


def load_named(cls: type[InMemoryDataset], root: Path, name: str, files: list[str]) -> Data:
    """Return the graph of ``cls(root, name)``, whose raw files lie in ``root/name/raw``."""
    return load_dataset(cls, root / name, files, (str(root), name))[0]


def load_dataset(
    cls: Any,
    folder: Path,
    files: Sequence[str],
    args: Sequence[Any],
    processed_file: str = 'data.pt',
    **kwargs: Any,
) -> Any:
    """Make ``cls(*args, **kwargs)`` and turn what can go wrong into one clear message.

    Args:
        cls: A data set class of PyG's, or one that behaves alike.
        folder: Where it keeps ``raw`` and ``processed`` files.
        files: The raw files it needs.
        args, kwargs: What it is made from.
        processed_file: The file that tells that the raw ones are not needed any more.

    Raises:
        FileNotFoundError: Files are missing and cannot be downloaded.
        ValueError: Files are damaged.
        ImportError: A package that PyG needs to read them is not installed.
    """
    raw, processed = folder / 'raw', folder / 'processed'
    missing = [file for file in files if not (raw / file).is_file()]
    is_processed = (processed / processed_file).is_file()
    for file in set(files) - set(missing):  # NumPy would leave a damaged archive open.
        if file.endswith('.npz') and not is_processed and not zipfile.is_zipfile(raw / file):
            _raise_damaged(raw, ValueError(f'{file} is cut short'))
    try:
        with _undone_on_failure(folder), _connect_timeout(CONNECT_SECONDS):
            if is_processed or _is_writable(processed):
                return cls(*args, **kwargs)
            with tempfile.TemporaryDirectory() as temporary:
                return _processing_in(cls, temporary)(*args, **kwargs)
    except ImportError as error:
        if (error.name or '').partition('.')[0] == 'scipy':
            raise ImportError(missing_package('get_data', 'scipy', 'full')) from error
        raise
    except MemoryError:
        raise
    except Exception as error:
        if missing:
            _raise_missing(raw, missing, error)
        if isinstance(error, OSError) and error.errno is not None:
            raise  # A full disk or forbidden folder names itself.
        _raise_damaged(processed if is_processed else raw, error)


def _raise_missing(raw: Path, missing: list[str], error: Exception) -> NoReturn:
    """Say which files belong where."""
    raise FileNotFoundError(
        explain(
            'get_data',
            f"'{raw}' must hold {', '.join(missing)}",
            f'none of them, and the download failed with {type(error).__name__}: {error}',
            "Copy the files there, or pass a 'root' that has them, or connect to the internet.",
        )
    ) from error


def _raise_damaged(folder: Path, error: Exception) -> NoReturn:
    """Say which folder holds something that cannot be read."""
    raise ValueError(
        explain(
            'get_data',
            f"the files in '{folder}' must be complete",
            f'{type(error).__name__}: {error}',
            'Delete that folder; processed files are made anew from raw ones, '
            'raw files are downloaded or copied again.',
        )
    ) from error


def _processing_in(cls: type[InMemoryDataset], folder: str) -> type[InMemoryDataset]:
    """Return ``cls`` with its processed files in ``folder`` instead of beside the raw ones."""
    members: dict[str, Any] = {'processed_dir': property(lambda self: folder)}
    return type(cls.__name__, (cls,), members)


def _is_writable(folder: Path) -> bool:
    """Whether ``folder`` can be written to or made."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return os.access(existing, os.W_OK)


@contextmanager
def _undone_on_failure(folder: Path) -> Iterator[None]:
    """If the block fails, remove what it made in ``folder`` and the parents it made for it."""
    before = set(folder.rglob('*'))
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        for path in sorted(set(folder.rglob('*')) - before, reverse=True):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def _connect_timeout(seconds: float) -> Iterator[None]:
    """Give up on a silent server after a while; PyG's download would wait for ever."""
    previous = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(previous)
