"""Graph, partition and model of a job, made from its resolved settings."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData
from torch_geometric.utils import add_remaining_self_loops

from .. import models
from ..conversion.as_model import ConvertedGNN, build_module
from ..datasets import get_data
from ..errors import explain
from ..normalize import gcn_normalize
from ..partition import PartitionQuality, partition, partition_quality, permute
from ..scalable import ScalableGNN

MODELS: Mapping[str, type[ScalableGNN]] = {
    cls.__name__.lower(): cls
    for cls in (
        models.GCN, models.GAT, models.APPNP, models.GCN2, models.PNA, models.PNA_JK, models.GIN,
        models.SAGE,
    )
}  # fmt: skip

UNMODIFIED = 'pyg'  # any module of the user's choice, converted
NODES_PER_PART = 2000


@dataclass
class Job:
    """What a job works on.

    Attributes:
        data: The graph in the order of ``perm``, normalised if asked for, one split.
        perm: ``(N,)``; row ``i`` of ``data`` is node ``perm[i]`` of the user's graph.
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        in_channels, out_channels: Columns of the features, and classes.
        quality: Of the partition.
    """

    data: Data
    perm: Tensor
    ptr: Tensor
    in_channels: int
    out_channels: int
    quality: PartitionQuality | None = None


def load_job(settings: Mapping[str, Any]) -> Job:
    """Load and partition the graph of a new job."""
    return cut_job(settings, *load_graph(settings))


def cut_job(
    settings: Mapping[str, Any],
    data: Data,
    in_channels: int,
    out_channels: int,
    seed: int = 0,
    log: bool = True,
) -> Job:
    """Partition a prepared graph; ``seed`` is that of the partitioner."""
    num_parts = settings['num_parts']
    if num_parts == 'auto':
        num_parts = max(1, min(data.num_nodes, max(8, round(data.num_nodes / NODES_PER_PART))))
    perm, ptr = partition(
        data, num_parts, settings['partition'], seed=seed, cache_dir=settings['cache'], log=log
    )
    quality = partition_quality(data, perm, ptr)
    return Job(permute(data, perm, log=False), perm, ptr, in_channels, out_channels, quality)


def reload_job(settings: Mapping[str, Any], perm: Tensor, ptr: Tensor) -> Job:
    """Load the graph of a finished job, in the order it was trained in."""
    data, in_channels, out_channels = load_graph(settings)
    if data.num_nodes != perm.numel():
        raise ValueError(
            explain('pygas', f'the graph must be the one of the run, with {perm.numel()} nodes',
                    f'{data.num_nodes} nodes', 'Pass --root, or --dataset for a moved file.')
        )  # fmt: skip
    return Job(permute(data, perm, log=False), perm, ptr, in_channels, out_channels)


def load_graph(settings: Mapping[str, Any]) -> tuple[Data, int, int]:
    """The prepared graph, in the user's node order; columns of its features, and classes."""
    data, in_channels, out_channels = get_data(settings['root'], settings['dataset']['name'])
    if isinstance(data, HeteroData):
        raise ValueError(
            explain('pygas', 'the graph must have one type of nodes', ', '.join(data.node_types),
                    "Convert a model of your own with 'autoscale': docs/heterogeneous.md.")
        )  # fmt: skip
    return prepare(data, settings), in_channels, out_channels


def prepare(data: Data, settings: Mapping[str, Any]) -> Data:
    """A copy with one split, and with self-loops and normalised where asked for."""
    data = copy(data)
    for name in ('train_mask', 'val_mask', 'test_mask'):
        mask = data.get(name)
        if mask is not None and mask.dim() == 2:
            split = _split(settings['dataset']['split'], settings['seed'], mask.size(1))
            data[name] = mask[:, split]
    if settings['model']['name'] == UNMODIFIED:
        return data  # operators of PyG's normalise by themselves
    loops = settings.get('self_loops', 'same')
    loops = settings['normalize'] if loops == 'same' else loops
    if settings['normalize']:
        return gcn_normalize(data, add_self_loops=loops)
    return _with_self_loops(data) if loops else data


def _with_self_loops(data: Data) -> Data:
    """The graph with one self-loop at every node; other attributes of edges are left out."""
    weight = data.get('edge_weight')
    for name in list(data.keys()):
        if name != 'edge_index' and data.is_edge_attr(name):
            del data[name]
    data.edge_index, weight = add_remaining_self_loops(
        data.edge_index, weight, num_nodes=data.num_nodes
    )
    if weight is not None:
        data.edge_weight = weight
    return data


def _split(split: Any, seed: int, num_splits: int) -> int:
    if split is None:
        return seed % num_splits
    if isinstance(split, bool) or not isinstance(split, int) or not 0 <= split < num_splits:
        raise ValueError(
            explain('pygas train', f"'dataset.split' must lie in [0, {num_splits})",
                    repr(split), 'Leave it out to pick by the seed.')
        )  # fmt: skip
    return split


def parts_per_batch(settings: Mapping[str, Any], ptr: Tensor) -> int:
    """``batch_size``, at most all of them; ``auto`` is an eighth."""
    num_parts = ptr.numel() - 1
    if settings['batch_size'] == 'auto':
        return max(1, num_parts // 8)
    return settings['batch_size']


def build_model(settings: Mapping[str, Any], job: Job, **changes: Any) -> ScalableGNN:
    """The model of a job with fresh parameters, drawn with the job's seed."""
    options = {**settings['model'], **changes}
    name = options.pop('name')
    if name == UNMODIFIED:
        return _build_unmodified(settings, options, job)
    cls = MODELS[name]
    if issubclass(cls, (models.PNA, models.PNA_JK)):
        options['deg'] = degree_histogram(job.data)
    torch.manual_seed(settings['seed'])
    num_nodes = job.perm.numel()
    width, num_layers = options.pop('hidden_channels'), options.pop('num_layers')
    model = cls(num_nodes, job.in_channels, width, job.out_channels, num_layers, **options)
    if settings.get('edge_dropout'):
        models.drop_edges_in_training(model, settings['edge_dropout'])
    return model


def _build_unmodified(
    settings: Mapping[str, Any], options: dict[str, Any], job: Job
) -> ConvertedGNN:
    path, args = options.pop('module'), options.pop('args')
    channels = {'in_channels': job.in_channels, 'out_channels': job.out_channels, **options}
    torch.manual_seed(settings['seed'])
    return ConvertedGNN(build_module(path, channels, args), job.data, job.ptr)


def degree_histogram(data: Data) -> Tensor:
    """How many nodes have 0, 1, 2, ... edges into them, as PyG's ``PNAConv`` counts them."""
    degrees = torch.bincount(data.edge_index[1], minlength=data.num_nodes)
    return torch.bincount(degrees)


def find_device(name: Any) -> torch.device:
    """A device from ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or the number of a GPU.

    Raises:
        ValueError: If there is no such device on this machine.
    """
    text = str(name).lower()
    if text == 'auto':
        text = 'cuda' if torch.cuda.is_available() else 'cpu'
    if text.isdigit():
        text = f'cuda:{text}'
    kind, _, index = text.partition(':')
    if text != 'cpu' and (kind != 'cuda' or not (index.isdigit() or index == '')):
        raise ValueError(
            explain('pygas', "'device' must be auto, cpu, cuda or the number of a GPU",
                    repr(name), 'Leave it out to take the best one.')
        )  # fmt: skip
    if kind == 'cuda' and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(
            explain('pygas', "'device' must be one that this machine has",
                    f'{name!r} with {torch.cuda.device_count()} GPUs', 'Use device=cpu.')
        )  # fmt: skip
    return torch.device(text)
