"""A conversion as a row of steps, each of which can be gone on with."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from ..graph_folder import GraphWriter
from ..graph_folder.edge_chunks import BothDirections, EdgeStream, ValueType
from ..graph_folder.merging import merge_equal_edges
from ..graph_folder.placing import count_by_target, num_windows, place_edges
from ..graph_folder.spool import EdgeSpool
from ..progress import progress
from .job_state import JobState
from .rows import Rows
from .table import Position

Work = Callable[[Position], Iterator[tuple[Position, int]]]
SPOOL = 'spool'


class Job:
    """Fills a graph folder step by step and notes how far it has come.

    Args:
        writer: Of the folder.
        state: What is done already.
        who: The public call on whose behalf errors speak.
    """

    def __init__(self, writer: GraphWriter, state: JobState, who: str) -> None:
        self.writer, self.state, self.who = writer, state, who
        self._spool: EdgeSpool | None = None

    # Steps #######################################################################

    def step(
        self,
        name: str,
        title: str,
        total: int,
        unit: str,
        work: Work,
        facts: Callable[[], Any] = lambda: None,
    ) -> Any:
        """Do a step unless it is done, from where it was left.

        Args:
            name: Of the step.
            title: What the progress bar says.
            total: How much there is to do, in ``unit``; 0: nobody knows.
            work: Called with the position to begin at (``None``: the beginning); yields positions
                and how much was done since the last one. A position of ``None`` cannot be begun
                at: the step is done again as a whole.
            facts: What is to be known later of what was found.

        Returns:
            The facts.
        """
        if self.state.is_done(name):
            return self.state.facts(name)
        with progress(title, total, unit, unit_scale=True) as bar:
            try:
                for position, advance in work(self.state.position(name)):
                    self.state.reached(name, position)
                    bar.update(advance)
                    if self.state.is_due():
                        self.save()
            except BaseException:
                with suppress(OSError):
                    self.save()
                raise
        found = facts()
        self.state.finish(name, found)
        if self.state.is_due():
            self.save()
        return found

    def save(self) -> None:
        """Have all that was written reach the disk, and then note how far that is."""
        if self._spool is not None:
            self._spool.flush()
        self.writer.flush()
        self.state.save()

    # Edges #######################################################################

    def spool(self, dtype: np.dtype, values: Mapping[str, ValueType], num_edges: int) -> EdgeSpool:
        """Where edges are written down as they are read."""
        folder = self.writer.part / SPOOL
        self._spool = EdgeSpool(folder, dtype, values, num_edges, self.who)
        return self._spool

    def close_spool(self) -> None:
        """End the writing down."""
        if self._spool is not None:
            self._spool.close()
            self._spool = None

    def sort_edges(self, edges: EdgeStream, undirected: bool) -> None:
        """Make the structure and all edge-level arrays from a stream of edges."""
        if undirected:
            self._sort_both_directions(BothDirections(edges))
        else:
            self._count(edges, lambda: self.writer.add_structure()[0])
            if 'rowptr' not in self.writer:
                self.writer.add_structure()
            arrays = {'col': self.writer['col'], **self._values(edges)}
            self._place(edges, self.writer['rowptr'], arrays)
        self.save()  # before what it was made from goes
        shutil.rmtree(self.writer.part / SPOOL, ignore_errors=True)

    def _sort_both_directions(self, edges: EdgeStream) -> None:
        """The same where equal edges become one, and less of them remain."""
        writer, num_nodes = self.writer, self.writer.num_nodes
        assert num_nodes is not None
        if self.state.is_done('merge'):
            writer.num_edges = self.state.facts('merge')
            writer.add_structure()
            self._values(edges)
            return
        rowptr = writer.scratch('rowptr', (num_nodes + 1,), np.int64)
        writer.num_edges = self._count(edges, lambda: rowptr)
        merged_rowptr, merged_col = writer.add_structure()
        merged = {'col': merged_col, **self._values(edges)}
        arrays: dict[str, np.ndarray] = {
            name: writer.scratch(name, array.shape, array.dtype) for name, array in merged.items()
        }
        self._place(edges, rowptr, arrays)

        def merge(_: Position) -> Iterator[tuple[Position, int]]:
            for count in merge_equal_edges(rowptr, arrays, merged_rowptr, merged):
                yield None, count

        def shorten() -> int:
            writer.shorten(int(merged_rowptr[-1]))
            assert writer.num_edges is not None
            return writer.num_edges

        self.step('merge', 'Merging equal edges', int(rowptr[-1]), 'edge', merge, shorten)
        names = list(arrays)
        arrays.clear()
        merged.clear()
        self.save()
        writer.drop_scratch('rowptr', *names)

    def _count(self, edges: EdgeStream, make_rowptr: Callable[[], np.ndarray]) -> int:
        """Fill ``rowptr``; returns the number of edges, which the writer knows by then."""
        assert self.writer.num_nodes is not None
        degree = np.zeros(self.writer.num_nodes, dtype=np.int64)

        def count(_: Position) -> Iterator[tuple[Position, int]]:
            for number in count_by_target(edges, degree, self.who):
                yield None, number

        def write() -> int:
            self.writer.num_edges = int(degree.sum())
            rowptr = make_rowptr()
            rowptr[0] = 0
            np.cumsum(degree, out=rowptr[1:])
            return self.writer.num_edges

        self.writer.num_edges = self.step(
            'count', 'Counting edges', edges.num_edges, 'edge', count, write
        )
        return self.writer.num_edges

    def _values(self, edges: EdgeStream) -> dict[str, np.ndarray]:
        """Arrays for what belongs to edges."""
        return {
            name: self.writer.add(name, (self.writer.num_edges or 0, *shape), dtype, 'edge')
            for name, (dtype, shape) in edges.values.items()
        }

    def _place(
        self, edges: EdgeStream, rowptr: np.ndarray, arrays: Mapping[str, np.ndarray]
    ) -> None:
        def place(position: Position) -> Iterator[tuple[Position, int]]:
            yield from place_edges(edges, rowptr, arrays, self.who, start=position or 0)

        total = num_windows(rowptr, arrays) * edges.num_edges
        self.step('place', 'Sorting edges', total, 'edge', place)

    # Nodes #######################################################################

    def copy_rows(self, name: str, rows: Rows) -> None:
        """Make a node-level array."""
        mapped = self.writer.add(name, rows.shape, rows.dtype, 'node')

        def copy(position: Position) -> Iterator[tuple[Position, int]]:
            yield from rows.copy_to(mapped, position or 0)

        self.step(f'rows of {name}', f"Copying '{name}'", rows.shape[0], 'row', copy)
