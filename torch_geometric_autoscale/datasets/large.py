"""Reddit, Flickr, Yelp, WikiCS and the sets of the Open Graph Benchmark."""

import builtins
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.utils import to_undirected

from torch_geometric_autoscale.datasets.pyg import load_dataset
from torch_geometric_autoscale.errors import missing_package

SAINT_FILES = ('adj_full.npz', 'feats.npy', 'class_map.json', 'role.json')
OGB_FILES = ('edge.csv.gz', 'node-feat.csv.gz', 'node-label.csv.gz')


def load_saint(root: Path, name: str) -> Data:
    """Load Reddit, Flickr or Yelp, as GraphSAINT has split them.

    Reddit is the sparser graph of PyG's ``Reddit2``. The features of Reddit and Yelp are
    standardised: each column has mean 0 and deviation 1.

    Source: Zeng et al. 2020 (arXiv 1907.04931).
    """
    from torch_geometric import datasets

    cls: Any = getattr(datasets, name)
    data = load_dataset(cls, root / name, SAINT_FILES, (str(root / name),))[0]
    if name != 'Flickr':
        data.x = standardise(data.x)
    if data.y.dim() == 2:
        data.y = data.y.float()
    return data


def standardise(x: Tensor) -> Tensor:
    """Give each column mean 0 and deviation 1; constant columns become 0."""
    deviation = x.std(dim=0)
    return (x - x.mean(dim=0)) / torch.where(deviation > 0, deviation, torch.ones_like(deviation))


def load_wikics(root: Path) -> Data:
    """Load WikiCS from ``root/WikiCS``: undirected, 20 splits, validated on the stopping masks.

    Source: Mernyei & Cangea 2020 (arXiv 2007.02901).
    """
    from torch_geometric.datasets import WikiCS

    folder = root / 'WikiCS'
    data = load_dataset(
        WikiCS, folder, ['data.json'], (str(folder),), 'data_undirected.pt', is_undirected=True
    )[0]
    data.val_mask = data.stopping_mask
    del data.stopping_mask
    return data


def load_ogbn(root: Path, name: str) -> Data:
    """Load a graph of the Open Graph Benchmark from ``root/ogbn_<name>``, made undirected.

    Source: Hu et al. 2020 (arXiv 2005.00687).

    Raises:
        ImportError: If the package ``ogb`` is not installed.
    """
    try:
        from ogb.nodeproppred import PygNodePropPredDataset
    except ImportError as error:
        raise ImportError(missing_package('get_data', error.name or 'ogb', 'ogb')) from error
    folder = root / name.replace('-', '_')
    with _asking_nobody(), _trusting_pygs_containers():
        dataset = load_dataset(
            PygNodePropPredDataset, folder, OGB_FILES, (name, str(root)),
            'geometric_data_processed.pt',
        )  # fmt: skip
        split = dataset.get_idx_split()
    data = dataset[0]
    edge_index = to_undirected(data.edge_index, num_nodes=data.num_nodes)
    out = Data(x=data.x, edge_index=edge_index, y=data.y.view(-1))
    for key, ids in (('train', 'train'), ('val', 'valid'), ('test', 'test')):
        mask = torch.zeros(data.num_nodes, dtype=torch.bool)
        mask[split[ids]] = True
        out[f'{key}_mask'] = mask
    return out


def _trusting_pygs_containers() -> AbstractContextManager[None]:
    """Let ``torch.load(weights_only=True)``, which OGB relies on, read what OGB has written."""
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    trust: Any = getattr(torch.serialization, 'safe_globals', None)
    if trust is None:  # PyTorch before 2.5 reads anything by default
        return nullcontext()
    return trust([DataEdgeAttr, DataTensorAttr, GlobalStorage])


@contextmanager
def _asking_nobody() -> Iterator[None]:
    """Answer OGB's questions: yes to a large download, no to replacing what is there."""
    ask: Callable[..., str] = builtins.input
    builtins.input = lambda question='': 'y' if 'proceed' in str(question) else 'n'
    try:
        yield
    finally:
        builtins.input = ask
