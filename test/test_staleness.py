"""Ages of pulled rows: steps since they were written, for whatever a model writes by itself."""

import copy

import pytest
import torch
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import GraphConv, HeteroConv, SAGEConv

from torch_geometric_autoscale import ScalableGNN, SubgraphLoader, autoscale
from torch_geometric_autoscale.staleness import Ages, Staleness

# A path 0 - 1 - 2 - 3 of four parts of one node: every batch pulls its neighbours' rows.
EDGES = torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]])
PTR = torch.arange(5)


def path_loader():
    data = Data(x=torch.randn(4, 2), edge_index=EDGES)
    return SubgraphLoader(data, PTR, log=False)


class TwoBoundaries(ScalableGNN):
    """Three convolutions; the second history is left out where told."""

    def __init__(self):
        super().__init__(4, 2, 3)
        self.convs = torch.nn.ModuleList(SAGEConv(2, 2) for _ in range(3))
        self.leaves_out = False

    def forward(self, x, adj_t, *args):
        x = self.push_and_pull(self.histories[0], self.convs[0](x, adj_t), *args)
        if not self.leaves_out:
            x = self.push_and_pull(self.histories[1], self.convs[1](x, adj_t), *args)
        return self.convs[2](x, adj_t)


def visit(model, staleness, loader, order):
    """A step on each of the batches 0 to 3."""
    batches = list(loader)
    for i in order:
        model(batches[i])
        staleness.step()


def both(*args):
    return [Ages(*args)] * 2


def test_age_is_the_number_of_steps_between_push_and_pull():
    model, loader = TwoBoundaries(), path_loader()
    staleness = Staleness(model)
    visit(model, staleness, loader, [0, 1])
    # Batch 0 pulls node 1, never written; batch 1 pulls node 0 of a step ago, and node 2, never.
    assert staleness.ages() == both(3, 2 / 3, 1.0, 1, 1)
    staleness.begin()
    visit(model, staleness, loader, [2, 3, 0])
    # Batch 2 at step 2 pulls node 1 of step 1, and node 3, never; batch 3 at step 3 node 2 of
    # step 2; batch 0 at step 4 node 1 of step 1.
    assert staleness.ages() == both(4, 1 / 4, (1 + 1 + 3) / 3, 1, 3)


def test_nothing_pulled_has_no_age():
    model = TwoBoundaries()
    staleness = Staleness(model)
    assert staleness.ages() == both(0, 0.0, None, None, None)
    visit(model, staleness, path_loader(), [0])
    assert staleness.ages() == both(1, 1.0, None, None, None)


def test_the_median_is_the_lower_one_of_two():
    model, loader = TwoBoundaries(), path_loader()
    model.refresh(loader)
    staleness = Staleness(model)
    visit(model, staleness, loader, [0, 0, 0, 0])  # node 1, of ages 0, 1, 2, 3
    assert staleness.ages() == both(4, 0.0, 1.5, 1, 3)


def test_a_refresh_makes_every_row_new():
    model, loader = TwoBoundaries(), path_loader()
    staleness = Staleness(model)
    visit(model, staleness, loader, [0, 1])
    model.refresh(loader)
    staleness.begin()
    visit(model, staleness, loader, [3, 1])
    assert staleness.ages() == both(3, 0.0, 2 / 3, 1, 1)


def test_an_inference_writes_nothing():
    model, loader = TwoBoundaries(), path_loader()
    staleness = Staleness(model)
    model(loader=loader)
    model(torch.randn(4, 2), EDGES)
    assert staleness.ages() == both(0, 0.0, None, None, None)
    visit(model, staleness, loader, [0])
    assert staleness.ages() == both(1, 1.0, None, None, None)


def test_resetting_makes_every_row_unwritten():
    model, loader = TwoBoundaries(), path_loader()
    model.refresh(loader)
    staleness = Staleness(model)
    model.reset_parameters()
    visit(model, staleness, loader, [0])
    assert staleness.ages() == both(1, 1.0, None, None, None)


def test_rows_that_are_there_at_the_beginning_count_as_written_then():
    model, loader = TwoBoundaries(), path_loader()
    model.refresh(loader)
    staleness = Staleness(model)
    visit(model, staleness, loader, [3, 0])
    assert staleness.ages() == both(2, 0.0, 0.5, 0, 1)


def test_calls_in_evaluation_count_as_they_write():
    model, loader = TwoBoundaries().eval(), path_loader()
    staleness = Staleness(model)
    with torch.no_grad():
        visit(model, staleness, loader, [0, 1])
    assert staleness.ages() == both(3, 2 / 3, 1.0, 1, 1)


def test_histories_that_are_written_together_share_one_number_per_node():
    model, loader = TwoBoundaries(), path_loader()
    staleness = Staleness(model)
    visit(model, staleness, loader, [0, 1, 2, 3])
    (group,) = staleness.state()['groups']
    assert group['histories'] == [0, 1]
    assert (group['written'].dtype, group['written'].tolist()) == (torch.int32, [0, 1, 2, 3])


def test_histories_that_are_written_apart_have_ages_of_their_own():
    model, loader = TwoBoundaries(), path_loader()
    model.refresh(loader)
    staleness = Staleness(model)
    visit(model, staleness, loader, [0])
    model.leaves_out = True
    visit(model, staleness, loader, [1])
    model.leaves_out = False
    visit(model, staleness, loader, [0])
    # The first history: node 1 at age 0, nodes 0 and 2 at ages 1 and 1, node 1 at age 1.
    # The second was left out by batch 1: node 1 at age 0, and at age 2.
    assert staleness.ages() == [Ages(4, 0.0, 0.75, 1, 1), Ages(2, 0.0, 1.0, 0, 2)]


def test_a_copy_of_the_model_is_not_watched():
    model, loader = TwoBoundaries(), path_loader()
    staleness = Staleness(model)
    visit(copy.deepcopy(model), staleness, loader, [0, 1])
    assert staleness.ages() == both(0, 0.0, None, None, None)


def test_two_may_watch_and_each_ends_with_its_object():
    model, loader = TwoBoundaries(), path_loader()
    first, second = Staleness(model), Staleness(model)
    visit(model, first, loader, [0, 1])
    assert first.ages() == both(3, 2 / 3, 1.0, 1, 1)
    assert second.ages() == both(3, 2 / 3, 0.0, 0, 0)  # nobody told it of a step
    del first
    visit(model, second, loader, [1])
    assert second.ages()[0].pulled == 5


def test_batches_from_raw_tensors_count_too():
    model, loader = TwoBoundaries(), path_loader()
    staleness = Staleness(model)
    batch, batch_size, n_id, *_ = list(loader)[1]
    model(batch.x, batch.edge_index.clone(), batch_size, n_id)
    assert staleness.state()['groups'][0]['written'].tolist() == [-1, 0, -1, -1]


def test_a_state_goes_on_to_the_same_ages():
    torch.manual_seed(0)
    model, loader = TwoBoundaries(), path_loader()
    whole = Staleness(model)
    visit(model, whole, loader, [0, 1, 2])
    state = copy.deepcopy(whole.state())
    visit(model, whole, loader, [3, 0])
    resumed = Staleness(model)
    resumed.load(state)
    ages, written = whole.ages(), whole.state()['groups'][0]['written'].tolist()
    visit(model, resumed, loader, [3, 0])
    assert resumed.ages() == ages
    assert resumed.state()['groups'][0]['written'].tolist() == written
    assert state['groups'][0]['written'].tolist() == [0, 1, 2, -1]  # a copy was taken


def test_a_state_of_another_model_is_refused():
    model = TwoBoundaries()
    state = Staleness(model).state()
    state['groups'][0]['written'] = torch.zeros(5, dtype=torch.int32)
    staleness = Staleness(model)
    with pytest.raises(ValueError, match=r'must be of 2 histories with 8 rows .got 2 with 10.'):
        staleness.load(state)
    assert staleness.state()['groups'][0]['written'].numel() == 4


def test_a_model_without_histories_is_refused():
    with pytest.raises(TypeError, match=r"Staleness: 'model' must have histories .got Linear."):
        Staleness(torch.nn.Linear(2, 2))


# Converted modules ###################################################################


class Plain(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleList(GraphConv(2, 2) for _ in range(3))

    def forward(self, x, edge_index):
        for conv in self.convs:
            x = conv(x, edge_index)
        return x


def test_a_converted_module_is_watched_as_any_model():
    data = Data(x=torch.randn(4, 2), edge_index=EDGES)
    gas = autoscale(Plain(), data, partition=(torch.arange(4), PTR))
    staleness = Staleness(gas)
    visit(gas, staleness, gas.loader(), [0, 1])
    assert staleness.ages() == both(3, 2 / 3, 1.0, 1, 1)
    gas.refresh()
    staleness.begin()
    visit(gas, staleness, gas.loader(), [3, 1])
    assert staleness.ages() == both(3, 0.0, 2 / 3, 1, 1)
    gas.reset_histories()
    staleness.begin()
    visit(gas, staleness, gas.loader(), [3])
    assert staleness.ages() == both(1, 1.0, None, None, None)


class Bipartite(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleList(
            HeteroConv({('a', 'to', 'b'): SAGEConv(2, 2), ('b', 'to', 'a'): SAGEConv(2, 2)})
            for _ in range(2)
        )

    def forward(self, x_dict, edge_index_dict):
        for conv in self.convs:
            x_dict = conv(x_dict, edge_index_dict)
        return x_dict


def bipartite_data():
    """Four nodes and three, in two parts that one edge joins, from 1 of a to 0 of b."""
    data = HeteroData()
    data['a'].x, data['b'].x = torch.randn(4, 2), torch.randn(3, 2)
    edges = torch.tensor([[0, 1, 1, 2, 3], [0, 0, 1, 2, 2]])
    data['a', 'to', 'b'].edge_index, data['b', 'to', 'a'].edge_index = edges, edges.flip(0)
    return data, torch.tensor([0, 1, 1, 1, 0, 1, 1])  # of a's nodes, then of b's


def test_every_node_type_has_ages_of_its_own():
    data, part = bipartite_data()
    gas = autoscale(Bipartite(), data, partition=part)
    staleness = Staleness(gas)
    for batch in gas.loader():
        gas(batch)
        staleness.step()
    ages = dict(zip([str(b.node_type) for b in gas.boundaries], staleness.ages(), strict=True))
    # Part 0 pulls node 1 of a, which nobody has written yet; part 1 node 0 of b of a step ago. Its
    # batch has that twice, so that rows of a and of b can be told apart by their number.
    assert ages == {'a': Ages(1, 1.0), 'b': Ages(2, 0.0, 1.0, 1, 1)}
    gas.refresh()
    written = [group['written'].unique().tolist() for group in staleness.state()['groups']]
    assert written == [[2], [2]]
