"""Outputs as rows of nodes, by node type: plain graphs have one type, named by the empty string."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

Rows = dict[str, Tensor]


def rows_of(out: Any) -> Rows:
    """The rows of an output: of a tuple, the first entry."""
    if isinstance(out, tuple):
        out = out[0]
    return dict(out) if isinstance(out, Mapping) else {'': out}


def batch_rows(batch: Any) -> Rows:
    """The ids of the batch nodes in the data."""
    if isinstance(batch, HeteroData):
        return {key: batch[key].n_id[: batch[key].batch_size] for key in batch.node_types}
    return {'': batch.n_id[: batch.batch_size]}


def joined(outputs: Iterable[tuple[Any, Any]]) -> Rows:
    """The batch rows of several batches in the order of the data; every node once."""
    ids: dict[str, list[Tensor]] = {}
    rows: dict[str, list[Tensor]] = {}
    for batch, out in outputs:
        found = batch_rows(batch)
        for key, values in rows_of(out).items():
            if values.size(0) != found[key].numel():
                raise WrongRows(f'{values.size(0)} rows for {found[key].numel()} batch nodes')
            ids.setdefault(key, []).append(found[key])
            rows.setdefault(key, []).append(values.detach())
    out = {}
    for key in rows:
        order = torch.cat(ids[key])
        if not torch.equal(order.sort().values, torch.arange(order.numel())):
            raise WrongRows('the batches do not hold every node once')
        out[key] = torch.cat(rows[key])[order.argsort()]
    return out


class WrongRows(Exception):
    """An output does not have one row for each batch node."""


def error(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """Largest difference relative to the largest expected number; infinite where none is one."""
    if found.keys() != expected.keys():
        return float('inf')
    largest = [float(value.abs().max()) for value in expected.values() if value.numel()]
    worst = 0.0
    for key, value in expected.items():
        if found[key].shape != value.shape or not bool(found[key].isfinite().all()):
            return float('inf')
        if value.numel():
            worst = max(worst, float((found[key] - value).abs().max()))
    return worst / max([*largest, 1e-12])


def loss_of(rows: Mapping[str, Tensor], ids: Mapping[str, Tensor] | None = None) -> Tensor:
    """A loss in which every node and column counts, and differently."""
    total = torch.zeros(())
    for key, values in rows.items():
        if not values.requires_grad:
            continue
        nodes = torch.arange(values.size(0)) if ids is None else ids[key]
        flat = values.flatten(1) if values.dim() > 1 else values.unsqueeze(1)
        columns = torch.arange(flat.size(1))
        weight = (nodes.view(-1, 1) + 7.0 * columns).cos().to(values.dtype) + 0.2
        total = total + (weight * flat).sum() + 0.1 * (weight * flat.square()).sum()
    return total
