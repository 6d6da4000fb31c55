"""Which rows of a batch belong to batch nodes, for each node type."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from ..errors import explain
from .boundaries import ONLY


@dataclass(frozen=True)
class TypeRows:
    """The nodes of one type in a batch.

    Attributes:
        n_id: ``(n,)`` rows of this type's tables, batch nodes first.
        batch_size: Number of batch nodes ``B``.
        offset, count: The batch nodes as contiguous chunks of rows of the tables.
    """

    n_id: Tensor
    batch_size: int
    offset: Tensor
    count: Tensor

    @property
    def num_nodes(self) -> int:
        return self.n_id.numel()


# What a forward returns, as far as it is rows of nodes: position of each tensor, and its node type.
Outputs = tuple[tuple[int, str], ...]


def primary(out: Any) -> Any:
    """An output without the extras that follow it in a tuple."""
    return out[0] if isinstance(out, (tuple, list)) and out else out


def find_outputs(who: str, out: Any, num_nodes: Mapping[str, int]) -> tuple[Outputs, Outputs]:
    """Which tensors of a full-batch output hold rows of which nodes.

    Returns:
        Those of the primary output, and those of extras in a tuple that may: as far as their number
        of rows tells, see :func:`sure_extras`.

    Raises:
        ValueError: If there is a tensor in the primary output that does not.
    """
    type_of = {count: node_type for node_type, count in num_nodes.items()}
    found: list[tuple[int, str]] = []
    extras: list[tuple[int, str]] = []
    leaves = tree_leaves(out)
    num_primary = len(tree_leaves(primary(out)))
    for position, leaf in enumerate(leaves):
        rows = leaf.size(0) if isinstance(leaf, Tensor) and leaf.dim() else None
        if rows in type_of:
            (found if position < num_primary else extras).append((position, type_of[rows]))
        elif leaf is not None and position < num_primary:
            came = f'shape {tuple(leaf.shape)}' if isinstance(leaf, Tensor) else type(leaf).__name__
            sizes = ', '.join(
                f'{count}' if node_type == ONLY else f"{count} of type '{node_type}'"
                for node_type, count in num_nodes.items()
            )
            raise ValueError(
                explain(who, f'forward must return one row per node, {sizes} on a piece of the '
                        'graph', came, 'Pool rows, or score pairs of nodes, outside of the module.')
            )  # fmt: skip
    if not found:
        raise ValueError(
            explain(who, 'forward must return one row per node', 'nothing', 'Return the rows.')
        )
    return tuple(found), tuple(extras)


def sure_extras(out: Any, extras: Outputs, rows: Mapping[str, TypeRows]) -> Outputs:
    """Which of some extras have as many rows on a batch as it has nodes; others hold e.g. edges."""
    leaves = tree_leaves(out)

    def fits(position: int, node_type: str) -> bool:
        leaf, here = leaves[position], rows[node_type]
        is_rows = isinstance(leaf, Tensor) and leaf.dim() > 0
        return is_rows and leaf.size(0) in (here.batch_size, here.num_nodes)

    return tuple(extra for extra in extras if fits(*extra))


def map_outputs(out: Any, outputs: Outputs, change: Callable[[Tensor, str], Tensor]) -> Any:
    """An output with ``change`` applied to its rows of nodes; the rest stays as it is."""
    leaves, spec = tree_flatten(out)
    for position, node_type in outputs:
        if position < len(leaves) and isinstance(leaves[position], Tensor):
            leaves[position] = change(leaves[position], node_type)
    return tree_unflatten(leaves, spec)


def batch_rows(out: Any, outputs: Outputs, rows: Mapping[str, TypeRows]) -> Any:
    """The batch rows of an output that may have a row for every node of the batch."""

    def cut(leaf: Tensor, node_type: str) -> Tensor:
        here = rows[node_type]
        return leaf[: here.batch_size] if leaf.size(0) == here.num_nodes else leaf

    return map_outputs(out, outputs, cut)


def output_tensors(out: Any, outputs: Outputs) -> list[tuple[str, Tensor]]:
    """The tensors of an output that hold rows of nodes, with their node types."""
    leaves = tree_leaves(out)
    return [
        (node_type, leaves[position]) for position, node_type in outputs if position < len(leaves)
    ]
