"""A graph that fits a hand: three rings of eight nodes, each a class, loosely joined."""

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_geometric_autoscale import models
from torch_geometric_autoscale.training import TrainSettings

CLASSES, RING = 3, 8
N = CLASSES * RING


def tiny_data(train: tuple[int, ...] = (0, 1, 8, 9, 16, 17), labels: int = 1) -> Data:
    """Undirected rings 0-7, 8-15 and 16-23 with edges 7-8 and 15-16 between them."""
    node = torch.arange(N)
    ring = torch.stack([node, node // RING * RING + (node + 1) % RING])
    bridge = torch.tensor([[7, 15], [8, 16]])
    one_way = torch.cat([ring, bridge], dim=1)
    generator = torch.Generator().manual_seed(0)
    y = node // RING
    x = torch.randn(N, 5, generator=generator)
    x[:, :CLASSES] += torch.eye(CLASSES)[y]
    train_mask = torch.zeros(N, dtype=torch.bool)
    train_mask[list(train)] = True
    rest = node % RING
    data = Data(x=x, edge_index=torch.cat([one_way, one_way.flip(0)], dim=1), y=y)
    if labels > 1:
        data.y = torch.stack([(y >= i).float() for i in range(labels)], dim=1)
    data.train_mask = train_mask
    data.val_mask = ((rest == 3) | (rest == 4)) & ~train_mask
    data.test_mask = (rest > 4) & ~train_mask
    return data


def tiny_ptr(num_parts: int = 6) -> Tensor:
    """Contiguous parts of equal size."""
    return torch.arange(0, N + 1, N // num_parts)


def tiny_model(
    seed: int = 0, out_channels: int = CLASSES, num_layers: int = 2, **options: object
) -> models.GCN:
    """A model with one table less than layers."""
    torch.manual_seed(seed)
    return models.GCN(N, 5, 8, out_channels, num_layers, **{'dropout': 0.3, **options})


def tiny_settings(**changes: object) -> TrainSettings:
    return TrainSettings(**{'epochs': 3, 'batch_size': 2, 'measure_memory': False, **changes})
