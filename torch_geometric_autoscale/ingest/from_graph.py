"""Conversion of what is one graph already: a ``Data`` or an ``.npz`` file."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..errors import explain
from ..graph_folder.edge_chunks import EdgeStream
from .job import Job
from .memory_graph import MemoryGraph
from .npz_graph import NpzGraph
from .options import Options
from .rows import Rows, open_rows
from .table import Position


def fill_from_memory(
    job: Job, graph: MemoryGraph, options: Options, values: Mapping[str, Any]
) -> None:
    """Convert a ``Data``; ``values`` come in the place of attributes of the same names."""
    job.writer.num_nodes = check_num_nodes(graph.num_nodes, options, job.who)
    job.writer.metadata |= graph.texts
    given = open_all(values, graph.num_nodes, job.who)
    rows = {**graph.rows, **given}
    _reserve(job, graph.edges, options, [(entry.shape, entry.dtype) for entry in rows.values()])
    for name, entry in rows.items():
        job.copy_rows(name, entry)
    for name, tensor in graph.others.items():
        job.writer.write(name, tensor, 'graph')
    job.sort_edges(graph.edges, options.undirected)


def fill_from_npz(job: Job, graph: NpzGraph, options: Options, values: Mapping[str, Any]) -> None:
    """Convert an ``.npz`` file; ``values`` come in the place of arrays of the same names."""
    job.writer.num_nodes = check_num_nodes(graph.num_nodes, options, job.who)
    given = open_all(values, graph.num_nodes, job.who)
    kept = {name: kind for name, kind in graph.rows.items() if name not in given}
    sizes = [*kept.values(), *((entry.shape, entry.dtype) for entry in given.values())]
    _reserve(job, graph.edges, options, sizes)
    for name, entry in given.items():
        job.copy_rows(name, entry)
    arrays = {name: job.writer.add(name, *kind, 'node') for name, kind in kept.items()}
    for name, mapped in arrays.items():  # labels before masks, which they are checked against

        def copy(
            position: Position, name: str = name, mapped: np.ndarray = mapped
        ) -> Iterator[tuple[Position, int]]:
            yield from graph.copy_to(name, mapped, job.writer['y'], position or 0)

        job.step(f'rows of {name}', f"Copying '{name}'", graph.num_nodes, 'row', copy)
    job.sort_edges(graph.edges, options.undirected)


def check_num_nodes(found: int, options: Options, who: str, where: str = 'the graph') -> int:
    """The number of nodes, if what was said of it agrees with what was found."""
    if options.num_nodes not in (None, found):
        raise ValueError(
            explain(who, f"'num_nodes' must agree with {where}, {found:,}",
                    f'{options.num_nodes:,}', 'Leave it out.')
        )  # fmt: skip
    return found


def open_all(values: Mapping[str, Any], num_nodes: int | None, who: str) -> dict[str, Rows]:
    """Node-level values that a caller gave, opened.

    Raises:
        ValueError: One has another number of rows.
    """
    opened = {name: open_rows(value, name, num_nodes, who) for name, value in values.items()}
    for name, rows in opened.items():
        wanted = num_nodes if num_nodes is not None else next(iter(opened.values())).shape[0]
        if rows.shape[:1] != (wanted,):
            raise ValueError(
                explain(who, f"'{name}' must have one row per node ({wanted:,})",
                        f'shape {rows.shape}', 'All values must be of the same nodes.')
            )  # fmt: skip
    return opened


def _reserve(
    job: Job, edges: EdgeStream, options: Options, rows: list[tuple[tuple[int, ...], np.dtype]]
) -> None:
    """Have a disk without room refused before anything is written."""
    edge_bytes = 4 + sum(
        dtype.itemsize * int(np.prod(shape, dtype=np.int64))
        for dtype, shape in edges.values.values()
    )
    num_edges = edges.num_edges * (4 if options.undirected else 1)  # both, before and after merging
    size = sum(dtype.itemsize * int(np.prod(shape, dtype=np.int64)) for shape, dtype in rows)
    if not job.state.has_begun:
        job.writer.reserve(size + num_edges * edge_bytes + 8 * (job.writer.num_nodes or 0))
