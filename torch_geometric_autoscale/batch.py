"""One mini-batch: batch nodes and their halo, as PyG's ``Data``."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.data.storage import recursive_apply

from .adjacency import Adjacency
from .tags import adjacency_of, mark_copy, tag_edge_index


class SubgraphBatch(Data):
    """One batch: batch nodes first, then their halo.

    Unpacks as ``batch, batch_size, n_id, offset, count`` and answers by name like any
    :class:`~torch_geometric.data.Data`. With ``n`` nodes, ``B`` of them batch nodes:

    Attributes:
        x, y, train_mask, ...: Node-level attributes, ``n`` rows in the order of ``n_id``.
        adj_t: :class:`Adjacency`, ``(B, n)``, or ``(n, n)`` with ``bipartite=False``.
        edge_index: ``(2, E_b)`` with local ids; ``edge_attr`` and ``edge_weight`` follow its order.
        n_id: ``(n,)`` rows of the loader's data.
        batch_size: ``B``.
        offset, count: The batch nodes as contiguous chunks of rows of the loader's data.
        loss_weight: Share of the loader's ``input_nodes`` in this batch, if those were given: the
            mean losses of an epoch's batches, each times its weight, add up to the full loss.
    """

    def __iter__(self) -> Iterator[Any]:
        yield from (self, self.batch_size, self.n_id, self.offset, self.count)

    # Edge-level attributes are cut when first asked for: most models need none of them.

    @property
    def edge_index(self) -> Tensor:
        return self._edge_level('edge_index')

    @property
    def edge_attr(self) -> Any:
        return self._edge_level('edge_attr')

    @property
    def edge_weight(self) -> Any:
        return self._edge_level('edge_weight')

    def __getattr__(self, key: str) -> Any:
        if key in self.__dict__.get('_whole_edges', {}) and key not in self._store:
            return self._edge_level(key)
        return super().__getattr__(key)

    def __getitem__(self, key: str) -> Any:
        return self._edge_level(key) if key in self._lazy() else super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """The attribute ``key``, or ``default`` if there is none."""
        if key in self._store:
            return self._store[key]
        return self[key] if key in self else default  # noqa: SIM401

    def _lazy(self) -> list[str]:
        """Names of the edge-level attributes that are not cut yet."""
        adj = self._store.get('adj_t')
        if not isinstance(adj, Adjacency):
            return []
        names = ['edge_index', *self.__dict__.get('_whole_edges', {})]
        if adj.weight is not None and 'edge_weight' not in names:
            names.append('edge_weight')
        return [name for name in names if name not in self._store]

    def _edge_level(self, key: str) -> Any:
        if key not in self._lazy():
            return self._store.get(key)
        square = self.adj_t.square()
        if key == 'edge_index':
            # Whoever changes the weights first must not be taken for somebody who knows them.
            weight = self.edge_weight
            known = isinstance(weight, Tensor) and square.has_values(weight)
            value = tag_edge_index(square.edge_index(), square, weight if known else None)
        elif key in self.__dict__.get('_whole_edges', {}):
            whole = self.__dict__['_whole_edges'][key]
            value = whole.index_select(0, square.edges.positions().to(whole.device))
            for func in self.__dict__.get('_applied', ()):
                value = func(value)
        else:
            value = square.values()
        self._store[key] = value
        return value

    def _cut_all(self) -> 'SubgraphBatch':
        for key in self._lazy():
            self._edge_level(key)
        return self

    def __contains__(self, key: str) -> bool:
        return key in self.keys()

    def keys(self) -> list[str]:
        """Names of all attributes, those included that are not cut yet."""
        return [*super().keys(), *self._lazy()]

    def to_dict(self) -> dict[str, Any]:
        return super(SubgraphBatch, self._cut_all()).to_dict()

    def edge_attrs(self) -> list[str]:
        return super(SubgraphBatch, self._cut_all()).edge_attrs()

    def is_node_attr(self, key: str) -> bool:
        return key in self and super(SubgraphBatch, self._cut_all()).is_node_attr(key)

    def is_edge_attr(self, key: str) -> bool:
        return key in self and super(SubgraphBatch, self._cut_all()).is_edge_attr(key)

    def __deepcopy__(self, memo: dict[int, Any]) -> 'SubgraphBatch':
        whole = self.__dict__.get('_whole_edges', {})
        memo[id(whole)] = whole  # belongs to the loader
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[str, Any]:
        # A copy elsewhere has no loader to cut from.
        state = dict(self._cut_all().__dict__)
        state.pop('_whole_edges', None)
        state.pop('_applied', None)
        return state

    @property
    def num_nodes(self) -> int:
        return self.n_id.numel()

    @property
    def num_edges(self) -> int:
        return int(self.edge_index.size(1))

    def to(self, *args: Any, **kwargs: Any) -> 'SubgraphBatch':
        """Bring every tensor to a device, in place; see PyG's ``Data.to``."""
        before = self._nodes()
        super().to(*args, **kwargs)
        self._mark_copies(before)
        return self

    def move(
        self, device: torch.device, copies: Callable[[list[Tensor]], list[Tensor]]
    ) -> 'SubgraphBatch':
        """Bring every tensor to a device, in place, all plain ones together.

        Args:
            device: Where.
            copies: Gives copies of plain tensors there.
        """
        self._drop_tied()
        before = self._nodes()
        plain = [name for name, value in self._store.items() if type(value) is Tensor]
        moved = copies([self._store[name] for name in plain])

        def to(value: Any) -> Any:
            return value.to(device)

        for name, value in self._store.items():
            if name not in plain:
                self._store[name] = recursive_apply(value, to)
        for name, value in zip(plain, moved, strict=True):
            self._store[name] = value
        self.__dict__['_applied'] = (*self.__dict__.get('_applied', ()), to)
        self._mark_copies(before)
        return self

    def _nodes(self) -> dict[str, Any]:
        return {name: self._store.get(name) for name in ('n_id', 'offset', 'count')}

    def _mark_copies(self, before: dict[str, Any]) -> None:
        """Spare whoever checks the nodes of a batch the way back to the host."""
        for name, value in before.items():
            if isinstance(value, Tensor):
                mark_copy(self._store[name], value)

    def _drop_tied(self) -> None:
        """Drop an ``edge_index`` that is tied to ``adj_t``: it is cut again when asked for."""
        if adjacency_of(self._store.get('edge_index')) is not None:
            self._store.pop('edge_index')

    def apply(self, func: Any, *args: str) -> 'SubgraphBatch':
        """Apply ``func``, e.g. a move to a device, to every tensor."""
        self._drop_tied()
        lazy = {name for name in self._lazy() if name != 'edge_index'}
        if args and lazy & set(args):
            self._cut_all()
        super().apply(func, *args)
        if not args:
            self.__dict__['_applied'] = (*self.__dict__.get('_applied', ()), func)
        return self
