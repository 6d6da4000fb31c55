"""``pygas convert SOURCE TARGET``: a graph folder from other formats."""

import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import explain
from ..graph_folder import GraphFolder
from ..ingest import convert as convert_graph
from ..ingest.job_state import read_state
from .console import memory, result, table
from .keywords import Keyword, describe_keywords, names, read_keywords, switch, whole

WHO = 'pygas convert'
OPTIONS = {
    'undirected': Keyword(switch, 'false', 'add the reverse of every edge, make equal edges one'),
    'num_nodes': Keyword(whole, 'null', 'number of nodes; null: as the source has it'),
    'x': Keyword(
        str, 'null', 'features: a .npy or .safetensors file (FILE#NAME of a tensor in it)'
    ),
    'y': Keyword(str, 'null', 'labels, as x'),
    'train_mask': Keyword(str, 'null', 'mask of a split, as x; and so on'),
    'val_mask': Keyword(str, 'null', ''),
    'test_mask': Keyword(str, 'null', ''),
    'ids': Keyword(str, 'dense', 'of nodes in tables: dense (0 to N - 1), any, integer or text'),
    'source_column': Keyword(str, '0', 'column with sources of edges, by name or place'),
    'target_column': Keyword(str, '1', 'column with targets'),
    'weight_column': Keyword(str, 'null', 'column with weights'),
    'header': Keyword(switch, 'null', 'whether line 1 names the columns; null: if one is named'),
    'delimiter': Keyword(str, 'null', 'between columns; null: as line 1 has it'),
    'nodes': Keyword(str, 'null', 'table with a row per node: features, labels, masks'),
    'node_column': Keyword(str, 'null', 'its column of ids; null: row i is node i'),
    'features': Keyword(names, 'null', 'its columns of x, as a,b,c; null: all other numbers'),
    'label_column': Keyword(str, 'null', 'its column of class ids; null: y, if there is one'),
    'root': Keyword(str, 'null', 'folder of the data sets'),
    'overwrite': Keyword(switch, 'false', 'replace the graph folder if it exists'),
    'restart': Keyword(switch, 'false', 'forget what an earlier conversion has left'),
}
USAGE = f"""\
usage: pygas convert SOURCE TARGET [KEY=VALUE ...]

Writes a graph to a folder of arrays that are mapped when it is used, in memory that grows with the
nodes, not with edges and features. What was stopped is gone on with by the same command.

SOURCE is an .npz file, a table of edges (.csv, .tsv, .txt, .edges, .gz of these, or .parquet), a
folder of tables, or a data set of 'pygas train' by name.

examples:
  pygas convert graph.npz graph
  pygas convert edges.csv.gz graph undirected=true x=features.npy y=labels.npy
  pygas convert follows.parquet graph source_column=who target_column=whom ids=any
  pygas train dataset=graph

options and their defaults:
{describe_keywords(OPTIONS)}
"""


def convert(arguments: Sequence[str]) -> int:
    """Run ``pygas convert``; returns the exit code."""
    if any(argument in ('-h', '--help') for argument in arguments):
        print(USAGE, end='')
        return 0
    paths = [argument for argument in arguments[:2] if '=' not in argument]
    if len(paths) < 2:
        raise ValueError(
            explain(WHO, 'a source and a target must come first', ' '.join(arguments) or 'nothing',
                    f"See '{WHO} --help'.")
        )  # fmt: skip
    options = read_keywords(WHO, arguments[2:], OPTIONS)
    options = {key: value for key, value in options.items() if value is not None}
    source, target = paths
    try:
        folder = convert_graph(source, target, **options)
    except (KeyboardInterrupt, OSError):
        say_what_is_kept(Path(target))
        raise
    print(list_arrays(folder))
    result(f"'{target}': {folder.num_nodes:,} nodes, {folder.num_edges:,} edges")
    return 0


def list_arrays(folder: GraphFolder) -> str:
    """A table of the arrays in a folder."""
    rows = [
        [name, info.level, info.dtype, ' x '.join(f'{size:,}' for size in info.shape),
         memory(info.num_bytes)]
        for name, info in folder.header.arrays.items()
    ]  # fmt: skip
    return table(['array', 'level', 'type', 'shape', 'size'], rows)


def say_what_is_kept(target: Path) -> None:
    """Tell how to go on, if there is something to go on from."""
    part = target.with_name(f'{target.name}.part')
    if read_state(part) is not None:
        print(f"pygas: '{part}' keeps what is done; the same command goes on.", file=sys.stderr)
