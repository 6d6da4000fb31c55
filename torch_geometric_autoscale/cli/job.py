"""Graph, partition and model of a job, made from its resolved settings."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from .. import models
from ..conversion.as_model import ConvertedGNN, build_module
from ..datasets import get_data
from ..errors import explain
from ..graph_input import to_edges
from ..normalize import add_self_loops, gcn_normalize
from ..partition import PartitionQuality, best_method, partition, partition_quality, permute
from ..progress import phase
from ..scalable import ScalableGNN
from ..sparse_rows import SparseRows
from .cut_graph import CutGraph, cut_graph, folder_of, parts_of, recut_graph

MODELS: Mapping[str, type[ScalableGNN]] = {
    cls.__name__.lower(): cls
    for cls in (
        models.GCN, models.GAT, models.APPNP, models.GCN2, models.PNA, models.PNA_JK, models.GIN,
        models.SAGE,
    )
}  # fmt: skip

UNMODIFIED = 'pyg'  # any module of the user's choice, converted


@dataclass
class Job:
    """What a job works on.

    Attributes:
        data: The graph in the order of ``perm``, normalised if asked for, one split.
        perm: ``(N,)``; row ``i`` of ``data`` is node ``perm[i]`` of the user's graph.
        ptr: ``(num_parts + 1,)`` bounds of the partitions.
        in_channels, out_channels: Columns of the features, and classes.
        quality: Of the partition.
        method: What made the partition.
        is_mapped: Whether the graph is mapped from a folder.
    """

    data: Data
    perm: Tensor
    ptr: Tensor
    in_channels: int
    out_channels: int
    quality: PartitionQuality | None = None
    method: str = ''
    is_mapped: bool = False


def load_job(settings: Mapping[str, Any]) -> Job:
    """Load and partition the graph of a new job.

    A mapped graph is partitioned first and prepared afterwards: both without reading it whole.
    """
    data, in_channels, out_channels = read_graph(settings)
    source = folder_of(data)
    if source is None:
        with phase('Preparing the graph'):
            data = prepare(data, settings)
        return cut_job(settings, data, in_channels, out_channels)
    cut = cut_graph(source, data, settings['num_parts'], settings, seed=0, log=True)
    return prepared_job(cut, settings, in_channels, out_channels)


def prepared_job(
    cut: CutGraph, settings: Mapping[str, Any], in_channels: int, out_channels: int
) -> Job:
    """The job of a mapped graph that is cut."""
    with phase('Preparing the graph'):
        data = prepare(cut.data, settings)
    return Job(
        data, cut.perm, cut.ptr, in_channels, out_channels, cut.quality, cut.method, is_mapped=True
    )


def cut_job(
    settings: Mapping[str, Any],
    data: Data,
    in_channels: int,
    out_channels: int,
    seed: int = 0,
    log: bool = True,
    cut: tuple[Tensor, Tensor] | None = None,
) -> Job:
    """Partition a prepared graph; ``seed`` is that of the partitioner, ``cut`` a known result."""
    num_parts = parts_of(settings['num_parts'], data.num_nodes)
    method = settings['partition']
    perm, ptr = cut or partition(
        data, num_parts, method, seed=seed, cache_dir=settings['cache'], log=log
    )
    with phase('Measuring the cut'):
        quality = partition_quality(data, perm, ptr)
    method = best_method(data) if method == 'auto' else method
    return Job(_permuted(data, perm), perm, ptr, in_channels, out_channels, quality, method)


def _permuted(data: Data, perm: Tensor) -> Data:
    with phase('Sorting the graph by part'):
        return permute(data, perm, log=False)


def reload_job(settings: Mapping[str, Any], perm: Tensor, ptr: Tensor) -> Job:
    """Load the graph of a finished job, in the order it was trained in."""
    data, in_channels, out_channels = read_graph(settings)
    if data.num_nodes != perm.numel():
        raise ValueError(
            explain('pygas', f'the graph must be the one of the run, with {perm.numel()} nodes',
                    f'{data.num_nodes} nodes', 'Pass --root, or --dataset for a moved file.')
        )  # fmt: skip
    source = folder_of(data)
    if source is not None:
        cut = recut_graph(source, data, perm, ptr, settings, seed=0)
        return prepared_job(cut, settings, in_channels, out_channels)
    with phase('Preparing the graph'):
        data = prepare(data, settings)
    method = settings['partition']
    method = best_method(data) if method == 'auto' else method
    return Job(_permuted(data, perm), perm, ptr, in_channels, out_channels, method=method)


def read_graph(settings: Mapping[str, Any]) -> tuple[Data, int, int]:
    """The graph, in the user's node order; columns of its features, and classes."""
    name = settings['dataset']['name']
    with phase(f'Reading {Path(str(name)).name}'):
        data, in_channels, out_channels = get_data(settings['root'], name)
    if isinstance(data, HeteroData):
        raise ValueError(
            explain('pygas', 'the graph must have one type of nodes', ', '.join(data.node_types),
                    "Convert a model of your own with 'autoscale': docs/heterogeneous.md.")
        )  # fmt: skip
    return data, in_channels, out_channels


def prepare(data: Data, settings: Mapping[str, Any]) -> Data:
    """A copy with one split, and with sparse features, self-loops, normalised as asked for."""
    data = with_features(data, settings.get('features', 'dense'))
    for name in ('train_mask', 'val_mask', 'test_mask'):
        mask = data.get(name)
        if mask is not None and mask.dim() == 2:
            split = _split(settings['dataset']['split'], settings['seed'], mask.size(1))
            data[name] = mask[:, split]
    if settings['model']['name'] == UNMODIFIED:
        return data  # operators of PyG's normalise by themselves
    loops = adds_self_loops(settings)
    if settings['normalize']:
        return gcn_normalize(data, add_self_loops=loops)
    return add_self_loops(data) if loops else data


def adds_self_loops(settings: Mapping[str, Any]) -> bool:
    """Whether self-loops that are missing are added."""
    loops = settings.get('self_loops', 'same')
    return bool(settings['normalize'] if loops == 'same' else loops)


def with_features(data: Data, form: str) -> Data:
    """A copy whose features are kept ``'dense'``, as they are, or ``'sparse'``."""
    if form not in ('dense', 'sparse'):
        raise ValueError(
            explain('pygas', "'features' must be dense or sparse", repr(form),
                    'Use sparse for features that are mostly zeros, such as bags of words.')
        )  # fmt: skip
    data = copy(data)
    if form == 'sparse' and data.x is not None:
        data.x = SparseRows.from_dense(data.x)
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


def build_model(
    settings: Mapping[str, Any], job: Job, *, verify: bool = True, **changes: Any
) -> ScalableGNN:
    """The model of a job with fresh parameters, drawn with the job's seed.

    Args:
        verify: Whether the conversion of an unmodified model is checked.
        changes: Options of the model.
    """
    options = {**settings['model'], **changes}
    name = options.pop('name')
    if name == UNMODIFIED:
        return _build_unmodified(settings, options, job, verify)
    cls = MODELS[name]
    if issubclass(cls, (models.PNA, models.PNA_JK)):
        options['deg'] = degree_histogram(job.data)
    torch.manual_seed(settings['seed'])
    num_nodes = job.perm.numel()
    width, num_layers = options.pop('hidden_channels'), options.pop('num_layers')
    model = cls(num_nodes, job.in_channels, width, job.out_channels, num_layers, **options)
    p = settings.get('edge_dropout')
    if p:
        models.drop_edges_in_training(model, p)
        vars(model)['edge_dropout'] = p  # a hook is not compared when a training is resumed
    return model


def _build_unmodified(
    settings: Mapping[str, Any], options: dict[str, Any], job: Job, verify: bool
) -> ConvertedGNN:
    path, args = options.pop('module'), options.pop('args')
    channels = {'in_channels': job.in_channels, 'out_channels': job.out_channels, **options}
    torch.manual_seed(settings['seed'])
    module = build_module(path, channels, args)
    with phase('Converting the model'):
        return ConvertedGNN(module, job.data, job.ptr, verify)


def degree_histogram(data: Data) -> Tensor:
    """How many nodes have 0, 1, 2, ... edges into them, as PyG's ``PNAConv`` counts them."""
    edges = to_edges(data, who='pygas')
    if edges.rowptr is not None:
        return torch.bincount(edges.rowptr.diff())
    return torch.bincount(torch.bincount(edges.edge_index[1], minlength=edges.num_nodes))


def num_proper_edges(data: Data) -> int:
    """Edges besides self-loops."""
    pieces = to_edges(data, who='pygas').pieces()
    return sum(int((source != target).sum()) for source, target in pieces)


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
