"""Data sets of many graphs, joined into one, with masks that tell the graphs' splits."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path

import torch
from torch_geometric.data import Batch, Data

from torch_geometric_autoscale.datasets.pyg import load_dataset

SPLITS = ('train', 'val', 'test')


def load_ppi(root: Path) -> Data:
    """Load the 24 protein graphs from ``root/PPI`` as one graph, with masks by graph.

    20 graphs are for training, 2 each for validation and testing; no edge joins two graphs. Several
    labels per node. ``split_graphs`` takes them apart again for inductive training.

    Source: Zitnik & Leskovec 2017 (arXiv 1707.04638); Hamilton et al. 2017.
    """
    from torch_geometric.datasets import PPI

    parts = ('feats.npy', 'graph_id.npy', 'graph.json', 'labels.npy')
    files = [f'{split}_{part}' for split, part in product(('train', 'valid', 'test'), parts)]
    folder = root / 'PPI'
    return join_graphs(
        {
            split: list(load_dataset(PPI, folder, files, (str(folder), split), f'{split}.pt'))
            for split in SPLITS
        }
    )


def load_sbm(root: Path, name: str) -> Data:
    """Load CLUSTER or PATTERN from ``root/name`` as one graph, with masks by graph.

    Source: Dwivedi et al. 2020 (arXiv 2003.00982).
    """
    from torch_geometric.datasets import GNNBenchmarkDataset

    files = [f'{name}_v2.pt']
    return join_graphs(
        {
            split: list(
                load_dataset(
                    GNNBenchmarkDataset, root / name, files, (str(root), name, split),
                    f'{split}_data.pt',
                )
            )
            for split in SPLITS
        }
    )  # fmt: skip


def join_graphs(graphs: dict[str, list[Data]]) -> Data:
    """One graph of all graphs, with ``train_mask``, ``val_mask``, ``test_mask`` by split."""
    every = [Data(x=g.x, edge_index=g.edge_index, y=g.y) for s in SPLITS for g in graphs[s]]
    joined = Batch.from_data_list(every)
    data = Data(x=joined.x, edge_index=joined.edge_index, y=joined.y)
    data.graph_id = joined.batch
    sizes = [sum(_rows(g) for g in graphs[split]) for split in SPLITS]
    split_of = torch.repeat_interleave(torch.arange(len(SPLITS)), torch.tensor(sizes))
    for i, split in enumerate(SPLITS):
        data[f'{split}_mask'] = split_of == i
    return data


def split_graphs(data: Data) -> tuple[Data, Data, Data]:
    """Take the training, validation and test graphs of a joined graph apart.

    Returns:
        Three graphs, each with the nodes of one mask and the edges among them.
    """
    masks: Iterable[torch.Tensor] = (data[f'{split}_mask'] for split in SPLITS)
    train, val, test = (data.subgraph(mask) for mask in masks)
    return train, val, test


def _rows(graph: Data) -> int:
    assert graph.x is not None
    return graph.x.size(0)
