"""What a conversion can be told, and whether that makes sense for its source."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import explain
from .node_ids import MODES

TEXT_SUFFIXES = ('.csv', '.tsv', '.txt', '.edges')
PARQUET_SUFFIXES = ('.parquet', '.pq')


@dataclass
class Options:
    """As :func:`convert` takes them."""

    undirected: bool = False
    num_nodes: int | None = None
    ids: str = 'dense'
    source_column: str | int = 0
    target_column: str | int = 1
    weight_column: str | int | None = None
    header: bool | None = None
    delimiter: str | None = None
    node_column: str | int | None = None
    label_column: str | int | None = None
    features: list[str | int] | None = None


_OF_TABLES = (
    'ids', 'source_column', 'target_column', 'weight_column', 'header', 'delimiter',
)  # fmt: skip
_OF_NODES = ('node_column', 'label_column', 'features')


def is_text(path: Path) -> bool:
    """Whether a file is called like a table in a text file."""
    name = path.name.lower().removesuffix('.gz')
    return name.endswith(TEXT_SUFFIXES)


def is_table(path: Path) -> bool:
    """Whether a file is called like a table."""
    return is_text(path) or path.name.lower().endswith(PARQUET_SUFFIXES)


def tables_among(source: Any, who: str) -> list[Path]:
    """The tables of edges that a source names; none if it is something else.

    Raises:
        ValueError: Tables of different kinds, or other files among them.
    """
    if isinstance(source, (str, Path)):
        path = Path(source).expanduser()
        if path.is_dir():
            found = sorted(entry for entry in path.iterdir() if is_table(entry))
        else:
            found = [path] if is_table(path) else []
    elif isinstance(source, Sequence):
        found = [Path(entry).expanduser() for entry in source]
        if not found or not all(is_table(path) for path in found):
            raise ValueError(
                explain(who, f"tables of edges must end in {', '.join(TEXT_SUFFIXES)} (or .gz of "
                        f'these) or {", ".join(PARQUET_SUFFIXES)}',
                        ', '.join(path.name for path in found) or 'none', 'Rename them.')
            )  # fmt: skip
    else:
        return []
    if len({is_text(path) for path in found}) > 1:
        raise ValueError(
            explain(who, 'tables of edges must be of one kind', ', '.join(p.name for p in found),
                    'Convert one kind.')
        )  # fmt: skip
    return found


def resolve_options(options: Options, has_tables: bool, nodes: Any, who: str) -> None:
    """Check the options against each other and fill in what follows from others.

    Raises:
        TypeError: One is of another type.
        ValueError: One has another value, or belongs to another kind of source.
    """
    if options.num_nodes is not None and (
        isinstance(options.num_nodes, bool) or not isinstance(options.num_nodes, int)
    ):
        raise TypeError(
            explain(who, "'num_nodes' must be a whole number", repr(options.num_nodes),
                    'Pass how many nodes there are.')
        )  # fmt: skip
    if options.num_nodes is not None and options.num_nodes < 0:
        raise ValueError(
            explain(who, "'num_nodes' must not be negative", options.num_nodes,
                    'Pass how many nodes there are.')
        )  # fmt: skip
    if options.ids not in MODES:
        raise ValueError(
            explain(who, f"'ids' must be one of {', '.join(MODES)}", repr(options.ids),
                    'Say how the tables call nodes.')
        )  # fmt: skip
    defaults = Options()
    changed = [
        f.name for f in fields(Options) if getattr(options, f.name) != getattr(defaults, f.name)
    ]
    _refuse(changed, _OF_TABLES, has_tables, 'a source that is a table of edges', who)
    _refuse(changed, _OF_NODES, nodes is not None, "a table of nodes, 'nodes'", who)
    if nodes is not None and not has_tables:
        raise ValueError(
            explain(who, "a table of nodes, 'nodes', goes with a table of edges", f"'{nodes}'",
                    'Leave it out.')
        )  # fmt: skip
    if options.header is None:
        columns = (options.source_column, options.target_column, options.weight_column)
        options.header = any(isinstance(c, str) and not c.isdecimal() for c in columns)


def _refuse(changed: list[str], names: Sequence[str], fits: bool, what: str, who: str) -> None:
    wrong = [name for name in changed if name in names]
    if wrong and not fits:
        raise ValueError(
            explain(who, f"'{wrong[0]}' goes with {what}", 'another one', 'Leave it out.')
        )
