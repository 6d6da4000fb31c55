"""GIN with histories tells apart what the Weisfeiler-Leman test tells apart, and nothing else.

Xu et al. 2019, Thm. 3, carried over to histories by Fey et al. 2021, Sec. 3: with weights at rest
and histories swept, partitions through the middle of every graph take nothing away.
"""

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from test.oracle import scramble, sweep
from torch_geometric_autoscale import EvalSubgraphLoader, models

Edges = list[tuple[int, int]]


def ring(n: int, first: int = 0) -> Edges:
    return [(first + i, first + (i + 1) % n) for i in range(n)]


def path(n: int, first: int = 0) -> Edges:
    return [(first + i, first + i + 1) for i in range(n - 1)]


def lollipop(tail: int) -> Edges:
    """A triangle with a tail of the given length."""
    return ring(3) + [(2 + i, 3 + i) for i in range(tail)]


# Two graphs of as many nodes, and the rounds in which 1-WL tells them apart, if it does.
PAIRS: dict[str, tuple[Edges, Edges, int, int | None]] = {
    'path and star': (path(4), [(0, 1), (0, 2), (0, 3)], 4, 1),
    'ring and path': (ring(6), path(6), 6, 1),
    'paths of 2 and 6, of 4 and 4': (path(2) + path(6, 2), path(4) + path(4, 4), 8, 2),
    'paths of 4 and 8, of 6 and 6': (path(4) + path(8, 4), path(6) + path(6, 6), 12, 3),
    'one ring and two': (ring(6), ring(3) + ring(3, 3), 6, None),
    'ladder and crossed ladder': (
        ring(8) + [(0, 4), (1, 5), (2, 6), (3, 7)],
        ring(4) + ring(4, 4) + [(0, 4), (1, 5), (2, 6), (3, 7)],
        8,
        None,
    ),
    'a graph and itself, numbered otherwise': (
        lollipop(2), [(4, 3), (3, 0), (0, 4), (0, 2), (2, 1)], 5, None,
    ),
}  # fmt: skip


def graph(edges: Edges, nodes: int) -> Data:
    one_way = torch.tensor(edges).t()
    edge_index = torch.cat([one_way, one_way.flip(0)], dim=1)
    return Data(x=torch.ones(nodes, 1, dtype=torch.double), edge_index=edge_index)


def wl_rounds(first: Edges, second: Edges, nodes: int) -> int | None:
    """Rounds of colour refinement until the colours differ, by the definition."""
    neighbours = [
        [[b if a == v else a for a, b in edges if v in (a, b)] for v in range(nodes)]
        for edges in (first, second)
    ]
    colors: list[list[object]] = [[0] * nodes, [0] * nodes]
    for step in range(1, nodes + 1):
        colors = [
            [(old[v], tuple(sorted(repr(old[w]) for w in of[v]))) for v in range(nodes)]
            for old, of in zip(colors, neighbours, strict=True)
        ]
        names = {color: i for i, color in enumerate(sorted({*colors[0], *colors[1]}, key=repr))}
        colors = [[names[color] for color in each] for each in colors]
        if sorted(colors[0], key=repr) != sorted(colors[1], key=repr):
            return step
    return None


def rows_of_gin(layers: int, first: Edges, second: Edges, nodes: int) -> tuple[Tensor, Tensor]:
    """Both graphs' rows as multisets, from histories of batches that cut through them."""
    data = Batch.from_data_list([graph(first, nodes), graph(second, nodes)])
    data = Data(x=data.x, edge_index=data.edge_index, num_nodes=2 * nodes)
    torch.manual_seed(1)
    model = models.GIN(2 * nodes, 1, 16, 8, layers, batch_norm=False, residual=False).double()
    model.eval()
    ptr = torch.tensor([0, nodes // 2, nodes, nodes + 1, 2 * nodes])
    loader = EvalSubgraphLoader(data, ptr, log=False)
    scramble(model)
    with torch.no_grad():
        for _ in range(layers):
            out = sweep(model, loader)
    return in_order(out[:nodes]), in_order(out[nodes:])


def in_order(rows: Tensor) -> Tensor:
    """The same rows in an order that depends on nothing but themselves."""
    return rows[(rows @ torch.linspace(1, 2, rows.size(1), dtype=rows.dtype)).argsort()]


@pytest.mark.parametrize('name', PAIRS)
def test_the_rounds_are_those_of_the_weisfeiler_leman_test(name: str) -> None:
    first, second, nodes, rounds = PAIRS[name]
    assert wl_rounds(first, second, nodes) == rounds


@pytest.mark.parametrize('name', [name for name, pair in PAIRS.items() if pair[3] is not None])
def test_what_wl_tells_apart_in_k_rounds_is_told_apart_by_k_layers(name: str) -> None:
    first, second, nodes, rounds = PAIRS[name]
    assert rounds is not None
    one, other = rows_of_gin(rounds, first, second, nodes)
    assert float((one - other).abs().max()) > 1e-6 * float(one.abs().max())
    if rounds > 1:
        one, other = rows_of_gin(rounds - 1, first, second, nodes)
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize('name', [name for name, pair in PAIRS.items() if pair[3] is None])
def test_what_wl_does_not_tell_apart_stays_the_same_at_any_depth(name: str) -> None:
    first, second, nodes, _ = PAIRS[name]
    for layers in (1, 4, 8):
        one, other = rows_of_gin(layers, first, second, nodes)
        torch.testing.assert_close(one, other)
