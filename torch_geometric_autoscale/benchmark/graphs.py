"""The graph of an experiment, cut and ready for a run, and how its scores are taken."""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..cli.job import Job, cut_job, prepare, with_features
from ..datasets import get_data, split_graphs
from ..errors import explain
from ..graph_input import to_edges
from ..loader import EvalSubgraphLoader
from ..metrics import compute_micro_f1
from ..partition import partition_quality, permute
from ..scalable import ScalableGNN
from ..training.loop import Evaluate
from .experiment import Experiment
from .stand_in import make_stand_in, scale_down

Loaded = tuple[Data, int, int]


@dataclass
class RunGraph:
    """What a run works on.

    Attributes:
        settings: Of the experiment, with the seed of the run, scaled down for a stand-in.
        job: The training graph.
        evaluate: How scores are taken, where other graphs are validated and tested on.
        unnormalized: The training graph with the edges and weights that it came with, where each
            induced subgraph is normalised by itself.
    """

    settings: dict[str, Any]
    job: Job
    evaluate: Evaluate | None = None
    unnormalized: Data | None = None


def load(experiment: Experiment) -> Loaded:
    """The data set of an experiment, or its stand-in, with all splits."""
    settings = experiment.settings
    name = settings['dataset']['name']
    loaded = make_stand_in(name) if settings['fake'] else get_data(settings['root'], name)
    data, in_channels, out_channels = loaded
    return with_features(data, settings['features']), in_channels, out_channels


def cut(experiment: Experiment, loaded: Loaded, seed: int) -> RunGraph:
    """Prepare and partition the graph for the run with a seed.

    A full batch is one part. Random parts are other ones for each seed; METIS's are the same.
    """
    data, in_channels, out_channels = loaded
    settings = {**experiment.settings, 'seed': seed}
    if settings['fake']:
        settings = scale_down(settings)
    if settings['mode'] == 'full':
        settings.update(num_parts=1, batch_size=1)
    graphs = [data]
    if 'graph_id' in data:
        graphs = [_bare(graph) for graph in split_graphs(data)]
    train, *others = (prepare(graph, settings) for graph in graphs)
    if settings['partition'] == 'graphs' and settings['mode'] != 'full':
        train_ids = data.graph_id[data.train_mask] if others else None
        settings, job = _cut_between_graphs(settings, train, train_ids, in_channels, out_channels)
    else:
        first = seed == experiment.seeds[0]
        own = seed if settings['partition'] == 'random' else 0
        job = cut_job(settings, train, in_channels, out_channels, own, log=first)
    evaluate = scores_on_other_graphs(job.data, *others) if others else None
    unnormalized = None
    if settings['mode'] == 'subgraph' and settings['normalize']:
        unnormalized = _with_edges_of(graphs[0], job)
    return RunGraph(settings, job, evaluate, unnormalized)


def _with_edges_of(graph: Data, job: Job) -> Data:
    """The graph of a job with the edges of another that has its nodes, in the job's order."""
    edges = to_edges(graph, who='pygas')
    bare = Data(edge_index=edges.edge_index, num_nodes=edges.num_nodes)
    if edges.weight is not None:
        bare.edge_weight = edges.weight
    bare = permute(bare, job.perm, log=False)
    out = copy(job.data)
    out.edge_index, out.edge_weight = bare.edge_index, bare.get('edge_weight')
    return out


def _cut_between_graphs(
    settings: dict[str, Any],
    data: Data,
    graph_id: Tensor | None,
    in_channels: int,
    out_channels: int,
) -> tuple[dict[str, Any], Job]:
    """One part for each graph, and as many batches as the parts of the settings would make."""
    if graph_id is None:
        raise ValueError(
            explain('pygas', "'partition' must not be graphs where a data set is one graph",
                    settings['dataset']['name'], 'Pass metis or another method.')
        )  # fmt: skip
    sizes = graph_id.unique_consecutive(return_counts=True)[1]
    ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])
    perm = torch.arange(data.num_nodes)
    quality = partition_quality(data, perm, ptr)
    num_parts, batch_size = settings['num_parts'], settings['batch_size']
    if isinstance(num_parts, int) and isinstance(batch_size, int):
        batch_size = max(1, round(batch_size * sizes.numel() / num_parts))
    settings = {**settings, 'num_parts': sizes.numel(), 'batch_size': batch_size}
    return settings, Job(data, perm, ptr, in_channels, out_channels, quality)


def _bare(graph: Data) -> Data:
    """A graph on its own, all of whose nodes count."""
    every = torch.ones(graph.num_nodes, dtype=torch.bool)
    return Data(x=graph.x, edge_index=graph.edge_index, y=graph.y, train_mask=every)


def scores_on_other_graphs(train: Data, val: Data, test: Data) -> Evaluate:
    """Micro F1 in percent, on the training graph and on graphs that no history belongs to."""
    loaders = {name: _as_one_part(graph) for name, graph in (('val', val), ('test', test))}

    def evaluate(model: ScalableGNN, logits: Tensor) -> Mapping[str, float]:
        outputs = {'train': logits, **{name: model(loader=loaders[name]) for name in loaders}}
        graphs = {'train': train, 'val': val, 'test': test}
        return {
            name: 100 * compute_micro_f1(outputs[name].cpu(), graphs[name].y) for name in graphs
        }

    return evaluate


def _as_one_part(graph: Data) -> EvalSubgraphLoader:
    return EvalSubgraphLoader(graph, torch.tensor([0, graph.num_nodes]), log=False)
