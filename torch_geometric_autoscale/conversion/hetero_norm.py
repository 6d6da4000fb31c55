"""``gcn_norm`` on the edges of one type: answered from all edges of that type."""

from typing import Any

import torch
from torch import Tensor

from ..errors import explain
from ..graph import original_gcn_norm


class WholeNorm:
    """The symmetric normalisation of one edge type, computed once for each setting.

    Args:
        edge_index: ``(2, E)``, all edges of the type, from and to the same node type.
        num_nodes: Number of nodes of that type.
    """

    def __init__(self, edge_index: Tensor, num_nodes: int) -> None:
        self.edge_index, self.num_nodes = edge_index, num_nodes
        is_loop = edge_index[0] == edge_index[1]
        self.is_loop = is_loop
        self.rank = torch.cumsum(~is_loop, 0) - 1  # among the edges that are no loops
        self._known: dict[Any, tuple[Tensor | None, int, Tensor]] = {}

    def weights(self, weight: Tensor | None, *setting: Any) -> Tensor:
        """Normalised weights of the edges that PyG's ``gcn_norm`` returns."""
        version = -1 if weight is None else weight._version
        known = self._known.get(setting)
        if known is None or known[0] is not weight or known[1] != version:
            values = original_gcn_norm(self.edge_index, weight, self.num_nodes, *setting)[1]
            known = self._known[setting] = (weight, version, values)
        return known[2]


class EdgeNormaliser:
    """Answers ``gcn_norm`` for the edges of one type in one batch.

    Args:
        whole: All edges of that type.
        e_id: ``(E_b,)`` positions of the batch's edges among them.
        nodes: ``(n,)`` the batch's nodes of that type.
        whole_weight: Weights of all edges, or ``None``.
        weight: The batch's weights.
    """

    def __init__(
        self,
        whole: WholeNorm,
        e_id: Tensor,
        nodes: Tensor,
        whole_weight: Tensor | None,
        weight: Tensor | None,
    ) -> None:
        self.whole, self.e_id, self.nodes = whole, e_id, nodes
        self.whole_weight, self.weight = whole_weight, weight

    def __call__(
        self,
        edge_index: Tensor,
        weight: Tensor | None,
        improved: bool,
        add_self_loops: bool,
        flow: str,
        dtype: torch.dtype | None,
    ) -> tuple[Tensor, Tensor]:
        """Edges and weights, with a self-loop for each node of the batch if asked for."""
        if weight is not None and weight is not self.weight:
            raise ValueError(
                explain('gcn_norm', 'on a batch, degrees can only be looked up with the weights of '
                        'the data', 'other edge weights',
                        'Normalise the whole graph first and use normalize=False.')
            )  # fmt: skip
        given = None if weight is None else self.whole_weight
        values = self.whole.weights(given, improved, add_self_loops, flow, dtype)
        values = values.to(edge_index.device)
        e_id = self.e_id.to(edge_index.device)
        if not add_self_loops:
            return edge_index, values[e_id]
        kept = ~self.whole.is_loop.to(e_id.device)[e_id]
        rank = self.whole.rank.to(e_id.device)[e_id[kept]]
        loops = torch.arange(self.nodes.numel(), device=edge_index.device)
        first = values.numel() - self.whole.num_nodes
        nodes = self.nodes.to(edge_index.device)
        return (
            torch.cat([edge_index[:, kept], loops.expand(2, -1)], dim=1),
            torch.cat([values[rank], values[first + nodes]]),
        )
