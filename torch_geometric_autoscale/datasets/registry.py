"""Data sets by name: one table, one entry per data set."""

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, overload

import torch
from torch_geometric.data import Data, HeteroData

from torch_geometric_autoscale.datasets.embedded import WordNet
from torch_geometric_autoscale.datasets.hetero_npz import (
    is_hetero_npz,
    load_dblp,
    load_hetero_npz,
)
from torch_geometric_autoscale.datasets.large import load_ogbn, load_saint, load_wikics
from torch_geometric_autoscale.datasets.many_graphs import load_ppi, load_sbm
from torch_geometric_autoscale.datasets.npz import load_npz
from torch_geometric_autoscale.datasets.pyg import load_amazon, load_coauthor, load_planetoid
from torch_geometric_autoscale.datasets.sbm import generate_cluster
from torch_geometric_autoscale.errors import explain
from torch_geometric_autoscale.graph_folder import GraphFolder, is_graph_folder


@dataclass(frozen=True)
class Entry:
    """What the registry knows of a data set.

    Attributes:
        name: As users write it and lists show it.
        description: One line for ``--help``.
        load: Returns the prepared graph, given the root folder.
        needs_root: Whether ``load`` looks for files there; else it is called with any path.
        short: Another name it answers to.
    """

    name: str
    description: str
    load: Callable[[Path], Data | HeteroData]
    needs_root: bool = True
    short: str = ''


def _load_linux_calls(root: Path) -> Data:
    """Load the call graph of Linux from ``root/linux_calls.npz``."""
    path = root / 'linux_calls.npz'
    if not path.is_file():
        raise FileNotFoundError(
            explain(
                'get_data',
                f"'{root}' must hold linux_calls.npz",
                'no such file, and there is nowhere to download it from',
                "Copy the file there, or pass a 'root' that has it.",
            )
        )
    return load_npz(path)


# To add a data set, write a loader and a line here.
ENTRIES = (
    Entry(
        'wordnet',
        'WordNet 3.0: 117,659 synsets, 367,578 edges, 45 classes; comes with the package',
        lambda root: WordNet()[0],
        needs_root=False,
    ),
    Entry(
        'cora',
        'citations: 2,708 papers, 10,556 edges, 7 classes',
        partial(load_planetoid, name='Cora'),
    ),
    Entry(
        'citeseer',
        'citations: 3,327 papers, 9,104 edges, 6 classes',
        partial(load_planetoid, name='CiteSeer'),
    ),
    Entry(
        'pubmed',
        'citations: 19,717 papers, 88,648 edges, 3 classes',
        partial(load_planetoid, name='PubMed'),
    ),
    Entry(
        'coauthor-cs',
        'co-authors: 18,333 authors, 163,788 edges, 15 classes',
        partial(load_coauthor, name='CS'),
    ),
    Entry(
        'coauthor-physics',
        'co-authors: 34,493 authors, 495,924 edges, 5 classes',
        partial(load_coauthor, name='Physics'),
    ),
    Entry(
        'amazon-computers',
        'co-purchases: 13,752 goods, 491,722 edges, 10 classes',
        partial(load_amazon, name='Computers'),
    ),
    Entry(
        'amazon-photo',
        'co-purchases: 7,650 goods, 238,162 edges, 8 classes',
        partial(load_amazon, name='Photo'),
    ),
    Entry(
        'wikics',
        'links: 11,701 articles on computer science, about 431,000 edges, 10 classes',
        load_wikics,
    ),
    Entry(
        'cluster',
        '12,000 graphs of 6 communities each, as one of 1.4 million nodes, 52 million edges',
        partial(load_sbm, name='CLUSTER'),
    ),
    Entry(
        'pattern',
        '14,000 graphs with a planted pattern each, as one of 1.7 million nodes',
        partial(load_sbm, name='PATTERN'),
    ),
    Entry(
        'cluster-sbm',
        '1,200 graphs drawn by the recipe of CLUSTER, as one; generated, no files',
        lambda root: generate_cluster(),
        needs_root=False,
    ),
    Entry(
        'reddit',
        'comments: 232,965 posts, 23,213,838 edges, 41 classes (Reddit2)',
        partial(load_saint, name='Reddit2'),
    ),
    Entry(
        'ppi',
        'proteins: 24 graphs as one, 56,944 nodes, 121 labels each',
        load_ppi,
    ),
    Entry(
        'flickr',
        'images: 89,250 images, 899,756 edges, 7 classes',
        partial(load_saint, name='Flickr'),
    ),
    Entry(
        'yelp',
        'reviews: 716,847 users, 13,954,819 edges, 100 labels each',
        partial(load_saint, name='Yelp'),
    ),
    Entry(
        'ogbn-arxiv',
        'citations: 169,343 papers, 2,315,598 edges, 40 classes',
        partial(load_ogbn, name='ogbn-arxiv'),
        short='arxiv',
    ),
    Entry(
        'ogbn-products',
        'co-purchases: 2,449,029 goods, 123,718,280 edges, 47 classes',
        partial(load_ogbn, name='ogbn-products'),
        short='products',
    ),
    Entry(
        'linux_calls',
        'Linux 6.1: 543,092 functions, 2,571,628 calls, 69 classes; the file linux_calls.npz',
        _load_linux_calls,
    ),
    Entry(
        'dblp_hetero',
        '4,057 authors of 4 classes, 14,328 papers, 7,723 terms, 20 venues; dblp_hetero.npz',
        load_dblp,
    ),
)


@overload
def get_data(  # type: ignore[overload-overlap]
    root: str | Path | None, name: Literal['dblp_hetero']
) -> tuple[HeteroData, dict[str, int], int]: ...


@overload
def get_data(root: str | Path | None, name: str | Path) -> tuple[Data, int, int]: ...


def get_data(
    root: str | Path | None, name: str | Path
) -> tuple[Data, int, int] | tuple[HeteroData, dict[str, int], int]:
    """Load a graph for node classification by name, from an ``.npz`` file or a graph folder.

    Planetoid sets come with row-normalised features and their public split; Amazon and Coauthor
    sets with 20 splits, masks (N, 20), of 20 training and 30 validation nodes per class, drawn
    with seed 12345 and without touching PyTorch's global generator.

    WikiCS has 20 splits too and validates on its stopping masks; it and ogbn-arxiv are made
    undirected. Reddit is ``Reddit2``; its features and Yelp's are standardised. Data sets of many
    graphs (PPI, CLUSTER, PATTERN) come as one graph with masks by graph.

    Args:
        root: Folder with the data sets, laid out as PyG does: ``root/Planetoid/Cora/raw``,
            ``root/Amazon/Photo/raw``, ``root/Coauthor/CS/raw``, ``root/WikiCS/raw`` and so on.
            What is missing is downloaded there. ``None`` will do for ``wordnet``, ``cluster-sbm``
            and for a file.
        name: One of :func:`available`, in any spelling (``'coauthor-cs'``, ``'Coauthor_CS'``), or
            the path of an ``.npz`` file as :func:`load_npz` reads it or of a graph folder, seen
            from the working directory or from ``root``. A folder in the working directory that
            is called like a data set needs a path: ``'./cora'``.

    Returns:
        ``data, in_channels, out_channels``: the graph, the columns of ``data.x``, and the number
        of classes (labels, where a node has several). A graph with several node types
        (``dblp_hetero``, files as :func:`load_hetero_npz` reads them) is a ``HeteroData``, and
        ``in_channels`` a dictionary by node type, 0 for types without features. A graph folder
        is mapped, not read (:class:`GraphFolder`).

    Raises:
        ValueError: The name is unknown (the message lists near ones), ``root`` is missing, the
            files are damaged or break the rules of :func:`load_npz`, or no node has a label.
        FileNotFoundError: The files are not there and cannot be downloaded (the message says
            which ones go where).
        ImportError: A package that PyG needs to read the data set is not installed.
    """
    folder = None if root is None else Path(root).expanduser()
    mapped = _find_graph_folder(folder, name)
    if mapped is not None:
        return _open_graph_folder(mapped)
    if str(name).lower().endswith('.npz'):
        path = _find_npz(folder, Path(name).expanduser())
        data: Data | HeteroData = load_hetero_npz(path) if is_hetero_npz(path) else load_npz(path)
    else:
        data = _load_by_name(folder, str(name))
    return data, data.num_features, _num_classes(data)


def available() -> list[str]:
    """Return the names that :func:`get_data` knows."""
    return [entry.name for entry in ENTRIES]


def canonical(name: str) -> str:
    """Return the name under which :func:`available` lists a data set.

    Raises:
        ValueError: The name is unknown.
    """
    return _find_entry(None, name).name


def describe(name: str) -> str:
    """Return one line about a data set that :func:`get_data` knows.

    Raises:
        ValueError: The name is unknown.
    """
    return _find_entry(None, name).description


def _load_by_name(folder: Path | None, name: str) -> Data | HeteroData:
    """Load a registered data set."""
    entry = _find_entry(folder, name)
    if folder is None and entry.needs_root:
        raise ValueError(
            explain(
                'get_data',
                f"'{entry.name}' needs a 'root' folder to keep its files in",
                None,
                "Pass one, for example 'data'.",
            )
        )
    return entry.load(Path() if folder is None else folder)


def _plain(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return re.sub('[^a-z0-9]', '', name.lower())


def _find_entry(folder: Path | None, name: str) -> Entry:
    """Return the entry of a name, or raise and list the near ones."""
    entries = {_plain(entry.name): entry for entry in ENTRIES}
    entries |= {entry.short: entry for entry in ENTRIES if entry.short}
    if _plain(name) in entries:
        return entries[_plain(name)]
    known = {key: entry.name for key, entry in entries.items()}
    if folder is not None and folder.is_dir():
        known |= {_plain(path.stem): path.name for path in sorted(folder.glob('*.npz'))}
    near = difflib.get_close_matches(_plain(name), known, n=3, cutoff=0.5)
    near += [key for key in known if _plain(name) and _plain(name) in key and key not in near]
    hint = f'Did you mean {" or ".join(repr(known[key]) for key in near)}? ' if near else ''
    raise ValueError(
        explain(
            'get_data',
            "'name' must be a data set or the path of an .npz file or graph folder",
            repr(name),
            f'{hint}Known are {", ".join(available())}.',
        )
    )


def _find_npz(folder: Path | None, path: Path) -> Path:
    """Return ``path``, seen from the working directory or from ``folder``, if it exists."""
    places = [path] if folder is None else [path, folder / path]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        explain(
            'get_data',
            'the file must exist',
            f'nothing at {" or ".join(dict.fromkeys(str(place.absolute()) for place in places))}',
            "Give its path, or its path inside 'root'.",
        )
    )


def _find_graph_folder(folder: Path | None, name: str | Path) -> Path | None:
    """Return the graph folder that ``name`` means, if it means one."""
    path = Path(name).expanduser()
    is_path = '/' in str(name) or '\\' in str(name)
    if not is_path and _plain(str(name)) in {_plain(entry.name) for entry in ENTRIES}:
        return None
    places = [path] if folder is None else [path, folder / path]
    found = [place for place in places if is_graph_folder(place)]
    if is_path:  # one that is not whole is refused when it is opened
        found += [place for place in places if place.is_dir()]
        found += [p for p in places if not p.exists() and p.with_name(f'{p.name}.part').is_dir()]
    return next(iter(found), None)


def _open_graph_folder(path: Path) -> tuple[Data, int, int]:
    """Return a mapped graph; what is counted stands in the header."""
    folder = GraphFolder.open(path)
    if not folder.num_classes or 'x' not in folder:
        raise ValueError(
            explain(
                'get_data',
                "a graph folder must hold features 'x' and class ids 'y'",
                f"'{path}' with {', '.join(folder)}",
                "Convert it with features and labels; 'load_graph' opens any folder.",
            )
        )
    data = folder.to_data()
    return data, data.num_features, folder.num_classes


def _num_classes(data: Data | HeteroData) -> int:
    """Return the number of classes (N,) or of labels (N, C)."""
    if isinstance(data, HeteroData):
        labels = [store.y for store in data.node_stores if 'y' in store]
        data = Data(y=torch.cat(labels) if labels else torch.empty(0, dtype=torch.int64))
    if data.y.dim() == 2:
        return data.y.size(1)
    num_classes = int(data.y.max()) + 1 if data.y.numel() else 0
    if num_classes == 0:
        raise ValueError(
            explain(
                'get_data',
                "'y' must label at least one node",
                'none',
                'Training needs labels from 0 on.',
            )
        )
    return num_classes
