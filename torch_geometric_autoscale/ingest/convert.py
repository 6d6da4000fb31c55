"""``convert``: a graph folder from anything that holds a graph, in bounded memory."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor
from torch_geometric.data import Data, FeatureStore

from ..datasets import get_data
from ..graph_folder import GraphFolder, GraphWriter
from ..graph_folder.writer import check_target
from ..progress import say
from .from_graph import fill_from_memory, fill_from_npz
from .from_tables import fill_from_tables
from .job import Job
from .job_state import Identity, JobState, can_go_on, file_identity
from .memory_graph import MemoryGraph
from .npz_graph import NpzGraph
from .options import Options, resolve_options, tables_among
from .rows import file_of

WHO = 'convert'

Values: TypeAlias = Tensor | np.ndarray | str | Path | FeatureStore
Column = str | int


def convert(
    source: Data | str | Path | Sequence[str | Path],
    target: str | Path,
    *,
    undirected: bool = False,
    num_nodes: int | None = None,
    x: Values | None = None,
    y: Values | None = None,
    train_mask: Values | None = None,
    val_mask: Values | None = None,
    test_mask: Values | None = None,
    ids: str = 'dense',
    source_column: Column = 0,
    target_column: Column = 1,
    weight_column: Column | None = None,
    header: bool | None = None,
    delimiter: str | None = None,
    nodes: str | Path | None = None,
    node_column: Column | None = None,
    features: Sequence[Column] | None = None,
    label_column: Column | None = None,
    root: str | Path | None = None,
    overwrite: bool = False,
    restart: bool = False,
    log: bool = True,
) -> GraphFolder:
    """Write a graph to a folder of arrays that are mapped when it is used.

    Works in chunks: the memory it needs grows with the nodes (and their names, where they have
    any), not with edges or features. A conversion of files that was stopped is gone on with by
    the same call; the result is the same to the byte.

    Edges of one target keep the order of the source.

    Args:
        source: A ``Data``, in memory or mapped; an ``.npz`` file as :func:`load_npz` reads it; one
            or several tables of edges, ``.csv``, ``.tsv``, ``.txt``, ``.edges`` (and ``.gz`` of
            these) or ``.parquet``, or a folder of such; or what :func:`get_data` knows by name.
        target: The folder to make.
        undirected: Add the reverse of every edge, and make equal edges one, whose floating-point
            values add up, as :func:`torch_geometric.utils.to_undirected` does; but a self-loop
            counts once.
        num_nodes: Number of nodes; else it follows from the features, the table of nodes, or the
            largest id.
        x, y, train_mask, val_mask, test_mask: ``(N, ...)`` node-level values: a tensor, an array
            (mapped or not), a ``.npy`` or ``.safetensors`` file (``file#name`` for one of several
            tensors in it), or a ``FeatureStore`` with the attribute under group ``None``.
        ids: How tables call nodes. ``'dense'``: by numbers from 0 to N - 1. ``'integer'`` or
            ``'text'``: by any, which are numbered in ascending order, or by their row in the table
            of nodes; array ``node_id`` keeps them. ``'any'``: one of these two, as the first rows
            have it.
        source_column, target_column, weight_column: Columns of a table of edges, by name or by
            position from 0.
        header: Whether the first line of a text file names the columns; by default, if a column
            is given by name.
        delimiter: Between columns of a text file; by default the first line tells.
        nodes: A table with a row per node. Its columns ``train_mask``, ``val_mask``,
            ``test_mask`` are masks.
        node_column: Its column of ids; by default row ``i`` is node ``i``.
        features: Its columns of ``x``; by default all columns of numbers that are nothing else.
        label_column: Its column of class ids, -1 for none; by default ``y`` if there is one.
        root: Where data sets are looked for by name.
        overwrite: Whether a graph folder at ``target`` may be replaced.
        restart: Whether to forget what an earlier conversion has left.
        log: Print one line when done.

    Returns:
        The folder, opened.

    Raises:
        FileNotFoundError: A file is not there.
        FileExistsError: ``target`` exists.
        ImportError: Tables need the package pyarrow.
        OSError: The disk is full or cannot be written to.
        TypeError: ``source`` or a value is of a kind that is not known.
        ValueError: A file is damaged, a value breaks a rule (with its line or row), options
            contradict each other, or those of an earlier conversion into this folder.
    """
    started = time.perf_counter()
    options = Options(
        undirected=undirected, num_nodes=num_nodes, ids=ids, source_column=source_column,
        target_column=target_column, weight_column=weight_column, header=header,
        delimiter=delimiter, node_column=node_column, label_column=label_column,
        features=None if features is None else list(features),
    )  # fmt: skip
    given = {'x': x, 'y': y, 'train_mask': train_mask, 'val_mask': val_mask, 'test_mask': test_mask}
    values = {name: value for name, value in given.items() if value is not None}
    target = Path(target)
    check_target(target, overwrite, WHO)
    files = tables_among(source, WHO)
    resolve_options(options, bool(files), nodes, WHO)
    npz = _npz_file(source, root) if not files else None
    named = [*files, *([Path(nodes)] if nodes is not None else []), *([npz] if npz else [])]
    identity = _identity(source, named, options, values)
    part = target.with_name(f'{target.name}.part')
    going_on = not restart and can_go_on(part, identity, WHO)
    writer = GraphWriter(
        target, None, metadata={'source': ', '.join(path.name for path in named)} if named else {},
        overwrite=overwrite, resume=going_on, who=WHO,
    )  # fmt: skip
    try:
        job = Job(writer, JobState(writer.part, identity, going_on), WHO)
        if files:
            fill_from_tables(job, files, nodes, options, values)
        elif npz is not None:
            fill_from_npz(job, NpzGraph(npz, WHO), options, values)
        else:
            graph = get_data(root, source)[0] if isinstance(source, (str, Path)) else source
            fill_from_memory(job, MemoryGraph(graph, WHO), options, values)
        writer.finish()
    except (ValueError, TypeError, ImportError, FileNotFoundError):
        writer.abandon(keep_part=False)  # what was wrong must be put right first
        raise
    except BaseException:
        writer.abandon(keep_part=identity is not None)
        raise
    folder = GraphFolder(target)
    if log:
        seconds = time.perf_counter() - started
        say(
            f"Converted {folder.num_nodes:,} nodes and {folder.num_edges:,} edges to '{target}'... "
            f'{seconds:.1f} s'
        )
    return folder


def _npz_file(source: Any, root: str | Path | None) -> Path | None:
    """The ``.npz`` file of one graph that a source names, from here or from ``root``."""
    if not isinstance(source, (str, Path)) or not str(source).lower().endswith('.npz'):
        return None
    path = Path(source).expanduser()
    inside = path if root is None else Path(root).expanduser() / path
    return inside if not path.is_file() and inside.is_file() else path


def _identity(
    source: Any, files: Sequence[Path], options: Options, values: Mapping[str, Any]
) -> Identity | None:
    """What must be the same for a conversion to be gone on with; ``None`` where nobody can tell."""
    if not files or any(file_of(value) is None for value in values.values()):
        return None
    named = [*files, *(file for value in values.values() if (file := file_of(value)))]
    known = {str(file.absolute()): file_identity(file) for file in named if file.is_file()}
    said = {name: str(value) for name, value in values.items()}
    return {'files': known, 'options': {**asdict(options), **said}}
