"""``generate_graph``: large graphs with what matters of real ones, drawn to a disk in pieces."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from os import PathLike
from pathlib import Path

import numpy as np

from ..graph_folder import GraphFolder, GraphWriter
from ..graph_folder.arrays import release
from ..graph_folder.edge_chunks import EdgeChunk
from ..graph_folder.writer import check_target
from ..ingest.job import Job
from ..ingest.job_state import JobState, can_go_on
from ..ingest.table import Position
from ..progress import say
from .blocks import draw_communities, nested
from .matching import Matching, draw_degrees, random_numbers
from .nodes import NodeValues
from .recipe import WHO, Recipe


def generate_graph(
    path: str | PathLike[str],
    num_nodes: int,
    avg_degree: float = 10,
    num_features: int = 64,
    num_classes: int = 16,
    seed: int = 0,
    *,
    exponent: float = 2.5,
    signal: float = 0.15,
    label_noise: float = 0.1,
    train: float = 0.5,
    val: float = 0.25,
    overwrite: bool = False,
    restart: bool = False,
    log: bool = True,
) -> GraphFolder:
    """Draw a graph with power-law degrees, nested communities and features that tell its classes.

    A degree-corrected block model (Karrer & Newman 2011, arXiv 1008.3926), nested (Peixoto 2014,
    arXiv 1310.4377), with degrees and sizes of communities as in LFR graphs (Lancichinetti,
    Fortunato & Radicchi 2008, arXiv 0805.4770):

    * every node has a number of stubs, by a power law with ``exponent`` up to the square root of
      the number of edges;
    * communities have 64 to 1024 nodes, by a power law with exponent 2; 16 of them are a block, 16
      of those a larger one, and so on, up to all nodes;
    * a node spends 75% of its stubs within its community, 75% of what is left within its block,
      and so on; the stubs that a block is given are matched at random. Self-loops go, equal
      edges become one, and every edge is there both ways.

    So degrees are those that were drawn but for loops, equal edges and odd stubs, where the block
    model has them in expectation; blocks are equally mixed at all levels, where LFR has one level;
    a node has at most one stub in a block for 8 nodes of it, so that hubs join blocks, which LFR
    asks of the sizes of communities instead.

    Every community has a class. ``x`` is ``signal`` times a normal centre of that class, plus
    normal noise; ``y`` is that class, or any with probability ``label_noise``. ``community`` is
    kept too. Ids of nodes are shuffled: they tell nothing of the communities.

    Time is linear in edges, memory in nodes. What was stopped is gone on with by the same call.
    Equal arguments give equal bytes, with the same NumPy.

    Args:
        path: The graph folder to make.
        num_nodes: Number of nodes, from 128 on.
        avg_degree: Edges into a node, on average, before loops and equal edges go.
        num_features: Columns of ``x``.
        num_classes: Number of classes.
        seed: Of all random numbers; no global generator is touched.
        exponent: Of the degrees' power law, above 2.
        signal: Length of the centres against the noise, per column.
        label_noise: Share of nodes with a random label.
        train, val: Share of the nodes in these splits; the rest is for testing.
        overwrite: Whether a graph folder at ``path`` may be replaced.
        restart: Whether to forget what an earlier call has left.
        log: Print one line when done.

    Raises:
        FileExistsError: ``path`` exists.
        OSError: The disk is full or cannot be written to.
        TypeError, ValueError: A number is of another type or out of range, or an earlier call that
            was stopped had other ones.
    """
    started = time.perf_counter()
    recipe = Recipe(
        num_nodes, float(avg_degree), num_features, num_classes, seed, float(exponent),
        float(signal), float(label_noise), float(train), float(val),
    )  # fmt: skip
    target = Path(path)
    check_target(target, overwrite, WHO)
    identity = {'files': {}, 'options': {**asdict(recipe), 'numpy': np.__version__}}
    going_on = not restart and can_go_on(target.with_name(f'{target.name}.part'), identity, WHO)
    metadata = {name: f'{value:g}' for name, value in asdict(recipe).items()}
    writer = GraphWriter(
        target, num_nodes, metadata={'source': WHO, **metadata},
        overwrite=overwrite, resume=going_on, who=WHO,
    )  # fmt: skip
    try:
        _fill(Job(writer, JobState(writer.part, identity, going_on), WHO), recipe)
        writer.finish()
    except BaseException:
        writer.abandon(keep_part=True)
        raise
    folder = GraphFolder(target)
    if log:
        seconds = time.perf_counter() - started
        say(
            f"Generated {folder.num_nodes:,} nodes and {folder.num_edges:,} edges in '{target}'... "
            f'{seconds:.1f} s'
        )
    return folder


def _fill(job: Job, recipe: Recipe) -> None:
    communities = draw_communities(recipe.num_nodes, random_numbers(recipe.seed, 'sizes'))
    # Node i stands at place[i] in the order of communities; the node at place p is at[p].
    at = random_numbers(recipe.seed, 'ids').permutation(recipe.num_nodes).astype(np.int32)
    place = np.empty_like(at)
    place[at] = np.arange(recipe.num_nodes, dtype=np.int32)
    _draw_nodes(job, recipe, NodeValues(recipe, communities, place))
    del place
    degrees = draw_degrees(recipe, random_numbers(recipe.seed, 'degrees'))
    matching = Matching(degrees, nested(communities), recipe.seed)
    _draw_edges(job, matching, at)


def _draw_nodes(job: Job, recipe: Recipe, values: NodeValues) -> None:
    arrays: dict[str, np.ndarray] = {
        name: job.writer.add(name, (recipe.num_nodes, *shape), dtype, 'node')
        for name, (shape, dtype) in values.arrays().items()
    }

    def draw(position: Position) -> Iterator[tuple[Position, int]]:
        for last, count in values.copy_to(arrays, position or 0):
            for array in arrays.values():
                release(array)
            yield last, count

    job.step('nodes', 'Drawing nodes', recipe.num_nodes, 'node', draw)


def _draw_edges(job: Job, matching: Matching, at: np.ndarray) -> None:
    drawn = job.state.facts('draw') if job.state.is_done('draw') else 0
    is_sorted = job.state.is_done('merge')

    with job.spool(np.dtype(np.int32), {}, 0 if is_sorted else drawn) as spool:
        spool.num_edges = drawn

        def draw(_: Position) -> Iterator[tuple[Position, int]]:
            for first, second, count in matching.pairs():
                spool.append(EdgeChunk(at[first], at[second], {}))
                yield None, count

        job.step('draw', 'Drawing edges', matching.num_stubs, 'stub', draw, lambda: spool.num_edges)
        job.close_spool()
    job.sort_edges(spool, undirected=True)
