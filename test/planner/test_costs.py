import pytest
import torch

from torch_geometric_autoscale.graph_input import to_edges
from torch_geometric_autoscale.planner.costs import costs_of
from torch_geometric_autoscale.planner.fit import Counts
from torch_geometric_autoscale.planner.graphs import RealGraph
from torch_geometric_autoscale.planner.measure import quick_collections
from torch_geometric_autoscale.planner.pieces import cut_pieces
from torch_geometric_autoscale.planner.shape import GraphShape, ShapeGraph
from torch_geometric_autoscale.planner.subject import maker_of, subject_of
from torch_geometric_autoscale.planner.trial import Tried
from torch_geometric_autoscale.training.objective import classification_loss

from ..on_disk import some_graph
from ..training.tiny import tiny_data, tiny_model
from .made import CPU
from .test_pieces import piece_of


@pytest.fixture(scope='module', autouse=True)
def quick():
    """As in a plan."""
    with quick_collections():
        yield


def adam(model):
    return torch.optim.Adam(model.parameters())


def found(pieces, room=1e12, model=None):
    return costs_of(
        maker_of(model or tiny_model()), pieces, CPU, classification_loss, adam, {}, room
    )


@pytest.fixture(scope='module')
def costs():
    """Of a model with 5 x 8 + 8 + 8 x 3 + 3 parameters, in a graph of some hundred nodes."""
    data = some_graph(400, 3000)
    generator = torch.Generator().manual_seed(0)
    nodes = [torch.randperm(400, generator=generator)[:n] for n in (20, 30, 50, 80, 120, 200)]
    return found(cut_pieces(data, to_edges(data), nodes))


def test_the_model_itself_is_counted(costs):
    assert costs.parameters == costs.trained == 4 * (5 * 8 + 8 + 8 * 3 + 3)
    # Two moments of each parameter, and four counts of steps.
    assert costs.optimizer == 2 * costs.parameters + 4 * 4
    assert (costs.widths, costs.exact_dtype) == ((8,), 'float32')


def test_every_trial_is_explained_by_its_counts(costs):
    assert len(costs.trials) == 6
    for trial in costs.trials:
        assert costs.step_peak(trial.counts) == pytest.approx(trial.step_peak, rel=0.1)
        assert trial.whole_peak >= trial.step_peak
    assert costs.loop_peak.error < 0.2


def test_a_larger_step_costs_more(costs):
    small, large = Counts(20, 10, 150), Counts(200, 100, 1500)
    assert costs.step_peak(large) > 2 * costs.step_peak(small)
    assert costs.step_seconds(small) > 0
    assert costs.inference_seconds(large) > 0


def test_tables_of_an_inference_are_told(costs):
    assert costs.tables.output == 3 * 4
    assert costs.tables.most(exact=True) <= costs.tables.most(exact=False)


def test_trials_that_need_too_much_are_left_out_but_for_the_first():
    pieces = [piece_of(list(range(n))) for n in (2, 4, 6, 8, 16, 24)]
    assert len(found(pieces, room=0).trials) == 4
    assert len(found(pieces).trials) == 6


def test_a_trial_leaves_the_model_it_was_made_from_alone():
    model = tiny_model()
    before = {name: value.clone() for name, value in model.state_dict().items()
              if torch.is_tensor(value)}  # fmt: skip
    found([piece_of(list(range(n))) for n in (2, 4, 6, 8)], model=model)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_step_without_labels_is_measured_too():
    data = tiny_data()
    for name in ('y', 'train_mask', 'val_mask', 'test_mask'):
        del data[name]
    subject = subject_of(maker_of(tiny_model()), piece_of([0, 1, 2, 3], data), CPU, {})
    tried = Tried(subject, piece_of([0, 1, 2, 3], data), classification_loss, adam, CPU)
    assert tried.measure().step_peak > 0


def test_pieces_of_a_real_graph_are_clusters_or_scattered():
    graph = RealGraph(tiny_data(), torch.tensor([0, 8, 16, 24]), log=False)
    cluster, scattered = graph.pieces([(8, True), (4, False)], 2)
    assert cluster.counts.rows == 8
    assert cluster.counts.halo <= 2
    assert scattered.counts.rows == 4


def test_pieces_beyond_the_whole_graph_would_only_repeat_it():
    graph = RealGraph(tiny_data(), torch.tensor([0, 8, 16, 24]), log=False)
    pieces = list(graph.pieces([(60, True), (40, False), (150, True)], 2))
    assert [piece.counts.rows for piece in pieces] == [24]


def test_pieces_of_a_shape_have_its_degree_and_features():
    graph = ShapeGraph(GraphShape(1000, 4000, num_features=7, num_classes=3))
    (piece,) = graph.pieces([(100, True)], 2)
    assert piece.data.x.size(1) == 7
    assert piece.counts.rows == 100
    assert piece.counts.edges == pytest.approx(400, rel=0.05)


def test_batches_of_a_shape_have_their_share_of_it():
    graph = ShapeGraph(GraphShape(1000, 4000, 7, halo=0.5))
    graph.cut(10)
    one = graph.epoch(1)
    assert one.mean == pytest.approx((100, 45, 400))  # a tenth of the halo is inside
    assert graph.num_halo_rows == 500
    whole = graph.epoch(10)
    assert (whole.num_batches, whole.mean) == (1, (1000, 0, 4000))
