"""A job whose settings are planned to fit a memory."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from ..errors import explain
from ..graph_folder import GraphFolder
from ..partition import best_method
from ..planner.calibration import Calibration
from ..planner.choice import Choice
from ..planner.facts import GraphFacts, facts_of
from ..planner.graphs import PlannedGraph, RealGraph, method_of
from ..planner.halos import BatchSizes
from ..planner.pieces import Piece
from ..planner.plan import Plan
from ..planner.planner import Planner
from ..planner.process import is_out_of_memory
from ..planner.terms import Terms
from ..planner.wishes import Wishes
from ..progress import phase
from ..sizes import parse_size
from ..training.objective import build_optimizer, classification_loss
from .allocator import spare_memory, spare_page_faults
from .cut_graph import cut_graph, folder_of
from .job import UNMODIFIED, Job, build_model, cut_job, prepare, prepared_job, read_graph

WHO = 'pygas train'
# Keeping freed memory is faster, but some of it cannot be used again: so much room it takes.
_ROOMY = 1.5


def plan_job(
    settings: Mapping[str, Any], keys: Collection[str], device: torch.device
) -> tuple[dict[str, Any], Job]:
    """Plan a new job, say so, and cut its graph accordingly.

    Args:
        settings: With a ``memory``.
        keys: Options that were given by name; they stay as they are.
        device: Where it trains.

    Returns:
        The settings to follow, and the job.

    Raises:
        ValueError: Nothing fits; or the memory is no size, or too small to begin with.
    """
    memory = parse_size(WHO, 'memory', settings['memory'])
    if device.type == 'cpu':
        spare_memory()
    graph = graph_of(settings)
    found = plan_for(graph, settings, keys, memory, device, WHO)
    print(f'{found}\n')
    chosen = follow(settings, found.check(WHO).choice, found.exact_dtype)
    job = graph.job(chosen)
    if found.total * _ROOMY < memory:
        spare_page_faults()
    return chosen, job


def follow(settings: Mapping[str, Any], choice: Choice, exact_dtype: str) -> dict[str, Any]:
    """Settings with what a plan has chosen.

    Args:
        exact_dtype: The type that histories have by themselves.
    """
    dtype = 'auto' if choice.history_dtype == exact_dtype else choice.history_dtype
    return {
        **settings,
        'num_parts': choice.num_parts,
        'batch_size': choice.batch_size,
        'history': {**settings['history'], 'tier': choice.history_tier, 'dtype': dtype},
        'keep_first_propagation': choice.keep_first_propagation,
        'measure_memory': choice.measure_memory,
        'full': {**settings['full'], 'run': choice.full_batch},
    }


def plan_for(
    graph: PlannedGraph,
    settings: Mapping[str, Any],
    keys: Collection[str],
    memory: int,
    device: torch.device,
    who: str,
    channels: tuple[int, int] | None = None,
) -> Plan:
    """Plan a job.

    Args:
        graph: Its graph, or the shape of one.
        settings, keys, device: As in :func:`plan_job`.
        memory: Bytes.
        who: The command on whose behalf errors speak.
        channels: Columns of the features, and classes (default: those of the graph).
    """
    in_channels, out_channels = channels or graph.channels  # type: ignore[attr-defined]

    def make(piece: Piece) -> torch.nn.Module:
        nodes = torch.arange(piece.num_nodes)
        job = Job(piece.data, nodes, piece.ptr, in_channels, out_channels)
        return build_model(settings, job, verify=False)

    def optimizer(model: torch.nn.Module) -> torch.optim.Optimizer:
        return build_optimizer(
            model, settings['lr'], settings['reg_weight_decay'], settings['nonreg_weight_decay']
        )

    terms = Terms(
        memory, device, method_of(graph, settings['partition'], who), keeps_original=False,
        keeps_graph=settings['model']['name'] == UNMODIFIED, draws_pictures=True, who=who,
    )  # fmt: skip
    calibration = Calibration(graph, make, classification_loss, optimizer, terms)
    return Planner(graph, calibration, terms, wishes_of(settings, keys)).run()


def wishes_of(settings: Mapping[str, Any], keys: Collection[str]) -> Wishes:
    """What must stay as it is: what was given by name. Other settings are where a plan starts."""
    history, full = settings['history'], settings['full']['run']

    def number(name: str) -> int | None:
        return None if settings[name] == 'auto' else settings[name]

    num_parts, batch_size = number('num_parts'), number('batch_size')
    dtype = None if history['dtype'] == 'auto' else history['dtype']
    cache = history['cache']
    full_is_given = 'full' in keys or 'full.run' in keys
    return Wishes(
        num_parts=num_parts if 'num_parts' in keys else None,
        batch_size=batch_size if 'batch_size' in keys else None,
        usual_num_parts=num_parts,
        usual_batch_size=batch_size,
        history_tier=history['tier'] if 'history.tier' in keys else None,
        history_dtype=dtype if 'history.dtype' in keys else None,
        history_cache=0 if cache is None else parse_size(WHO, 'history.cache', cache),
        keep_first_propagation=_wish('keep_first_propagation', settings, keys),
        measure_memory=_wish('measure_memory', settings, keys),
        full_batch=full if full_is_given or not full else None,
    )


def _wish(name: str, settings: Mapping[str, Any], keys: Collection[str]) -> bool | None:
    """A switch that is on by itself may be turned off."""
    return None if settings[name] and name not in keys else settings[name]


# Graphs ##############################################################################


class JobGraph(RealGraph):
    """A graph in memory, and the job that it becomes."""

    def __init__(self, settings: Mapping[str, Any], data: Data, channels: tuple[int, int]) -> None:
        super().__init__(data, None, settings['partition'], cache_dir=settings['cache'])
        self.channels = channels

    def job(self, settings: Mapping[str, Any]) -> Job:
        """The job, with the partition that was found. The graph is let go."""
        assert self.perm is not None
        assert self.ptr is not None
        data, cut, channels = self.data, (self.perm, self.ptr), self.channels
        self.__dict__.clear()
        return cut_job(settings, data, *channels, cut=cut)


class MappedJobGraph:
    """A graph in a folder: it is cut before it is prepared, and nothing of it is in memory."""

    is_estimate = False

    def __init__(
        self, settings: Mapping[str, Any], source: Path, data: Data, channels: tuple[int, int]
    ) -> None:
        self.settings, self.source, self.data, self.channels = settings, source, data, channels
        folder = GraphFolder(source)
        taken = settings['num_parts'] == 'auto' and 'ptr' in folder
        self.given_num_parts = len(folder['ptr']) - 1 if taken else None
        self.perm: Tensor | None = None
        self.ptr: Tensor | None = None
        self._facts = facts_of(data, folder.num_nodes, folder.num_edges)
        self._cut: tuple[Job, RealGraph] | None = None

    @property
    def facts(self) -> GraphFacts:
        return self._facts if self._cut is None else self._cut[1].facts

    def cut(self, num_parts: int) -> None:
        number = 'auto' if self.given_num_parts is not None else num_parts
        cut = cut_graph(self.source, self.data, number, self.settings, seed=0, log=True)
        job = prepared_job(cut, self.settings, *self.channels)
        self._cut = job, RealGraph(job.data, job.ptr)
        self.perm, self.ptr = job.perm, job.ptr

    @property
    def best_method(self) -> str:
        return best_method(self.data)

    @property
    def _real(self) -> RealGraph:
        assert self._cut is not None
        return self._cut[1]

    def epoch(self, batch_size: int) -> BatchSizes:
        return self._real.epoch(batch_size)

    @property
    def num_halo_rows(self) -> int:
        return self._real.num_halo_rows

    def pieces(self, sizes: Sequence[tuple[int, bool]], num_chunks: int) -> Iterator[Piece]:
        return self._real.pieces(sizes, num_chunks)

    def job(self, settings: Mapping[str, Any]) -> Job:
        """The job. It is cut already."""
        assert self._cut is not None
        return self._cut[0]


def graph_of(settings: Mapping[str, Any]) -> JobGraph | MappedJobGraph:
    """Load the graph of a job, prepared as it will be trained on.

    Raises:
        ValueError: There is not enough memory to load it.
    """
    try:
        return _graph_of(settings)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise ValueError(
            explain('pygas', 'there must be memory to load the graph', str(error),
                    "Make a graph folder of it with 'pygas convert': that takes no memory.")
        ) from error  # fmt: skip


def _graph_of(settings: Mapping[str, Any]) -> JobGraph | MappedJobGraph:
    data, *channels = read_graph(settings)
    source = folder_of(data)
    if source is not None:
        return MappedJobGraph(settings, source, data, (channels[0], channels[1]))
    with phase('Preparing the graph'):
        data = prepare(data, settings)
    return JobGraph(settings, data, (channels[0], channels[1]))
