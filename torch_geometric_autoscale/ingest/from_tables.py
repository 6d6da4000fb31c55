"""Conversion of tables of edges, with or without a table of nodes."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import explain
from ..graph_folder import index_dtype
from .csv_table import CsvTable
from .edge_list import EdgeList
from .from_graph import check_num_nodes, open_all
from .job import Job
from .node_ids import DenseIds, NameCollector, NodeIds, TableIds, check_different
from .node_table import NodeTable, order_of
from .options import Options, is_text
from .parquet_table import ParquetTable
from .rows import Rows
from .table import Position, Table

NODE_ID = 'node_id'
ORDER = 'node_of_row'
MANY_NODES, FEW_EDGES = 10**7, 100  # more nodes than this, and than this for each edge, are odd


def fill_from_tables(
    job: Job,
    files: Sequence[Path],
    nodes: str | Path | None,
    options: Options,
    values: Mapping[str, Any],
) -> None:
    """Convert tables; ``values`` come in the place of columns of the same names."""
    tables = [_open(path, bool(options.header), options.delimiter, job.who) for path in files]
    columns = (options.source_column, options.target_column, options.weight_column)
    edges = EdgeList(tables, *columns, job.who)
    table = None
    if nodes is not None:
        table = NodeTable(
            _open(Path(nodes), True, options.delimiter, job.who),
            options.node_column, options.features, options.label_column, job.who,
        )  # fmt: skip
    if table is None:
        ids, order = _ids_of_edges(job, edges, options, values), None
    else:
        ids, order = _ids_of_nodes(job, table, options)
    rows = {}
    if ids.num_nodes is not None or values:
        rows = open_all(values, ids.num_nodes or options.num_nodes, job.who)
    if ids.num_nodes is None and rows:
        num_nodes = check_num_nodes(next(iter(rows.values())).shape[0], options, job.who, 'values')
        ids = DenseIds(num_nodes, job.who)
    _read_edges(job, edges, ids, options)
    if table is not None:
        _copy_table(job, table, order, rows)
    for name, entry in rows.items():
        job.copy_rows(name, entry)


def _open(path: Path, header: bool, delimiter: str | None, who: str) -> Table:
    if is_text(path):
        return CsvTable(path, header, delimiter, who)
    return ParquetTable(path, who)


# Numbers of nodes ####################################################################


def _ids_of_edges(
    job: Job, edges: EdgeList, options: Options, values: Mapping[str, Any]
) -> NodeIds:
    """The numbering where edges alone tell which nodes there are."""
    if options.ids == 'dense':
        return DenseIds(options.num_nodes, job.who)
    if values:
        raise ValueError(
            explain(job.who, f"values of nodes need a table of nodes with ids={options.ids}",
                    f"'{next(iter(values))}'",
                    "Pass 'nodes', whose rows tell which node is which.")
        )  # fmt: skip
    names = NameCollector(options.ids if options.ids != 'any' else edges.guess(), job.who)

    def collect(_: Position) -> Iterator[tuple[Position, int]]:
        yield from edges.collect(names)

    def keep() -> list[Any]:
        found = names.names()
        job.writer.num_nodes = len(found)
        job.writer.add(NODE_ID, found.shape, found.dtype, 'node')[:] = found
        return [len(found), found.dtype.str]

    _add_names(job, job.step('names', 'Collecting nodes', edges.size, edges.unit, collect, keep))
    check_num_nodes(len(job.writer[NODE_ID]), options, job.who, 'the names in the edges')
    return TableIds(np.array(job.writer[NODE_ID]), job.who)


def _ids_of_nodes(
    job: Job, table: NodeTable, options: Options
) -> tuple[NodeIds, np.ndarray | None]:
    """The numbering that a table of nodes gives, and the node of every row."""
    if table.id_column is None and options.ids != 'dense':
        raise ValueError(
            explain(job.who, f"a table of nodes must name them with ids={options.ids}",
                    "no 'node_column'", 'Say which column it is.')
        )  # fmt: skip
    pieces: list[np.ndarray] = []

    def collect(_: Position) -> Iterator[tuple[Position, int]]:
        for ids, advance in table.read_ids(options.ids):
            pieces.append(ids)
            yield None, advance

    def keep() -> list[Any]:
        found = np.concatenate([np.empty(0, pieces[0].dtype if pieces else np.int64), *pieces])
        check_num_nodes(len(found), options, job.who, 'the rows of the table of nodes')
        job.writer.num_nodes = len(found)
        if options.ids == 'dense':
            order = order_of(found, job.who)
            if order is None:
                return [len(found), None]
            job.writer.scratch(ORDER, order.shape, np.int64)[:] = order
            return [len(found), ORDER]
        check_different(found, 'the table of nodes', job.who)
        job.writer.add(NODE_ID, found.shape, found.dtype, 'node')[:] = found
        return [len(found), found.dtype.str]

    facts = job.step('names', 'Collecting nodes', table.table.size, table.table.unit, collect, keep)
    if options.ids != 'dense':
        _add_names(job, facts)
        return TableIds(np.array(job.writer[NODE_ID]), job.who), None
    job.writer.num_nodes, has_order = facts
    order = job.writer.scratch(ORDER, (facts[0],), np.int64) if has_order else None
    return DenseIds(facts[0], job.who), order


def _add_names(job: Job, facts: list[Any]) -> None:
    """Make the names of an earlier part of the conversion known to the writer."""
    job.writer.num_nodes = facts[0]
    if NODE_ID not in job.writer:
        job.writer.add(NODE_ID, (facts[0],), np.dtype(facts[1]), 'node')


# Edges ###############################################################################


def _read_edges(job: Job, edges: EdgeList, ids: NodeIds, options: Options) -> None:
    """Read the edges once, write them down as numbers, and sort them."""
    dtype = index_dtype(ids.num_nodes or 0, 0)
    at, num_edges, top = job.state.position('read') or (None, 0, -1)
    if job.state.is_done('read'):
        num_edges, top = job.state.facts('read')
    if job.state.is_done('merge' if options.undirected else 'place'):
        spool = job.spool(dtype, edges.values, 0)
        spool.num_edges = num_edges
    else:
        spool = job.spool(dtype, edges.values, num_edges)

    def read(_: Position) -> Iterator[tuple[Position, int]]:
        nonlocal top
        for chunk, after, advance in edges.read(ids, at):
            spool.append(chunk)
            top = max([top, *(int(end.max()) for end in chunk[:2] if end.size)])
            yield [after, spool.num_edges, top], advance

    with spool:
        num_edges, top = job.step(
            'read', 'Reading edges', edges.size, edges.unit, read, lambda: [spool.num_edges, top]
        )
        job.close_spool()
    if job.writer.num_nodes is None:
        job.writer.num_nodes = _count_nodes(job, ids.num_nodes, num_edges, top)
    job.sort_edges(spool, options.undirected)


def _count_nodes(job: Job, known: int | None, num_edges: int, top: int) -> int:
    if known is not None:
        return known
    if top >= MANY_NODES and top >= FEW_EDGES * num_edges:
        raise ValueError(
            explain(job.who, 'nodes must be numbered without large gaps',
                    f'{num_edges:,} edges between nodes up to {top:,}',
                    "Pass ids=any, or 'num_nodes' if there are so many.")
        )  # fmt: skip
    return top + 1


# Nodes ###############################################################################


def _copy_table(
    job: Job, table: NodeTable, order: np.ndarray | None, instead: Mapping[str, Rows]
) -> None:
    """Make the arrays of a table of nodes but those that come from elsewhere."""
    table.leave_out(instead)
    num_nodes = job.writer.num_nodes or 0
    arrays: dict[str, np.ndarray] = {
        name: job.writer.add(name, (num_nodes, *shape), dtype, 'node')
        for name, (shape, dtype) in table.arrays().items()
    }

    def copy(position: Position) -> Iterator[tuple[Position, int]]:
        yield from table.copy_to(arrays, order, position)

    if arrays:
        job.step('table', 'Copying nodes', table.table.size, table.table.unit, copy)
    job.save()
    job.writer.drop_scratch(ORDER)
