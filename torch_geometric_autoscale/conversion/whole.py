"""A piece of a graph as a graph of its own: run as a whole by PyG alone, and cut into batches."""

import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from .boundaries import ONLY
from .caches import without_caches
from .inputs import ForwardInputs
from .loader import AutoscaleLoader
from .node_parameters import rows_in_place
from .parts import cut_into_parts
from .piece import take_piece
from .source import GraphSource


class Whole:
    """A homogeneous piece.

    Args:
        data: The piece.
        ids: ``(n,)`` ids of its nodes in the caller's data.
        inputs: What a model's ``forward`` is given.
        others: Graph-level attributes of the caller's data.
    """

    def __init__(
        self, data: Data, ids: Tensor, inputs: ForwardInputs, others: dict[str, Any]
    ) -> None:
        self.data, self.ids, self.inputs, self.others = data, ids, inputs, others
        self.node_parameters: tuple[str, ...] = ()
        self.num_nodes = ids.numel()
        perm, ptr = cut_into_parts(data.edge_index, torch.zeros_like(ids))
        self.source = GraphSource(data, perm, ptr, ids, others)

    @property
    def num_nodes_by_type(self) -> dict[str, int]:
        return self.source.num_nodes

    @property
    def table_order(self) -> dict[str, Tensor]:
        """Which node of the piece each row of a table belongs to, by node type."""
        return {ONLY: self.source.perm}

    def run(self, module: torch.nn.Module) -> Any:
        """Call a module on the piece as PyG's users do."""
        args, kwargs = self.inputs.fill(self.attribute, {})
        with without_caches(module), rows_in_place(module, self.node_parameters, self.ids):
            return module(*args, **kwargs)

    def edges(self) -> list[Any]:
        """What the module is given that holds edges."""
        self._kept = {name: self.attribute(name) for name in ('edge_index', 'adj_t')}
        return list(self._kept.values())

    def attribute(self, name: str) -> Any:
        """What a ``forward`` is given under ``name``."""
        kept = self.__dict__.get('_kept', {})
        if name in kept:
            return kept[name]
        if name == 'adj_t':
            return self._matrix()
        if name == 'n_id':
            return self.ids
        if name == 'num_nodes':
            return self.num_nodes
        value = self.data.get(name)
        return self.others.get(name) if value is None else value

    def loader(self, direction: str) -> AutoscaleLoader:
        return self.source.loader(direction, batch_size=1)

    def double(self) -> 'Whole':
        """The same piece with floating-point attributes in double precision."""
        data = copy.copy(self.data)
        for name, value in data.to_dict().items():
            data[name] = _double(value)
        others = {name: _double(value) for name, value in self.others.items()}
        twin = Whole(data, self.ids, self.inputs, others)
        twin.node_parameters = self.node_parameters
        return twin

    def _matrix(self) -> Tensor:
        """The piece's ``adj_t``: rows are targets."""
        source, target = self.data.edge_index
        order = torch.argsort(target, stable=True)
        crow = torch.zeros(self.num_nodes + 1, dtype=torch.int64)
        torch.cumsum(torch.bincount(target, minlength=self.num_nodes), 0, out=crow[1:])
        weight = self.data.get('edge_weight')
        x = self.data.get('x')
        dtype = x.dtype if x is not None and x.is_floating_point() else torch.get_default_dtype()
        values = torch.ones(source.numel(), dtype=dtype) if weight is None else weight
        size = (self.num_nodes, self.num_nodes)
        return torch.sparse_csr_tensor(
            crow, source[order], values[order], size, check_invariants=False
        )


def take_whole(source: GraphSource, inputs: ForwardInputs) -> Whole:
    """A piece of a source's graph."""
    prepared = source.current('in')
    piece, rows = take_piece(prepared.graph, prepared.node_attrs, prepared.edge_attrs, source.ids)
    given = {*piece.to_dict(), 'edge_index', 'adj_t', 'edge_weight'}
    others = {name: value for name, value in source.data.to_dict().items() if name not in given}
    return Whole(piece, source.ids[rows], inputs, others)


def _double(value: Any) -> Any:
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else value
