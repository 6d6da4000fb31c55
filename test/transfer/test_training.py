"""Whole trainings, and graphs with several node types, while rows move on a simulated device."""

import copy

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData
from torch_geometric.nn import HeteroConv, SAGEConv

from torch_geometric_autoscale import autoscale
from torch_geometric_autoscale.training import train

from ..training.test_loop import numbers
from ..training.tiny import tiny_data, tiny_model, tiny_ptr, tiny_settings


def trained(**changes) -> tuple[list, list[torch.Tensor]]:
    model = tiny_model(num_layers=3, batch_norm=True)
    run = train(model, tiny_data(), tiny_ptr(), tiny_settings(epochs=3, **changes), log=False)
    return numbers(run), [history.pull() for history in model.histories]


@pytest.mark.parametrize(
    ('tier', 'dtype', 'way'),
    [('ram', 'auto', 'host'), ('pinned', 'bfloat16', 'kernel'), ('disk', 'int8', 'host')],
)
def test_no_bit_of_a_training_differs(pool_of, tier, dtype, way):
    changes = {'history_tier': tier, 'history_dtype': dtype}
    epochs, tables = trained(**changes)
    with pool_of(way) as pool:
        found, moved = trained(**changes)
        assert pool.buffer_size_in_bytes > 0
    assert found == epochs
    assert all(map(torch.equal, moved, tables))


class TwoLayers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            HeteroConv({
                ('paper', 'cites', 'paper'): SAGEConv(4, 4),
                ('author', 'writes', 'paper'): SAGEConv((4, 4), 4),
                ('paper', 'by', 'author'): SAGEConv((4, 4), 4),
            })
            for _ in range(3)
        )  # fmt: skip

    def forward(self, x_dict, edge_index_dict):
        for layer in self.layers:
            x_dict = {kind: x.relu() for kind, x in layer(x_dict, edge_index_dict).items()}
        return x_dict['paper']


def test_no_bit_differs_with_several_node_types(pool_of):
    rng = torch.Generator().manual_seed(0)
    data = HeteroData()
    for kind, count in (('paper', 40), ('author', 15)):
        data[kind].x = torch.randn(count, 4, generator=rng)
    data['paper', 'cites', 'paper'].edge_index = torch.randint(40, (2, 120), generator=rng)
    ends = torch.stack([torch.randint(n, (80,), generator=rng) for n in (15, 40)])
    data['author', 'writes', 'paper'].edge_index = ends
    data['paper', 'by', 'author'].edge_index = ends.flip(0)
    torch.manual_seed(0)
    module = TwoLayers()

    def run() -> list[torch.Tensor]:
        gas = autoscale(copy.deepcopy(module), data, num_parts=4)
        found = [gas(batch).detach() for _ in range(2) for batch in gas.loader()]
        return [*found, *(history.pull() for history in gas.histories)]

    expected = run()
    assert len(expected) > 8 + 2
    with pool_of('host') as pool:
        assert all(map(torch.equal, run(), expected))
        assert pool.buffer_size_in_bytes > 0
